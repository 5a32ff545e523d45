"""Fused prefill attention → kernel demands: a CTA keeps a tile of queries and loops over tiles of keys and values.

The kernels are FlashAttention's (Dao et al., arXiv 2205.14135 and 2307.08691), as serving engines ship them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import BoolArray, Choice, FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.libraries import prefill_rules, tiled_rules
from simexplore.sim.libraries.tiled.interface import product_dtype, tiled_kernels
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.matmul.tiles import (
    ADDRESS_REGISTERS,
    INSTRUCTION_K_BYTES,
    MMA_ROWS,
    MOST_REGISTERS,
    WARP_GROUP,
    WGMMA_ROWS,
)
from simexplore.sim.mapping.streaming import Stream, moving, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill, EncoderAttention

OPS_OF_SCORE = 4.0
"""Of a query, a key and an element of the head: a multiply-add each for the score and for the weighted value."""
LEAST_WARPS = 4.0
"""Of a CTA whose warps multiply from registers."""
STAGES = 2.0
"""Tiles of keys, and of values, that a CTA with wgmma holds: one is computed on while the next arrives."""
REFERENCE_HEAD = 128.0
"""Head dimension of which `round_trips` in `library.attention` are."""
FLOPS_OF_ROTATION = 6.0
"""Rotary embedding of one element pair, per element: two products and an addition, twice, over two (Su et al.)."""


def prefill_demands(op: AttentionPrefill, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Prefill: with `attention_module` the rotation and cache append, then the fused kernel over query tiles."""
    kernels = (_prefill_kernel(op, gpu, conditions),)
    if not conditions.attention_module:
        return kernels
    helpers = np.maximum(gpu.attention_kernels.prefill.module_kernels - 2.0, 0.0)
    if tiled_rules(gpu) is not None:
        return (*append_apart(op, column(op.seq_q), gpu, helpers, conditions), *kernels)
    return (rotate_and_append(op, column(op.seq_q), gpu, helpers), *kernels)


