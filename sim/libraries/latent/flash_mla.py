"""FlashMLA, which TensorRT-LLM runs on Hopper, and TensorRT-LLM's prefill on expanded heads.

Counted from deepseek-ai/FlashMLA, csrc/api/dense_decode.h and csrc/smxx/decode/get_decoding_sched_meta: a CTA an SM,
each with 64 query heads; the steps of all sequences are dealt out evenly among them, each sequence's begin and end
counted as `split_blocks` steps more.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.libraries.latent.interface import Layout
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import MlaDecode, MlaPrefill


def absorbs_prefill(op: MlaPrefill) -> bool:  # noqa: ARG001 - never
    """Prefill attends to expanded keys and values."""
    return False


def decode_layout(op: MlaDecode, gpu: Gpu) -> Layout:
    """The kernel's schedule (get_mla_metadata) for sequences of one length.

    Each part takes whole sequences while they fit its payload, and of the next one as many steps as are then left.
    """
    library = gpu.latent_kernels.decode
    tile, batch = library.tile, column(op.batch)
    blocks = np.ceil(column(op.heads) / tile.m)
    parts = np.maximum(gpu.sm.count // blocks, 1.0)
    steps, fixed = np.ceil(column(op.seq_kv) / tile.n), library.split_blocks
    payload = np.ceil(batch * (steps + fixed) / parts) + fixed
    whole = np.minimum(np.floor(payload / (steps + fixed)), batch)
    rest = np.where(whole < batch, np.maximum(payload - whole * (steps + fixed) - fixed, 0.0), 0.0)
    longest = np.maximum(whole * steps + rest, 1.0)
    busy = np.minimum(np.ceil(batch * steps / longest), parts)
    pieces = np.where(whole > 0.0, 1.0 + np.where(rest > 0.0, busy / batch, 0.0), busy / batch)
    return Layout(
        heads=float(tile.m) + 0.0 * busy,
        ctas=busy * blocks,
        steps=longest,
        sequences=whole + (rest > 0.0),
        splits=np.maximum(pieces, 1.0),
    )
