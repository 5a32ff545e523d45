"""One row of C → a matrix-vector kernel on the FMA pipes: cuBLAS's and PyTorch's GEMV.

A CTA computes one column of C: with more of them, which were tried, the rows measured on the L40S and A100 fit worse.
Its threads walk along k together, 16 bytes of A and of B each a step, and add up their sums once at the end; there are
no tiles, no barriers in the loop, and little code to fetch before it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, BoolArray, Choice, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.libraries import gemm_rules
from simexplore.sim.mapping.columns import Pairs, constant
from simexplore.sim.mapping.matmul import operands
from simexplore.sim.mapping.matmul.gemm import gemm_demands, stores_narrow
from simexplore.workloads.dtypes import bytes_of, element_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Bmm, Gemm

THREADS = 128.0
REGISTERS = 64.0
"""Of a thread: sums, loads in flight and addresses."""
SHARED_BYTES = 1024.0
"""Of a CTA: one FP32 sum a thread, twice."""
SUM_TURNS = 5.0
"""Turns through shared memory in which the sums of all warps are added: log2 of a warp's lanes."""
BYTES_OF_LOAD = 16.0


def gemm_algorithms(op: Gemm, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The tiled kernels, of as many stages as the library takes, those for rows of operands that are not aligned, and
    for rows with m = 1 the matrix-vector kernel."""
    rules = gemm_rules(gpu)
    single = rules.takes_matrix_vector(op, gpu) & np.bool_(not stores_narrow(op))
    odd = _left_to_elders(op, gpu)
    two_stage = rules.takes_two_stages(op, gpu) & ~odd
    others = ~(two_stage | odd)
    ways = []
    if np.any(others):
        ways.append(Algorithm(gemm_demands(op, gpu, conditions), ANY_ROW if np.all(others) else others))
    if np.any(two_stage):
        ways.append(Algorithm(gemm_demands(op, gpu, conditions, two_stage=True), two_stage))
    if np.any(odd):
        ways.append(Algorithm(_elder_demands(op, gpu, conditions), odd))
    if np.any(single):
        ways.append(Algorithm((_gemv(op, gpu, conditions),), single))
    return tuple(ways)


def _left_to_elders(op: Gemm, gpu: Gpu) -> BoolArray:
    """Rows whose operands bulk copies cannot fetch, on machines whose kernels fetch so; shape (rows,) or (1,)."""
    unaligned = gpu.library.gemm.unaligned is not None and element_of(op.dtype) in gpu.sm.tensor_ops_per_clk
    narrow: BoolArray = operands.load_bytes(op)[:, 0] < operands.VECTOR_BYTES
    return narrow & np.bool_(unaligned)


def _elder_demands(op: Gemm, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The kernels of the generation before, at the rate that the tensor cores have for their instruction."""
    library, elder = gpu.library.gemm, gpu.library.gemm.unaligned
    assert elder is not None
    tensor = library.tensor.model_copy(update={"instruction": "mma_sync", "tiles": elder.tiles})
    pipeline = library.pipeline.model_copy(update={"k_tile_bytes": elder.k_tile_bytes, "max_stages": elder.max_stages})
    memory = library.memory.model_copy(update={"multicast": 1})
    gemm = library.model_copy(update={"tensor": tensor, "pipeline": pipeline, "memory": memory})
    older = gpu.model_copy(update={"library": gpu.library.model_copy(update={"gemm": gemm})})
    *before, kernel = gemm_demands(op, older, conditions)
    return (*before, kernel.but(work={"tensor_ops": kernel.work.tensor_ops / elder.rate}))


def bmm_algorithms(op: Bmm, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:
    """The same kernels; B is as warm as what other operators made."""
    cache = replace(conditions.cache, weight_copies=conditions.cache.activation_copies)
    return gemm_algorithms(op, gpu, replace(conditions, cache=cache))


def _gemv(op: Gemm, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    library, element = gpu.library.gemm, bytes_of(op.weight_dtype or op.dtype)
    n, k, batch = (column(x) for x in (op.n, op.k, op.batch))
    ctas, one = batch * n, constant(1.0)
    traffic = operands.dram_traffic(op, gpu, conditions.cache, (one, n), (one, one), one, Pairs(1, 1))
    hit = gpu.l2.mean_latency_cycles
    return KernelDemand(
        kernel="gemv",
        grid=Grid(
            ctas=ctas,
            warps_per_cta=constant(THREADS / gpu.sm.warp_size),
            registers_per_thread=constant(REGISTERS),
            shared_bytes_per_cta=constant(SHARED_BYTES),
        ),
        work=Work(
            fma_ops=2.0 * k,
            l2_read_bytes=2.0 * k * element,
            l2_write_bytes=constant(bytes_of(op.output_dtype)),
            dram_read_bytes=traffic.read / ctas,
            dram_write_bytes=traffic.write / ctas,
        ),
        latency=Latency(
            bytes_in_flight=constant(2.0 * THREADS * BYTES_OF_LOAD * library.gemv.unroll),
            exposed_cycles=constant(2.0 * hit + SUM_TURNS * gpu.sm.latency.shared_cycles),
            setup_cycles=constant(library.gemv.setup_round_trips * hit),
        ),
        overlap=Overlap(
            l2_rate=library.memory.l2_rate,
            dram_rate=library.gemv.dram_rate,
        ),
        choice=Choice(
            label=(one, one, one),
        ),
    )
