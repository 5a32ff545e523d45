"""One row of C → a matrix-vector kernel on the FMA pipes: cuBLAS's and PyTorch's GEMV.

A CTA computes one column of C. Its threads walk along k together, 16 bytes of B each a step, and add up their sums
once at the end; there are no tiles, no barriers in the loop, and little code to fetch before it.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, KernelDemand
from simexplore.sim.hardware import cache
from simexplore.sim.mapping.columns import Pairs, ceil_div, column, constant
from simexplore.sim.mapping.matmul import operands
from simexplore.sim.mapping.matmul.gemm import gemm_demands, takes_two_stages
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Gemm

THREADS = 128.0
BYTES_OF_LOAD = 16.0
COLUMNS_OF_CTA = 1.0
"""More a CTA were tried: on the L40S and A100 one fits the measured rows best."""


def gemm_algorithms(op: Gemm, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The tiled kernels, of as many stages as the library takes, and for rows with m = 1 the matrix-vector kernel."""
    tiled = _tiled(op, gpu, conditions)
    single = column(op.m)[:, 0] == 1.0
    plain = op.dtype in gpu.sm.tensor_ops_per_clk and (op.activation_dtype or op.dtype) == op.dtype
    if not (gpu.library.gemm.gemv and plain and np.any(single)):
        return tiled
    return (*tiled, Algorithm((_gemv(op, gpu, conditions),), single))


def _tiled(op: Gemm, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    two_stage = takes_two_stages(op, gpu)
    ways = []
    if not np.all(two_stage):
        ways.append(Algorithm(gemm_demands(op, gpu, conditions), ~two_stage if np.any(two_stage) else ANY_ROW))
    if np.any(two_stage):
        ways.append(Algorithm(gemm_demands(op, gpu, conditions, two_stage=True), two_stage))
    return tuple(ways)


def _gemv(op: Gemm, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library, element = gpu.library.gemm, bytes_of(op.weight_dtype or op.dtype)
    n, k, batch = (column(x) for x in (op.n, op.k, op.batch))
    width = constant(COLUMNS_OF_CTA)
    columns = ceil_div(n, width)
    ctas = batch * columns
    one = 0.0 * columns + 1.0
    traffic = operands.dram_traffic(op, gpu, conditions.cache, (one, columns), (one, width), one, Pairs(1, 1))
    hit = cache.mean_latency_cycles(gpu)
    at_once = THREADS * BYTES_OF_LOAD
    covered = n / columns
    return KernelDemand(
        kernel="gemv",
        ctas=ctas,
        warps_per_cta=constant(THREADS / 32.0),
        registers_per_thread=constant(64.0),
        shared_bytes_per_cta=constant(1024.0),
        fma_ops=2.0 * covered * k,
        l2_rate=library.l2_rate,
        dram_rate=library.gemv_dram_rate,
        l2_read_bytes=(covered + 1.0) * k * element,
        l2_write_bytes=covered * bytes_of(op.output_dtype),
        dram_read_bytes=traffic.read / ctas,
        dram_write_bytes=traffic.write / ctas,
        bytes_in_flight=(width + 1.0) * at_once * library.gemv_unroll,
        exposed_cycles=constant(2.0 * hit + 5.0 * gpu.sm.shared_latency_cycles),  # the sum across warps, the store
        setup_cycles=constant(library.gemv_round_trips * hit),
        label=(one, width, one),
    )
