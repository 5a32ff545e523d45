"""The torch backend, on the CPU where PyTorch is installed; what it says where it is not."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device
from simexplore.kernels.backend.registry import backend_of
from simexplore.kernels.measuring import measure_suite
from simexplore.kernels.problems import check, problem_of
from simexplore.kernels.runner import Effort
from simexplore.kernels.suites import cases_of
from simexplore.kernels.torch_ import device as torch_device
from simexplore.kernels.torch_.device import TorchBackend
from simexplore.kernels.torch_.kernels import CALLS
from simexplore.kernels.torch_.problems import PROBLEMS
from simexplore.kernels.torch_.suites import case_of

GPU = Device("torch", 1, "any GPU", "discrete GPU", "none", frozenset({"cuda", "tf32"}))
CPU = Device("torch", 0, "any CPU", "CPU", "none")
BRIEF = Effort(warmup=1, sample_s=1e-4, min_samples=2, max_samples=2)
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="the package torch is not installed")


def test_without_torch_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_device, "_torch", lambda: None)
    (missing,) = backend_of("torch").report().missing
    assert missing.mend == "pip install torch"
    with pytest.raises(SimexploreError, match="pip install torch"):
        TorchBackend().open()


@pytest.mark.parametrize("device", [CPU, GPU], ids=["cpu", "gpu"])
def test_every_case_of_every_suite_has_a_call(device: Device) -> None:
    able, unable = cases_of("micro", device, 0)
    assert len(able) > 15
    assert {case.op for case in able} == set(CALLS)
    assert all(case.requires - device.features for case in unable)
    if device is GPU:
        assert {case.dtype for case in unable} == {"fp8"}


def test_references_agree_with_direct_sums() -> None:
    """Attention and convolution by loops over single elements."""
    rng = np.random.default_rng(0)
    case = case_of("conv2d", "fp32", batch=2, cin=3, cout=4, ksize=3, hw=7, stride=2, pad=1)
    given = PROBLEMS["conv2d"].inputs(case, rng)
    padded = np.pad(given["x"], ((0, 0), (0, 0), (1, 1), (1, 1))).astype(np.float64)
    expected = [
        [[[np.sum(padded[b, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * w) for j in range(4)] for i in range(4)]
         for w in given["w"]]
        for b in range(2)
    ]  # fmt: skip
    assert PROBLEMS["conv2d"].expected(case, given)["y"] == pytest.approx(np.array(expected))

    case = case_of("attention_prefill", "fp32", batch=1, heads=2, kv_heads=1, head_dim=4, seq_q=3, seq_kv=5)
    given = PROBLEMS["attention_prefill"].inputs(case, rng)
    for head in range(2):
        for row in range(3):
            seen = slice(0, 3 + row)
            scores = given["k"][0, 0, seen].astype(float) @ given["q"][0, head, row] / 2.0
            weights = np.exp(scores) / np.exp(scores).sum()
            found = PROBLEMS["attention_prefill"].expected(case, given)["o"][0, head, row]
            assert found == pytest.approx(weights @ given["v"][0, 0, seen])


@needs_torch
def test_every_kernel_of_the_cpu_suite_is_right_and_becomes_a_row(tmp_path: Path) -> None:
    outcome = measure_suite("torch", "micro", tmp_path / "torch.csv", effort=BRIEF)
    assert outcome.measured == len(cases_of("micro", CPU, 0)[0])


@needs_torch
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp64"])
def test_narrow_and_wide_types(dtype: str) -> None:
    case = case_of("gemm", dtype, m=16, n=24, k=32)
    with TorchBackend().open() as session:
        kernel = session.prepare(case)
        inputs = problem_of(case).inputs(case, np.random.default_rng(1))
        check(case, kernel.run(inputs), problem_of(case).expected(case, inputs))
        assert kernel.sample(2).time_s > 0.0


@needs_torch
def test_what_it_can_not_run_is_refused() -> None:
    with TorchBackend().open() as session:
        with pytest.raises(SimexploreError, match="torch has no call for"):
            session.prepare(Case("pointer_chase", {"dtype": "int32"}, "torch"))
        with pytest.raises(SimexploreError, match="has no fp8"):
            session.prepare(case_of("gemm", "fp8", m=16, n=16, k=16))
    with pytest.raises(SimexploreError, match="expected a device among"):
        TorchBackend().open(99)
