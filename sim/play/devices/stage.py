"""What of a device moves in a run, and what demands share on it; a kind of device registers its own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import singledispatch
from math import inf
from typing import Any, TypeAlias

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.host.drive import Drive
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.archs.schema.system import BACK, Path, Place, SystemLink
from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate.host.demands import CORES, MEMORY
from simexplore.sim.hardware.host.drive import drive_resources
from simexplore.sim.play.engine import Clock, Event
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.probes import Probes
from simexplore.sim.play.sm_array import SmArray

Playing: TypeAlias = Generator[Event, Any, float]
"""A process that ends with the dynamic energy of what it has played [J]."""


@dataclass(frozen=True)
class Stage:
    """Where the demands of one place are played."""

    clock: Clock
    network: FlowNetwork
    probes: Probes
    array: SmArray | None
    """The SMs of the GPU that the place is; None elsewhere."""

    @contextmanager
    def held(self, sms: float) -> Iterator[None]:
        """So many of the SMs that are free are held meanwhile, by a kernel that stays on them."""
        if self.array is None or sms <= 0.0:
            yield
            return
        parts = self.array.hold(sms)
        yield
        self.array.release(parts)


def stage_of(place: Place, clock: Clock, network: FlowNetwork, probes: Probes) -> Stage:
    """A place with nothing on it. Only the first GPU tells how much of its SMs is held."""
    gpu = place.arch
    if not isinstance(gpu, Gpu):
        return Stage(clock, network, probes, None)
    watched = _WithoutSms(probes) if place.prefix else probes
    return Stage(clock, network, probes, SmArray(clock, network, gpu.sm.count, gpu.sm.max_ctas, watched))


@singledispatch
def resources(arch: Any, place: Place) -> dict[str, float]:  # noqa: ARG001 - of a kind of which nothing is known
    """What is shared on a device, by names without prefix: 1 is the whole of a resource, infinite is metered only."""
    return {}


@resources.register
def _of_gpu(arch: Gpu, place: Place) -> dict[str, float]:  # noqa: ARG001 - its names say enough
    links = ["pcie"] if arch.links.nvlink is None else ["nvlink", "pcie"]
    return dict.fromkeys((*RESOURCES, *links), 1.0)


@resources.register
def _of_cluster(arch: Ngpc, place: Place) -> dict[str, float]:  # noqa: ARG001
    """Batches come one after another, so nothing of the cluster is shared; it works on its GPU's L2 and DRAM."""
    return dict.fromkeys(("ngpc", "ngpc_banks", "ngpc_mlp"), inf)


@resources.register
def _of_link(arch: SystemLink, place: Place) -> dict[str, float]:
    both = (place.name,) if arch.duplex == "half" else (place.name, place.name + BACK)
    return dict.fromkeys(both, 1.0)


@resources.register
def _of_path(arch: Path, place: Place) -> dict[str, float]:  # noqa: ARG001
    """Its links and their ports in its direction; what is at its stops is of places of their own."""
    return {name: 1.0 for hop in arch.hops for name in hop.rates}


@resources.register
def _of_cpu(arch: Cpu, place: Place) -> dict[str, float]:  # noqa: ARG001
    """Memory that it shares with a GPU is the GPU's."""
    names = (CORES, MEMORY) if place.home == place.name else (CORES,)
    return dict.fromkeys(names, 1.0)


@resources.register
def _of_drive(arch: Drive, place: Place) -> dict[str, float]:  # noqa: ARG001
    return dict.fromkeys(drive_resources(arch), 1.0)


class _WithoutSms(Probes):
    """Tells all but how much of the SMs is held."""

    def __init__(self, probes: Probes) -> None:
        super().__init__([probes])
        self._sms = []
