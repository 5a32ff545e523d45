"""What a machine is: a system of devices by name, each an arch of its own, and of links between them.

A GPU's file alone is a system too, of one device `gpu`, its links, and the cluster on its L2 where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.archs.schema.quantities import Count, Spec, about, mistake
from simexplore.errors import SimexploreError

OUTSIDE = "host"
"""End of a link that leads out of the system: a host that nobody described, or other GPUs like this one."""

Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
Ends = Annotated[tuple[str, str], Field(strict=False)]
Arch: TypeAlias = Gpu | Ngpc
"""What a device can be."""


class Device(Spec):
    """A device of a system, with what the system's file changes of its arch laid over it.

    Of several that are alike, a graph plays on one: it is one device's share of the work.
    """

    arch: Arch = about("what it is", "mapping")
    count: Count = about("how many of them there are, all alike", "1", default=1)
    beside: str | None = about(
        "the device whose L2 and memory it works on; absent: it has its own", "text", default=None
    )


class SystemLink(Link):
    """A link between two devices."""

    between: Ends = about(f"the devices that it connects; `{OUTSIDE}`: what is not in the system", "text")
    duplex: Literal["full", "half"] = about(
        "full: the bandwidth is there each way; half: both ways share it", "text", default="full"
    )


class Domain(Spec):
    """Devices that reach each other over a switch."""

    devices: Names = about("kinds of devices in it, by name", "text")
    link: str = about("name of the link that each has to the switch", "text")
    size: Count = about("devices in it", "1")


class System(Spec):
    """A machine: what it consists of, and what connects its parts."""

    kind: Literal["system"] = about("what the file describes", "text", default="system")
    name: str = about("name for people", "text")
    devices: dict[str, Device] = about("devices by name", "mapping")
    links: dict[str, SystemLink] = about("links by name", "mapping", default_factory=dict)
    domains: dict[str, Domain] = about("devices behind one switch, by name", "mapping", default_factory=dict)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        known = {*self.devices, OUTSIDE}
        for name, device in self.devices.items():
            self._check(device.beside is None or device.beside in self.devices, device.beside, f"devices.{name}.beside")
        for name, link in self.links.items():
            self._check(name not in self.devices, name, f"links.{name}", "a name that no device has")
            for end in link.between:
                self._check(end in known, end, f"links.{name}.between")
        for name, domain in self.domains.items():
            self._check(domain.link in self.links, domain.link, f"domains.{name}.link", "the name of a link")
            for member in domain.devices:
                self._check(member in self.devices, member, f"domains.{name}.devices")
        return self

    def _check(self, right: bool, found: str | None, key: str, expected: str = "") -> None:
        if not right:
            raise mistake(expected or f"one of the devices {', '.join(self.devices)}", repr(found), key=key)

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
        """GPUs that one like the first reaches, itself among them: those of its domain, or of its node; None: any."""
        first = self.first_gpu
        domain = next((domain for domain in self.domains.values() if first in domain.devices), None)
        arch = self.devices[first].arch
        return domain.size if domain is not None else arch.links.node_gpus if isinstance(arch, Gpu) else None

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
            return Place(name, device.arch, home, self.devices[home].arch, "" if home == first else f"{home}.")
        if name in self.links:
            return Place(name, self.links[name], name, None, "")
        known = ", ".join((*self.devices, *self.links))
        raise SimexploreError(f"expected a place of {self.name} ({known}), found {name!r}")


@dataclass(frozen=True, eq=False)
class Place:
    """Where a node of a graph runs: a device, or a link that copies go over."""

    name: str
    arch: Arch | SystemLink
    home: str
    """Name of the device whose L2 and memory it works on: mostly itself."""
    home_arch: Arch | None
    """That device; None for a link."""
    prefix: str
    """What the names of its resources begin with in results; nothing on the first GPU, and on links."""

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
