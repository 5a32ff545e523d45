"""Fused prefill attention → kernel demands: a CTA keeps a tile of queries and loops over tiles of keys and values.

The kernels are FlashAttention's (Dao et al., arXiv 2205.14135 and 2307.08691), as serving engines ship them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import Tile
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.hardware.occupancy import ctas_per_sm
from simexplore.sim.mapping.columns import ceil_div, column, constant
from simexplore.sim.mapping.matmul.tiles import INSTRUCTION_K_BYTES, MMA_ROWS, WGMMA_ROWS
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill

FLOPS_OF_ROTATION = 6.0
"""Rotary embedding of one element pair, per element: two products and an addition, twice, over two (Su et al.)."""


def prefill_demands(op: AttentionPrefill, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Prefill: with `attention_module` the rotation and cache append, then the fused kernel over query tiles."""
    kernels = (_prefill_kernel(op, gpu, conditions),)
    if not conditions.attention_module:
        return kernels
    helpers = np.maximum(gpu.library.attention.module_kernels_prefill - 2.0, 0.0)
    return (rotate_and_append(op, column(op.seq_q), gpu, helpers), *kernels)


def rotate_and_append(
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


class _Cta(NamedTuple):
    """What a CTA of the prefill kernel has before it; arrays of shape (rows, 1)."""

    queries: FloatArray
    """Query rows of its tile."""
    keys_at_once: FloatArray
    """Keys of a step."""
    keys: FloatArray
    """Keys of all its steps, the mean over CTAs."""
    longest: FloatArray
    """Keys of the longest CTA over the mean."""
    rows: FloatArray
    """Query rows that are computed: warps without queries skip the products."""
    width: FloatArray
    """Head dimension that is computed."""
    warps: FloatArray
    held_bytes: FloatArray
    """Shared memory."""
    shared_bytes: FloatArray
    """Shared-memory traffic."""


def _cta(op: AttentionPrefill, gpu: Gpu) -> _Cta:
    """Tiles of queries by tiles of keys, of which those at the diagonal, and at a window's far side, are half empty."""
    element = bytes_of(op.dtype)
    tile_q, tile_k = _tile(column(op.head_dim), column(op.seq_kv), gpu)
    width, seq_q, seq_kv, window = (column(x) for x in (op.head_dim, op.seq_q, op.seq_kv, op.window))
    sides = 1.0 + ((window > 0.0) & (window < seq_kv))
    seen = column(op.pairs) / seq_q + (sides * np.minimum(tile_q, seq_q) + tile_k) / 2.0
    keys = np.minimum(np.maximum(seen, tile_k), ceil_div(seq_kv, tile_k) * tile_k)
    longest = np.where(window > 0.0, np.minimum(window + tile_q, seq_kv), seq_kv) / keys
    wgmma = gpu.library.gemm.instruction != "mma_sync"
    unit = WGMMA_ROWS if wgmma else MMA_ROWS
    rows = ceil_div(seq_q, unit) * unit / ceil_div(seq_q, tile_q)
    if wgmma:
        warps = 4.0 * np.maximum(tile_q / WGMMA_ROWS, 1.0) + 4.0
        held = tile_q + 4.0 * tile_k
        traffic = rows / WGMMA_ROWS * (2.0 * keys + WGMMA_ROWS * keys / tile_k) * width
    else:
        width = 2.0 ** np.ceil(np.log2(width))  # register-resident heads come in powers of two
        warps = np.maximum(tile_q / MMA_ROWS, 4.0)
        held = np.maximum(tile_q, 2.0 * tile_k) + 2.0 * tile_k  # queries go to registers, and keys into their room
        traffic = rows / MMA_ROWS * 2.0 * keys * width
    held_bytes = np.minimum(held * column(op.head_dim) * element, gpu.sm.shared_memory_per_cta_bytes)
    return _Cta(tile_q, tile_k, keys, longest, rows, width, warps, held_bytes, traffic * element)


def _prefill_kernel(op: AttentionPrefill, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library, sm = gpu.library.attention, gpu.sm
    element, cached = bytes_of(op.dtype), bytes_of(op.kv_dtype or op.dtype)
    cta = _cta(op, gpu)
    width, seq_q = column(op.head_dim), column(op.seq_q)
    ctas = column(op.batch) * column(op.heads) * ceil_div(seq_q, cta.queries)
    queries_of_cta = np.minimum(cta.queries, seq_q)
    result = queries_of_cta * width * element
    kv, queries = column(op.kv_bytes), column(op.output_bytes)
    warm = cache.hit_share(np.minimum(column(conditions.cache.activation_copies), 1e9) * (kv + queries) + queries, gpu)
    hit = cache.mean_latency_cycles(gpu)
    steps, scores = cta.keys / cta.keys_at_once, cta.rows * cta.keys
    step_cycles = _step_cycles(width * element, gpu)
    registers = cta.queries * (width + cta.keys_at_once) / (np.maximum(cta.queries / 16.0, 4.0) * 32.0) + 64.0
    slower, widened = _widening(op, gpu)
    fixed_trips = (
        library.prefill_round_trips * (2.0 + queries_of_cta / cta.queries) / 3.0 * (2.0 + cta.width / 128.0) / 3.0
    )
    demand = KernelDemand(
        kernel="attention",
        ctas=ctas,
        warps_per_cta=cta.warps,
        registers_per_thread=np.minimum(registers, np.minimum(255.0, sm.registers / (cta.warps * sm.warp_size))),
        shared_bytes_per_cta=cta.held_bytes,
        overlap_exponent=library.overlap_exponent,
        tensor_efficiency=library.tensor_efficiency,
        l2_rate=library.l2_rate,
        dram_rate=library.dram_rate,
        helper_cycles=2.0 * hit,
        tensor_dtype=tensor_dtype(op.dtype, gpu),
        tensor_ops=4.0 * scores * cta.width * slower,
        fma_ops=2.0 * library.softmax_instructions * scores,
        special_ops=scores + 2.0 * widened * cta.keys * cta.width,
        shared_bytes=cta.shared_bytes,
        l2_read_bytes=result + 2.0 * np.minimum(cta.keys, column(op.seq_kv)) * width * cached,
        l2_write_bytes=result,
        dram_read_bytes=(kv + queries) * (1.0 - warm) / ctas,
        dram_write_bytes=queries * (1.0 - cache.hit_share(kv + 2.0 * queries, gpu)) / ctas,
        bytes_in_flight=2.0 * cta.keys_at_once * width * cached,
        chain_cycles=steps * step_cycles,
        exposed_cycles=fixed_trips * hit,
        epilogue_bytes=result,
        setup_cycles=constant(library.setup_round_trips * hit),
        label=(cta.queries, cta.keys_at_once),
    )
    waves = np.ceil(ctas / (gpu.sm.count * np.maximum(ctas_per_sm(demand, gpu), 1.0)))
    return replace(demand, exposed_cycles=demand.exposed_cycles + _tail_cycles(demand, cta.longest, gpu) / waves)


def _widening(op: AttentionPrefill, gpu: Gpu) -> tuple[FloatArray, FloatArray]:
    """How much slower products are, and conversions for each element of a key, where 8-bit heads have no kernel.

    Such heads are widened, element by element as the one-head decode kernel does, and multiplied at the 16-bit rate.
    """
    library, rates = gpu.library.attention, gpu.sm.tensor_ops_per_clk
    alike = np.isin(column(op.head_dim), library.narrow_prefill_heads) | (bytes_of(op.dtype) >= 2.0)
    ratio = rates.get(op.dtype, 1.0) / rates.get("bf16", rates.get("fp16", 1.0))  # type: ignore[call-overload]
    return np.where(alike, 1.0, ratio), np.where(alike, 0.0, library.narrow_head_conversions)


def _step_cycles(row_bytes: FloatArray, gpu: Gpu) -> FloatArray:
    """Latency of a step: scores, softmax and weighted values wait for one another; rows of keys have `row_bytes`."""
    library, sm = gpu.library.attention, gpu.sm
    cycles: FloatArray = (
        library.step_round_trips * cache.mean_latency_cycles(gpu)
        + 2.0 * (sm.tensor_latency_cycles + row_bytes / INSTRUCTION_K_BYTES)
        + 2.0 * (sm.shared_latency_cycles + gpu.library.barrier_cycles)
        + library.softmax_instructions * sm.fma_latency_cycles
        + sm.special_function_latency_cycles
    )
    return cycles


def _tail_cycles(demand: KernelDemand, longest: FloatArray, gpu: Gpu) -> FloatArray:
    """What is waited for at the end, once: the CTA whose queries see most keys runs on when the others have ended."""
    library, sm = gpu.library.attention, gpu.sm
    terms = (
        demand.chain_cycles,
        demand.tensor_ops / sm.tensor_ops_per_clk[demand.tensor_dtype],  # type: ignore[index]
        demand.fma_ops / sm.fma_ops_per_clk["fp32"],
        demand.special_ops / sm.special_function_ops_per_clk,
    )
    q = library.overlap_exponent
    alone: FloatArray = sum(np.power(term, q) for term in terms) ** (1.0 / q)
    return library.prefill_tail_share * alone * np.maximum(longest - 1.0, 0.0)


def _tile(width: FloatArray, keys: FloatArray, gpu: Gpu) -> tuple[FloatArray, FloatArray]:
    """Query rows and keys of a step: of the first kernel whose head dimension is wide enough, else of the widest."""
    library = gpu.library.attention
    short = keys <= library.prefill_short_keys
    few, many = (_of_width(width, menu) for menu in (library.prefill_short_tiles, library.prefill_tiles))
    return np.where(short, few[0], many[0]), np.where(short, few[1], many[1])


def _of_width(width: FloatArray, tiles: Mapping[str, Tile]) -> tuple[FloatArray, FloatArray]:
    menu = sorted((float(head), tile) for head, tile in tiles.items())
    first = np.minimum(np.searchsorted([head for head, _ in menu], width), len(menu) - 1)
    rows, keys = (np.array([float(size) for size in sizes]) for sizes in zip(*(tile for _, tile in menu), strict=True))
    return rows[first], keys[first]


def tensor_dtype(dtype: str, gpu: Gpu) -> str:
    if dtype in gpu.sm.tensor_ops_per_clk:
        return dtype
    known = ", ".join(sorted(gpu.sm.tensor_ops_per_clk)) or "nothing"
    raise SimexploreError(f"{gpu.name} has no tensor cores for {dtype} attention; its tensor cores take {known}")
