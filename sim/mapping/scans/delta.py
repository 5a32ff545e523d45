"""Delta rules over prompts → the kernels of their chunked form, or one kernel that does all of it.

Counted in flash-linear-attention (fla-org, MIT): ops/gated_delta_rule and ops/kda (chunk.py, wy_fast.py,
chunk_intra.py), ops/common (chunk_scaled_dot_kkt.py, chunk_delta_h.py, chunk_o.py), ops/utils (solve_tril.py,
cumsum.py), modules/l2norm.py; TensorRT-LLM, vLLM and SGLang carry copies. With chunks of C tokens, keys of K and values
of V a head:

    gates      sums of decays along a chunk
    products   A = tril(b K K^T), C x C
    inverse    T = (I + A)^-1, by blocks of 16 whose rows depend on one another
    w, u       T (b K), T (b V)
    states     for chunk after chunk: v' = u - w S, S = a S + K^T v'
    outputs    Q S + tril(Q K^T) v'

Only `states` goes along a sequence; its CTAs are a few columns of one head's state each. The fused form (FlashInfer's
gdn_prefill, MoonshotAI's FlashKDA) keeps all of it in one CTA a head.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import Fused
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import Algorithm, FloatArray, KernelDemand
from simexplore.sim.mapping.attention.prefill import tensor_dtype
from simexplore.sim.mapping.columns import ceil_div
from simexplore.sim.mapping.scans.stages import (
    DECAYED,
    FEW_REGISTERS,
    NUMBER,
    WARPS,
    Compute,
    Ctas,
    Library,
    Told,
    Traffic,
    chain_library,
    stage,
)
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.operators.scans.delta import DeltaPrefill, GdnPrefill, KdaPrefill

BLOCK = 16.0
"""Tokens of a block that is inverted row by row."""
MERGED_PRODUCTS = 16.0
"""Products of blocks of 16 x 16 that put four inverted blocks of a chunk of 64 together (solve_tril.py)."""
NORM_ROWS, NORM_INSTRUCTIONS = 16.0, 6.0
"""Rows of a CTA that normalises, and instructions for each element: load, widen, square, scale, convert, store."""
GATE_INSTRUCTIONS = 8.0
"""Of a decay for each feature: widen, bias, softplus, scale, prefix sum (five shuffles' worth of adds), store."""
OUTPUT_WARPS = 8.0
"""Of a CTA of the outputs, which holds a chunk's result for all of a value (chunk_o.py: 128 x 128)."""
FUSED_REGISTERS = 168.0
"""Of a thread of a fused scan, as of other kernels with groups of warps that load and that multiply."""
STATE_PRODUCTS = 3.0
"""Products of a chunk with the state: w S, Q S, and K^T v'."""


class Sizes(NamedTuple):
    """Counts of a row; arrays of shape (rows, 1)."""

    tokens: FloatArray
    heads: FloatArray
    query_heads: FloatArray
    key_dim: FloatArray
    value_dim: FloatArray
    chunks: FloatArray
    """Of all sequences."""
    chunk: float
    element: float
    dtype: str

    @property
    def keys(self) -> FloatArray:
        """Bytes of all keys, or of all queries, as they come [B]."""
        return self.element * self.tokens * self.query_heads * self.key_dim

    @property
    def keys_of_heads(self) -> FloatArray:
        """The same, as often as value heads read them [B]."""
        return self.element * self.tokens * self.heads * self.key_dim

    @property
    def values(self) -> FloatArray:
        """Bytes of all values [B]."""
        return self.element * self.tokens * self.heads * self.value_dim

    @property
    def states(self) -> FloatArray:
        """Bytes of the states of all chunks, or of their gradients [B]."""
        return self.element * self.blocks * self.key_dim * self.value_dim

    def decays(self, *, fine: bool) -> FloatArray:
        """Bytes of sums of decays, in fp32: of each feature of a key, or one a head [B]."""
        return NUMBER * self.tokens * self.heads * (self.key_dim if fine else 1.0)

    @property
    def square(self) -> FloatArray:
        """Elements of one C x C matrix of each token and head: rows that are there."""
        return self.tokens * self.heads * self.chunk

    @property
    def blocks(self) -> FloatArray:
        """Chunks of all heads."""
        return self.chunks * self.heads

    def products(self, rows: FloatArray | float, columns: FloatArray | float, depth: FloatArray | float) -> FloatArray:
        """Tensor operations of one product in each chunk of each head."""
        amount: FloatArray = 2.0 * self.blocks * rows * columns * depth
        return amount


def delta_algorithms(op: DeltaPrefill, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The scan, with kernels that normalise queries and keys before it, and without.

    Raises SimexploreError where the GPU has no tensor cores for the type.
    """
    scan = delta_demands(op, gpu, conditions)
    normalized = np.asarray(column(op.normalized)[:, 0] > 0.0)
    if not normalized.any():
        return (Algorithm(scan, ~normalized),)
    sizes = sizes_of(op, float(gpu.linear_kernels.chunked.chunk), gpu)
    norms = tuple(_norm(sizes, gpu, conditions.cache) for _ in ("queries", "keys"))
    return Algorithm((*norms, *scan), normalized), Algorithm(scan, ~normalized)


def delta_demands(op: DeltaPrefill, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The scan itself, as the engine has it."""
    fine = isinstance(op, KdaPrefill)
    fused = gpu.linear_kernels.fused_kda if fine else gpu.linear_kernels.fused_gdn
    if fused is not None:
        return _fused(op, fused, gpu, conditions)
    sizes = sizes_of(op, float(gpu.linear_kernels.chunked.chunk), gpu)
    before = (_fine_products if fine else _products)(op, sizes, gpu)
    return (
        *(stage(each, chain_library(gpu), gpu, conditions.cache) for each in before),
        factors_demand(sizes, gpu, conditions.cache, fine=fine),
        states_demand(op, sizes, gpu, conditions.cache, fine=fine),
        _outputs(sizes, gpu, conditions.cache, fine=fine),
    )


def sizes_of(op: DeltaPrefill, chunk: float, gpu: Gpu) -> Sizes:
    """Counts of the operator in chunks of so many tokens."""
    chunks = column(op.batch) * ceil_div(column(op.seq_q), chunk)
    return Sizes(
        tokens=column(op.tokens),
        heads=column(op.heads),
        query_heads=column(op.query_heads),
        key_dim=column(op.key_dim),
        value_dim=column(op.value_dim),
        chunks=chunks,
        chunk=chunk,
        element=bytes_of(op.dtype),
        dtype=tensor_dtype(op.dtype, gpu),
    )


def _norm(s: Sizes, gpu: Gpu, state: CacheState) -> KernelDemand:
    """Queries, or keys, each divided by its length."""
    rows = s.tokens * s.query_heads
    compute = Compute(instructions=NORM_INSTRUCTIONS * rows * s.key_dim, special_ops=rows)
    ctas = Ctas(ceil_div(rows, NORM_ROWS), WARPS, FEW_REGISTERS)
    return stage(
        Told("normalize", ctas, Traffic(inputs=s.keys, written=s.keys), compute), chain_library(gpu), gpu, state
    )


def _products(op: DeltaPrefill, s: Sizes, gpu: Gpu) -> tuple[Told, ...]:
    """Gates, products of keys and their inverse, with one decay a head."""
    gates, raw = NUMBER * s.tokens * s.heads, NUMBER * s.square
    within = gpu.linear_kernels.chunked.inverse == "within"
    inverted = _inverse(op, s, gpu)
    written = inverted.traffic.written if within else raw
    chain = inverted.ctas.chain_cycles if within else 0.0
    scores, factors = s.products(s.chunk, s.chunk, s.key_dim), s.blocks * s.chunk**2
    compute = Compute(s.dtype, scores, DECAYED * factors, factors)
    if within:
        compute = _both(compute, inverted.compute)
    multiply = Told(
        "products",
        Ctas(s.blocks, chain_cycles=chain),
        Traffic(inputs=s.keys + gates, made=gates, again=s.keys_of_heads - s.keys, written=written),
        compute,
    )
    summed = Told("gates", Ctas(s.blocks, 1.0, FEW_REGISTERS), Traffic(inputs=gates, written=gates), Compute())
    return (summed, multiply) if within else (summed, multiply, inverted)


def _both(one: Compute, other: Compute) -> Compute:
    """What two kernels compute, done by one."""
    return Compute(
        one.tensor_dtype,
        one.tensor_ops + other.tensor_ops,
        one.instructions + other.instructions,
        one.special_ops + other.special_ops,
    )


def _inverse(op: DeltaPrefill, s: Sizes, gpu: Gpu) -> Told:
    """Blocks of 16 by substitution, a row waiting for those before, then products of blocks.

    A CTA of its own has a block, or the four of a chunk are inverted one after another. The first two rows of a block
    wait for none.
    """
    chunked = gpu.linear_kernels.chunked
    tokens = np.minimum(column(op.seq_q), s.chunk)
    rows = np.maximum(np.minimum(tokens, BLOCK) - 2.0, 0.0)
    if chunked.inverse == "within":
        blocks, last = np.floor(tokens / BLOCK), np.mod(tokens, BLOCK)
        rows = blocks * (BLOCK - 2.0) + np.maximum(last - 2.0, 0.0)
    merged = 2.0 * s.blocks * MERGED_PRODUCTS * BLOCK * BLOCK * BLOCK
    substituted = s.tokens * s.heads * BLOCK**2
    ctas = Ctas(s.blocks, chain_cycles=rows * chunked.row_cycles)
    traffic = Traffic(made=NUMBER * s.square, written=s.element * s.square)
    return Told("inverse", ctas, traffic, Compute(s.dtype, merged, substituted))


def _fine_products(op: DeltaPrefill, s: Sizes, gpu: Gpu) -> tuple[Told, ...]:
    """The same with a decay for each feature of a key: keys and queries are scaled before they are multiplied.

    Products with queries are kept for the outputs. Those within a block of 16 are by FMA, for each pair of tokens has
    decays of its own; those between blocks by products, in the kernel that inverts.
    """
    features = s.tokens * s.heads * s.key_dim
    sums, gates, read = NUMBER * features, s.element * features, 2.0 * s.keys_of_heads
    within, kept = NUMBER * s.tokens * s.heads * BLOCK, s.element * s.square
    pairs = s.tokens * s.heads * BLOCK * s.key_dim
    between = s.products(s.chunk, s.chunk - BLOCK, s.key_dim)  # half of them, for queries and for keys
    _, ctas, _, inverted = _inverse(op, s, gpu)
    return (
        Told(
            "gates",
            Ctas(s.blocks, WARPS, FEW_REGISTERS),
            Traffic(inputs=gates, written=sums),
            Compute(instructions=GATE_INSTRUCTIONS * features, special_ops=2.0 * features),
        ),
        Told(
            "blocks",
            Ctas(s.blocks * s.chunk / BLOCK),
            Traffic(inputs=read, made=sums, written=within + kept * BLOCK / s.chunk),
            Compute(instructions=2.0 * pairs, special_ops=pairs / 2.0),
        ),
        Told(
            "products",
            ctas,
            Traffic(inputs=read, made=sums + within, written=2.0 * kept),
            _both(Compute(s.dtype, between, 2.0 * DECAYED * features, 2.0 * features), inverted),
        ),
    )


def factors_demand(s: Sizes, gpu: Gpu, state: CacheState, *, fine: bool) -> KernelDemand:
    """w and u: the inverse times keys and values; with fine decays, also the keys scaled for the states."""
    scaled = s.keys_of_heads if fine else 0.0 * s.keys
    traffic = Traffic(
        inputs=s.keys + s.values + NUMBER * s.tokens * s.heads,
        made=s.element * s.square + s.decays(fine=fine),
        again=s.keys_of_heads - s.keys,
        written=s.keys_of_heads + s.values + scaled,
    )
    ops = s.products(s.chunk, s.key_dim + s.value_dim, s.chunk)
    return stage(Told("w_u", Ctas(s.blocks), traffic, Compute(s.dtype, ops)), chain_library(gpu), gpu, state)


def states_demand(op: DeltaPrefill, s: Sizes, gpu: Gpu, state: CacheState, *, fine: bool) -> KernelDemand:
    """The sequential part."""
    ctas, blocks = sequential(op, s, gpu, 2.0, 1.0)
    carried = column(op.carried_bytes)
    keys = s.keys_of_heads  # w, and the keys
    made = keys + s.values + (keys if fine else 0.0)
    ops = s.products(s.chunk, s.value_dim, 2.0 * s.key_dim)
    traffic = Traffic(
        inputs=(0.0 if fine else 1.0) * s.keys + carried,
        made=made,
        again=(blocks - 1.0) * 2.0 * keys + (0.0 if fine else 1.0) * (keys - s.keys),
        written=s.states + s.values + carried,
    )
    return stage(Told("states", ctas, traffic, Compute(s.dtype, ops)), chain_library(gpu), gpu, state)


def sequential(op: DeltaPrefill, s: Sizes, gpu: Gpu, keys: float, values: float) -> tuple[Ctas, FloatArray]:
    """CTAs that take some columns of one head's state from chunk to chunk, and how many share a head.

    Of a chunk each loads `keys` matrices as wide as keys and `values` of its columns, of one chunk and of the next.
    """
    library = gpu.linear_kernels.chunked
    columns = np.minimum(float(library.value_columns), s.value_dim)
    blocks = ceil_div(s.value_dim, columns)
    held = s.element * s.chunk * (keys * s.key_dim + values * columns)
    ctas = Ctas(
        column(op.batch) * s.heads * blocks,
        shared_bytes=np.minimum(2.0 * held, gpu.sm.shared_memory_per_cta_bytes),
        in_flight_bytes=held,
        chain_cycles=ceil_div(column(op.seq_q), s.chunk) * library.step_round_trips * gpu.l2.mean_latency_cycles,
    )
    return ctas, blocks


def _outputs(s: Sizes, gpu: Gpu, state: CacheState, *, fine: bool) -> KernelDemand:
    """Queries times states, and products with queries, just found or kept, times the corrected values."""
    kept = s.decays(fine=fine) + (s.element * s.square if fine else 0.0)
    ops = s.products(s.chunk, s.value_dim, s.key_dim + s.chunk)
    if not fine:
        ops = ops + s.products(s.chunk, s.chunk, s.key_dim)
    read = 1.0 if fine else 2.0  # keys too
    traffic = Traffic(
        inputs=read * s.keys, made=s.states + s.values + kept, again=read * (s.keys_of_heads - s.keys), written=s.values
    )
    exps = s.blocks * s.chunk**2 if not fine else s.tokens * s.heads * s.key_dim
    compute = Compute(s.dtype, ops, DECAYED * exps, exps)
    return stage(Told("outputs", Ctas(s.blocks, OUTPUT_WARPS), traffic, compute), chain_library(gpu), gpu, state)


def _fused(op: DeltaPrefill, library: Fused, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """One CTA for some columns of a head's state, from the first chunk to the last; nothing of it leaves the SM."""
    s = sizes_of(op, float(library.chunk), gpu)
    columns = np.minimum(float(library.value_columns), s.value_dim)
    blocks = ceil_div(s.value_dim, columns)
    chunks = ceil_div(column(op.seq_q), s.chunk)
    pairs = blocks * (2.0 * s.products(s.chunk, s.chunk, s.key_dim) + s.products(s.chunk, s.key_dim, s.chunk))
    ops = pairs + s.products(s.chunk, s.value_dim, 2.0 * s.chunk + STATE_PRODUCTS * s.key_dim)
    written = column(op.written_bytes)
    inputs = column(op.min_bytes) - written
    again = (blocks - 1.0) * 2.0 * s.keys_of_heads + 2.0 * (s.keys_of_heads - s.keys)
    held = s.element * s.chunk * (2.0 * s.key_dim + columns)
    ctas = Ctas(
        column(op.batch) * s.heads * blocks,
        float(library.warps),
        registers=min(FUSED_REGISTERS, gpu.sm.registers / (library.warps * gpu.sm.warp_size)),
        shared_bytes=gpu.sm.shared_memory_per_cta_bytes,
        in_flight_bytes=held,
        chain_cycles=chunks * library.step_cycles,
    )
    exps = s.blocks * s.chunk**2 if isinstance(op, GdnPrefill) else 2.0 * s.tokens * s.heads * s.key_dim
    compute = Compute(s.dtype, ops, DECAYED * exps, exps)
    shared = Library(library.setup_round_trips, library.round_trips, library.tensor_efficiency, library.dram_rate)
    told = Told("scan", ctas, Traffic(inputs, written=written, again=again), compute)
    kernel = stage(told, shared, gpu, conditions.cache)
    return (kernel.with_extra_launches(float(library.kernels - 1)),)
