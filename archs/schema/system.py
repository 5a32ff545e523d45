"""What a machine is: a system of devices by name, each an arch of its own, and of links between them.

A GPU's file alone is a system too, of one device `gpu`, its links, and the cluster on its L2 where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.calibration import Calibration
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.host.drive import Drive
from simexplore.archs.schema.host.ports import Port
from simexplore.archs.schema.machine import longest_prefix
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.archs.schema.quantities import BytesPerSecond, Count, Dollars, Spec, about, mistake
from simexplore.errors import SimexploreError

ARROW = "->"
"""Between the two ends of a place that is a path: `cpu->gpu`."""
BACK = ".back"
"""What ends the name of a link, or of a port, where it is used from its second end to its first."""
OUTSIDE = "host"
"""End of a link that leads out of the system: a host that nobody described, or other GPUs like this one."""

Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
Ends = Annotated[tuple[str, str], Field(strict=False)]
Arch: TypeAlias = Gpu | Ngpc | Cpu | Drive
"""What a device can be."""


class Device(Spec):
    """A device of a system, with what the system's file changes of its arch laid over it.

    Of several GPUs that are alike, a graph plays on one: it is one device's share of the work. The sockets of a CPU
    are one place, and so are the drives of an array.
    """

    arch: Arch = about("what it is", "mapping")
    count: Count = about("how many of them there are, all alike", "1", default=1)
    beside: str | None = about(
        "the device whose L2 and memory it works on; absent: it has its own", "text", default=None
    )
    raid: Literal[0] | None = about(
        "0: data is striped over all drives; absent: a graph plays on one of them", "1", default=None
    )
    price_usd: Dollars | None = about("price of one of them; absent: nobody said", "USD", default=None)

    @property
    def whole(self) -> Arch:
        """All that a graph plays on: one GPU, all sockets of a CPU, all drives of an array."""
        if isinstance(self.arch, Cpu):
            return self.arch.times(self.count)
        if isinstance(self.arch, Drive) and self.raid is not None:
            return self.arch.times(self.count)
        return self.arch


class SystemLink(Link):
    """A link between two devices."""

    between: Ends = about(f"the devices that it connects; `{OUTSIDE}`: what is not in the system", "text")
    duplex: Literal["full", "half"] = about(
        "full: the bandwidth is there each way; half: both ways share it", "text", default="full"
    )
    pageable_bandwidth_bytes_per_s: BytesPerSecond | None = about(
        "of copies from or to memory that is not pinned, which the driver stages; absent: as of pinned",
        "B/s",
        default=None,
    )
    port: str | None = about("name of the port that it shares with other links; absent: none", "text", default=None)

    def way(self, name: str, *, forward: bool) -> str:
        """Name of what one way of it takes, from its first end to its second or back."""
        return way_of(name, self.duplex, forward=forward)


def way_of(name: str, duplex: str, *, forward: bool) -> str:
    """Name of what one way of a link or port takes: both ways of a half-duplex one are the same."""
    return name if forward or duplex == "half" else name + BACK


class Domain(Spec):
    """Devices that reach each other over a switch.

    With NVSwitch each GPU reaches every other at the rate of its own link.
    """

    devices: Names = about("kinds of devices in it, by name", "text")
    link: str = about("name of the link that each has to the switch", "text")
    size: Count = about("devices in it", "1")


class System(Spec):
    """A machine: what it consists of, and what connects its parts."""

    kind: Literal["system"] = about("what the file describes", "text", default="system")
    name: str = about("name for people", "text")
    description: str = about("one sentence", "text", default="")
    devices: dict[str, Device] = about("devices by name", "mapping")
    links: dict[str, SystemLink] = about("links by name", "mapping", default_factory=dict)
    domains: dict[str, Domain] = about("devices behind one switch, by name", "mapping", default_factory=dict)
    ports: dict[str, Port] = about("what several links share, by name", "mapping", default_factory=dict)
    calibration: Calibration | None = about("what measurements have taught about it", "mapping", default=None)
    sources: dict[str, str] = about("dotted key prefix -> where its numbers come from", "text", default_factory=dict)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known = {*self.devices, OUTSIDE}
        for name, device in self.devices.items():
            self._check(device.beside is None or device.beside in self.devices, device.beside, f"devices.{name}.beside")
        for name, link in self.links.items():
            self._check(name not in self.devices, name, f"links.{name}", "a name that no device has")
            for end in link.between:
                self._check(end in known, end, f"links.{name}.between")
            right = link.port is None or link.port in self.ports
            self._check(right, link.port, f"links.{name}.port", "the name of a port")
        for name in self.ports:
            taken = name in self.links or name in self.devices
            self._check(not taken, name, f"ports.{name}", "a name that no link and no device has")
        for name, domain in self.domains.items():
            self._check(domain.link in self.links, domain.link, f"domains.{name}.link", "the name of a link")
            for member in domain.devices:
                self._check(member in self.devices, member, f"domains.{name}.devices")
        return self

    def _check(self, right: bool, found: str | None, key: str, expected: str = "") -> None:
        if not right:
            raise mistake(expected or f"one of the devices {', '.join(self.devices)}", repr(found), key=key)

    def source_of(self, key: str) -> str | None:
        """The citation that covers a dotted YAML key: that of its longest prefix in `sources`, or None."""
        return longest_prefix(key, self.sources)

    @property
    def price_usd(self) -> float | None:
        """Price of all devices together [USD]; None where that of one is not known."""
        prices = [None if each.price_usd is None else each.count * each.price_usd for each in self.devices.values()]
        return None if None in prices else sum(price for price in prices if price is not None)

    @property
    def first_gpu(self) -> str:
        """Name of the first GPU: where a graph's node is when it does not say.

        Raises:
            SimexploreError: there is none.
        """
        for name, device in self.devices.items():
            if isinstance(device.arch, Gpu):
                return name
        raise SimexploreError(f"{self.name}: expected a GPU among the devices, found {', '.join(self.devices)}")

    @property
    def gpus_together(self) -> int | None:
        """GPUs that one like the first reaches over a link of its own, itself among them: those of its node; None: any.

        They are those of its least domain, or as many as its file says.
        """
        arch = self.devices[self.first_gpu].arch
        return self.reaches[0][0] if self.reaches else arch.links.node_gpus if isinstance(arch, Gpu) else None

    @property
    def reaches(self) -> tuple[tuple[int, SystemLink], ...]:
        """Domains that one like the first GPU is in, the least first: how many it reaches there, and over which link.

        The devices of a system of several nodes are those of one node: a domain that is larger than a node's tells how
        many GPUs all of them have together. GPUs are numbered node by node, and a domain has neighbours in it.
        """
        first = self.first_gpu
        known = [(domain.size, self.links[domain.link]) for domain in self.domains.values() if first in domain.devices]
        return tuple(sorted(known, key=lambda domain: domain[0]))

    def link_of_gpus(self, one: int, other: int) -> SystemLink:
        """What two GPUs reach each other over, by their numbers: the link of the least domain that both are in.

        Raises:
            SimexploreError: none has both.
        """
        most = self.reaches[-1][0] if self.reaches else 1
        for size, link in self.reaches:
            if one // size == other // size and max(one, other) < most:
                return link
        raise SimexploreError(f"{self.name}: expected at most {most} GPUs in its domains, found {max(one, other) + 1}")

    def place(self, name: str | None = None) -> Place:
        """A device or link by name; by default the first GPU.

        Raises:
            SimexploreError: the system has no place of that name.
        """
        first = self.first_gpu
        name = first if name is None else name
        if name in self.devices:
            device = self.devices[name]
            home = device.beside or name
            return Place(name, device.whole, home, self.devices[home].whole, "" if home == first else f"{home}.")
        if name in self.links:
            return Place(name, self.links[name], name, None, "")
        ends = tuple(end.strip() for end in name.split(ARROW))
        if len(ends) == 2 and all(end in self.devices for end in ends) and ends[0] != ends[1]:
            return Place(name, self.path(*ends), name, None, "")
        known = ", ".join((*self.devices, *self.links))
        raise SimexploreError(f"expected a place of {self.name} ({known}), found {name!r}")

    def path(self, start: str, end: str) -> Path:
        """The way of a copy from one device to another, over as few links as there are; the first such by name.

        Raises:
            SimexploreError: no links lead there.
        """
        import networkx as nx  # only who copies over a path waits for it

        graph: nx.Graph[str] = nx.Graph(link.between for link in self.links.values() if OUTSIDE not in link.between)
        graph.add_nodes_from((start, end))
        try:
            stops = nx.shortest_path(graph, start, end)
        except nx.NetworkXNoPath:
            raise SimexploreError(f"{self.name}: expected links from {start} to {end}, found none") from None
        hops = tuple(self._hop(here, there) for here, there in pairwise(stops))
        at = tuple(self.place(stop) for stop in stops)
        return Path(hops, at)

    def _hop(self, here: str, there: str) -> Hop:
        name, link = next((name, link) for name, link in self.links.items() if {here, there} == {*link.between})
        port = None if link.port is None else self.ports[link.port]
        return Hop(name, link, port, forward=link.between == (here, there))


@dataclass(frozen=True, eq=False)
class Hop:
    """A link on the way of a copy."""

    name: str
    link: SystemLink
    port: Port | None
    forward: bool
    """From the first of the link's ends to the second."""

    @property
    def rates(self) -> dict[str, float]:
        """What the hop takes, by the names of its resources, and what each gives [B/s]."""
        link = self.link
        found = {link.way(self.name, forward=self.forward): link.bandwidth_bytes_per_s}
        if self.port is not None and link.port is not None:
            found[way_of(link.port, self.port.duplex, forward=self.forward)] = self.port.bandwidth_bytes_per_s
        return found


