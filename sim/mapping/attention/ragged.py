"""Attention of sequences of several lengths → kernel demands: one prefill kernel for all, one decode kernel for all.

An engine launches the prefill kernel once, with the CTAs of all sequences (FlashAttention's varlen interface, Dao,
arXiv:2307.08691), and the decode kernel once for all sequences with one new token. CTAs of a demand are alike, so each
has the mean of the work, and the longest is waited for at the end.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, Demand, FloatArray, KernelDemand, Latency, Work
from simexplore.sim.mapping.attention.decode import decode_algorithms
from simexplore.sim.mapping.attention.prefill import prefill_demands
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill, RaggedAttention

AnyPart = TypeVar("AnyPart", Work, Latency)


def ragged_algorithms(op: RaggedAttention, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """Sequences of several new tokens by the prefill kernel, then those of one by what decodes."""
    both = list(zip(op.q_lengths, op.kv_lengths, strict=True))
    several, single = [pair for pair in both if pair[0] > 1], [keys for queries, keys in both if queries == 1]
    first = _prefilled(op, several, gpu, conditions) if several else ()
    if not single:
        return (Algorithm(first, ANY_ROW),)
    ways = _decoded(op, single, gpu, conditions)
    return tuple(way._replace(kernels=(*first, *way.kernels)) for way in ways)


def _prefilled(
    op: RaggedAttention, sequences: list[tuple[int, int]], gpu: Gpu, conditions: Conditions
) -> tuple[KernelDemand, ...]:
    """The kernels of prefill, each with the CTAs of all sequences."""
    heads, kv_heads, width = (np.atleast_1d(np.asarray(each)) for each in (op.heads, op.kv_heads, op.head_dim))
    heads, kv_heads, width = np.broadcast_arrays(heads, kv_heads, width)
    count, rows = len(sequences), len(heads)
    queries, keys = (np.tile(np.asarray(each, dtype=np.int64), rows) for each in zip(*sequences, strict=True))
    ones = np.ones(count * rows, dtype=np.int64)
    alone = AttentionPrefill(
        ones,
        np.repeat(heads, count),
        np.repeat(kv_heads, count),
        np.repeat(width, count),
        queries,
        keys,
        dtype=op.dtype,
        kv_dtype=op.kv_dtype,
    )
    kernels = tuple(_together(each, rows, count) for each in prefill_demands(alone, gpu, conditions))
    *before, attention = kernels
    whole = replace(op, q_lengths=tuple(pair[0] for pair in sequences), kv_lengths=tuple(pair[1] for pair in sequences))
    return (*before, _from_dram(attention, whole, gpu, conditions))


def _from_dram(demand: KernelDemand, op: RaggedAttention, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """The kernel with what L2 does not hold of all sequences together."""
    kv, queries = column(op.kv_bytes), column(op.output_bytes)
    warm = warm_share(kv + queries, conditions.cache.activation_copies, queries, gpu)
    return demand.but(
        work={
            "dram_read_bytes": (kv + queries) * (1.0 - warm) / demand.grid.ctas,
            "dram_write_bytes": queries * written_back_share(kv + 2.0 * queries, gpu) / demand.grid.ctas,
        }
    )


def _together(demand: KernelDemand, rows: int, count: int) -> KernelDemand:
    """A kernel of all sequences of a row, of kernels of one sequence each."""

    def by_row(values: Any) -> FloatArray:
        return np.broadcast_to(values, (rows * count, 1)).reshape(rows, count)

    ctas = by_row(demand.grid.ctas)
    total = ctas.sum(axis=1, keepdims=True)

    def mean(part: AnyPart) -> AnyPart:
        told = {each.name: getattr(part, each.name) for each in fields(part)}
        arrays = {name: value for name, value in told.items() if isinstance(value, np.ndarray)}
        means = {name: (by_row(value) * ctas).sum(axis=1, keepdims=True) / total for name, value in arrays.items()}
        return replace(part, **means)

    latency, steps = mean(demand.latency), by_row(demand.latency.chain_cycles)
    longest = (1.0 + by_row(demand.latency.straggler_share)) * steps / np.maximum(latency.chain_cycles, 1.0)
    reserved = {
        each.name: by_row(getattr(demand.grid, each.name)).max(axis=1, keepdims=True) for each in fields(demand.grid)
    }
    return replace(
        demand,
        grid=replace(demand.grid, **{**reserved, "ctas": total}),
        work=mean(demand.work),
        latency=replace(
            latency,
            straggler_share=np.maximum(longest.max(axis=1, keepdims=True) - 1.0, 0.0),
            extra_launches=by_row(demand.latency.extra_launches).max(axis=1, keepdims=True),
        ),
        choice=replace(demand.choice, label=()),
    )


def _decoded(op: RaggedAttention, tokens: list[int], gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """What decodes a batch of the mean length, rounded up; CTAs of the longest sequence have more steps than others."""
    heads = np.atleast_1d(np.asarray(op.heads)) + 0 * np.atleast_1d(np.asarray(op.kv_heads))
    heads = heads + 0 * np.atleast_1d(np.asarray(op.head_dim))
    mean = -(-sum(tokens) // len(tokens))
    alike = AttentionDecode(len(tokens), heads, op.kv_heads, op.head_dim, mean, dtype=op.dtype, kv_dtype=op.kv_dtype)
    longest = max(tokens) / mean
    return tuple(
        way._replace(kernels=tuple(_with_longest(each, longest) for each in way.kernels))
        for way in decode_algorithms(alike, gpu, conditions)
    )


def _with_longest(demand: Demand, longest: float) -> Demand:
    """The kernel that attends, with one CTA that has so many times the mean's keys."""
    if not isinstance(demand, KernelDemand) or demand.kernel != "attention":
        return demand
    more = np.full_like(demand.latency.chain_cycles, max(longest - 1.0, 0.0))
    return demand.but(latency={"straggler_share": demand.latency.straggler_share + more})
