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
    """The kernel's schedule (get_mla_metadata) for sequences of one length."""
    library = gpu.latent_kernels.decode
    tile, batch = library.tile, column(op.batch)
    blocks = np.ceil(column(op.heads) / tile.m)
    parts = np.maximum(gpu.sm.count // blocks, 1.0)
    steps = np.ceil(column(op.seq_kv) / tile.n)
    fixed = float(library.split_blocks)
    payload = np.ceil(batch * (steps + fixed) / parts) + fixed
    sequences = np.maximum(np.ceil(payload / (steps + fixed)), 1.0)
    # The steps of a part: what its payload leaves beside begins and ends, one step at least.
    longest = np.clip(payload - fixed * np.maximum(np.floor(payload / (steps + fixed)), 1.0), 1.0, batch * steps)
    busy = np.minimum(np.ceil(batch * steps / longest), parts)
    return Layout(float(tile.m) + 0.0 * busy, busy * blocks, longest, sequences, np.maximum(busy / batch, 1.0))
