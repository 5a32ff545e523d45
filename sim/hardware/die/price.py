"""What a packaged GPU costs to make: its die at the yield that spare units leave, its memory, its package.

No design, masks, margin, board or cooler. All values may be numbers or arrays, as of a sweep's points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.hardware.die.area import Amount, Counts, DieArea, gpu_area, needed

ROUNDING = 1e-9
"""Counts in proportion may miss a whole number by their last bits."""


@dataclass(frozen=True)
class Price:
    """Cost of a packaged GPU by part [USD]."""

    die_usd: Amount
    memory_usd: Amount
    package_usd: Amount
    good_share: Amount
    """Dies that can be sold, over all of a wafer."""

    @property
    def total_usd(self) -> Amount:
        """The cost of the whole [USD]."""
        return self.die_usd + self.memory_usd + self.package_usd


def dies_per_wafer(area_m2: Amount, diameter_m: Amount) -> Amount:
    """Whole dies that a wafer holds: `pi (d/2)^2 / A - pi d / sqrt(2 A)`.

    Hennessy and Patterson, Computer Architecture, chapter 1, "Cost of an integrated circuit": the second term is the
    circumference over a die's diagonal.
    """
    return np.pi * (diameter_m / 2.0) ** 2 / area_m2 - np.pi * diameter_m / np.sqrt(2.0 * area_m2)


def survival(defects: Amount, spare: Amount) -> Amount:
    """Probability that a group of like units has enough good ones: that at most `spare` defects fall on it.

    Defects fall independently (Poisson, mean `defects`) and each takes one unit: `sum over k <= spare of
    exp(-m) m^k / k!`. Without spares that is the Poisson yield `exp(-A / area per defect)`.
    """
    term = np.exp(-np.asarray(defects, dtype=np.float64))
    total = np.zeros(np.broadcast_shapes(np.shape(defects), np.shape(spare)))
    for k in range(int(np.max(spare)) + 1):
        total = total + np.where(k <= np.asarray(spare), term, 0.0)
        term = term * defects / (k + 1.0)
    return total if total.ndim else float(total)


def good_share(gpu: Gpu, area: DieArea, counts: Counts) -> Amount:
    """Share of dies that make the product: enough good SMs, L2 slices and memory interfaces, and all else whole.

    L2 is spared in as many slices as there are interfaces.
    """
    silicon = gpu.its_silicon
    per_defect, shipped, die = silicon.node.area_per_defect_m2, silicon.shipped, silicon.die
    spare_sms = np.floor(counts.sms - gpu.sm.count + ROUNDING)
    spare_slices = np.floor(counts.interfaces * (1.0 - shipped.l2_bytes / die.l2_bytes) + ROUNDING)
    spare_interfaces = np.floor(counts.interfaces * (1.0 - shipped.interfaces / die.interfaces) + ROUNDING)
    whole = area.crossbar_m2 + area.links_m2 + area.other_m2 + area.ngpc_m2
    survivors = survival(area.sms_m2 / per_defect, spare_sms) * survival(area.l2_m2 / per_defect, spare_slices)
    return survivors * survival(area.memory_m2 / per_defect, spare_interfaces) * np.exp(-whole / per_defect)


def gpu_price(gpu: Gpu) -> Price:
    """Cost by part of a machine's packaged GPU [USD].

    `wafer / (dies per wafer x good share) + capacity x price of memory + package, assembly and test`; infinite where
    a wafer holds no such die.

    Raises:
        SimexploreError: the machine's file has no `silicon`.
    """
    silicon, area = gpu.its_silicon, gpu_area(gpu)
    good = good_share(gpu, area, needed(gpu))
    dies = dies_per_wafer(area.total_m2, silicon.node.wafer_diameter_m)
    sold = np.maximum(dies * good, 0.0)
    with np.errstate(divide="ignore"):
        die_usd = np.divide(silicon.node.wafer_usd, sold)
    memory_usd = gpu.dram.capacity_bytes * silicon.assembly.memory_usd_per_byte
    return Price(die_usd, memory_usd, silicon.assembly.package_usd, good)
