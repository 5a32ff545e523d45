"""Sorting and selection → kernel demands, by the digits of the keys.

A row that fits a CTA's shared memory is sorted there (CUB, BlockRadixSort); longer ones go through memory once a digit
(CUB, DeviceSegmentedRadixSort; Adinets and Merrill, Onesweep, arXiv:2206.01784). A selection looks for the digits of
the k-th largest element one after the other, and then takes all that are larger (aten/src/ATen/native/cuda,
TensorTopK.cu, SortingRadixSelect.cuh). What ranks a key is a handful of integer instructions, which are not counted.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, BoolArray, FloatArray, KernelDemand
from simexplore.sim.libraries.arrays import torch_ as torch_arrays
from simexplore.sim.mapping.columns import ceil_div
from simexplore.sim.mapping.rowwise import read_again
from simexplore.sim.mapping.streaming import moving, stream_demand, stream_of
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.arrays.base import INDEX_BYTES
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Sort, TopK

GATHERING_PASSES = 2.0
"""Passes over a row after its k-th largest element is found: one for what is larger, one for what is as large."""
BITS_OF_A_BYTE = 8.0
BARRIERS = 3.0
"""Of a pass: counts are cleared, added up, and read by all."""


def sort_algorithms(op: Sort, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """Within shared memory, or digit by digit through memory; by the length of rows."""
    cols = np.atleast_1d(np.asarray(op.cols)) + 0 * np.atleast_1d(np.asarray(op.rows))
    short: BoolArray = cols <= torch_arrays.SORTED_AT_ONCE
    ways = []
    if np.any(short):
        ways.append(Algorithm((_in_shared_memory(op, gpu, conditions),), _where(short)))
    if not np.all(short):
        ways.append(Algorithm(_through_memory(op, gpu, conditions), _where(~short)))
    return tuple(ways)


def _bits(dtype: str) -> float:
    """Bits of a key."""
    return BITS_OF_A_BYTE * bytes_of(dtype)


def _where(rows: BoolArray) -> BoolArray:
    return ANY_ROW if np.all(rows) else rows


def _in_shared_memory(op: Sort, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """A CTA a row: each pass writes keys and indices to shared memory in their new order, and reads them again."""
    cols, warp = column(op.cols), float(gpu.sm.warp_size)
    cols = np.minimum(cols, float(torch_arrays.SORTED_AT_ONCE))
    item = bytes_of(op.dtype) + INDEX_BYTES
    passes = np.ceil(_bits(op.dtype) / torch_arrays.BLOCK_SORT_BITS)
    step = 2.0 * gpu.sm.latency.shared_cycles + BARRIERS * gpu.library.barrier_cycles
    stream = stream_of(op, gpu, conditions.cache)
    demand = stream_demand(op.op, stream, gpu, ctas=column(op.rows), chain_cycles=passes * step + 0.0 * cols)
    warps = np.maximum(ceil_div(cols, torch_arrays.BLOCK_SORT_ITEMS * warp), 1.0)
    return demand.but(
        grid={
            "warps_per_cta": np.minimum(warps, float(gpu.sm.max_warps)),
            "shared_bytes_per_cta": np.minimum(cols * item, gpu.sm.shared_memory_per_cta_bytes),
        },
        work={"shared_bytes": 2.0 * passes * cols * item},
        latency={"bytes_in_flight": demand.work.l2_read_bytes},
    )


def _through_memory(op: Sort, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A count of all digits, then a pass for each: keys and indices read and written in their new order."""
    keys = column(op.rows) * column(op.cols) * bytes_of(op.dtype)
    both = column(op.output_bytes)
    count = _pass("count_digits", keys, 0.0 * keys, conditions.cache.activation_copies, gpu)
    digits = int(np.ceil(_bits(op.dtype) / torch_arrays.SORT_BITS))
    return (count, *(_pass("digit", both, both, WARM.activation_copies, gpu) for _ in range(digits)))


def _pass(kernel: str, read: FloatArray, write: FloatArray, copies: float | FloatArray, gpu: Gpu) -> KernelDemand:
    return stream_demand(kernel, moving(read, write, gpu, copies=copies), gpu)


def top_k_algorithms(op: TopK, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """One CTA a row, or several; then what was selected is sorted."""
    several = torch_arrays.several_select(op)
    chosen = Sort(op.rows, op.k, op.dtype)
    after = Conditions(cache=WARM)
    ways = []
    for rows, select in ((~several, _by_one_cta), (several, _by_several_ctas)):
        if np.any(rows):
            for way in sort_algorithms(chosen, gpu, after):
                serves = rows & way.serves
                if np.any(serves):
                    ways.append(Algorithm((*select(op, gpu, conditions), *way.kernels), _where(serves)))
    return tuple(ways)


def _by_one_cta(op: TopK, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A CTA passes over its row for every two bits of a key, and twice more."""
    row_bytes = bytes_of(op.dtype) * column(op.cols)
    passes = _bits(op.dtype) / torch_arrays.SELECT_BITS + GATHERING_PASSES
    threads = torch_arrays.select_threads(column(op.cols), gpu)
    turn = BARRIERS * gpu.library.barrier_cycles + np.log2(gpu.sm.warp_size) * gpu.sm.latency.shared_cycles
    demand = stream_demand("select", stream_of(op, gpu, conditions.cache), gpu, ctas=column(op.rows))
    demand = demand.but(
        grid={"warps_per_cta": threads / gpu.sm.warp_size},
        latency={
            "bytes_in_flight": np.minimum(row_bytes, threads * bytes_of(op.dtype)),
            "chain_cycles": passes * turn + 0.0 * row_bytes,
        },
    )
    return (read_again(demand, np.full((1, 1), passes), row_bytes, 0.0, gpu),)


def _by_several_ctas(op: TopK, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A pass over all rows for every eight bits, each with a small kernel that adds counts up, and one that takes."""
    keys = column(op.rows) * column(op.cols) * bytes_of(op.dtype)
    digits = int(np.ceil(_bits(op.dtype) / torch_arrays.WIDE_SELECT_BITS))
    first = _pass("digit", keys, 0.0 * keys, conditions.cache.activation_copies, gpu).with_extra_launches(1.0)
    again = _pass("digit", keys, 0.0 * keys, WARM.activation_copies, gpu).with_extra_launches(1.0)
    take = _pass("take", keys, column(op.output_bytes), WARM.activation_copies, gpu)
    return (first, *(again for _ in range(digits - 1)), take)
