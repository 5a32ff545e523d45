"""Elementwise, row-wise, gather and conversion operators → one streaming kernel each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simexplore.archs.schema import Gpu
from simexplore.sim.demand import CacheState, Conditions, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.columns import column, constant
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Elementwise, Embedding, LayerNorm, Operator, Quantize, RmsNorm, Softmax

REDUCTIONS = {"softmax": 2.0, "layernorm": 2.0, "rmsnorm": 1.0}
"""Block-wide reductions of a row: maximum and sum; mean and variance; mean square."""
CONVERSION_THREADS = 256.0
CONVERSION_UNROLL = 4.0
"""Elements that each thread of a conversion has in flight: compilers unroll its loop so often."""
RE_READS = {"softmax": 2.0, "layernorm": 4.0, "rmsnorm": 2.0}
"""Passes over a row that read it from L1 again, one a reduction, and the learned vectors, which every row reads."""


def elementwise_demand(op: Elementwise, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A kernel that reads its inputs and writes its outputs once."""
    return (stream_demand(op.op, _stream(op, gpu, conditions.cache), gpu),)


def quantize_demand(op: Quantize, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A conversion with a scale that is known beforehand, so one pass: TensorRT-LLM's scaleMatrix.

    Its grid is the same for all sizes, `conversion_ctas` of 256 threads that walk through the matrix together, one
    element a thread and turn. So its instructions limit it: `conversion_instructions` an element, at one a lane and
    clock. Source: cpp/tensorrt_llm/common/cudaFp8Utils.cu.
    """
    return (_conversion(op, _stream(op, gpu, conditions.cache), gpu),)


def _conversion(op: Quantize, stream: Stream, gpu: Gpu) -> KernelDemand:
    library = gpu.library.elementwise
    ctas = float(library.conversion_ctas)
    elements = column(op.rows) * column(op.cols) / ctas
    chain = constant(library.conversion_round_trips * cache.mean_latency_cycles(gpu))
    in_flight = CONVERSION_UNROLL * CONVERSION_THREADS * bytes_of(op.input_dtype)
    return replace(
        stream_demand(op.op, stream, gpu, ctas=constant(ctas), chain_cycles=chain),
        fma_ops=2.0 * library.conversion_instructions * elements,
        bytes_in_flight=in_flight + 0.0 * elements,
        exposed_cycles=constant(0.0),
    )


def dynamic_quantize_demands(op: Quantize, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A conversion whose scale comes from the data: a pass that finds the largest value, helpers, the conversion."""
    convert = _stream(op, gpu, conditions.cache)
    nothing = 0.0 * convert.write_bytes
    largest = convert._replace(write_bytes=nothing, special_ops=nothing, written_back_share=nothing)
    helpers = np.maximum(gpu.library.gemm.quantize_kernels - 2.0, 0.0)
    return (
        stream_demand("largest_value", largest, gpu).with_extra_launches(helpers),
        _conversion(op, convert, gpu),
    )


def rowwise_demand(op: Softmax | LayerNorm | RmsNorm, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """One CTA a row: load it, reduce it across the CTA (shuffles, shared memory, a barrier), scale it, store it.

    What is read again comes from L1, which is the shared memory's array at a rate of its own.
    """
    warps = gpu.library.elementwise.threads_per_cta / gpu.sm.warp_size
    shuffles = np.log2(gpu.sm.warp_size) + np.log2(max(warps, 2.0))
    reduction = shuffles * gpu.sm.shared_latency_cycles + 2.0 * gpu.library.barrier_cycles
    chain = constant(REDUCTIONS[op.op] * reduction)
    stream = _stream(op, gpu, conditions.cache)
    demand = stream_demand(op.op, stream, gpu, ctas=column(op.rows), chain_cycles=chain)
    again = RE_READS[op.op] * bytes_of(op.dtype) * column(op.cols)
    return (
        replace(demand, shared_bytes=again * gpu.sm.shared_bandwidth_bytes_per_clk / gpu.sm.l1_bandwidth_bytes_per_clk),
    )


def embedding_demand(op: Embedding, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """A gather of table rows by token: the table is a weight, so it is as warm as weights are."""
    table = CacheState(activation_copies=conditions.cache.weight_copies)
    return (stream_demand(op.op, _stream(op, gpu, table), gpu),)


def _stream(op: Operator, gpu: Gpu, state: CacheState) -> Stream:
    """The work of an operator whose inputs are activations; they stay in L2 as far as they and the result fit it."""
    write = column(op.output_bytes)
    read = column(op.min_bytes) - write
    special = column(op.special_ops)
    copies = np.minimum(column(state.activation_copies), 1e9)
    return Stream(
        read_bytes=read,
        write_bytes=write,
        flops=column(op.flops) - special,
        special_ops=special,
        warm_share=cache.hit_share(copies * read + write, gpu),
        written_back_share=1.0 - cache.hit_share(read + write, gpu),
    )
