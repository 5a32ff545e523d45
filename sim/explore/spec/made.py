"""What a point's machine takes: area of its die and cost of its package where its silicon is known, a system's price.

These are no results of a workload. They are columns of a sweep that asks for them, and does not define them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from simexplore.archs.fields import Machine
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.sim.explore.spec.expression import Amount, Powers, powers_of
from simexplore.sim.hardware.die.area import gpu_area
from simexplore.sim.hardware.die.price import gpu_price


@dataclass(frozen=True)
class Made:
    """A column of this kind."""

    unit: str
    scale: float
    """Its unit in SI: values are divided by it."""
    powers: Powers
    value: Callable[[Any], Any]
    """Of a GPU or a system, or of a GPU whose values are arrays of shape (points,)."""


MADE: Mapping[str, Made] = MappingProxyType(
    {
        "area_mm2": Made("mm2", 1e-6, powers_of("m2"), lambda gpu: gpu_area(gpu).total_m2),
        "price": Made("USD", 1.0, powers_of("USD"), lambda system: system.price_usd),
        "cost": Made("USD", 1.0, powers_of("USD"), lambda gpu: gpu_price(gpu).total_usd),
    }
)


OF_SILICON = ("area_mm2", "cost")
"""Those of a GPU whose silicon is known."""
OF_SYSTEMS = ("price",)
"""Those of a system all of whose devices have a price."""


def offered(machine: Machine, defined: Collection[str]) -> dict[str, Amount]:
    """Those that a sweep of this machine may ask for, each with an amount of its unit; its own definitions go first."""
    names: Collection[str] = ()
    if isinstance(machine, Gpu) and machine.silicon is not None:
        names = OF_SILICON
    elif isinstance(machine, System) and machine.price_usd is not None:
        names = OF_SYSTEMS
    return {name: Amount(MADE[name].scale, MADE[name].powers) for name in names if name not in defined}
