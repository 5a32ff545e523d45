"""Prefill over a latent cache (MLA) → kernel demands: fused attention whose keys are wider than its values.

Engines expand latents into keys and values of each head beforehand, or attend to the latents themselves with all
heads as queries of one key head (`libraries.latent`). Either way a CTA keeps a tile of queries and loops over keys.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Choice, FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.libraries.latent import latent_rules
from simexplore.sim.mapping.attention.prefill import FLOPS_OF_ROTATION, STAGES, tensor_dtype
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.matmul.tiles import (
    ADDRESS_REGISTERS,
    INSTRUCTION_K_BYTES,
    MMA_ROWS,
    MOST_REGISTERS,
    WARP_GROUP,
    WGMMA_ROWS,
)
from simexplore.sim.mapping.streaming import moving, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import MlaPrefill


class _Shape(NamedTuple):
    """What the kernel sees; arrays of shape (rows, 1)."""

    rows: FloatArray
    """Query rows of one key head of one sequence."""
    key_heads: FloatArray
    keys: FloatArray
    """Features of a key."""
    values: FloatArray
    """Features of a value."""
    shared_features: FloatArray
    """Features that a key and a value have in common, and that are read once for both."""
    ctas: FloatArray
    seen: FloatArray
    """Keys of all steps of a CTA, the mean."""


def mla_prefill_demands(op: MlaPrefill, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """With `attention_module` the rotation and cache append, then the fused kernel."""
    shape = _shape(op, gpu, absorbs=latent_rules(gpu).absorbs_prefill(op))
    kernels = (_prefill_kernel(op, shape, gpu, conditions),)
    if not conditions.attention_module:
        return kernels
    helpers = np.maximum(gpu.latent_kernels.prefill.module_kernels - 2.0, 0.0)
    return (_rotate_and_append(op, gpu).with_extra_launches(helpers), *kernels)


def expanded_kernel(op: MlaPrefill, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """The fused kernel over keys and values of each head, whatever the engine does."""
    return _prefill_kernel(op, _shape(op, gpu, absorbs=False), gpu, conditions)


def _shape(op: MlaPrefill, gpu: Gpu, *, absorbs: bool) -> _Shape:
    tile = gpu.latent_kernels.prefill.tile
    batch, heads, tokens = column(op.batch), column(op.heads), column(op.seq_q)
    one = np.ones_like(heads)
    if absorbs:
        rows, key_heads = tokens * heads, one
        values = column(op.kv_lora_rank)
        keys, common = values + column(op.rope_dim), values
        tokens_of_tile = np.minimum(tile.m / heads, tokens)
    else:
        rows, key_heads = tokens, heads
        keys, values = column(op.nope_dim) + column(op.rope_dim), column(op.v_dim)
        common = 0.0 * values
        tokens_of_tile = np.minimum(float(tile.m), tokens)
    # Tiles at the diagonal are computed whole, though the mask cuts through them.
    seen = column(op.pairs) / tokens + (tokens_of_tile + tile.n) / 2.0
    seen = np.minimum(np.maximum(seen, tile.n), ceil_div(column(op.seq_kv), tile.n) * tile.n)
    ctas = batch * key_heads * ceil_div(rows, float(tile.m))
    return _Shape(rows, key_heads, keys, values, common, ctas, seen)


def _prefill_kernel(op: MlaPrefill, shape: _Shape, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library, sm = gpu.latent_kernels.prefill, gpu.sm
    tile = library.tile
    unit = MMA_ROWS if gpu.library.gemm.tensor.reads_registers else WGMMA_ROWS
    warps = WARP_GROUP * (max(tile.m / WGMMA_ROWS, 1.0) + 1.0)  # and a producer group
    wanted = tile.m * (shape.values + tile.n) / (warps * sm.warp_size) + ADDRESS_REGISTERS
    element = bytes_of(op.dtype)
    held = (tile.m * shape.keys + STAGES * tile.n * (shape.keys + shape.values - shape.shared_features)) * element
    return KernelDemand(
        kernel="attention",
        grid=Grid(
            ctas=shape.ctas,
            warps_per_cta=constant(warps),
            registers_per_thread=np.minimum(wanted, min(MOST_REGISTERS, sm.registers / (warps * sm.warp_size))),
            shared_bytes_per_cta=np.minimum(held, sm.shared_memory_per_cta_bytes),
        ),
        work=_work(op, shape, unit, gpu, conditions),
        latency=_latency(op, shape, gpu),
        overlap=Overlap(
            within_sm=library.overlap_exponent,
            tensor_efficiency=library.tensor_efficiency,
        ),
        choice=Choice(label=(constant(float(tile.m)), constant(float(tile.n)))),
    )


def _work(op: MlaPrefill, shape: _Shape, unit: float, gpu: Gpu, conditions: Conditions) -> Work:
    tile, element = gpu.latent_kernels.prefill.tile, bytes_of(op.dtype)
    rows = ceil_div(shape.rows, unit) * unit / ceil_div(shape.rows, float(tile.m))
    scores = rows * shape.seen
    features = shape.keys + shape.values - shape.shared_features
    width = shape.keys + shape.values
    queries = column(op.batch) * shape.rows * shape.key_heads * shape.keys * element
    results = column(op.batch) * shape.rows * shape.key_heads * shape.values * element
    kv = column(op.batch) * column(op.seq_kv) * shape.key_heads * features * element
    warm = warm_share(kv + queries, conditions.cache.activation_copies, results, gpu)
    return Work(
        tensor_dtype=tensor_dtype(op.dtype, gpu),
        tensor_ops=2.0 * scores * width,
        fma_ops=2.0 * gpu.attention_kernels.softmax_instructions * scores,
        special_ops=scores,
        shared_bytes=ceil_div(rows, unit) * shape.seen * width * element + rows * shape.keys * element,
        l2_read_bytes=queries / shape.ctas + np.minimum(shape.seen, column(op.seq_kv)) * features * element,
        l2_write_bytes=results / shape.ctas,
        dram_read_bytes=(kv + queries) * (1.0 - warm) / shape.ctas,
        dram_write_bytes=results * written_back_share(kv + queries + results, gpu) / shape.ctas,
        epilogue_bytes=results / shape.ctas,
    )


def _latency(op: MlaPrefill, shape: _Shape, gpu: Gpu) -> Latency:
    library, sm, hit = gpu.latent_kernels.prefill, gpu.sm, gpu.l2.mean_latency_cycles
    step = (
        library.step_round_trips * hit
        + 2.0 * (sm.latency.tensor_cycles + gpu.library.barrier_cycles)
        + shape.keys * bytes_of(op.dtype) / INSTRUCTION_K_BYTES
        + gpu.attention_kernels.softmax_instructions * sm.latency.fma_cycles
        + sm.latency.special_function_cycles
    )
    longest = np.maximum(column(op.seq_kv) / shape.seen, 1.0)
    return Latency(
        bytes_in_flight=library.tile.n * (shape.keys + shape.values - shape.shared_features) * bytes_of(op.dtype),
        chain_cycles=shape.seen / library.tile.n * step,
        exposed_cycles=constant(library.round_trips * hit),
        straggler_share=gpu.attention_kernels.prefill.tail_share * (longest - 1.0),
        setup_cycles=constant(gpu.latent_kernels.setup_round_trips * hit),
        helper_cycles=2.0 * hit,
    )


def _rotate_and_append(op: MlaPrefill, gpu: Gpu) -> KernelDemand:
    """Rotary embedding of queries and keys, written for every head, and the latents appended to the cache."""
    tokens = column(op.batch) * column(op.seq_q)
    rotated = tokens * column(op.heads) * column(op.rope_dim)
    latents = tokens * (column(op.kv_lora_rank) + column(op.rope_dim))
    read = (rotated + latents) * bytes_of(op.dtype)
    write = 2.0 * rotated * bytes_of(op.dtype) + latents * bytes_of(op.kv_dtype or op.dtype)
    stream = moving(read, write, gpu, flops=2.0 * FLOPS_OF_ROTATION * rotated)
    return stream_demand("rotate_append", stream, gpu)
