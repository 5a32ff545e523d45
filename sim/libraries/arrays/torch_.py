"""PyTorch: how its kernels on arrays are laid out over CTAs: reductions, running sums, norms of groups, selections.

Sources: aten/src/ATen/native/cuda, Reduce.cuh (setReduceConfig), ScanUtils.cuh (get_log_num_threads_x_inner_scan),
group_norm_kernel.cu, TensorTopK.cu (should_use_multiblock), Sort.cpp and Sort.cu.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Reduce, Scan, TopK

REDUCE_THREADS = 512.0
"""Most threads of a CTA that reduces."""
VECTOR = 4.0
"""Elements of a vector along the last axis."""
LEAST_VALUES, MOST_VALUES = 16.0, 256.0
"""Of a thread: fewer are not worth another CTA, more are divided among CTAs."""
SCAN_THREADS = 512.0
FEWEST_SCAN_BITS = 4.0
"""Of the number of threads along a row: 16."""
SORTED_AT_ONCE = 4096
"""Elements of the longest row that one CTA sorts within its shared memory."""
SELECT_THREADS = 1024.0
"""Most threads of a CTA that selects within a row."""
SELECT_BITS, WIDE_SELECT_BITS, SORT_BITS = 2.0, 8.0, 8.0
"""Bits of a key that a pass looks at: of one CTA a row, of several, and of a sort of long rows."""
BLOCK_SORT_BITS = 4.0
"""The same of a sort within shared memory (CUB, BlockRadixSort)."""
BLOCK_SORT_ITEMS = 32.0
"""Elements of a thread of it."""
SLICES = ((20, 20_000), (40, 10_000), (80, 8_000), (199, 5_000), (799, 3_000), (4000, 800))
"""Rows up to which, and length from which, several CTAs select within a row; of more rows, from `LONG_SLICE`."""
LONG_SLICE = 400


class ReduceGrid(NamedTuple):
    """How a reduction is laid out; arrays of shape (rows, 1)."""

    ctas: FloatArray
    threads: FloatArray
    sharing: FloatArray
    """Threads of a CTA that share a column."""
    splits: FloatArray
    """CTAs that share a column."""


def _power(value: FloatArray) -> FloatArray:
    """The last power of two up to a value."""
    power: FloatArray = np.exp2(np.floor(np.log2(np.maximum(value, 1.0))))
    return power


def reduce_grid(op: Reduce, gpu: Gpu) -> ReduceGrid:
    """Threads lie along the axis that is the last in memory; several rows of them share a column that is long."""
    cols, inner, results = column(op.cols), column(op.inner), column(op.results)
    last = inner == 1.0
    most = np.minimum(REDUCE_THREADS, gpu.sm.max_warps * gpu.sm.warp_size)
    first, second = _power(np.where(last, cols / VECTOR, inner)), _power(np.where(last, results, cols))
    width = np.minimum(first, gpu.sm.warp_size)
    height = np.minimum(second, most / width)
    width = np.minimum(first, most / height)
    values = np.where(last, np.ceil(cols / width), cols)
    across = (values >= height * LEAST_VALUES) | (values >= MOST_VALUES)
    values = np.where(across, np.ceil(values / height), values)
    of_cta = np.where(last, 1.0, width) * np.where(across, 1.0, height)
    grid = np.ceil(results / of_cta)
    threads = width * height
    wanted = gpu.sm.count * np.floor(gpu.sm.max_warps * gpu.sm.warp_size / threads)
    fewest, enough = np.ceil(values / MOST_VALUES), np.ceil(values / LEAST_VALUES)
    splits = np.maximum(np.minimum(np.ceil(wanted / grid), enough), fewest)
    splits = np.where(across & (values >= MOST_VALUES) & (grid <= wanted), splits, 1.0)
    sharing = np.where(last, width, 1.0) * np.where(across, height, 1.0)
    return ReduceGrid(grid * splits, threads, sharing, splits)


class ScanGrid(NamedTuple):
    """How a running sum is laid out; arrays of shape (rows, 1)."""

    ctas: FloatArray
    threads: FloatArray
    sharing: FloatArray
    """Threads that share a row."""
    steps: FloatArray
    """Steps of a CTA, each of two elements a thread."""


def scan_grid(op: Scan, gpu: Gpu) -> ScanGrid:
    """Threads are divided among length and number of rows; one row has a CTA for every step (CUB, DeviceScan)."""
    rows, cols, inner = column(op.rows), column(op.cols), column(op.inner)
    most = np.minimum(SCAN_THREADS, gpu.sm.max_warps * gpu.sm.warp_size)
    difference = np.ceil(np.log2(cols)) - np.ceil(np.log2(rows))
    most_bits = np.log2(SCAN_THREADS)
    along = np.exp2(np.clip(np.floor((most_bits + difference) / 2.0), FEWEST_SCAN_BITS, most_bits))
    along = np.minimum(along, most)
    alone = (rows == 1.0) & (inner == 1.0)
    beside = np.where(alone, 1.0, most / along)
    along = np.where(alone, most, along)
    steps = np.ceil(cols / (2.0 * along))
    of_columns = inner > 1.0
    threads = np.where(of_columns, np.minimum(most, np.maximum(inner, gpu.sm.warp_size)), along * beside)
    ctas = np.where(of_columns, rows * np.ceil(inner / threads), np.where(alone, steps, np.ceil(rows / beside)))
    return ScanGrid(ctas, threads, np.where(of_columns, 1.0, along), np.where(alone, 1.0, steps))


def moment_threads(size: FloatArray, gpu: Gpu) -> FloatArray:
    """Threads of a CTA that finds the mean and deviation of a group of so many elements: a warp of a small one."""
    most = np.minimum(REDUCE_THREADS, gpu.sm.max_warps * gpu.sm.warp_size)
    few: FloatArray = np.minimum(gpu.sm.warp_size, most) + 0.0 * size
    return np.where(size < REDUCE_THREADS, few, most)


def several_select(op: TopK) -> BoolArray:
    """Rows within which several CTAs select; shape (rows,) or (1,)."""
    rows, cols = np.atleast_1d(np.asarray(op.rows)), np.atleast_1d(np.asarray(op.cols))
    wanted: Any = np.full_like(rows, LONG_SLICE)
    for most, least in reversed(SLICES):
        wanted = np.where(rows <= most, least, wanted)
    found: BoolArray = cols >= wanted
    return found


def select_threads(cols: FloatArray, gpu: Gpu) -> FloatArray:
    """Threads of a CTA that selects within a row: as many as elements, in whole warps."""
    warp = gpu.sm.warp_size
    most = np.minimum(SELECT_THREADS, gpu.sm.max_warps * warp)
    threads: FloatArray = np.minimum(np.ceil(cols / warp) * warp, most)
    return threads
