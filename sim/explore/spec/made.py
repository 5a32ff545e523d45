"""What making a point's machine takes: area of its die and cost of its package, for machines whose silicon is known.

These are no results of a workload. They are columns of a sweep that asks for them, and does not define them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from simexplore.archs.fields import Machine
from simexplore.archs.schema.gpu import Gpu
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
    value: Callable[[Gpu], Any]
    """Of a machine, or of one whose values are arrays of shape (points,)."""


MADE: Mapping[str, Made] = MappingProxyType(
    {
        "area_mm2": Made("mm2", 1e-6, powers_of("m2"), lambda gpu: gpu_area(gpu).total_m2),
        "cost": Made("USD", 1.0, powers_of("USD"), lambda gpu: gpu_price(gpu).total_usd),
    }
)


def offered(machine: Machine, defined: Collection[str]) -> dict[str, Amount]:
    """Those that a sweep of this machine may ask for, each with an amount of its unit; its own definitions go first."""
    if not isinstance(machine, Gpu) or machine.silicon is None:
        return {}
    return {name: Amount(made.scale, made.powers) for name, made in MADE.items() if name not in defined}
