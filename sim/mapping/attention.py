"""Fused attention → kernel demands: prefill over query tiles, decode over splits of the KV cache.

The kernels are FlashAttention's (Dao et al., arXiv 2205.14135; 2307.08691 for the loop over key tiles with queries
resident; Flash-Decoding for splitting the keys), as serving engines ship them.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.demand import Conditions, FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.columns import ceil_div, column, constant, row
from simexplore.sim.mapping.gemm import PARTIAL_SUM_BYTES
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.sim.mapping.tiles import INSTRUCTION_K_BYTES, MMA_ROWS, WGMMA_ROWS
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill

FLOPS_OF_ROTATION = 6.0
"""Rotary embedding of one element pair, per element: two products and an addition, twice, over two (Su et al.)."""
DECODE_STAGES = 2.0
"""KV tiles that the decode kernel has in flight while it computes on another."""


def prefill_demands(op: AttentionPrefill, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Prefill: with `attention_module` the rotation and cache append, then the fused kernel over query tiles."""
    kernels = (_prefill_kernel(op, gpu, conditions),)
    if not conditions.attention_module:
        return kernels
    helpers = gpu.library.attention.module_kernels_prefill - 2.0
    return (_rotate_and_append(op, column(op.seq_q), gpu, max(helpers, 0.0)), *kernels)


