"""Area of a GPU's die from its parts: SMs, crossbar, L2, memory interfaces, links, the rest, a neural-graphics cluster.

A part's area is that of TSMC N7 times how much larger or smaller its kind (logic, SRAM) is in the die's process;
analog parts have one area in all. After Zhang et al., LLMCompass, ISCA 2024, section III-D, who measured the floor plan
of GA100; `silicon:` of the arch files says where each number comes from, docs/area-and-cost.md how well it predicts.

All values may be numbers or arrays, as of a sweep's points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from simexplore.archs.schema.gpu import Gpu, StreamingMultiprocessors
from simexplore.archs.schema.silicon import Die, Silicon
from simexplore.sim.demand import FloatArray
from simexplore.sim.hardware.ngpc.area import nfp_area
from simexplore.workloads.dtypes import bytes_of

Amount: TypeAlias = float | FloatArray

BITS_PER_BYTE = 8.0
BYTES_PER_REGISTER = 4.0
BYTES_OF_A_TENSOR_FMA = 2.0
"""Of an operand of the multiply-add that `silicon.parts.tensor_fma` is of."""


@dataclass(frozen=True)
class Counts:
    """How many of each part a die has; a design between two whole numbers has a share of a part."""

    sms: Amount
    l2_bytes: Amount
    interfaces: Amount
    links: Amount

    @classmethod
    def of(cls, die: Die) -> Counts:
        """The counts that the file states."""
        return cls(die.sms, die.l2_bytes, die.interfaces, die.links)


@dataclass(frozen=True)
class DieArea:
    """Area of a die by part [m2]."""

    sms_m2: Amount
    crossbar_m2: Amount
    l2_m2: Amount
    memory_m2: Amount
    links_m2: Amount
    other_m2: Amount
    ngpc_m2: Amount

    @property
    def total_m2(self) -> Amount:
        """The area of the whole die [m2]."""
        spread = self.memory_m2 + self.links_m2 + self.other_m2 + self.ngpc_m2
        return self.sms_m2 + self.crossbar_m2 + self.l2_m2 + spread


def needed(gpu: Gpu) -> Counts:
    """The die that a design needs: `die x (the design's count / shipped count)` of each part.

    So a design has the product's share of spare units, and more bandwidth takes more interfaces at the product's pin
    speed.

    Raises:
        SimexploreError: the machine's file has no `silicon`.
    """
    silicon = gpu.its_silicon
    die, shipped = silicon.die, silicon.shipped
    return Counts(
        sms=gpu.sm.count * (die.sms / shipped.sms),
        l2_bytes=gpu.l2.capacity_bytes * (die.l2_bytes / shipped.l2_bytes),
        interfaces=gpu.dram.bandwidth_bytes_per_s * (die.interfaces / shipped.bandwidth_bytes_per_s),
        links=die.links,
    )


def tensor_fmas(sm: StreamingMultiprocessors) -> Amount:
    """Multiply-adds of 16 bits per clock that an SM's tensor cores are as large as.

    Of each operand type: rate / 2 x bits / 16; the largest counts, since types share the multipliers and a product
    sold at half the rate of one type has the whole core.
    """
    share = 1.0 / (2.0 * BYTES_OF_A_TENSOR_FMA)
    sizes = [rate * bytes_of(dtype) * share for dtype, rate in sm.tensor_ops_per_clk.items()]
    largest: Amount = 0.0
    for size in sizes:
        largest = np.maximum(largest, size)
    return largest


def sm_area(sm: StreamingMultiprocessors, silicon: Silicon) -> Amount:
    """Area of one SM [m2]: `logic x (lanes + tensor cores + ray cores + control) + sram x bits`."""
    parts, die = silicon.parts, silicon.die
    fp32_lanes = sm.fma_ops_per_clk["fp32"] / 2.0
    lanes = (
        fp32_lanes * parts.fp32_lane_m2 + die.fp64_lanes * parts.fp64_lane_m2 + die.int32_lanes * parts.int32_lane_m2
    )
    cores = tensor_fmas(sm) * parts.tensor_fma_m2 + die.ray_cores * parts.ray_core_m2
    stored = sm.registers * BYTES_PER_REGISTER + sm.shared_memory_bytes + die.l1_beside_shared_bytes
    logic = silicon.node.logic * (lanes + cores + parts.control_m2)
    return logic + silicon.node.sram * BITS_PER_BYTE * stored * parts.sm_bit_m2


def die_area(sm: StreamingMultiprocessors, silicon: Silicon, counts: Counts) -> DieArea:
    """Area by part of a die with these SMs and counts."""
    parts, node, uncore = silicon.parts, silicon.node, silicon.uncore
    interface = uncore.interface_phy_m2 + node.logic * uncore.interface_control_m2
    return DieArea(
        sms_m2=counts.sms * sm_area(sm, silicon),
        crossbar_m2=counts.sms * node.logic * parts.crossbar_m2,
        l2_m2=counts.l2_bytes * BITS_PER_BYTE * node.sram * parts.l2_bit_m2,
        memory_m2=counts.interfaces * interface,
        links_m2=counts.links * uncore.link_m2,
        other_m2=node.logic * uncore.other_m2,
        ngpc_m2=0.0,
    )


def gpu_area(gpu: Gpu) -> DieArea:
    """Area by part of the die that a machine needs; a cluster counts as its own process makes it.

    Raises:
        SimexploreError: the machine's file has no `silicon`.
    """
    area = die_area(gpu.sm, gpu.its_silicon, needed(gpu))
    if gpu.ngpc is None:
        return area
    cluster = gpu.ngpc.nfps * nfp_area(gpu.ngpc).total_m2
    return DieArea(**{**vars(area), "ngpc_m2": cluster})
