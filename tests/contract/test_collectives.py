"""Collectives on any machine: no tensor takes longer than a larger one, and more bandwidth is never slower."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.ops import FAMILIES

MACHINES = (
    "h200-sxm",
    "h200-sxm@facts",
    "a100-sxm-80gb",
    "b200",
    "l40s",
    "rtx-pro-6000",
    "v100-sxm",
    "t4",
    "h100-pcie",
)
OPS = ("all_reduce", "all_gather", "reduce_scatter", "alltoall", "custom_all_reduce")
SIZES = np.unique(np.round(2.0 ** np.linspace(3, 31, 600)).astype(np.int64))


def seconds(op: str, gpus: int, gpu: Gpu) -> FloatArray:
    column = FAMILIES[op](elements=SIZES, num_gpus=np.full(len(SIZES), gpus), dtype="bf16")  # type: ignore[call-arg]
    return predict(column, gpu, Conditions(launch="stream")).time_s


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("op", OPS)
def test_no_tensor_takes_longer_than_a_larger_one(machine: str, op: str) -> None:
    gpu = load_arch(f"nvidia/{machine}")
    for gpus in range(2, 9):
        times = seconds(op, gpus, gpu)
        assert np.all(np.diff(times) >= -1e-12 * times[1:]), gpus
        assert times[-1] > 10.0 * times[0]


@given(
    op=st.sampled_from(OPS),
    gpus=st.integers(2, 8),
    machine=st.sampled_from(("h200-sxm", "l40s", "b200")),
    factor=st.floats(1.0, 8.0),
)
def test_more_bandwidth_is_never_slower_and_fewer_gpus_neither(op: str, gpus: int, machine: str, factor: float) -> None:
    gpu = load_arch(f"nvidia/{machine}")
    link = "nvlink" if gpu.links.nvlink is not None else "pcie"
    now = getattr(gpu.links, link).bandwidth_bytes_per_s
    faster = load_arch(f"nvidia/{machine}", {f"links.{link}.bandwidth": f"{now * factor!r} B/s"})
    assert np.all(seconds(op, gpus, faster) <= seconds(op, gpus, gpu) * (1 + 1e-12))


@pytest.mark.parametrize("op", OPS)
def test_a_collective_of_one_gpu_takes_no_time(op: str) -> None:
    assert np.all(seconds(op, 1, load_arch("nvidia/h200-sxm")) == 0.0)


@pytest.mark.parametrize("op", OPS[:4])
def test_long_messages_come_near_the_link_and_stay_below_it(op: str) -> None:
    gpu = load_arch("nvidia/h200-sxm")
    passes = 2.0 if op == "all_reduce" else 1.0
    least = passes * SIZES[-1] * 2 * 0.75 / 450e9
    assert 1.0 < seconds(op, 4, gpu)[-1] / least < 2.0
