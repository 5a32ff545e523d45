"""Where a GEMM's operands come from: what L2 still holds, what DRAM must bring, and what is brought twice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState
from simexplore.sim.demand import FloatArray
from simexplore.sim.hardware.cache import hit_share
from simexplore.sim.mapping.columns import Pairs
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of, element_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Gemm

VECTOR_BYTES = 16.0
"""Of the widest load of a thread, which rows of operands must be aligned to; so must they for bulk copies (TMA)."""


def load_bytes(op: Gemm) -> FloatArray:
    """Bytes of the widest loads that rows of all operands allow, at most 16; shape (rows, 1).

    Rows of A have k elements, those of B and of C n (cuBLAS documentation, tensor core usage: strides in multiples of
    16 bytes). A row of an odd number of 16-bit elements leaves two bytes; one column is as contiguous as its k is.
    """
    k, n = (column(size).astype(np.int64) for size in (op.k, op.n))
    element = bytes_of(element_of(op.dtype))
    rows = (np.maximum(element * size, 1.0).astype(np.int64) for size in (k, np.where(n == 1, k, n)))
    both = np.gcd(*rows)
    aligned: FloatArray = np.minimum(both & -both, int(VECTOR_BYTES)).astype(np.float64)
    return aligned


class DramTraffic(NamedTuple):
    """Bytes between L2 and DRAM of a whole kernel."""

    read: FloatArray
    write: FloatArray
    unread: FloatArray
    """First reads of the operands that L2 saves."""


def dram_traffic(
    op: Gemm,
    gpu: Gpu,
    state: CacheState,
    grid: tuple[FloatArray, FloatArray],
    tile: tuple[FloatArray, FloatArray],
    splits: FloatArray,
    pairs: Pairs,
) -> DramTraffic:
    """DRAM bytes of a GEMM whose tiles are visited in square-ish blocks (CUTLASS's threadblock swizzle).

    The CTAs that run at once cover `high` x `wide` tiles; A is passed over once for each block of columns, B once for
    each block of rows. The schedule keeps one of them in L2 while it streams the other, so the cheaper order counts;
    passes after the first hit L2 as far as A and B fit it together. `grid` and `tile` follow from the first of the
    candidates' `pairs` of choices, `splits` from the second.
    """
    m, n, k, batch = (column(x) for x in (op.m, op.n, op.k, op.batch))
    a = batch * m * k * bytes_of(op.dtype)
    b = batch * n * k * bytes_of(op.weight_dtype or op.dtype)
    c = batch * m * n * bytes_of(op.output_dtype)
    rows, columns = (pairs.of_first(count) for count in grid)
    at_once = pairs.of_second(np.maximum(gpu.sm.count / splits, 1.0))
    # The block of tiles in flight is as square as it can be in elements; what one side lacks, the other may have.
    high = np.clip(np.sqrt(pairs.of_first(tile[1] / tile[0]) * at_once), 1.0, rows)
    wide = np.clip(at_once / high, 1.0, columns)
    high = np.clip(at_once / wide, 1.0, rows)
    missing = 1.0 - hit_share(a + b, gpu, gpu.library.gemm.memory.l2_share)
    more_of_a = a * (columns / wide - 1.0) * missing
    more_of_b = b * (rows / high - 1.0) * missing

    room = gpu.library.gemm.memory.l2_share
    warm_a = warm_share(a, state.activation_copies, b + c, gpu, room)
    warm_b = warm_share(b, state.weight_copies, a + c, gpu, room)
    written_back = written_back_share(a + b + c, gpu, gpu.library.gemm.memory.dirty_share)
    read = a * (1.0 - warm_a) + b * (1.0 - warm_b) + np.minimum(more_of_a, more_of_b)
    return DramTraffic(read=read, write=c * written_back, unread=a * warm_a + b * warm_b)
