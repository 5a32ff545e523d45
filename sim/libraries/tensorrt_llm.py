"""TensorRT-LLM: which of its attention kernels serves a row, and how their grids are laid out.

Counted from its sources, in cpp: tensorrt_llm/kernels/decoderMaskedMultiheadAttention, kernels/xqa, kernels/fmha_v2.
With grouped queries a CTA computes all query heads of a KV head on the tensor cores and reads its keys once (XQA);
otherwise a CTA computes one query head on the FMA pipes (MMHA). The thresholds are the machine's: `library.attention`.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.sim.libraries.menus import of_largest
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill, EncoderAttention

NARROW_BYTES = 2.0
"""Elements of fewer bytes have kernels of their own."""
LARGEST_CTA = 1024.0
"""Threads of the largest CTA of the one-head kernel."""
SCORE_BYTES = 4.0
"""Of a score of it, which is kept in shared memory."""


def takes_groups(op: AttentionDecode, gpu: Gpu) -> BoolArray:
    """Rows that the grouped kernel serves, shape (rows, 1): the engine's supportConfig and mayHavePerfGain.

    Two to `max_group` query heads a KV head, and, with a 16-bit cache, at least `grouped_least_ctas_per_sm` CTAs an SM
    when every `split_tokens` keys have one. Generated kernels (`library.attention.tiled`) take all up to `max_group`.
    """
    library = gpu.attention_kernels
    group = column(op.heads) / column(op.kv_heads)
    if library.tiled is not None:
        return np.asarray(group <= library.grouped.max_group)
    ctas = column(op.batch) * column(op.kv_heads) * np.maximum(column(op.seq_kv) // library.grouped.split_tokens, 1.0)
    enough = ctas >= library.grouped.least_ctas_per_sm * gpu.sm.count
    served: BoolArray = (group > 1.0) & (group <= library.grouped.max_group) & (enough | has_narrow_cache(op))
    return served


def rotates_itself(op: AttentionDecode, gpu: Gpu) -> BoolArray:
    """Rows whose grouped kernel needs none before it that rotates and appends: that of an 8-bit cache may do it."""
    wide: BoolArray = column(op.head_dim) >= gpu.attention_kernels.grouped.narrow.fused_head_dim
    return wide & has_narrow_cache(op)


def has_narrow_cache(op: AttentionDecode) -> bool:
    """Whether keys and values are kept in fewer than 16 bits."""
    return bytes_of(op.kv_dtype or op.dtype) < NARROW_BYTES


def grouped_splits(op: AttentionDecode, gpu: Gpu) -> FloatArray:
    """CTAs that share the keys of a KV head, shape (rows, 1): computeMultiBlockCount, which looks at all the context.

    One CTA for each `split_tokens` keys, but no more than the root of `split_root` times that many, nor more than
    `grouped_ctas_per_sm` CTAs an SM in all.
    """
    library = gpu.attention_kernels
    pieces = np.maximum(column(op.seq_kv) // library.grouped.split_tokens, 1.0)
    wanted = np.maximum(np.minimum(pieces, np.round(np.sqrt(library.grouped.split_root * pieces))), 1.0)
    waves = column(op.batch) * column(op.kv_heads) * wanted / gpu.sm.count
    splits: FloatArray = np.maximum(np.floor(wanted / np.maximum(waves / library.grouped.ctas_per_sm, 1.0)), 1.0)
    return splits


def head_threads(op: AttentionDecode, gpu: Gpu) -> FloatArray:
    """Threads of a CTA of the one-head kernel: more while CTAs of the smallest size would leave SMs unfilled."""
    library = gpu.attention_kernels
    resident = np.maximum(np.floor(LARGEST_CTA / library.one_head.threads), 1.0)
    heads = column(op.batch) * column(op.heads)
    wanted = library.one_head.threads * np.minimum(np.ceil(gpu.sm.count * resident / heads), resident)
    threads: FloatArray = 2.0 ** np.floor(np.log2(wanted))
    return threads


def head_splits(op: AttentionDecode, gpu: Gpu, threads: FloatArray, loop_keys: FloatArray) -> FloatArray:
    """CTAs that share the keys of a query head, shape (rows, 1): multi_block_grid_setup.

    The engine splits until the CTAs fill the SMs, one loop of keys for each at least. The context must be split so far
    that the scores of a CTA fit shared memory.
    """
    context, tokens = column(op.seq_kv), column(op.visible_tokens)
    heads = column(op.batch) * column(op.heads)
    fewest = np.ceil(SCORE_BYTES * tokens / gpu.sm.shared_memory_per_cta_bytes)
    most = np.maximum(np.ceil(gpu.sm.count / heads), fewest)
    # Two limits: CTAs that fill the SMs by threads, and one CTA an SM in all.
    balanced = np.ceil(gpu.sm.count * LARGEST_CTA / threads / heads)
    by_keys = np.ceil((context + 1.0) / loop_keys)
    splits: FloatArray = np.maximum(np.minimum(balanced, np.minimum(by_keys, most)), fewest)
    return splits


def prefill_tile(op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> tuple[FloatArray, FloatArray]:
    """Query rows and keys of a step: of the first kernel whose head dimension is wide enough, else of the widest."""
    library = gpu.attention_kernels
    short = column(op.seq_kv) <= library.prefill.short_keys
    width = column(op.head_dim)
    few, many = (of_largest(width, menu) for menu in (library.prefill.short_tiles, library.prefill.tiles))
    return np.where(short, few[0], many[0]), np.where(short, few[1], many[1])


def multiplies_narrow(op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> BoolArray:
    """Rows whose operands are multiplied in the type they have: 8-bit ones only of some head dimensions."""
    narrow: BoolArray = np.isin(column(op.head_dim), gpu.attention_kernels.prefill.narrow.head_dims)
    return narrow | (bytes_of(op.dtype) >= NARROW_BYTES)
