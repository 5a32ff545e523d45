"""vLLM's attention on Intel GPUs (vllm-xpu-kernels on SYCL-TLA): query heads of a KV head packed, keys split by a rule.

Counted from its sources (vllm-project/vllm-xpu-kernels at 4543b580: csrc/flash_attn/flash_api.cpp,
csrc/xpu/attn/xe_2). A work-group has 8 query heads of a KV head, or 16 where there are more, and steps of 64 keys.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray
from simexplore.sim.libraries.menus import of_largest
from simexplore.sim.libraries.tiled import interface
from simexplore.sim.libraries.tiled.interface import Plan, tiled_kernels
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode

FEWEST_STEPS = 16.0
"""Steps over keys from which they are split."""
LONG_STEPS = 64.0
"""Steps from which they are split even where work-groups fill the GPU."""
OVERSUBSCRIBED = 4.0
"""Work-groups for each slot that splits aim at."""
STEPS_OF_SPLIT = 12.0
"""Steps of a split of long sequences."""
LEAST_STEPS = 4.0
"""Fewest steps of a split."""
PARTIAL_HEADS = 128.0
"""Partial results of a head, for each Xe-core, that are not worth exceeding."""


def decode_plan(op: AttentionDecode, gpu: Gpu) -> Plan:
    """Heads packed; keys split as `get_num_splits` has it, of a window those that are seen."""
    library, width = tiled_kernels(gpu), column(op.head_dim)
    group, context, window = column(op.heads) / column(op.kv_heads), column(op.seq_kv), column(op.window)
    few, many = of_largest(width, library.tiles), of_largest(width, library.other_tiles)
    rows, keys = (np.where(group <= few[0], small, large) for small, large in zip(few, many, strict=True))
    seen = np.where(window > 0.0, np.minimum(context, window + 1.0), context)
    splits = _splits(op, np.ceil(seen / keys), gpu)
    return Plan(rows, keys, np.array([[True]]), splits, splits > 1.0)


def _splits(op: AttentionDecode, steps: FloatArray, gpu: Gpu) -> FloatArray:
    """Enough to fill the GPU four times or to have twelve steps each, as far as adding up does not cost too much."""
    library, cores = tiled_kernels(gpu), gpu.sm.count
    slots = cores * library.ctas_per_sm
    groups = column(op.batch) * column(op.kv_heads)
    to_fill = np.ceil(OVERSUBSCRIBED * slots / groups)
    wanted = np.maximum(np.maximum(to_fill, np.floor(steps / STEPS_OF_SPLIT)), 1.0)
    worth = np.maximum(np.floor(PARTIAL_HEADS * cores / (column(op.batch) * column(op.heads))), 2.0)
    most = np.minimum(np.maximum(np.floor(steps / LEAST_STEPS), 1.0), library.most_splits)
    whole = (steps < FEWEST_STEPS) | ((groups >= slots) & (steps < LONG_STEPS))
    splits: FloatArray = np.where(whole, 1.0, np.minimum(np.minimum(wanted, worth), most))
    return splits


prefill_tile = interface.prefill_tile
multiplies_narrow = interface.multiplies_narrow
packs_heads = interface.packs_heads
converts = interface.converts
