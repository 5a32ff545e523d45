"""vLLM's paged attention: a CTA for each partition of the context, whatever the batch.

Counted from its sources: csrc/rocm/attention.cu serves the query heads of a KV head together, in partitions of
`split_tokens` keys; csrc/attention/paged_attention_v1.cu and v2.cu serve one query head each, whole contexts in v1,
partitions in v2. The rotation and the append are kernels of their own.
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
"""Elements of fewer bytes are converted as they are loaded."""
PARTITION = 512.0
"""Keys of a CTA of v2 (PARTITION_SIZE)."""
LONGEST_WHOLE = 8192.0
"""Keys up to which v1 is taken where its CTAs are many (vllm/_custom_ops.py, use_v1)."""
MANY_HEADS = 512.0
"""Sequences times query heads that count as many."""


def takes_groups(op: AttentionDecode, gpu: Gpu) -> BoolArray:
    """Rows of at most `max_group` query heads a KV head; shape (rows, 1)."""
    served: BoolArray = column(op.heads) / column(op.kv_heads) <= gpu.attention_kernels.grouped.max_group
    return served


def rotates_itself(op: AttentionDecode, gpu: Gpu) -> BoolArray:  # noqa: ARG001 - no kernel does
    """No rows: vLLM rotates and appends in kernels of their own."""
    return np.zeros((1, 1), dtype=np.bool_)


def has_narrow_cache(op: AttentionDecode) -> bool:
    """Whether keys and values are kept in fewer than 16 bits."""
    return bytes_of(op.kv_dtype or op.dtype) < NARROW_BYTES


def grouped_splits(op: AttentionDecode, gpu: Gpu) -> FloatArray:
    """One CTA for each partition; shape (rows, 1)."""
    splits: FloatArray = np.ceil(column(op.seq_kv) / gpu.attention_kernels.grouped.split_tokens)
    return splits


def head_threads(op: AttentionDecode, gpu: Gpu) -> FloatArray:  # noqa: ARG001 - the same for all
    """Threads of a CTA (NUM_THREADS); shape (1, 1)."""
    return np.array([[float(gpu.attention_kernels.one_head.threads)]])


def head_splits(op: AttentionDecode, gpu: Gpu, threads: FloatArray, loop_keys: FloatArray) -> FloatArray:  # noqa: ARG001
    """One CTA for each partition of v2; one in all for v1, which short contexts of many heads take; shape (rows, 1)."""
    context = column(op.seq_kv)
    partitions: FloatArray = np.ceil(context / PARTITION)
    many = column(op.batch) * column(op.heads) > MANY_HEADS
    whole = (context <= LONGEST_WHOLE) & (many | (partitions == 1.0))
    return np.where(whole, 1.0, partitions)


def prefill_tile(op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> tuple[FloatArray, FloatArray]:
    """Query rows and keys of a step: of the first kernel whose head dimension is wide enough, else of the widest."""
    return of_largest(column(op.head_dim), gpu.attention_kernels.prefill.tiles)


def multiplies_narrow(op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> BoolArray:
    """Rows whose operands are multiplied in the type they have: 8-bit ones only of some head dimensions."""
    narrow: BoolArray = np.isin(column(op.head_dim), gpu.attention_kernels.prefill.narrow.head_dims)
    return narrow | (bytes_of(op.dtype) >= NARROW_BYTES)
