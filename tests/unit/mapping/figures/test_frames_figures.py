"""What a cluster is asked for a frame, and what stays on the GPU, against figures worked out by hand."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from round_gpu import assert_demand

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.sim.hardware.ngpc.nfp import Field, Level
from simexplore.sim.mapping.frames import Frame, frame_of, fused_kernel
from simexplore.workloads import ops
from simexplore.workloads.graph import Graph, Node

FILE = Path(__file__).resolve().parents[3] / "data" / "round-ngpc.yaml"
MISSING = 2 * 1600 * 27 / 1e6 / (1 + 2 * 1600 * 27 / 1e6)
"""Of two batches of 1600 queries, 12 B in and 15 B out, in 1 MB of L2."""


@cache
def machine(**changes: str) -> tuple[Gpu, Ngpc]:
    gpu = load_arch(FILE, {f"ngpc.encoding.{key}": value for key, value in changes.items()})
    assert gpu.ngpc is not None
    return gpu, gpu.ngpc


def encoding(**changes: Any) -> ops.GridEncoding:
    """A dense level of 8 x 8 points and a hashed one of 32 x 32 in 256 entries, of 4 B each."""
    fields = {"queries": 1000, "idle": 200, "dims": 2, "levels": 2, "features": 2, "log2_entries": 8, "base": 8}
    return ops.GridEncoding(**{**fields, "finest": 32, **changes}, dtype="fp16")


def network(**changes: Any) -> ops.FusedMlp:
    return ops.FusedMlp(**{"queries": 1000, "inputs": 32, "width": 64, "hidden": 2, "outputs": 3, **changes})


def rays(count: int, instructions: int, loads: int, carried: int, written: int) -> ops.RayKernel:
    return ops.RayKernel(
        rays=count,
        read_bytes=9,
        write_bytes=written,
        instructions=instructions,
        carried_instructions=carried,
        dependent_loads=loads,
    )


def graph(*work: ops.Operator) -> Graph:
    return Graph("frame", tuple(Node.of(str(number), op) for number, op in enumerate(work)))


def frame(*work: ops.Operator, **changes: str) -> Frame:
    found = frame_of(graph(*work), machine(**changes)[1])
    assert found is not None
    return found


WHOLE = (
    rays(300, 50, 4, carried=10, written=11),
    encoding(),
    network(),
    network(outputs=4),
    ops.HostRead(words=1),
    encoding(queries=500, idle=0),
    network(outputs=9),
    rays(100, 20, 1, carried=0, written=5),
)
LEVELS = (Level(8, 64, False), Level(32, 256, True))
COARSE, HASHED = LEVELS


def test_a_whole_frame() -> None:
    """Layers are those up to the second encoding; 800 + 500 rays are still under way.

    Of the first network one output goes to the GPU, of the last all four: 5 x 24 bits. A level of 1024 B is too large.
    """
    found = frame(*WHOLE)
    layers = ((32, 64), (64, 64), (64, 3), (32, 64), (64, 64), (64, 4))
    assert found.asked.field == Field(2, LEVELS, 4.0, layers)
    assert found.asked.spilled == (HASHED,)
    assert (found.asked.queries, found.asked.input_bytes, found.asked.result_bytes) == (1300, 12, 15)
    assert (found.name, found.threads, found.frame_bytes) == ("frame", 300, 500)
    assert found.instructions == 300 * 40 + 100 * 20 + 1300 * 30
    assert found.dependent_loads == 300 * 4 + 100


def test_the_gpus_part_is_one_kernel() -> None:
    """300 rays on three CTAs."""
    gpu, ngpc = machine()
    assert_demand(
        fused_kernel(frame(*WHOLE), gpu, ngpc),
        {
            "kernel": "rest_fused",
            "grid.ctas": 3,
            "grid.warps_per_cta": 4,
            "grid.registers_per_thread": 64,
            "grid.shared_bytes_per_cta": 0,
            "work.fma_ops": 2 * (14_000 + 39_000) / 3,
            "work.l2_read_bytes": 1300 * 15 / 3,
            "work.l2_write_bytes": (1300 * 12 + 500) / 3,
            "work.dram_read_bytes": 1300 * 15 * MISSING / 3,
            "work.dram_write_bytes": (1300 * 12 * MISSING + 500) / 3,
            "latency.bytes_in_flight": 128 * 15,
            "latency.chain_cycles": 1300 / 300 * 30,
            "latency.setup_cycles": 200,
        },
    )


def test_a_frame_of_few_rays_has_a_cta() -> None:
    gpu, ngpc = machine()
    demand = fused_kernel(frame(encoding(), network()), gpu, ngpc)
    assert demand.grid.ctas.tolist() == [1.0]
    assert demand.latency.chain_cycles.tolist() == [0.0]
    assert frame(encoding(), network()).threads == 1
    assert frame(encoding(), network()).frame_bytes == 0


@pytest.mark.parametrize(
    ("policy", "sram", "entry_bytes", "spilled"),
    [
        ("assume_fits", "1 kB", 4, ()),
        ("narrow", "1 kB", 2, ()),  # 512 B in 8 bits
        ("narrow", "511 B", 2, (HASHED,)),
        ("narrow", "1024 B", 4, ()),  # it fits as it is
        ("spill", "1024 B", 4, ()),
        ("spill", "1 kB", 4, (HASHED,)),
        ("spill", "255 B", 4, LEVELS),
    ],
)
def test_what_becomes_of_tables_that_are_too_large(
    policy: str, sram: str, entry_bytes: float, spilled: tuple[Level, ...]
) -> None:
    asked = frame(encoding(), network(), overflow=policy, sram=sram).asked
    assert asked.field.entry_bytes == entry_bytes
    assert asked.spilled == spilled


def gemm(k: int, n: int) -> ops.Gemm:
    return ops.Gemm(m=1000, k=k, n=n, dtype="fp16")


def test_layers_one_by_one() -> None:
    """A layer belongs to the network before it where it takes as many inputs as that has outputs."""
    relu = ops.Relu(elements=10)
    found = frame(gemm(7, 7), encoding(), gemm(32, 64), relu, gemm(64, 16), relu, gemm(32, 8), gemm(8, 3), network())
    # Three networks: the first and the second give the GPU one output each, the last its three.
    assert found.asked.field.layers == ((32, 64), (64, 16), (32, 8), (8, 3), (32, 64), (64, 64), (64, 3))
    assert found.asked.result_bytes == 5 * 3
    assert frame(encoding(), network(hidden=1)).asked.field.layers == ((32, 64), (64, 3))


def test_an_encoding_alone_gives_a_value() -> None:
    found = frame(encoding())
    assert found.asked.field.layers == ((1, 1),)
    assert found.asked.result_bytes == 3


def test_other_graphs_are_no_frames() -> None:
    _, ngpc = machine()
    assert frame_of(graph(network()), ngpc) is None
    assert frame_of(graph(encoding(), ops.Softmax(rows=1, cols=1)), ngpc) is None
