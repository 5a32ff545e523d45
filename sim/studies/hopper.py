"""The Hopper paper's micro-benchmarks, and those of its reproductions, beside what the machines give for them.

Each published figure (`workloads/published/hopper.yaml`) names a benchmark of this file, a machine and parameters. A
benchmark is a kernel demand (`sim.mapping.micro`), played as events on that machine. No published figure is an input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import system_of
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import RESOURCES, KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.hardware.power import board_of
from simexplore.sim.mapping import micro
from simexplore.sim.mapping.matmul.tiles import INSTRUCTION_K_BYTES, WGMMA_ROWS
from simexplore.sim.play.devices.board import RunningBoard
from simexplore.sim.play.devices.kernel import GpuKernel
from simexplore.sim.play.engine import Clock, seconds
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.probes import Activity, Probes
from simexplore.sim.play.sm_array import SmArray
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Gemm

MiB = 2.0**20
GEMM_SIZES = (1024, 2048, 4096, 5120, 6144, 8192, 10240, 12288, 14336, 16384, 20480)
"""Sides that the search for the fastest matrix multiplication tries; m, n and k each are one of them."""


def loop_seconds(demand: KernelDemand, gpu: Gpu) -> float:
    """Time of one iteration of a micro-benchmark's loop, played as events on an idle GPU [s]."""
    clock = Clock()
    board = RunningBoard("gpu", board_of(gpu), 0.0, clock)  # the loop has run for so long that its budget is spent
    network = FlowNetwork(clock, dict.fromkeys(RESOURCES, 1.0), boards=[board])
    board.on_look(network.settle_soon)
    array = SmArray(clock, network, gpu.sm.count, gpu.sm.max_ctas, Probes(()))
    ended = array.launch(
        GpuKernel(demand, system_of(gpu).place(), Conditions()), Activity(demand.kernel, 0, demand.kernel)
    )
    clock.run(until=ended)
    return seconds(clock.now_fs) / micro.ITERATIONS


def on_tensor_clock(gpu: Gpu, data: str) -> Gpu:
    """The GPU as tensor benchmarks find it: at the clock that its tensor peaks hold at, with the energy of that clock.

    With `zeros` as data no wire switches, so the tensor cores and what feeds them draw nothing beyond idle.
    """
    hz = gpu.clock.tensor_spec_hz or gpu.clock.boost_hz
    share = board_of(gpu).scale(hz / gpu.clock.boost_hz) if data == "random" else 0.0
    energy = gpu.energy.model_copy(
        update={
            "tensor_j_per_op": {dtype: share * joules for dtype, joules in gpu.energy.tensor_j_per_op.items()},
            "shared_j_per_byte": share * gpu.energy.shared_j_per_byte,
        }
    )
    return gpu.model_copy(
        update={"clock": gpu.clock.model_copy(update={"boost_hz": hz, "max_hz": None}), "energy": energy}
    )


def mma_per_clock(gpu: Gpu, m: int, n: int, k: int, dtype: str) -> float:
    """FMAs per clock and SM of mma.sync in four chains of each of an SM's warps, one warp a sub-core."""
    warps, ilp = gpu.sm.schedulers, 4
    gpu = on_tensor_clock(gpu, "zeros")
    clocks = loop_seconds(micro.mma_sync_loop(gpu, (m, n, k), dtype, warps, ilp), gpu) * gpu.clock.top_hz
    return warps * ilp * m * n * k / clocks


def mma_latency(gpu: Gpu, m: int, n: int, k: int, dtype: str) -> float:
    """Clocks of one mma.sync after another: one warp, one chain."""
    gpu = on_tensor_clock(gpu, "zeros")
    return loop_seconds(micro.mma_sync_loop(gpu, (m, n, k), dtype, warps=1, ilp=1), gpu) * gpu.clock.top_hz


def mma_rate(gpu: Gpu, m: int, n: int, k: int, dtype: str, sparse: bool = False) -> float:
    """Tera-operations per second of mma.sync on the whole chip, skipped ones counted."""
    warps, ilp = 16, 4
    gpu = on_tensor_clock(gpu, "zeros")
    loop = micro.mma_sync_loop(gpu, (m, n, k), dtype, warps, ilp, sparse)
    return gpu.sm.count * warps * ilp * 2.0 * m * n * k / loop_seconds(loop, gpu) / 1e12


def wgmma_interval(gpu: Gpu, n: int, dtype: str, operands: micro.Operands, sparse: bool = False) -> float:
    """Clocks from one wgmma m64nNk to the next of a long chain."""
    gpu = on_tensor_clock(gpu, "zeros")
    return loop_seconds(micro.wgmma_loop(gpu, n, dtype, operands, sparse), gpu) * gpu.clock.top_hz


def wgmma_rate(
    gpu: Gpu, n: int, dtype: str, operands: micro.Operands, data: str = "zeros", sparse: bool = False
) -> float:
    """Tera-operations per second of wgmma on the whole chip, skipped ones counted."""
    gpu = on_tensor_clock(gpu, data)
    k = INSTRUCTION_K_BYTES / bytes_of(dtype) * (2.0 if sparse else 1.0)
    loop = micro.wgmma_loop(gpu, n, dtype, operands, sparse)
    return gpu.sm.count * 2.0 * WGMMA_ROWS * n * k / loop_seconds(loop, gpu) / 1e12


