"""Decode attention → kernel demands: one query token a sequence against its KV cache, split among CTAs.

Serving engines have two kernels. With grouped queries a CTA computes all query heads of a KV head on the tensor cores
and reads its keys once (TensorRT-LLM's XQA, FlashInfer); otherwise a CTA computes one query head on the FMA pipes
(masked multi-head attention). Both split long contexts as Flash-Decoding does (Dao et al., 2023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema import Gpu
from simexplore.sim.demand import CacheState, Conditions, FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.attention import rotate_and_append, tensor_dtype
from simexplore.sim.mapping.columns import ceil_div, column, constant
from simexplore.sim.mapping.gemm import PARTIAL_SUM_BYTES
from simexplore.sim.mapping.tiles import MMA_ROWS
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import AttentionDecode

BoolArray = NDArray[np.bool_]

STAGES = 2.0
"""KV tiles that a CTA has in flight while it computes on another."""
WARPS = 4.0
HEAD_CTAS_PER_SM = 4.0
"""CTAs of the one-head kernel that an SM holds: 128 threads of 128 registers."""


def decode_demands(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Decode: with `attention_module` the rotation and cache append, then split-KV attention and its merge."""
    kernels = (_attention(op, gpu, conditions.cache),)
    if not conditions.attention_module:
        return kernels
    helpers = np.maximum(gpu.library.attention.module_kernels_decode - 2.0, 0.0)
    return (rotate_and_append(op, constant(1.0), gpu, helpers), *kernels)


def _attention(op: AttentionDecode, gpu: Gpu, state: CacheState) -> KernelDemand:
    library, sm = gpu.library.attention, gpu.sm
    element, cached = bytes_of(op.dtype), bytes_of(op.kv_dtype or op.dtype)
    batch, heads, kv_heads, width = (column(x) for x in (op.batch, op.heads, op.kv_heads, op.head_dim))
    tokens = column(op.kv_bytes) / (batch * kv_heads * width * 2.0 * cached)
    group = heads / kv_heads
    grouped = (group > 1.0) & (group <= library.max_group)
    heads_of_cta = np.where(grouped, group, 1.0)

    tile = float(library.decode_kv_tile)
    splits = _splits(op, grouped, gpu)
    tiles = ceil_div(column(op.seq_kv), tile)
    steps = ceil_div(tiles, splits)
    used = ceil_div(tiles, steps)
    ctas = batch * heads / heads_of_cta * used
    seen = np.minimum(steps * tile, ceil_div(tokens, tile) * tile)  # keys of the busiest CTA, of those in the window
    active = np.minimum(ceil_div(tokens, steps * tile) / used, 1.0)
    blocks = np.where(grouped, ceil_div(heads_of_cta, MMA_ROWS), 1.0)
    scores = np.where(grouped, blocks * MMA_ROWS, 1.0) * tokens / used
    hit = cache.mean_latency_cycles(gpu)
    partial = heads_of_cta * width * np.where(used > 1.0, PARTIAL_SUM_BYTES, element)
    stage = 2.0 * tile * width * cached
    return KernelDemand(
        kernel="attention",
        ctas=ctas,
        warps_per_cta=constant(WARPS),
        registers_per_thread=constant(128.0),
        shared_bytes_per_cta=np.where(grouped, sm.shared_memory_per_cta_bytes, stage / 4.0),
        overlap_exponent=library.overlap_exponent,
        l2_rate=library.l2_rate,
        dram_rate=library.decode_dram_rate,
        tensor_dtype=tensor_dtype(op.dtype, gpu),
        tensor_ops=np.where(grouped, 4.0 * scores * width, 0.0),
        fma_ops=np.where(grouped, 0.0, 4.0 * scores * width) + 2.0 * library.softmax_instructions * scores,
        special_ops=scores,
        shared_bytes=np.where(grouped, 4.0 * tokens / used * width * cached, 0.0),
        l2_read_bytes=2.0 * tokens / used * width * cached + heads_of_cta * width * element,
        l2_write_bytes=partial,
        dram_read_bytes=_missing_bytes(op, gpu, state) / ctas,
        bytes_in_flight=library.decode_flight_share * STAGES * stage,
        chain_cycles=seen / tile * _step_cycles(grouped, gpu),
        exposed_cycles=_fixed_cycles(grouped, blocks, ctas, active, width, gpu, narrow=cached < 2.0),
        epilogue_bytes=partial,
        setup_cycles=(library.setup_round_trips + np.where(used > 1.0, library.merge_round_trips, 0.0)) * hit,
        label=(used,),
    )


