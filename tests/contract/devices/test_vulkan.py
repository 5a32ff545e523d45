"""Vulkan kernels on whatever device is here, a software one included: right, valid, and leaving nothing behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from vulkan_here import needs_validation, needs_vulkan, validation

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.measuring import measure_suite
from simexplore.kernels.problems import check, problem_of
from simexplore.kernels.runner import Effort
from simexplore.kernels.suites import cases_of, suites_of
from simexplore.kernels.vulkan.device import VulkanBackend
from simexplore.kernels.vulkan.programs import KERNELS
from simexplore.kernels.vulkan.session import VulkanSession

COPY = Case("copy", {"elements": 5000, "dtype": "fp32"}, "elementwise", {"threads": 64, "per_thread": 16})


@pytest.fixture(scope="module")
def session() -> Iterator[VulkanSession]:
    """A session with the validation layers where they are installed; they must have stayed silent at its end."""
    needs_vulkan()
    with VulkanBackend(validate=validation()).open() as opened:
        yield opened
    assert opened.opened.instance.messages == []


def run_and_check(session: VulkanSession, case: Case, seed: int) -> None:
    problem = problem_of(case, session.problems)
    inputs = problem.inputs(case, np.random.default_rng(seed))
    kernel = session.prepare(case)
    check(case, kernel.run(inputs), problem.expected(case, inputs))
    kernel.close()


@pytest.mark.parametrize("suite", suites_of("vulkan"))
def test_every_kernel_of_every_suite_computes_what_numpy_does(session: VulkanSession, suite: str) -> None:
    able, _ = cases_of(suite, session.device, seed=3)
    assert len(able) >= 3
    for case in able:
        run_and_check(session, case, seed=len(case.key))


def test_the_suites_use_every_kernel(session: VulkanSession) -> None:
    drawn = [cases_of(suite, session.device, 0) for suite in suites_of("vulkan")]
    assert {case.kernel for able, unable in drawn for case in (*able, *unable)} == set(KERNELS)


@pytest.mark.parametrize(
    "case",
    [
        Case("copy", {"elements": 1, "dtype": "fp32"}, "elementwise", {"threads": 64, "per_thread": 16}),
        Case("silu_mul", {"elements": 1025, "dtype": "fp32"}, "elementwise", {"threads": 32, "per_thread": 3}),
        Case("softmax", {"rows": 3, "cols": 1, "dtype": "fp32"}, "rowwise", {"threads": 64}),
        Case("layernorm", {"rows": 2, "cols": 65, "dtype": "fp32"}, "rowwise", {"threads": 128}),
        Case("gemm", {"m": 1, "n": 1, "k": 1, "dtype": "fp32"}, "gemm_register", {"group_n": 8, "group_m": 8}),
        Case("gemm", {"m": 33, "n": 31, "k": 5, "dtype": "fp32"}, "gemm_register", {"group_n": 8, "group_m": 8}),
        Case("gemm", {"m": 17, "n": 5, "k": 33, "dtype": "fp32"}, "gemm_tiled", {"tile": 16}),
        Case("gemm", {"m": 17, "n": 5, "k": 65_535, "dtype": "fp32"}, "gemm_naive", {"group": 16}),
    ],
    ids=lambda case: case.key,
)
def test_edges(session: VulkanSession, case: Case) -> None:
    run_and_check(session, case, seed=1)


def test_loops_that_lavapipe_would_cut_short_are_refused(session: VulkanSession) -> None:
    long = Case("gemm", {"m": 4, "n": 4, "k": 65_536, "dtype": "fp32"}, "gemm_naive", {"group": 16})
    with pytest.raises(SimexploreError, match="65536 loop trips, expected at most 65535"):
        session.prepare(long)


def test_a_kernel_that_computes_something_else_is_found_out(session: VulkanSession) -> None:
    inputs = {"x": np.ones(5000, dtype=np.float32)}
    found = session.prepare(COPY).run(inputs)
    with pytest.raises(SimexploreError, match="wrong result"):
        check(COPY, found, {"y": np.full(5000, 1.001)})


def test_measuring_keeps_the_validation_layers_silent(tmp_path: Path) -> None:
    """Warm-up, rounds, the reference kernel and recorded command buffers, as `measure` uses them."""
    needs_validation()
    opened: list[VulkanSession] = []

    class Watched(VulkanBackend):
        def open(self, index: int = 0) -> VulkanSession:
            opened.append(super().open(index))
            return opened[-1]

    brief = Effort(warmup=1, sample_s=5e-4, min_samples=3, max_samples=3, case_s=0.01, rounds=2, more_rounds=0)
    outcome = measure_suite(Watched(validate=True), "neural", tmp_path / "neural.csv", effort=brief)
    assert outcome.measured >= 10
    assert len(opened) == 1
    assert opened[0].opened.instance.messages == []


def test_what_the_device_lacks_is_said(session: VulkanSession) -> None:
    needy = Case("copy", {"elements": 8, "dtype": "fp32"}, "elementwise", requires=frozenset({"a_quantum_core"}))
    with pytest.raises(SimexploreError, match="has no a_quantum_core"):
        session.prepare(needy)
    large = Case("copy", {"elements": 1 << 40, "dtype": "fp32"}, "elementwise", {"threads": 64, "per_thread": 16})
    with pytest.raises(SimexploreError, match=r"the device takes \d+ at most"):
        session.prepare(large)
    with pytest.raises(SimexploreError, match="found 'elemntwise'; did you mean 'elementwise'"):
        session.prepare(Case("copy", {"elements": 8, "dtype": "fp32"}, "elemntwise"))


def test_times_grow_with_the_work(session: VulkanSession) -> None:
    def least_s(elements: int) -> float:
        params = {"elements": elements, "dtype": "fp32"}
        kernel = session.prepare(Case("copy", params, "elementwise", {"threads": 64, "per_thread": 16}))
        kernel.run({"x": np.zeros(elements, dtype=np.float32)})
        return min(kernel.sample(3).time_s for _ in range(9))

    assert 3.0 < least_s(1 << 19) / least_s(1 << 15) < 150.0


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_two_thousand_dispatches_leak_nothing() -> None:
    needs_vulkan()

    def resident_bytes() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    x = np.zeros(5000, dtype=np.float32)
    with VulkanBackend(validate=validation()).open() as session:

        def two_hundred() -> None:
            kernel = session.prepare(COPY)
            kernel.run({"x": x})
            kernel.sample(199)
            kernel.close()

        for _ in range(4):
            two_hundred()
        before = resident_bytes()
        for _ in range(10):
            two_hundred()
        grown = resident_bytes() - before
        assert session.opened.instance.messages == []
    assert grown < 4 * 2**20, f"{grown / 2000:.0f} bytes a dispatch"


def test_the_validation_layers_are_heard() -> None:
    needs_validation()
    with VulkanBackend(validate=True).open() as session:
        vk = session.opened.vk
        nothing = vk.VkBufferCreateInfo(size=0, usage=vk.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT)
        vk.vkDestroyBuffer(session.opened.handle, vk.vkCreateBuffer(session.opened.handle, nothing, None), None)
        assert any("size" in message for message in session.opened.instance.messages)