def encoder_demands(op: EncoderAttention, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The fused kernel of prefill without its mask, on a machine whose `library.attention` is that of such kernels.

    A mask that is a tensor is read by tiles: of it a CTA reads what its queries and keys meet in.
    An engine's module around it adds no rotation and no append: what is left of its kernels lays out operands.
    """
    gpu = _unmasked(gpu)
    kernel = _prefill_kernel(op, gpu, conditions)
    unmasked = gpu.attention_kernels.unmasked
    if unmasked is not None and unmasked.register_head_dims:
        slower = np.where(_multiplies_from_registers(column(op.head_dim), gpu), 1.0 / unmasked.register_rate, 1.0)
        kernel = kernel.but(work={"tensor_ops": kernel.work.tensor_ops * slower})
    if not conditions.attention_module:
        return (kernel,)
    return (kernel.with_extra_launches(np.maximum(gpu.attention_kernels.prefill.module_kernels - 1.0, 0.0)),)


_OF_PREFILL = ("overlap_exponent", "tensor_efficiency", "round_trips", "step_round_trips", "module_kernels")


def _unmasked(gpu: Gpu) -> Gpu:
    """The machine with the numbers of kernels without a mask in the place of prefill's."""
    attention = gpu.attention_kernels
    if attention.unmasked is None:
        return gpu
    prefill = attention.prefill.model_copy(update={name: getattr(attention.unmasked, name) for name in _OF_PREFILL})
    softmax = attention.unmasked.softmax_instructions
    changed = attention.model_copy(update={"prefill": prefill, "softmax_instructions": softmax})
    return gpu.model_copy(update={"library": gpu.library.model_copy(update={"attention": changed})})


def rotate_and_append(
    op: AttentionPrefill | AttentionDecode, tokens: FloatArray, gpu: Gpu, helpers: float
) -> KernelDemand:
    """Rotary embedding of new queries and keys, keys and values appended to the cache; inputs are warm activations."""
    element, cached = bytes_of(op.dtype), bytes_of(op.kv_dtype or op.dtype)
    batch, heads, kv_heads, width = (column(x) for x in (op.batch, op.heads, op.kv_heads, op.head_dim))
    queries, keys = batch * tokens * heads * width, batch * tokens * kv_heads * width
    read = (queries + 2.0 * keys) * element
    write = queries * element + 2.0 * keys * cached
    stream = moving(read, write, gpu, flops=(queries + keys) * FLOPS_OF_ROTATION)
    demand = stream_demand("rotate_append", stream, gpu)
    return demand.with_extra_launches(helpers)


def append_apart(
    op: AttentionPrefill | AttentionDecode, tokens: FloatArray, gpu: Gpu, helpers: float, conditions: Conditions
) -> tuple[KernelDemand, ...]:
    """New keys and values written to the cache by a kernel of its own, and another that rotates where it is asked for.

    vLLM: reshape_and_cache_flash; SGLang: store_cache. A narrow cache has more kernels that convert.
    """
    element, cached, kernels = bytes_of(op.dtype), bytes_of(op.kv_dtype or op.dtype), tiled_kernels(gpu)
    rules = tiled_rules(gpu)
    assert rules is not None, "asked of machines that decode by tiles alone"
    written = column(op.batch) * tokens
    keys = 2.0 * written * column(op.kv_heads) * column(op.head_dim)
    read, write = keys * element, keys * cached
    between = column(op.kv_bytes) + 2.0 * column(op.output_bytes)  # what the attention touches until the next run
    stream = Stream(
        read_bytes=read,
        write_bytes=write,
        flops=constant(0.0),
        special_ops=constant(0.0),
        warm_share=warm_share(read, conditions.cache.activation_copies, between, gpu),
        written_back_share=written_back_share(read + write, gpu),
    )
    converts = rules.converts(op, gpu)
    extra = helpers + (max(kernels.narrow_kernels - 1.0, 0.0) if converts else 0.0)
    ctas = ceil_div(written, float(kernels.append_tokens))
    append = stream_demand("append", stream, gpu, ctas=ctas).with_extra_launches(extra)
    before = (_convert_queries(op, tokens, gpu),) if converts else ()
    if not conditions.rotation:
        return (*before, append)
    return (rotate_and_append(op, tokens, gpu, 0.0), *before, append)


def _convert_queries(op: AttentionPrefill | AttentionDecode, tokens: FloatArray, gpu: Gpu) -> KernelDemand:
    """Queries read in 16 bits and written in 8."""
    queries = column(op.batch) * tokens * column(op.heads) * column(op.head_dim)
    read, write = queries * bytes_of("bf16"), queries * bytes_of(op.kv_dtype or op.dtype)
    return stream_demand("convert", moving(read, write, gpu, flops=queries), gpu)


_Prefill = AttentionPrefill | EncoderAttention


def _product_dtype(op: _Prefill, gpu: Gpu) -> str:
    """Type of the products; engines whose prefill has rules of its own multiply queries as they come."""
    return product_dtype(op, gpu) if tiled_rules(gpu) is not None else op.dtype


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


def _cta(op: _Prefill, gpu: Gpu) -> _Cta:
    """Tiles of queries by tiles of keys, of which those at the diagonal, and at a window's far side, are half empty."""
    element = bytes_of(_product_dtype(op, gpu))
    tile_q, tile_k = prefill_rules(gpu).prefill_tile(op, gpu)
    width, seq_kv, window = (column(x) for x in (op.head_dim, op.seq_kv, op.window))
    heads = _heads_of_tile(op, gpu)
    seq_q = column(op.seq_q) * heads  # rows, of which a token has one for each head of the tile
    # The mask cuts through tiles at the diagonal, and at the far side of a window; those are computed whole.
    sides = 1.0 + ((window > 0.0) & (window < seq_kv))
    seen = column(op.pairs) / column(op.seq_q) + (sides * np.minimum(tile_q, seq_q) / heads + tile_k) / 2.0
    every = ceil_div(seq_kv, tile_k) * tile_k
    masked = not isinstance(op, EncoderAttention)
    keys = np.minimum(np.maximum(seen, tile_k), every) if masked else every
    longest = np.where(window > 0.0, np.minimum(window + tile_q / heads, seq_kv), seq_kv) / keys
    wgmma = not gpu.library.gemm.tensor.reads_registers
    unit = WGMMA_ROWS if wgmma else MMA_ROWS
    rows = ceil_div(seq_q, unit) * unit / ceil_div(seq_q, tile_q)
    if wgmma:
        width = width if masked else _unmasked_width(width, gpu)
        warps = WARP_GROUP * (np.maximum(tile_q / WGMMA_ROWS, 1.0) + 1.0)  # and a producer group
        held = tile_q + STAGES * 2.0 * tile_k
        traffic = rows / WGMMA_ROWS * (2.0 * keys + WGMMA_ROWS * keys / tile_k) * width
    else:
        width = _padded(width)  # register-resident heads come in powers of two
        warps = np.maximum(tile_q / MMA_ROWS, LEAST_WARPS)
        held = np.maximum(tile_q, 2.0 * tile_k) + 2.0 * tile_k  # queries go to registers, and keys into their room
        traffic = rows / MMA_ROWS * 2.0 * keys * width
    held_bytes = np.minimum(held * column(op.head_dim) * element, gpu.sm.shared_memory_per_cta_bytes)
    return _Cta(tile_q, tile_k, keys, longest, rows, width, warps, held_bytes, traffic * element)


def _heads_of_tile(op: _Prefill, gpu: Gpu) -> FloatArray:
    """Query heads whose rows a tile holds: one, or where the engine packs them all of a KV head."""
    rules = tiled_rules(gpu)
    packs = rules is not None and rules.packs_heads(op, gpu)
    return column(op.heads) / column(op.kv_heads) if packs else constant(1.0)


def _unmasked_width(width: FloatArray, gpu: Gpu) -> FloatArray:
    """Head dimension that kernels without a mask compute: tcgen05's go up in the instruction's own steps of k."""
    if gpu.library.gemm.tensor.instruction != "tcgen05":
        return _padded(width)
    return np.where(_multiplies_from_registers(width, gpu), _padded(width), ceil_div(width, MMA_ROWS) * MMA_ROWS)


def _multiplies_from_registers(width: FloatArray, gpu: Gpu) -> BoolArray:
    """Rows whose kernel without a mask is an older one, whose products are mma.sync."""
    unmasked = gpu.attention_kernels.unmasked
    return np.isin(width, unmasked.register_head_dims if unmasked is not None else ())


def _padded(width: FloatArray) -> FloatArray:
    """The next power of two, to which kernels fill up heads (TensorRT-LLM, fmha_v2: D_PADDED)."""
    padded: FloatArray = 2.0 ** np.ceil(np.log2(width))
    return padded


def _prefill_kernel(op: _Prefill, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library, cta = gpu.attention_kernels.prefill, _cta(op, gpu)
    heads = _heads_of_tile(op, gpu)
    ctas = column(op.batch) * column(op.heads) / heads * ceil_div(column(op.seq_q) * heads, cta.queries)
    return KernelDemand(
        kernel="attention",
        grid=Grid(ctas, cta.warps, _registers(op, cta, gpu), cta.held_bytes),
        work=_work(op, cta, ctas, gpu, conditions),
        latency=_latency(op, cta, gpu),
        overlap=Overlap(
            within_sm=library.overlap_exponent,
            tensor_efficiency=_efficiency(op, gpu),
            l2_rate=library.l2_rate,
            dram_rate=library.dram_rate,
        ),
        choice=Choice(label=(cta.queries, cta.keys_at_once)),
    )


def _efficiency(op: _Prefill, gpu: Gpu) -> float:
    """Share of the tensor cores' rate; engines that decode by tiles have one of their own for 8-bit products."""
    attention = gpu.attention_kernels
    narrow = bytes_of(_product_dtype(op, gpu)) < bytes_of("bf16")
    if attention.tiled is not None and narrow:
        return attention.tiled.narrow_efficiency
    return attention.prefill.tensor_efficiency


def _registers(op: _Prefill, cta: _Cta, gpu: Gpu) -> FloatArray:
    """Registers of a thread: its share of the scores and of the result, and addresses; no more than it can have."""
    threads = np.maximum(cta.queries / MMA_ROWS, LEAST_WARPS) * gpu.sm.warp_size
    wanted = cta.queries * (column(op.head_dim) + cta.keys_at_once) / threads + ADDRESS_REGISTERS
    room = gpu.sm.registers / (cta.warps * gpu.sm.warp_size)
    registers: FloatArray = np.minimum(wanted, np.minimum(MOST_REGISTERS, room))
    return registers


def _work(op: _Prefill, cta: _Cta, ctas: FloatArray, gpu: Gpu, conditions: Conditions) -> Work:
    element, cached = bytes_of(op.dtype), bytes_of(op.kv_dtype or op.dtype)
    width, scores = column(op.head_dim), cta.rows * cta.keys
    slower, widened = _widening(op, gpu)
    result = np.minimum(cta.queries, column(op.seq_q) * _heads_of_tile(op, gpu)) * width * element
    kv, queries = column(op.kv_bytes), column(op.output_bytes)
    mask = column(op.mask_bytes) if isinstance(op, EncoderAttention) else constant(0.0)
    of_tile = np.minimum(np.minimum(cta.queries, column(op.seq_q)) * cta.keys * element, mask)
    warm = warm_share(kv + queries + mask, conditions.cache.activation_copies, queries, gpu)
    return Work(
        tensor_dtype=tensor_dtype(_product_dtype(op, gpu), gpu),
        tensor_ops=OPS_OF_SCORE * scores * cta.width * slower,
        fma_ops=2.0 * gpu.attention_kernels.softmax_instructions * scores,
        special_ops=scores + 2.0 * widened * cta.keys * cta.width,
        shared_bytes=cta.shared_bytes,
        l2_read_bytes=result + 2.0 * np.minimum(cta.keys, column(op.seq_kv)) * width * cached + of_tile,
        l2_write_bytes=result,
        dram_read_bytes=(kv + queries + mask) * (1.0 - warm) / ctas,
        dram_write_bytes=queries * written_back_share(kv + 2.0 * queries, gpu) / ctas,
        epilogue_bytes=result,
    )


def _latency(op: _Prefill, cta: _Cta, gpu: Gpu) -> Latency:
    library, hit, width = gpu.attention_kernels.prefill, gpu.l2.mean_latency_cycles, column(op.head_dim)
    filled = np.minimum(cta.queries, column(op.seq_q) * _heads_of_tile(op, gpu)) / cta.queries
    trips = library.round_trips * grown(library.fixed_over_queries, filled)
    trips = trips * grown(library.fixed_over_width, cta.width / REFERENCE_HEAD)
    return Latency(
        helper_cycles=2.0 * hit,
        bytes_in_flight=2.0 * cta.keys_at_once * width * bytes_of(op.kv_dtype or op.dtype),
        chain_cycles=cta.keys / cta.keys_at_once * _step_cycles(width * bytes_of(op.dtype), gpu),
        exposed_cycles=trips * hit,
        straggler_share=library.tail_share * np.maximum(cta.longest - 1.0, 0.0),
        setup_cycles=constant(gpu.attention_kernels.setup_round_trips * hit),
    )


def _widening(op: _Prefill, gpu: Gpu) -> tuple[FloatArray, FloatArray]:
    """How much slower products are, and conversions for each element of a key, where 8-bit heads have no kernel.

    Such heads are widened, element by element as the one-head decode kernel does, and multiplied at the 16-bit rate.
    """
    library, rates = gpu.attention_kernels, gpu.sm.tensor_ops_per_clk
    alike = prefill_rules(gpu).multiplies_narrow(op, gpu)
    ratio = rates.get(op.dtype, 1.0) / rates.get("bf16", rates.get("fp16", 1.0))  # type: ignore[call-overload]
    tiled = library.tiled
    conversions = library.one_head.narrow.conversions if tiled is None else tiled.narrow_conversions
    return np.where(alike, 1.0, ratio), np.where(alike, 0.0, conversions)


def _step_cycles(row_bytes: FloatArray, gpu: Gpu) -> FloatArray:
    """Latency of a step: scores, softmax and weighted values wait for one another; rows of keys have `row_bytes`."""
    library, sm = gpu.attention_kernels, gpu.sm
    cycles: FloatArray = (
        library.prefill.step_round_trips * gpu.l2.mean_latency_cycles
        + 2.0 * (sm.latency.tensor_cycles + row_bytes / INSTRUCTION_K_BYTES)
        + 2.0 * (sm.latency.shared_cycles + gpu.library.barrier_cycles)
        + library.softmax_instructions * sm.latency.fma_cycles
        + sm.latency.special_function_cycles
    )
    return cycles


def tensor_dtype(dtype: str, gpu: Gpu) -> str:
    if dtype in gpu.sm.tensor_ops_per_clk:
        return dtype
    known = ", ".join(sorted(gpu.sm.tensor_ops_per_clk)) or "nothing"
    raise SimexploreError(f"{gpu.name} has no tensor cores for {dtype} attention; its tensor cores take {known}")


def grown(fixed: float, size: FloatArray) -> FloatArray:
    """A cost of which a part is the same for all sizes and the rest grows with them, over that at size 1.

    `fixed` is the one part over the other.
    """
    return (fixed + size) / (fixed + 1.0)