def dpx(gpu: Gpu, function: str) -> float:
    """Calls per clock of one SM that runs one CTA of 1024 threads."""
    clocks = loop_seconds(micro.dpx_loop(gpu, function, warps=32), gpu) * gpu.clock.top_hz
    return 32 * gpu.sm.warp_size / clocks


def chase(gpu: Gpu, mib: float, home: str = "any", engine: str = "load") -> float:
    """Clocks of a load in a chase over `mib` MiB, by ordinary loads or bulk copies."""
    copies = micro.instructions_of(gpu).bulk_copy
    added = copies.latency_cycles if engine == "bulk_copy" and copies is not None else 0.0
    return loop_seconds(micro.pointer_chase(gpu, mib * MiB, home, added), gpu) * gpu.clock.top_hz


def chase_knee(gpu: Gpu, level: str) -> float:
    """Footprint [MB] at which a chase is half-way to the next plateau: past the `near` L2, or past the whole `l2`."""
    sizes = np.geomspace(1.0, 8.0 * gpu.l2.capacity_bytes, 4000)
    latency = micro.chase_latency_cycles(gpu, sizes)
    near, far = gpu.l2.near_latency_cycles, gpu.l2.far_latency_cycles
    mean = near + (far - near) * (1.0 - 1.0 / gpu.l2.partitions)
    half_way = 0.5 * ((near + mean) if level == "near" else (mean + gpu.dram_latency_cycles))
    return float(sizes[np.argmax(latency >= half_way)]) / 1e6


def bulk_copy(gpu: Gpu, kib: int, ctas_per_sm: int, rank: int = 1) -> float:
    """GiB/s that CTAs fetch with bulk copies of `kib` KiB, each waiting for its own before it asks for the next."""
    loop = micro.bulk_copy_loop(gpu, kib * 1024, ctas_per_sm, rank)
    return gpu.sm.count * ctas_per_sm * kib * 1024 / loop_seconds(loop, gpu) / 2.0**30


def cluster_copy(gpu: Gpu, cluster: int) -> float:
    """TB/s that all SMs read from each other's shared memory in clusters of this size."""
    loop = micro.cluster_copy_loop(gpu, cluster, load_bytes=4096)
    return gpu.sm.count * 4096 / loop_seconds(loop, gpu) / 1e12


LOOPED = Conditions(runs_before=5.0, runs=30.0)
"""How such searches run each size: a few times to warm up, and some tens of times."""


def best_gemm(gpu: Gpu, dtype: str) -> float:
    """TFLOPS of the fastest matrix multiplication that the library does among square-ish sizes."""
    m, n, k = (side.ravel() for side in np.meshgrid(GEMM_SIZES, GEMM_SIZES, GEMM_SIZES[::2]))
    op = Gemm(m=m, n=n, k=k, dtype=dtype)
    return float(np.max(op.flops / predict(op, gpu, LOOPED).time_s)) / 1e12


def square_gemm(gpu: Gpu, m: int, n: int, k: int, dtype: str) -> float:
    """TFLOPS of one matrix multiplication of the library."""
    op = Gemm(m=m, n=n, k=k, dtype=dtype)
    return float(op.flops / predict(op, gpu, LOOPED).time_s[0]) / 1e12


BENCHMARKS: Mapping[str, Callable[..., float]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            mma_per_clock,
            mma_latency,
            mma_rate,
            wgmma_interval,
            wgmma_rate,
            dpx,
            chase,
            chase_knee,
            bulk_copy,
            cluster_copy,
            best_gemm,
            square_gemm,
        )
    }
)
"""By the name that the published figures give."""

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "hopper.yaml"


def study() -> list[dict[str, Any]]:
    """Every published figure beside what its benchmark gives: records of `paper, quantity, unit, published, simulated,
    ratio, status, source`, and the `reason` of a known gap.

    Ratio is simulated over published. Status is what the published table expects, `enforced` (within 10 %),
    `known_gap`, or `input` (the machine's file holds the figure in another form); tests hold it to the ratio. Machines
    are taken as their sources state them: what kernels of libraries taught of their efficiency does not bound a loop of
    one instruction.
    """
    table = read_document(PUBLISHED).data
    machines = {name: load_arch(f"{name}@facts") for name in sorted({group["arch"] for group in table["figures"]})}
    return [record for group in table["figures"] for record in _records(group, table, machines[group["arch"]])]


def _records(group: Mapping[str, Any], table: Mapping[str, Any], gpu: Gpu) -> Iterator[dict[str, Any]]:
    """The figures of one benchmark on one machine."""
    for row in group["rows"]:
        given = {**group.get("given", {}), **row}
        published, gap, known = float(given.pop("published")), given.pop("known_gap", None), given.pop("input", False)
        simulated = BENCHMARKS[group["benchmark"]](gpu, **given)
        yield {
            "paper": table["paper"],
            "quantity": group["quantity"].format(**given),
            "unit": group["unit"],
            "published": published,
            "simulated": simulated,
            "ratio": simulated / published,
            "status": "input" if known else "enforced" if gap is None else "known_gap",
            "source": table["sources"][group["source"]],
            **({} if gap is None else {"reason": table["reasons"][gap]}),
        }