def _splits(op: AttentionDecode, grouped: BoolArray, gpu: Gpu) -> FloatArray:
    """CTAs that share a sequence's keys, by the engine's rule, which looks at the whole context, seen or not.

    The grouped kernel splits while there are fewer than `grouped_ctas_per_sm` CTAs an SM and `split_tokens` keys for
    each; the other one until each SM has a CTA, `head_split_tokens` keys for each.
    """
    library = gpu.library.attention
    sequences = column(op.batch) * np.where(grouped, column(op.kv_heads), column(op.heads))
    room = np.where(grouped, library.grouped_ctas_per_sm, 1.0) * gpu.sm.count / sequences
    context = column(op.seq_kv)
    pieces = np.where(
        grouped, ceil_div(context, library.split_tokens), np.maximum(context // library.head_split_tokens, 1.0)
    )
    return np.clip(np.floor(room), 1.0, np.minimum(pieces, float(library.max_kv_splits)))


def _fixed_cycles(
    grouped: BoolArray,
    blocks: FloatArray,
    ctas: FloatArray,
    active: FloatArray,
    width: FloatArray,
    gpu: Gpu,
    *,
    narrow: bool,
) -> FloatArray:
    """Latency of a CTA outside its loop, averaged over those that see keys and those beyond the window.

    Half of it is queueing behind the CTAs of the other SMs. It grows with the query rows and the head dimension, whose
    tiles are loaded, reduced and stored.
    """
    library = gpu.library.attention
    trips_of_group = library.narrow_grouped_round_trips if narrow else library.grouped_round_trips
    trips = np.where(grouped, trips_of_group * (blocks + 1.0) / 2.0, library.head_round_trips)
    slots = np.where(grouped, 1.0, HEAD_CTAS_PER_SM) * gpu.sm.count
    busy = (1.0 + np.minimum(ctas / slots, 1.0)) / 2.0
    cycles: FloatArray = trips * cache.mean_latency_cycles(gpu) * busy * (2.0 + width / 128.0) / 3.0
    return cycles * (active + library.idle_cta_share * (1.0 - active))


def _step_cycles(grouped: BoolArray, gpu: Gpu) -> FloatArray:
    """Latency of one KV tile: scores, softmax, weighted values, each waiting for the one before."""
    library, sm = gpu.library.attention, gpu.sm
    softmax = library.softmax_instructions * sm.fma_latency_cycles + sm.special_function_latency_cycles
    fused = 2.0 * (sm.tensor_latency_cycles + sm.shared_latency_cycles + gpu.library.barrier_cycles) + softmax
    return np.where(grouped, fused, library.head_step_round_trips * cache.mean_latency_cycles(gpu))


def _missing_bytes(op: AttentionDecode, gpu: Gpu, state: CacheState) -> FloatArray:
    """Bytes that DRAM brings: the KV cache as a weight, re-read as often as `weight_copies` says, and the queries."""
    kv, queries = column(op.kv_bytes), column(op.output_bytes)
    of_cache, of_queries = (
        np.minimum(column(copies), 1e9) for copies in (state.weight_copies, state.activation_copies)
    )
    missing: FloatArray = kv * (1.0 - cache.hit_share(of_cache * kv + 2.0 * queries, gpu))
    return missing + queries * (1.0 - cache.hit_share(of_queries * queries + kv, gpu))
