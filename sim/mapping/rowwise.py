"""Elementwise, row-wise, gather and conversion operators → one streaming kernel each."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import ScaledGemm
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.hardware.occupancy import ctas_per_sm
from simexplore.sim.libraries import row_rules
from simexplore.sim.mapping.columns import constant
from simexplore.sim.mapping.streaming import REGISTERS, Stream, stream_demand, stream_of
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Elementwise, Embedding, LayerNorm, Quantize, RmsNorm, Rope, Softmax

REDUCTIONS = {"softmax": 2.0, "layernorm": 2.0, "rmsnorm": 1.0}
"""Block-wide reductions of a row: maximum and sum; mean and variance; mean square."""
REGISTER_BYTES = 4.0
VECTORS = {"softmax": 0.0, "layernorm": 2.0, "rmsnorm": 1.0}
"""Learned vectors that every row reads."""
CONVERSION_THREADS = 256.0
CONVERSION_UNROLL = 4.0
"""Elements that each thread of a conversion has in flight: compilers unroll its loop so often."""


def elementwise_demand(op: Elementwise, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A kernel that reads its inputs and writes its outputs once."""
    return (stream_demand(op.op, stream_of(op, gpu, conditions.cache), gpu),)


def rope_demand(op: Rope, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """One pass over queries and keys, which a kernel of its own turns in place."""
    return (stream_demand(op.op, stream_of(op, gpu, conditions.cache), gpu),)


def quantize_demand(op: Quantize, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A conversion with a scale that is known beforehand, so one pass: TensorRT-LLM's scaleMatrix.

    Its grid is the same for all sizes, `conversion.ctas` of 256 threads that walk through the matrix together, one
    element a thread and turn. So its instructions limit it: `conversion.instructions` an element, at one a lane and
    clock. Source: cpp/tensorrt_llm/common/cudaFp8Utils.cu.
    """
    return (_conversion(op, stream_of(op, gpu, conditions.cache), gpu),)


def _conversion(op: Quantize, stream: Stream, gpu: Gpu) -> KernelDemand:
    ctas = float(gpu.conversion_kernel.ctas)
    elements = column(op.rows) * column(op.cols) / ctas
    chain = constant(gpu.conversion_kernel.round_trips * gpu.l2.mean_latency_cycles)
    in_flight = CONVERSION_UNROLL * CONVERSION_THREADS * bytes_of(op.input_dtype)
    return stream_demand(op.op, stream, gpu, ctas=constant(ctas), chain_cycles=chain).but(
        work={"fma_ops": 2.0 * gpu.conversion_kernel.instructions * elements},
        latency={"bytes_in_flight": in_flight + 0.0 * elements, "exposed_cycles": constant(0.0)},
    )


def dynamic_quantize_demands(op: Quantize, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A conversion whose scale comes from the data: a pass that finds the largest value, helpers, the conversion."""
    convert = stream_of(op, gpu, conditions.cache)
    nothing = 0.0 * convert.write_bytes
    largest = convert._replace(write_bytes=nothing, special_ops=nothing, written_back_share=nothing)
    helpers = np.maximum(gpu.library.gemm.tensor.quantize_kernels - 2.0, 0.0)
    return (
        stream_demand("largest_value", largest, gpu).with_extra_launches(helpers),
        _conversion(op, convert, gpu),
    )


def block_quantize_demands(op: Quantize, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A conversion with a scale for each block of a row: lanes that hold a block find its largest value by shuffles.

    One kernel in one pass, for the block is still in registers when its scale is known. Sources: TensorRT-LLM,
    cpp/tensorrt_llm/kernels/quantization.cuh; vLLM, csrc/quantization/w8a8/fp8/per_token_group_quant.cu.
    """
    stream = stream_of(op, gpu, conditions.cache)
    shuffles = np.log2(float(gpu.sm.warp_size)) * gpu.sm.latency.shared_cycles
    demand = stream_demand(op.op, stream, gpu, chain_cycles=constant(shuffles))
    instructions = gpu.scaled_gemm(op.dtype).quantize_instructions * column(op.rows) * column(op.cols)
    return (demand.but(work={"fma_ops": 2.0 * instructions / demand.grid.ctas}),)


def row_quantize_demands(
    op: Quantize, scaled: ScaledGemm, gpu: Gpu, conditions: Conditions
) -> tuple[KernelDemand, ...]:
    """A conversion with a scale for each row: one kernel, whose CTA reads its row for the largest value and once more.

    What it reads once more comes from L2. Sources: vLLM,
    csrc/quantization/w8a8/fp8/common.cu (dynamic_per_token_scaled_fp8_quant_kernel); SGLang,
    sgl-kernel/csrc/gemm/per_token_quant_fp8.cu.
    """
    stream, hit = stream_of(op, gpu, conditions.cache), gpu.l2.mean_latency_cycles
    shuffles = 2.0 * np.log2(float(gpu.sm.warp_size)) * gpu.sm.latency.shared_cycles
    chain = shuffles + 2.0 * gpu.library.barrier_cycles + hit
    demand = stream_demand(op.op, stream, gpu, ctas=column(op.rows), chain_cycles=constant(chain))
    instructions = scaled.quantize_instructions * column(op.cols)
    work = {"fma_ops": 2.0 * instructions, "l2_read_bytes": 2.0 * demand.work.l2_read_bytes}
    return (demand.but(work=work),)


def rowwise_demand(op: Softmax | LayerNorm | RmsNorm, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """One CTA a row: read it, reduce it across the CTA (shuffles, shared memory, a barrier), read it again, store it.

    A softmax of short rows holds its row in a warp's registers, and reads it once.
    """
    library, sm = gpu.library.elementwise, gpu.sm
    demand = stream_demand(op.op, stream_of(op, gpu, conditions.cache), gpu, ctas=column(op.rows))
    row_bytes = bytes_of(op.dtype) * column(op.cols)
    rules = row_rules(gpu)
    held = rules.holds_rows(op, gpu)
    threads = np.where(held, float(sm.warp_size), rules.threads_of_row(op, gpu))
    # A tree over the lanes of each warp, then one over the warps.
    shuffles = np.log2(sm.warp_size) + np.log2(threads / sm.warp_size)
    reduction = shuffles * sm.latency.shared_cycles + np.where(held, 0.0, 2.0 * gpu.library.barrier_cycles)
    loads = threads * library.bytes_per_thread * library.loads_in_flight
    demand = demand.but(
        grid={
            "warps_per_cta": threads / sm.warp_size,
            "registers_per_thread": REGISTERS + np.where(held, row_bytes / (REGISTER_BYTES * sm.warp_size), 0.0),
        },
        latency={
            "bytes_in_flight": np.where(held, row_bytes, np.minimum(row_bytes, loads)),
            "chain_cycles": REDUCTIONS[op.op] * reduction,
        },
    )
    return (read_again(demand, np.where(held, 1.0, rules.passes(op, gpu)), row_bytes, VECTORS[op.op], gpu),)


def read_again(
    demand: KernelDemand, passes: FloatArray, row_bytes: FloatArray, vectors: float, gpu: Gpu
) -> KernelDemand:
    """The kernel with its passes over a row after the first, and with the learned vectors.

    They come from L1, the shared memory's array at a rate of its own; or, where the library's kernels let rows go by
    it, from L2, or from DRAM where the rows of all resident CTAs don't fit there. Between two passes each of these
    goes on by one of its own, so that (read + written) / passes bytes a row are touched meanwhile.
    """
    library, sm = gpu.library.elementwise, gpu.sm
    again = (passes - 1.0) * row_bytes
    from_l1 = vectors * row_bytes + (again if library.rowwise.again_from == "l1" else 0.0)
    demand = demand.but(
        work={"shared_bytes": from_l1 * sm.shared_bandwidth_bytes_per_clk / sm.l1_bandwidth_bytes_per_clk},
    )
    if library.rowwise.again_from == "l1":
        return demand
    resident = np.minimum(sm.count * ctas_per_sm(demand, gpu), demand.grid.ctas)
    touched = resident * (row_bytes + demand.work.l2_write_bytes) / passes
    missing = 1.0 - cache.hit_share(touched, gpu, library.rowwise.l2_share, library.rowwise.eviction_sharpness)
    return demand.but(
        work={
            "l2_read_bytes": demand.work.l2_read_bytes + again,
            "dram_read_bytes": demand.work.dram_read_bytes + again * missing,
        },
    )


def embedding_demand(op: Embedding, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A gather of table rows by token: the table is a weight, so it is as warm as weights are."""
    table = CacheState(activation_copies=conditions.cache.weight_copies)
    return (stream_demand(op.op, stream_of(op, gpu, table), gpu),)
