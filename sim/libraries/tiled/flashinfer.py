"""FlashInfer over a paged cache, as SGLang and vLLM run it: a plan on the host cuts keys into chunks that fill the SMs.

Counted from its sources (flashinfer-ai/flashinfer, include/flashinfer: attention/scheduler.cuh, utils.cuh). Query heads
of a KV head share a tile of 16 rows, or of 64 where there are more of them.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.libraries.menus import of_head_dim
from simexplore.sim.libraries.tiled import interface
from simexplore.sim.libraries.tiled.interface import Plan, tiled_kernels
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode

FEW_ROWS = 16.0
"""Query heads of a KV head up to which a tile has so many rows."""
LEAST_CHUNK = 128.0
"""Fewest keys of a chunk."""


def decode_plan(op: AttentionDecode, gpu: Gpu) -> Plan:
    """The smallest chunks, of `LEAST_CHUNK` keys at least, whose CTAs all run at once."""
    library, width = tiled_kernels(gpu), column(op.head_dim)
    group, context, window = column(op.heads) / column(op.kv_heads), column(op.seq_kv), column(op.window)
    few, many = of_head_dim(width, library.tiles), of_head_dim(width, library.other_tiles)
    small = group <= FEW_ROWS
    rows, keys = np.where(small, few[0], many[0]), np.where(small, few[1], many[1])
    seen = np.where(window > 0.0, np.minimum(context, window + rows), context)
    ctas = column(op.batch) * column(op.kv_heads) * np.ceil(group / rows)
    room = np.maximum(np.floor(gpu.sm.count * library.ctas_per_sm / ctas), 1.0)
    splits = np.maximum(np.minimum(np.floor(room), np.ceil(seen / LEAST_CHUNK)), 1.0)
    return Plan(rows, keys, np.array([[True]]), splits, splits > 1.0)


prefill_tile = interface.prefill_tile
multiplies_narrow = interface.multiplies_narrow
