"""What no kernel can be faster than: products at the units' peak, and what must come from DRAM at its bandwidth."""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState
from simexplore.sim.demand import FloatArray
from simexplore.sim.hardware.accumulate import accumulate_rate
from simexplore.workloads.dtypes import bytes_of, element_of
from simexplore.workloads.operators.base import Amount
from simexplore.workloads.ops import (
    Attention,
    Bmm,
    Conv2d,
    EncoderAttention,
    Gemm,
    GridEncoding,
    MlaDecode,
    Moe,
    Operator,
)


def least_seconds(op: Operator, gpu: Gpu, cache: CacheState) -> FloatArray:
    """The roofline of each row: max(flops / (SMs rate clock), bytes / bandwidth) [s].

    The bytes are those of operands that are surely not in L2: nothing of it was read before.
    """
    weights, everything = np.isinf(cache.weight_copies), np.isinf(cache.activation_copies)
    read = np.where(weights & everything, _read_bytes(op), np.where(weights, _kept_bytes(op), 0.0))
    least: FloatArray = np.maximum(_products_s(op, gpu), read / gpu.dram.bandwidth_bytes_per_s)
    return least


def fastest_seconds(op: Operator, gpu: Gpu) -> FloatArray:
    """What no run of each row is faster than, whatever ran before it [s].

    max(flops / (SMs rate clock), (bytes - L2) / bandwidth): of what is read, no more than fills L2 was there already.
    """
    brought = np.maximum(_read_bytes(op) - gpu.l2.capacity_bytes, 0.0)
    fastest: FloatArray = np.maximum(_products_s(op, gpu), brought / gpu.dram.bandwidth_bytes_per_s)
    return fastest


def _products_s(op: Operator, gpu: Gpu) -> Amount:
    """All products at the units' peak [s]; kernels may multiply in the type of a cache that is narrower."""
    cached = getattr(op, "kv_dtype", None) or op.dtype
    rate = np.maximum(_ops_per_clk(op.dtype, gpu, np.inf), _ops_per_clk(cached, gpu, 0.0)) * accumulate_rate(op, gpu)
    return _products(op, gpu) / (gpu.sm.count * gpu.clock.top_hz * rate)


def _ops_per_clk(dtype: str, gpu: Gpu, without: float) -> Amount:
    """Of a type's fastest unit, of each machine of a column; `without` one another type is multiplied."""
    element = element_of(dtype)
    rates = gpu.sm.tensor_ops_per_clk if element in gpu.sm.tensor_ops_per_clk else gpu.sm.fma_ops_per_clk
    return next((rate for known, rate in rates.items() if known == element), without)


def _products(op: Operator, gpu: Gpu) -> Amount:
    """Products and sums that no kernel does without [FLOP].

    Transforms (Winograd's, Fourier's) save those of filters that move pixel by pixel. No library has them for
    tensor cores.
    """
    if not isinstance(op, Conv2d) or op.dtype in gpu.sm.tensor_ops_per_clk:
        return op.matmul_flops
    transformed = (np.asarray(op.stride) == 1) & (np.asarray(op.ksize) > 1)
    return np.where(transformed, 0.0, op.matmul_flops)


def _read_bytes(op: Operator) -> Amount:
    """What is read at least once; the corners of a grid's cells may be the same for many points."""
    return 0.0 if isinstance(op, GridEncoding) else op.min_bytes - op.output_bytes


def _kept_bytes(op: Operator) -> Amount:
    """The operand that a framework keeps: a GEMM's B, experts' weights, an attention's cache."""
    if isinstance(op, Bmm | EncoderAttention):
        return 0.0
    if isinstance(op, Gemm):
        return bytes_of(op.weight_dtype or op.dtype) * op.batch * op.k * op.n
    if isinstance(op, Moe):
        return op.weight_bytes
    return op.kv_bytes if isinstance(op, Attention | MlaDecode) else 0.0
