"""FlashAttention 3 over a paged cache, as vLLM and SGLang run it: a scheduler splits keys for the batch as it is.

Counted from its sources (vllm-project/flash-attention, hopper: flash_api.cpp, heuristics.h, tile_size.h,
flash_prepare_scheduler.cu). Query heads of a KV head always share tiles. `get_num_splits` bounds the splits as if the
batch were one sequence; a kernel before the attention, or the engine beforehand, then chooses how many there are.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray
from simexplore.sim.libraries.menus import of_largest
from simexplore.sim.libraries.tiled import interface
from simexplore.sim.libraries.tiled.interface import Plan, least_waves, product_dtype, tiled_kernels
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode

FULL = 0.8
"""Share of the SMs from which one sequence is not split."""
FEW_STEPS = 4.0
"""Steps over keys up to which it is not split."""
MARGIN = 1.1
"""Steps of an SM are reckoned as so many times the mean."""
LARGEST_BATCH = 992.0
"""Sequences from which on the scheduler does not split (PREPARE_VARLEN_MAX_BATCHES_1CTA)."""
ONE_GROUP_HEADS = (64, 128)
"""Head dimensions with a decode kernel of one warp group (use_one_mma_wg)."""


def decode_plan(op: AttentionDecode, gpu: Gpu) -> Plan:
    """Heads packed; as many splits as give each SM its share of all steps."""
    rows, keys = _tile(op, gpu)
    group, context, window = column(op.heads) / column(op.kv_heads), column(op.seq_kv), column(op.window)
    blocks = np.ceil(group / rows)
    seen = np.where(window > 0.0, np.minimum(context, window + rows), context)
    bound = _bound(column(op.kv_heads) * blocks, np.ceil(seen / keys), gpu)
    steps = np.ceil(context / keys)
    share = np.ceil(column(op.batch) * blocks * steps * MARGIN * column(op.kv_heads) / gpu.sm.count)
    splits = np.maximum(np.minimum(np.ceil(steps / share), bound), 1.0)
    merged = (bound > 1.0) & (column(op.batch) <= LARGEST_BATCH)
    return Plan(rows, keys, np.array([[True]]), np.where(merged, splits, 1.0), merged)


def _bound(ctas: FloatArray, steps: FloatArray, gpu: Gpu) -> FloatArray:
    """Most splits: num_splits_heuristic of one sequence."""
    slots = gpu.sm.count * tiled_kernels(gpu).ctas_per_sm
    most = np.minimum(np.minimum(tiled_kernels(gpu).most_splits, slots), steps)
    splits = least_waves(ctas, slots, most)
    return np.where((ctas >= FULL * slots) | (steps <= FEW_STEPS), 1.0, splits)


def _tile(op: AttentionDecode, gpu: Gpu) -> tuple[FloatArray, FloatArray]:
    """Tile of one warp group where it has rows enough and there is no window, else that of prefill."""
    library, width = tiled_kernels(gpu), column(op.head_dim)
    narrow = bytes_of(product_dtype(op, gpu)) < bytes_of("bf16")
    few = of_largest(width, library.narrow_tiles if narrow else library.tiles)
    many = of_largest(width, library.other_tiles)
    group = column(op.heads) / column(op.kv_heads)
    served = np.isin(width, ONE_GROUP_HEADS) & (column(op.window) == 0.0) & (group <= few[0])
    return np.where(served, few[0], many[0]), np.where(served, few[1], many[1])


prefill_tile = interface.prefill_tile
multiplies_narrow = interface.multiplies_narrow
packs_heads = interface.packs_heads
converts = interface.converts