@dataclass(frozen=True, eq=False)
class Path:
    """The way of a copy: its links in order, and the places that it goes through, both ends among them."""

    hops: tuple[Hop, ...]
    stops: tuple[Place, ...]

    @property
    def end(self) -> str:
        """Name of the device that the copy arrives at."""
        return self.stops[-1].name


@dataclass(frozen=True, eq=False)
class Place:
    """Where a node of a graph runs: a device, or a link or a path of links that copies go over."""

    name: str
    arch: Arch | SystemLink | Path
    home: str
    """Name of the device whose L2 and memory it works on: mostly itself."""
    home_arch: Arch | None
    """That device; None for a link or a path."""
    prefix: str
    """What the names of its resources begin with in results; nothing on the first GPU, and on links."""

    @property
    def holds(self) -> str | None:
        """Name of the device in whose memory results of what runs here lie; None: the first GPU's, of a bare link."""
        return self.arch.end if isinstance(self.arch, Path) else self.home if self.home_arch is not None else None

    @property
    def capacity_bytes(self) -> float | None:
        """What the memory of the device holds [B]; None: it has none of its own."""
        if isinstance(self.arch, Gpu):
            return self.arch.dram.capacity_bytes
        if isinstance(self.arch, Cpu):
            return self.arch.memory.capacity_bytes
        return self.arch.capacity_bytes if isinstance(self.arch, Drive) else None

    @property
    def gpu(self) -> Gpu:
        """The GPU that it is, or that it lies beside.

        Raises:
            SimexploreError: there is none.
        """
        if isinstance(self.home_arch, Gpu):
            return self.home_arch
        raise SimexploreError(f"expected a GPU to run on, found {self.name!r}")


def system_of(machine: Gpu | System) -> System:
    """A machine as a system: a GPU is the device `gpu`, a cluster on its L2 the device `ngpc`."""
    if isinstance(machine, System):
        return machine
    # The machine has been checked; a variant of it may be out of all proportion, and its costs say so.
    devices = {"gpu": Device.model_construct(arch=machine, count=1, beside=None)}
    if machine.ngpc is not None:
        devices["ngpc"] = Device(arch=machine.ngpc, beside="gpu")
    links = {"pcie": _leading_out(machine.links.pcie)}
    if machine.links.nvlink is not None:
        links["nvlink"] = _leading_out(machine.links.nvlink)
    return System(name=machine.name, devices=devices, links=links)


def _leading_out(link: Link) -> SystemLink:
    """A GPU's own link; its figures have been checked, and may be columns."""
    return SystemLink.model_construct(**dict(link), between=("gpu", OUTSIDE), duplex="full")
