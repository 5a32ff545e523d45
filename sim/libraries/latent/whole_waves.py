"""TensorRT-LLM's kernels for Blackwell (trtllm-gen): each sequence is split so that all CTAs fit one wave.

Counted from cpp/tensorrt_llm/kernels/trtllmGenKernels/fmha/fmhaKernels.h: CTAs along the cache are as many as SMs are
free, and no more than the steps of the cache.
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
    """As many CTAs a sequence as leave all of them in one wave, `split_blocks` steps each at least."""
    library = gpu.latent_kernels.decode
    tile, batch = library.tile, column(op.batch)
    blocks = np.ceil(column(op.heads) / tile.m)
    steps = np.ceil(column(op.seq_kv) / tile.n)
    most = np.ceil(steps / library.split_blocks)
    splits = np.clip(np.floor(gpu.sm.count / (batch * blocks)), 1.0, most)
    one = np.ones_like(splits)
    return Layout(tile.m * one, batch * blocks * splits, np.ceil(steps / splits), one, splits)
