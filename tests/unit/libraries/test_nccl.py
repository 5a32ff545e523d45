"""NCCL's rules: which way its tuner runs, just below and above each change, and how many channels and rounds."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.library import CollectiveLibrary
from simexplore.sim.demand import FloatArray
from simexplore.sim.libraries import nccl

KIB, MIB = 1024.0, 1024.0**2
NAMES = {nccl.LL: "LL", nccl.LL128: "LL128", nccl.SIMPLE: "Simple", nccl.NVLS: "NVLS"}


@cache
def library(name: str) -> CollectiveLibrary:
    found = load_arch(f"nvidia/{name}@facts").collective_library
    assert found is not None
    return found


def run(name: str, op: str, gpus: int, size: float) -> str:
    """The way that the tuner runs for a tensor of so many bytes."""
    begins, ends = nccl.spans(op, np.array([float(gpus)]), library(name), nvlink=name not in ("l40s", "t4"))
    (way,) = np.flatnonzero((begins[:, 0] <= size) & (size < ends[:, 0]))
    return NAMES[int(way)]


def by_the_sources(op: str, gpus: int, size: float) -> dict[str, float]:
    """What the tuner of an H200 reckons with, written out [us]."""
    steps = 2 * (gpus - 1) if op == "all_reduce" else gpus - 1
    over = gpus / steps * 1e3  # GB/s to bytes a us of the tensor
    whole = 12 * 30.0
    return {
        "LL": 6.6 + 0.6 * steps + size / (min(141.0, whole / 2) * over),
        "LL128": 14.0 + 1.9 * steps + size / (min(0.92 * whole, 12 * 36.7) * over),
        "Simple": 8.4 + 3.4 * steps + size / (whole * over),
    }


@pytest.mark.parametrize("op", ["all_reduce", "all_gather", "reduce_scatter"])
@pytest.mark.parametrize("gpus", [2, 3, 4])
def test_the_way_is_the_one_that_the_tuner_reckons_to_be_fastest(op: str, gpus: int) -> None:
    for size in np.geomspace(256.0, 2.0**30, 200):
        reckoned = by_the_sources(op, gpus, float(size))
        assert run("h200-sxm", op, gpus, float(size)) == min(reckoned, key=reckoned.__getitem__)


@pytest.mark.parametrize(
    ("machine", "op", "gpus", "size", "way"),
    [  # where measured times jump, or bend
        ("a100-sxm-80gb", "all_reduce", 2, 512 * KIB, "LL"),
        ("a100-sxm-80gb", "all_reduce", 2, 1 * MIB, "Simple"),
        ("a100-sxm-80gb", "all_gather", 8, 4 * MIB, "LL128"),
        ("h200-sxm", "all_reduce", 8, 1 * MIB, "LL"),
        ("h200-sxm", "all_reduce", 8, 2 * MIB, "NVLS"),
        ("h200-sxm", "all_reduce", 8, 512 * MIB, "NVLS"),
        ("h200-sxm", "all_reduce", 4, 512 * MIB, "Simple"),
        ("h200-sxm", "all_gather", 8, 512 * MIB, "Simple"),
        ("b200", "all_gather", 8, 8 * MIB, "LL"),
        ("b200", "all_gather", 8, 16 * MIB, "Simple"),
        ("b200", "all_reduce", 8, 4 * MIB, "NVLS"),
        ("l40s", "all_reduce", 8, 1 * MIB, "Simple"),
        ("l40s", "all_reduce", 8, 64 * KIB, "LL"),
    ],
)
def test_where_ways_change(machine: str, op: str, gpus: int, size: float, way: str) -> None:
    assert run(machine, op, gpus, size) == way


def test_links_that_reorder_lines_have_no_ll128_and_pcie_no_switch() -> None:
    begins, ends = nccl.spans("all_reduce", np.array([2.0, 8.0]), library("l40s"), nvlink=False)
    assert not np.any(begins[[nccl.LL128, nccl.NVLS]] < ends[[nccl.LL128, nccl.NVLS]])


@pytest.mark.filterwarnings("error")
def test_switches_do_not_reduce_for_more_gpus_than_the_least_step_serves() -> None:
    begins, ends = nccl.spans("all_reduce", np.array([8.0, 64.0]), library("h200-sxm"), nvlink=True)
    assert (begins < ends)[nccl.NVLS].tolist() == [True, False]


def test_one_gpu_alone_has_one_way() -> None:
    begins, ends = nccl.spans("all_reduce", np.array([1.0]), library("h200-sxm"), nvlink=True)
    assert np.flatnonzero(begins < ends).tolist() == [nccl.LL]


def one(value: float) -> FloatArray:
    return np.array([value])


@pytest.mark.parametrize(
    ("protocol", "gpus", "size", "channels"),
    [
        (nccl.LL, 2, 4 * KIB, 1.0),
        (nccl.LL, 2, 16 * KIB, 2.0),  # 4 KiB for each GPU
        (nccl.LL, 8, 64 * KIB, 2.0),
        (nccl.LL, 2, 16 * MIB, 24.0),  # two on each of 12 rings
        (nccl.LL128, 8, 50 * KIB, 10.0),
        (nccl.SIMPLE, 8, 320 * KIB, 10.0),
    ],
)
def test_channels_open_with_the_tensor(protocol: int, gpus: int, size: float, channels: float) -> None:
    assert nccl.ring_channels(protocol, one(gpus), one(size), library("h200-sxm")) == pytest.approx(channels)


def test_threads_of_a_channel_store_4_kib_at_once() -> None:
    assert nccl.first_store(one(2), one(4 * KIB), one(1)) == 2 * KIB
    assert nccl.first_store(one(2), one(1 * MIB), one(1)) == 4 * KIB


@pytest.mark.parametrize(
    ("size", "rounds"),
    [  # 16 channels, 8 GPUs: 128 chunks at once
        (1 * MIB, 1.0),
        (4 * MIB, 2.0),  # of 16 KiB
        (8 * MIB, 4.0),
        (12 * MIB, 4.0),  # of 32 KiB would be three
        (32 * MIB, 8.0),
        (256 * MIB, 32.0),  # of 64 KiB
        (4096 * MIB, 256.0),  # of 128 KiB
    ],
)
def test_rounds_within_the_switches(size: float, rounds: float) -> None:
    nvls = library("h200-sxm").tuner.nvls
    assert nvls is not None
    assert nccl.nvls_rounds(one(8), one(size), nvls) == pytest.approx(rounds)


def test_channels_and_chunks_of_an_all_to_all() -> None:
    each, channels = nccl.p2p_channels(one(8), one(1 * MIB))
    assert (each.item(), channels.item()) == (2.0, 16.0)
    each, channels = nccl.p2p_channels(one(8), one(64 * MIB))
    assert (each.item(), channels.item()) == (32.0, 32.0)
    assert nccl.first_chunk(one(2), one(1 * MIB), one(8)) == 64 * KIB
    assert nccl.first_chunk(one(2), one(1024 * MIB), one(32)) == 512 * KIB
