"""TensorRT-LLM's generated kernels for Blackwell, as vLLM and SGLang run them by way of FlashInfer.

Counted from the launcher (flashinfer-ai/flashinfer, include/flashinfer/trtllm/fmha/fmhaKernels.cuh,
computeCtaAndClusterConfig); the kernels themselves are binary. Query heads of a KV head share a tile, which the
instruction takes as its columns, so that a few heads fill it.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.libraries.menus import of_largest
from simexplore.sim.libraries.tiled import interface
from simexplore.sim.libraries.tiled.interface import Plan, tiled_kernels
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill, EncoderAttention

LEAST_ROWS = 8.0
"""Rows of the smallest tile; others have the next power of two."""
STEPS_OF_SPLIT = 2.0
"""Steps over keys that a CTA has at least where keys are split."""


def decode_plan(op: AttentionDecode, gpu: Gpu) -> Plan:
    """As many splits as all SMs hold, two steps each at least; up to `most_splits` of them merge within a cluster."""
    library, width = tiled_kernels(gpu), column(op.head_dim)
    group, context, window = column(op.heads) / column(op.kv_heads), column(op.seq_kv), column(op.window)
    most, keys = of_largest(width, library.tiles)
    rows = np.clip(2.0 ** np.ceil(np.log2(group)), LEAST_ROWS, most)
    seen = np.where((window > 0.0) & (context > window), np.minimum(context, window + keys - 1.0), context)
    ctas = column(op.batch) * column(op.kv_heads) * np.ceil(group / rows)
    by_keys = np.ceil(seen / (STEPS_OF_SPLIT * keys))
    splits = np.minimum(by_keys, np.maximum(np.floor(gpu.sm.count / ctas), 1.0))
    return Plan(rows, keys, np.array([[True]]), splits, splits > library.most_splits)


def converts(op: AttentionDecode | AttentionPrefill | EncoderAttention, gpu: Gpu) -> bool:
    """Whether the module converts queries: SGLang hands them over in 16 bits, whatever they are multiplied in."""
    return bytes_of(op.kv_dtype or op.dtype) < bytes_of("bf16") and tiled_kernels(gpu).narrow_kernels > 0.0


prefill_tile = interface.prefill_tile
multiplies_narrow = interface.multiplies_narrow
packs_heads = interface.packs_heads
