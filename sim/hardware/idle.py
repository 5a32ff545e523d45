"""Power that a device draws with nothing to do; a kind of device registers its own."""

from __future__ import annotations

from functools import singledispatch

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.host.drive import Drive
from simexplore.archs.schema.ngpc import Ngpc


@singledispatch
def idle_w(arch: object) -> float:  # noqa: ARG001 - of a link, or another device that says nothing of it
    """Power of an idle device [W]; 0 where its kind has none of its own."""
    return 0.0


@idle_w.register
def _gpu(arch: Gpu) -> float:
    return arch.power.idle_w


@idle_w.register
def _cluster(arch: Ngpc) -> float:
    return arch.nfps * arch.silicon.leakage_w


@idle_w.register(Cpu)
@idle_w.register(Drive)
def _around(arch: Cpu | Drive) -> float:
    return arch.power.idle_w
