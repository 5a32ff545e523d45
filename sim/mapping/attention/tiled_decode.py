"""Decode attention by tiles → kernel demands: a CTA keeps a tile of query rows and walks through its share of the keys.

FlashAttention 2 and 3, FlashInfer and TensorRT-LLM's generated kernels work so; what they differ in, their rules say
(`sim.libraries.tiled`). A row of the tile is a query head of the KV head, or nothing: products are computed for all of
them. New keys are appended by a kernel before it, partial results of split keys merged by one after it.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import (
    ANY_ROW,
    Algorithm,
    BoolArray,
    Choice,
    FloatArray,
    Grid,
    KernelDemand,
    Latency,
    Overlap,
    Work,
)
from simexplore.sim.libraries import tiled_rules
from simexplore.sim.libraries.tiled.interface import Plan, narrow_cache, product_dtype, tiled_kernels
from simexplore.sim.mapping.attention.prefill import (
    OPS_OF_SCORE,
    REFERENCE_HEAD,
    append_apart,
    grown,
    prefill_demands,
    tensor_dtype,
)
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.matmul.gemm import PARTIAL_SUM_BYTES
from simexplore.sim.mapping.matmul.tiles import ADDRESS_REGISTERS, MMA_ROWS, MOST_REGISTERS, WARP_GROUP, WGMMA_ROWS
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.sim.mapping.traffic import warm_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill

LEAST_WARPS = 4.0
"""Of a CTA: four share the rows of a tile, or its keys where it has few rows."""
SHARED_PASSES = 2.0
"""Times that a key or value passes through shared memory: it is written, and read."""
ATTENTION_AND_APPEND = 2.0
"""Kernels of a module that are mapped as such; the others are launches beside them."""


def tiled_algorithms(op: AttentionDecode, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The attention kernel, and for rows that need it the merge; with `attention_module` an append before them."""
    rules = tiled_rules(gpu)
    assert rules is not None, "asked of machines that decode by tiles alone"
    before: tuple[KernelDemand, ...] = ()
    if conditions.attention_module:
        helpers = np.maximum(gpu.attention_kernels.decode.module_kernels - ATTENTION_AND_APPEND, 0.0)
        before = append_apart(op, constant(1.0), gpu, helpers, conditions)
    return laid_out(op, rules.decode_plan(op, gpu), before, gpu, conditions)


def laid_out(
    op: AttentionDecode, plan: Plan, before: tuple[KernelDemand, ...], gpu: Gpu, conditions: Conditions
) -> tuple[Algorithm, ...]:
    """What comes before, the kernel of a plan, and for rows whose partial results need one the merge."""
    kernels = (*before, _attention(op, plan, gpu, conditions))
    merged: BoolArray = plan.merged[:, 0]
    ways = (Algorithm(kernels, ~merged), Algorithm((*kernels, _merge(op, plan, gpu)), merged))
    return tuple(way for way in ways if np.any(way.serves))


