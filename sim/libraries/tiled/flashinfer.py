"""FlashInfer over a paged cache, as SGLang and vLLM run it: a plan on the host cuts keys into chunks that fill the SMs.

Counted from its sources (flashinfer-ai/flashinfer, include/flashinfer: attention/scheduler.cuh, utils.cuh). Query heads
of a KV head share a tile of 16 rows, or of 64 where there are more of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import Tile
from simexplore.sim.libraries.menus import of_largest
from simexplore.sim.libraries.tiled import interface
from simexplore.sim.libraries.tiled.interface import Plan, narrow_cache, tiled_kernels
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode

FEW_ROWS = 16.0
"""Query heads of a KV head up to which a tile has so many rows."""
MANY_ROWS = 64.0
"""Rows of the tile of more of them."""
LEAST_CHUNK = 128.0
"""Fewest keys of a chunk."""


SCALAR_GROUP = 3
"""Query heads of a KV head up to which SGLang has kernels without tensor cores decode (should_use_tensor_core)."""
SCALAR_KEYS = {True: 32.0, False: 8.0}
"""Keys of a step of those, of single heads (True) and of groups: 128 threads, eight or more of them a key."""


def decode_plan(op: AttentionDecode, gpu: Gpu) -> Plan:
    """The smallest chunks, of `LEAST_CHUNK` keys at least, whose CTAs all run at once."""
    narrow = narrow_cache(op)
    tiles = tiled_kernels(gpu).narrow_tiles if narrow else tiled_kernels(gpu).tiles
    return planned(op, gpu, tiles, scalar_group=0 if narrow else SCALAR_GROUP)


def planned(op: AttentionDecode, gpu: Gpu, tiles: Mapping[str, Tile], scalar_group: int) -> Plan:
    """The plan with the tiles of few query rows given, and the largest group that tensor cores leave alone."""
    library, width = tiled_kernels(gpu), column(op.head_dim)
    group, context, window = column(op.heads) / column(op.kv_heads), column(op.seq_kv), column(op.window)
    few, many = of_largest(width, tiles), of_largest(width, library.other_tiles)
    small, scalar = group <= FEW_ROWS, group <= scalar_group
    rows, keys = np.where(small, FEW_ROWS, np.maximum(many[0], MANY_ROWS)), np.where(small, few[1], many[1])
    rows = np.where(scalar, group, rows)
    keys = np.where(scalar, np.where(group == 1.0, SCALAR_KEYS[True], SCALAR_KEYS[False]), keys)
    seen = np.where(window > 0.0, np.minimum(context, window + rows), context)
    ctas = column(op.batch) * column(op.kv_heads) * np.ceil(group / rows)
    room = np.maximum(np.floor(gpu.sm.count * library.ctas_per_sm / ctas), 1.0)
    splits = np.maximum(np.minimum(room, np.ceil(seen / LEAST_CHUNK)), 1.0)
    return Plan(rows, keys, np.array([[True]]), splits, splits > 1.0, scalar)


prefill_tile = interface.prefill_tile
multiplies_narrow = interface.multiplies_narrow
packs_heads = interface.packs_heads
converts = interface.converts
