"""FlashAttention 2 over a paged cache, as vLLM runs it: tiles of 64 query rows, keys split for packed heads alone.

Counted from its sources (vllm-project/flash-attention: csrc/flash_attn/flash_api.cpp, flash_fwd_launch_template.h).
A paged cache always takes the kernels that can split keys. Query heads of a KV head share a tile where there are
several and no window; only then are keys split.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.libraries.menus import of_largest
from simexplore.sim.libraries.tiled import flashinfer, interface
from simexplore.sim.libraries.tiled.interface import Plan, least_waves, narrow_cache, tiled_kernels
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill, EncoderAttention

FULL = 0.8
"""Share of the CTAs that run at once from which keys are not split."""


def decode_plan(op: AttentionDecode, gpu: Gpu) -> Plan:
    """Groups packed and split by `least_waves`, others a CTA each with all its keys; unsplit keys have other tiles.

    It has no kernels for a narrow cache, of which vLLM has FlashInfer take care.
    """
    if narrow_cache(op):
        return flashinfer.planned(op, gpu, tiled_kernels(gpu).narrow_tiles, scalar_group=0)
    library, width = tiled_kernels(gpu), column(op.head_dim)
    group, context, window = column(op.heads) / column(op.kv_heads), column(op.seq_kv), column(op.window)
    rows, keys = of_largest(width, library.tiles)
    packed = (group > 1.0) & (window == 0.0)
    ctas = column(op.batch) * column(op.kv_heads) * np.ceil(group / rows)
    slots = gpu.sm.count * library.ctas_per_sm
    steps = np.ceil(context / keys)
    most = np.minimum(np.minimum(library.most_splits, slots), steps)
    splits = np.where(packed & (ctas < FULL * slots), least_waves(ctas, slots, most, steps), 1.0)
    whole = of_largest(width, library.other_tiles)
    return Plan(rows, np.where(splits > 1.0, keys, whole[1]), packed, splits, splits > 1.0)


def packs_heads(op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> bool:
    """Whether rows of prefill's tiles are the query heads of a KV head: FlashInfer's, of narrow caches, are."""
    return interface.packs_heads(op, gpu) or narrow_cache(op)


prefill_tile = interface.prefill_tile
multiplies_narrow = interface.multiplies_narrow
converts = interface.converts