def prefill_algorithms(op: AttentionPrefill, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """Prefill; where the engine has its decode kernels serve sequences of one new token, those for such rows."""
    tiled = gpu.attention_kernels.tiled
    whole = Algorithm(prefill_demands(op, gpu, conditions), ANY_ROW)
    if tiled_rules(gpu) is None or tiled is None or not tiled.single_decodes:
        return (whole,)
    single: BoolArray = column(op.seq_q)[:, 0] == 1.0
    if not np.any(single):
        return (whole,)
    sizes = {name: getattr(op, name) for name in _SIZES}
    decode = tiled_algorithms(AttentionDecode(**sizes), gpu, conditions)
    ways = (Algorithm(whole.kernels, ~single), *(Algorithm(way.kernels, way.serves & single) for way in decode))
    return tuple(way for way in ways if np.any(way.serves))


_SIZES = ("batch", "heads", "kv_heads", "head_dim", "window", "seq_kv", "dtype", "kv_dtype")


def _attention(op: AttentionDecode, plan: Plan, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library = gpu.attention_kernels
    ctas = _ctas(op, plan)
    steps = _steps(op, plan)
    warps = _warps(plan, gpu)
    return KernelDemand(
        kernel="attention",
        grid=Grid(
            ctas=ctas,
            warps_per_cta=warps,
            registers_per_thread=_registers(op, plan, warps, gpu),
            shared_bytes_per_cta=_held(op, plan, gpu),
        ),
        work=_work(op, plan, steps, ctas, gpu, conditions),
        latency=_latency(op, plan, steps, ctas, gpu),
        overlap=Overlap(
            within_sm=library.decode.overlap_exponent,
            tensor_efficiency=library.prefill.tensor_efficiency,
            l2_rate=library.decode.l2_rate,
            dram_rate=library.decode.dram_rate,
            wave_exposure=tiled_kernels(gpu).wave_exposure,
        ),
        choice=Choice(label=(plan.splits,)),
    )


def _heads(op: AttentionDecode, plan: Plan) -> FloatArray:
    """Query heads whose CTAs read the same keys together."""
    return np.where(plan.packed, column(op.heads) / column(op.kv_heads), 1.0)


def _ctas(op: AttentionDecode, plan: Plan) -> FloatArray:
    """CTAs: tiles of query rows of all sequences and heads, times the splits of the keys."""
    heads = _heads(op, plan)
    ctas: FloatArray = column(op.batch) * column(op.heads) / heads * ceil_div(heads, plan.rows) * plan.splits
    return ctas


def _steps(op: AttentionDecode, plan: Plan) -> FloatArray:
    """Steps over keys of the busiest CTA; a window also cuts through a step at its far side."""
    tokens, context = column(op.visible_tokens), column(op.seq_kv)
    first = np.floor((context - tokens) / plan.keys)
    steps: FloatArray = ceil_div(ceil_div(context, plan.keys) - first, plan.splits)
    return steps


def _warps(plan: Plan, gpu: Gpu) -> FloatArray:
    """Warps of a CTA; beside those that multiply, wgmma has a group of them that loads."""
    if gpu.library.gemm.tensor.reads_registers:
        return np.maximum(plan.rows / MMA_ROWS, LEAST_WARPS)
    return WARP_GROUP * (np.maximum(plan.rows / WGMMA_ROWS, 1.0) + 1.0)


def _registers(op: AttentionDecode, plan: Plan, warps: FloatArray, gpu: Gpu) -> FloatArray:
    """Registers of a thread: its share of scores and results, and addresses; no more than it can have.

    Kernels with wgmma share out all that there are among the CTAs that they are built for (setmaxnreg).
    """
    threads = warps * gpu.sm.warp_size
    if not gpu.library.gemm.tensor.reads_registers:
        return np.minimum(gpu.sm.registers / (threads * tiled_kernels(gpu).ctas_per_sm), MOST_REGISTERS)
    wanted = plan.rows * (column(op.head_dim) + plan.keys) / threads + ADDRESS_REGISTERS
    wanted = np.where(plan.scalar, ADDRESS_REGISTERS, wanted)
    registers: FloatArray = np.minimum(wanted, np.minimum(MOST_REGISTERS, gpu.sm.registers / threads))
    return registers


def _held(op: AttentionDecode, plan: Plan, gpu: Gpu) -> FloatArray:
    """Shared memory of a CTA [B]: queries, and stages of keys and values."""
    cached = bytes_of(op.kv_dtype or op.dtype)
    stages = 2.0 * tiled_kernels(gpu).stages * plan.keys * cached
    held: FloatArray = column(op.head_dim) * (plan.rows * bytes_of(op.dtype) + stages)
    return np.minimum(held, gpu.sm.shared_memory_per_cta_bytes)


def _work(
    op: AttentionDecode, plan: Plan, steps: FloatArray, ctas: FloatArray, gpu: Gpu, conditions: Conditions
) -> Work:
    """What a CTA does: scores and weighted values of all rows of its tile, keys up to whole steps."""
    library, width = gpu.attention_kernels, column(op.head_dim)
    cached, keys = bytes_of(op.kv_dtype or op.dtype), steps * plan.keys
    scores = plan.rows * keys
    seen = np.minimum(column(op.visible_tokens) / plan.splits, keys)
    read = keys if tiled_kernels(gpu).whole_steps else seen
    outside = tiled_kernels(gpu).cta_instructions * _warps(plan, gpu) * gpu.sm.warp_size
    products = library.one_head.instructions * OPS_OF_SCORE * scores * width
    widened = 0.0 if product_dtype(op, gpu) != op.dtype or not narrow_cache(op) else _conversions(gpu)
    result = np.minimum(_heads(op, plan), plan.rows) * width * _result_bytes(op, plan)
    return Work(
        tensor_dtype=tensor_dtype(product_dtype(op, gpu), gpu),
        tensor_ops=np.where(plan.scalar, 0.0, OPS_OF_SCORE * scores * width),
        fma_ops=2.0 * (library.softmax_instructions * scores + outside) + np.where(plan.scalar, products, 0.0),
        special_ops=scores + 2.0 * widened * keys * width,
        shared_bytes=2.0 * SHARED_PASSES * keys * width * cached,
        l2_read_bytes=2.0 * read * width * cached + result,
        l2_write_bytes=result,
        dram_read_bytes=missing_bytes(op, gpu, conditions, read / seen) / ctas,
        epilogue_bytes=result,
    )


def _conversions(gpu: Gpu) -> float:
    return gpu.attention_kernels.grouped.narrow.conversions


def _result_bytes(op: AttentionDecode, plan: Plan) -> FloatArray:
    """Bytes of an element of a result, or of a partial one."""
    return np.where(plan.splits > 1.0, PARTIAL_SUM_BYTES, bytes_of(op.dtype))


def _latency(op: AttentionDecode, plan: Plan, steps: FloatArray, ctas: FloatArray, gpu: Gpu) -> Latency:
    """Round trips of a CTA before and after its loop, of each step, and what its stages keep in flight."""
    library, kernels, hit = gpu.attention_kernels, tiled_kernels(gpu), gpu.l2.mean_latency_cycles
    narrow = narrow_cache(op)
    handed_on = np.where(plan.splits > 1.0, library.grouped.partial_round_trips, 0.0)
    growth = grown(library.grouped.fixed_over_width, column(op.head_dim) / REFERENCE_HEAD)
    trips = library.grouped.round_trips * growth + handed_on
    queued = library.decode.queued_share
    busy = 1.0 - queued + queued * np.minimum(ctas / gpu.sm.count, 1.0)
    # Conversions of a narrow cache, and its values turned in shared memory, make its steps longer than its loads wait.
    flight = 1.0 if narrow else library.grouped.flight_share
    step_trips = library.grouped.narrow.step_round_trips if narrow else library.grouped.step_round_trips
    tiles_ahead = 2.0 * kernels.stages - 1.0  # the one that is computed on is not in flight
    tile_bytes = plan.keys * column(op.head_dim) * bytes_of(op.kv_dtype or op.dtype)
    return Latency(
        bytes_in_flight=flight * tiles_ahead * tile_bytes,
        chain_cycles=steps * step_trips * hit,
        exposed_cycles=trips * hit * busy,
        setup_cycles=constant(library.setup_round_trips * hit),
    )


def _merge(op: AttentionDecode, plan: Plan, gpu: Gpu) -> KernelDemand:
    """Partial results of all splits read, weighted by their maxima and sums, and added up: one row a few warps."""
    library, hit = gpu.attention_kernels.grouped, gpu.l2.mean_latency_cycles
    rows = column(op.batch) * column(op.heads)
    results = rows * column(op.head_dim)
    read = np.where(plan.splits > 1.0, plan.splits, 0.0) * (results + rows) * PARTIAL_SUM_BYTES
    write = results * bytes_of(op.dtype)
    stream = Stream(
        read_bytes=read,
        write_bytes=write,
        flops=2.0 * plan.splits * results,
        special_ops=plan.splits * rows,
        warm_share=constant(1.0),
        written_back_share=constant(0.0),
    )
    trips = library.merge_round_trips + library.merge_step_round_trips * plan.splits
    return stream_demand("merge", stream, gpu, chain_cycles=trips * hit)


def missing_bytes(
    op: AttentionDecode, gpu: Gpu, conditions: Conditions, loaded: FloatArray | float = 1.0
) -> FloatArray:
    """Bytes that DRAM brings: the KV cache as a weight, re-read as often as `weight_copies` says, and the queries.

    `loaded` are the keys that are loaded over those that are seen. Between two reads of a line lie all bytes that a run
    touches: cache, queries and result, and in a module also the queries, keys and values that come in.
    """
    state = conditions.cache
    kv, queries = column(op.kv_bytes) * loaded, column(op.output_bytes)
    others = 2.0 * queries
    if conditions.attention_module:
        others = others + queries * (1.0 + 2.0 * column(op.kv_heads) / column(op.heads))
    missing: FloatArray = kv * (1.0 - warm_share(kv, state.weight_copies, others, gpu))
    return missing + queries * (1.0 - warm_share(queries, state.activation_copies, kv, gpu))
