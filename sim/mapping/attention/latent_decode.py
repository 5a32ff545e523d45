"""Decode over a latent cache (MLA) → kernel demands: one query token a sequence, all heads on the same latents.

A CTA computes a tile of query heads and walks over latents, which it keeps in shared memory as keys and as values
both: scores from all features, weighted sums of the compressed ones. How sequences are dealt out is the engine's.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Choice, FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.libraries.latent import latent_rules
from simexplore.sim.libraries.latent.interface import Layout
from simexplore.sim.mapping.attention.prefill import FLOPS_OF_ROTATION, tensor_dtype
from simexplore.sim.mapping.columns import constant
from simexplore.sim.mapping.matmul.gemm import PARTIAL_SUM_BYTES
from simexplore.sim.mapping.matmul.tiles import INSTRUCTION_K_BYTES, MOST_REGISTERS, WARP_GROUP
from simexplore.sim.mapping.streaming import moving, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import MlaDecode

WARPS = 2.0 * WARP_GROUP
"""Of a CTA: two groups, each with half of the result's features."""
OWN_KERNELS = 3.0
"""Of a module: rotation with append, attention, merge."""
STAGES = 2.0
"""Tiles of latents that a CTA holds: one is computed on while the next arrives."""


def mla_decode_demands(op: MlaDecode, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """With `attention_module` the rotation and cache append, then the kernel, then the merge where work was split."""
    layout = latent_rules(gpu).decode_layout(op, gpu)
    kernels = (_decode_kernel(op, layout, gpu, conditions), _merge(op, layout, gpu))
    if not conditions.attention_module:
        return kernels
    helpers = np.maximum(gpu.latent_kernels.decode.module_kernels - OWN_KERNELS, 0.0)
    return (_rotate_and_append(op, gpu).with_extra_launches(helpers), *kernels)


def _decode_kernel(op: MlaDecode, layout: Layout, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library, sm = gpu.latent_kernels.decode, gpu.sm
    element, cached = bytes_of(op.dtype), bytes_of(op.kv_dtype or op.dtype)
    width, values = column(op.width), column(op.kv_lora_rank)
    blocks = np.ceil(column(op.heads) / library.tile.m)
    tokens = column(op.batch) * column(op.seq_kv) * blocks / layout.ctas  # of a CTA, the mean
    steps = np.ceil(tokens / library.tile.n)
    scores = layout.heads * steps * library.tile.n
    results = column(op.batch) * column(op.heads) * values * layout.splits / layout.ctas
    partial = results * np.where(layout.splits > 1.0, PARTIAL_SUM_BYTES, element)
    read, written = _dram_bytes(op, gpu, conditions)
    hit = gpu.l2.mean_latency_cycles
    held = (layout.heads * element + STAGES * library.tile.n * cached) * width
    return KernelDemand(
        kernel="attention",
        grid=Grid(
            ctas=layout.ctas,
            warps_per_cta=constant(WARPS),
            registers_per_thread=constant(min(MOST_REGISTERS, sm.registers / (WARPS * sm.warp_size))),
            shared_bytes_per_cta=np.minimum(held, sm.shared_memory_per_cta_bytes),
        ),
        work=Work(
            tensor_dtype=tensor_dtype(op.dtype, gpu),
            tensor_ops=2.0 * scores * (width + values),
            fma_ops=2.0 * gpu.attention_kernels.softmax_instructions * scores,
            special_ops=scores,
            shared_bytes=steps * library.tile.n * (2.0 * width + values) * cached,
            l2_read_bytes=tokens * width * cached + results / values * width * element,
            l2_write_bytes=partial,
            dram_read_bytes=read / layout.ctas,
            dram_write_bytes=written / layout.ctas,
            epilogue_bytes=partial,
        ),
        latency=Latency(
            bytes_in_flight=library.tile.n * width * cached,
            chain_cycles=layout.steps * _step_cycles(op, gpu),
            exposed_cycles=layout.sequences * library.round_trips * hit,
            setup_cycles=constant(gpu.latent_kernels.setup_round_trips * hit),
        ),
        overlap=Overlap(
            within_sm=library.overlap_exponent,
            tensor_efficiency=library.tensor_efficiency,
            dram_rate=library.dram_rate,
        ),
        choice=Choice(label=(layout.heads, constant(float(library.tile.n)), layout.splits)),
    )


def _step_cycles(op: MlaDecode, gpu: Gpu) -> FloatArray:
    """Latency of a step: scores, softmax and weighted values wait for one another."""
    library, sm = gpu.latent_kernels.decode, gpu.sm
    cycles: FloatArray = (
        library.step_round_trips * gpu.l2.mean_latency_cycles
        + 2.0 * (sm.latency.tensor_cycles + gpu.library.barrier_cycles)
        + column(op.width) * bytes_of(op.dtype) / INSTRUCTION_K_BYTES
        + gpu.attention_kernels.softmax_instructions * sm.latency.fma_cycles
        + sm.latency.special_function_cycles
    )
    return cycles


def _dram_bytes(op: MlaDecode, gpu: Gpu, conditions: Conditions) -> tuple[FloatArray, FloatArray]:
    """What DRAM brings, the cache as a weight and the queries as activations, and what it takes."""
    state = conditions.cache
    kv, queries, results = column(op.kv_bytes), column(op.query_bytes), column(op.output_bytes)
    read = kv * (1.0 - warm_share(kv, state.weight_copies, queries + results, gpu))
    read = read + queries * (1.0 - warm_share(queries, state.activation_copies, kv + results, gpu))
    return read, results * written_back_share(kv + queries + results, gpu)


def _merge(op: MlaDecode, layout: Layout, gpu: Gpu) -> KernelDemand:
    """The kernel that adds up partial results; it is launched always, and has nothing to do where none are partial."""
    results = column(op.batch) * column(op.heads) * column(op.kv_lora_rank)
    partial = np.where(layout.splits > 1.0, layout.splits, 0.0) * results * PARTIAL_SUM_BYTES
    written = np.where(layout.splits > 1.0, results * bytes_of(op.dtype), 0.0)
    demand = _stream("merge", partial, written, 2.0 * partial / PARTIAL_SUM_BYTES, gpu)
    trips = np.where(layout.splits > 1.0, gpu.latent_kernels.decode.merge_round_trips, 1.0)
    return demand.but(latency={"exposed_cycles": trips * gpu.l2.mean_latency_cycles})


def _rotate_and_append(op: MlaDecode, gpu: Gpu) -> KernelDemand:
    """Rotary embedding of queries and of the new tokens' keys, whose latents are appended to the cache."""
    batch, heads = column(op.batch), column(op.heads)
    rotated, latents = batch * heads * column(op.rope_dim), batch * column(op.width)
    read = (rotated + latents) * bytes_of(op.dtype)
    write = rotated * bytes_of(op.dtype) + latents * bytes_of(op.kv_dtype or op.dtype)
    return _stream("rotate_append", read, write, FLOPS_OF_ROTATION * rotated, gpu)


def _stream(name: str, read: FloatArray, write: FloatArray, flops: FloatArray, gpu: Gpu) -> KernelDemand:
    return stream_demand(name, moving(read, write, gpu, flops=flops), gpu)