def decode_demands(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Decode: with `attention_module` the rotation and cache append, then split-KV attention and its merge."""
    kernels = (_decode_kernel(op, gpu, conditions),)
    if not conditions.attention_module:
        return kernels
    helpers = gpu.library.attention.module_kernels_decode - 2.0
    return (_rotate_and_append(op, constant(1.0), gpu, max(helpers, 0.0)), *kernels)


def _rotate_and_append(
    op: AttentionPrefill | AttentionDecode, tokens: FloatArray, gpu: Gpu, helpers: float
) -> KernelDemand:
    """Rotary embedding of new queries and keys, keys and values appended to the cache; inputs are warm activations."""
    element, cached = bytes_of(op.dtype), bytes_of(op.kv_dtype or op.dtype)
    batch, heads, kv_heads, width = (column(x) for x in (op.batch, op.heads, op.kv_heads, op.head_dim))
    queries, keys = batch * tokens * heads * width, batch * tokens * kv_heads * width
    read = (queries + 2.0 * keys) * element
    write = queries * element + 2.0 * keys * cached
    stream = Stream(
        read_bytes=read,
        write_bytes=write,
        flops=(queries + keys) * FLOPS_OF_ROTATION,
        special_ops=0.0 * queries,
        warm_share=cache.hit_share(read + write, gpu),
        written_back_share=1.0 - cache.hit_share(read + write, gpu),
    )
    demand = stream_demand("rotate_append", stream, gpu)
    return demand.with_extra_launches(helpers)


def _prefill_kernel(op: AttentionPrefill, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library, sm = gpu.library.attention, gpu.sm
    dtype = _tensor_dtype(op.dtype, gpu)
    element, cached = bytes_of(op.dtype), bytes_of(op.kv_dtype or op.dtype)
    tile_q, tile_k = row([t.m for t in library.prefill_tiles]), row([t.n for t in library.prefill_tiles])
    batch, heads, width, seq_q, seq_kv = (column(x) for x in (op.batch, op.heads, op.head_dim, op.seq_q, op.seq_kv))
    ctas = batch * heads * ceil_div(seq_q, tile_q)
    seen = column(op.pairs) / seq_q + (np.minimum(tile_q, seq_q) + tile_k) / 2.0  # the diagonal's blocks are half empty
    keys = np.minimum(np.maximum(seen, tile_k), ceil_div(seq_kv, tile_k) * tile_k)
    steps = keys / tile_k
    scores = tile_q * keys

    if gpu.library.gemm.instruction == "wgmma":
        groups = np.maximum(tile_q / WGMMA_ROWS, 1.0)
        warps = 4.0 * groups + 4.0
        shared = groups * (2.0 * keys * width + WGMMA_ROWS * width * steps) * element
    else:
        warps = np.maximum(tile_q / MMA_ROWS, 4.0)
        shared = (tile_q / MMA_ROWS) * 2.0 * keys * width * element
    read = (tile_q * width * element) + 2.0 * keys * width * cached
    kv, queries = column(op.kv_bytes), column(op.output_bytes)
    warm = cache.hit_share(np.minimum(column(conditions.cache.activation_copies), 1e9) * (kv + queries) + queries, gpu)
    hit = cache.mean_latency_cycles(gpu)
    step_cycles = (
        2.0 * (sm.tensor_latency_cycles + width * element / INSTRUCTION_K_BYTES)
        + 2.0 * (sm.shared_latency_cycles + gpu.library.barrier_cycles)
        + library.softmax_instructions * sm.fma_latency_cycles
        + sm.special_function_latency_cycles
    )
    return KernelDemand(
        kernel="attention",
        ctas=ctas,
        warps_per_cta=warps,
        registers_per_thread=np.minimum(
            tile_q * (width + tile_k) / (np.maximum(tile_q / 16.0, 4.0) * 32.0) + 64.0, 255.0
        ),
        shared_bytes_per_cta=np.minimum((tile_q + 4.0 * tile_k) * width * element, sm.shared_memory_per_cta_bytes),
        overlap_exponent=library.overlap_exponent,
        l2_rate=library.l2_rate,
        dram_rate=library.dram_rate,
        helper_cycles=2.0 * hit,
        tensor_dtype=dtype,
        tensor_ops=4.0 * scores * width,
        fma_ops=2.0 * library.softmax_instructions * scores,
        special_ops=scores,
        shared_bytes=shared,
        l2_read_bytes=read,
        l2_write_bytes=tile_q * width * element,
        dram_read_bytes=(kv + queries) * (1.0 - warm) / ctas,
        dram_write_bytes=queries * (1.0 - cache.hit_share(kv + 2.0 * queries, gpu)) / ctas,
        bytes_in_flight=2.0 * tile_k * width * cached,
        chain_cycles=steps * step_cycles,
        exposed_cycles=constant(hit + gpu.library.barrier_cycles),
        epilogue_bytes=tile_q * width * element,
        setup_cycles=constant(library.setup_round_trips * hit),
        label=(tile_q, tile_k),
    )


def _decode_kernel(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library, sm = gpu.library.attention, gpu.sm
    dtype = _tensor_dtype(op.dtype, gpu)
    element, cached = bytes_of(op.dtype), bytes_of(op.kv_dtype or op.dtype)
    batch, heads, kv_heads, width = (column(x) for x in (op.batch, op.heads, op.kv_heads, op.head_dim))
    tokens = column(op.kv_bytes) / (batch * kv_heads * width * 2.0 * cached)
    tile = float(library.decode_kv_tile)
    splits = row([2.0**i for i in range(int(np.log2(library.max_kv_splits)) + 1)])
    steps = ceil_div(ceil_div(tokens, tile), splits)
    used = ceil_div(ceil_div(tokens, tile), steps)
    rows_of_group = ceil_div(heads / kv_heads, MMA_ROWS) * MMA_ROWS
    keys = steps * tile
    ctas = batch * kv_heads * used
    scores = rows_of_group * keys
    kv, queries = column(op.kv_bytes), column(op.output_bytes)
    warm = cache.hit_share(np.minimum(column(conditions.cache.weight_copies), 1e9) * kv + 2.0 * queries, gpu)
    read = 2.0 * np.minimum(keys, tokens) * width * cached
    partial = (heads / kv_heads) * width * np.where(used > 1.0, PARTIAL_SUM_BYTES, element)
    hit = cache.mean_latency_cycles(gpu)
    step_cycles = (
        2.0 * (sm.tensor_latency_cycles + sm.shared_latency_cycles + gpu.library.barrier_cycles)
        + library.softmax_instructions * sm.fma_latency_cycles
        + sm.special_function_latency_cycles
    )
    stage = 2.0 * tile * width * cached
    return KernelDemand(
        kernel="attention",
        ctas=ctas,
        warps_per_cta=constant(4.0),
        registers_per_thread=constant(128.0),
        shared_bytes_per_cta=np.where(
            used == np.minimum(splits, ceil_div(tokens, tile)),
            np.minimum((DECODE_STAGES + 1.0) * stage, sm.shared_memory_per_cta_bytes),
            np.inf,
        ),
        overlap_exponent=library.overlap_exponent,
        l2_rate=library.l2_rate,
        dram_rate=library.dram_rate,
        helper_cycles=2.0 * hit,
        tensor_dtype=dtype,
        tensor_ops=4.0 * scores * width,
        fma_ops=2.0 * library.softmax_instructions * scores,
        special_ops=scores,
        shared_bytes=2.0 * stage * steps,
        l2_read_bytes=read + (heads / kv_heads) * width * element,
        l2_write_bytes=partial,
        dram_read_bytes=kv * (1.0 - warm) / ctas,
        bytes_in_flight=DECODE_STAGES * stage,
        chain_cycles=steps * step_cycles,
        exposed_cycles=constant(library.decode_round_trips * hit),
        epilogue_bytes=partial,
        setup_cycles=constant(library.setup_round_trips * hit),
        extra_launches=np.where(used > 1.0, 1.0, 0.0),
        label=(used,),
    )


def _tensor_dtype(dtype: str, gpu: Gpu) -> str:
    if dtype in gpu.sm.tensor_ops_per_clk:
        return dtype
    known = ", ".join(sorted(gpu.sm.tensor_ops_per_clk)) or "nothing"
    raise SimexploreError(f"{gpu.name} has no tensor cores for {dtype} attention; its tensor cores take {known}")
