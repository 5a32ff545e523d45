"""The library's GEMM on a library that multiplies in host memory: what it is told and frees, what is said without."""

from __future__ import annotations

import ctypes

import pytest
from fake_cublas import FakeCublas
from fake_cuda import FakeCuda

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.cuda import cublas
from simexplore.kernels.cuda import device as cuda_device
from simexplore.kernels.cuda.cublas import TYPES, Heuristic
from simexplore.kernels.cuda.device import CudaBackend
from simexplore.kernels.runner import Effort, measure_case
from simexplore.kernels.suites import cases_of

BRIEF = Effort(warmup=1, sample_s=2e-3, max_launches=3, min_samples=2, max_samples=2)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeCublas:
    fake = FakeCublas()
    monkeypatch.setattr(cublas, "library", lambda: fake)
    monkeypatch.setattr(cublas, "is_here", lambda: True)
    return fake


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, library: FakeCublas) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(cuda_device, "bindings", lambda: fake)
    monkeypatch.setattr(cuda_device, "nvrtc_version", lambda: (13, 0))
    return fake


def gemm(dtype: str, m: int = 48, n: int = 32, k: int = 16) -> Case:
    return Case("gemm", {"m": m, "n": n, "k": k, "dtype": dtype}, "gemm_library")


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_multiplies_as_numpy_does_and_is_freed(cuda: FakeCuda, library: FakeCublas, dtype: str) -> None:
    """The fake counts columns first and transposes what it is told to: a wrong descriptor is a wrong result."""
    with CudaBackend().open() as session:
        measured = measure_case(session, gemm(dtype), seed=0, effort=BRIEF)
    assert measured.extra["waves"] == 1.5
    assert library.multiplications > 0
    assert library.made == {}
    assert cuda.memory == {}
    assert not any(cuda.alive.values())


def test_a_shape_that_the_library_does_not_take_is_said(cuda: FakeCuda, library: FakeCublas) -> None:
    library.has_kernel = False
    with CudaBackend().open() as session, pytest.raises(SimexploreError, match="no kernel for fp8 of 48 x 32 x 16"):
        session.prepare(gemm("fp8"))
    assert library.made == {}
    assert cuda.memory == {}
    with CudaBackend().open() as session, pytest.raises(SimexploreError, match=r"takes fp64, .* not fp4"):
        session.prepare(gemm("fp4"))


def test_the_suite_asks_for_every_type(cuda: FakeCuda) -> None:
    with CudaBackend().open() as session:
        able, unable = cases_of("gemm", session.device, 0)
    cases = [case for case in able if case.kernel == "gemm_library"]
    assert {case.dtype for case in cases} == set(TYPES)
    assert not unable
    for case in cases:
        assert case.dtype not in ("fp8", "int8") or all(case.count(side) % 16 == 0 for side in "mnk")


def test_without_the_library_its_kernels_are_left_out_and_how_to_get_it_is_said(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(cublas, "places_of", lambda name: iter(()))
    monkeypatch.setattr(cuda_device, "bindings", lambda: cuda)
    monkeypatch.setattr(cuda_device, "nvrtc_version", lambda: (13, 0))
    report = CudaBackend().report()
    assert [missing.mend for missing in report.missing] == ["pip install 'simexplore[cublas]'"]
    able, unable = cases_of("gemm", report.devices[0], 0)
    assert "gemm_library" not in {case.kernel for case in able}
    assert {case.kernel for case in unable} == {"gemm_library"}
    cublas.library.cache_clear()
    with pytest.raises(SimexploreError, match=r"cuBLASLt.*pip install 'simexplore\[cublas\]'"):
        cublas.library()


def test_results_of_the_heuristic_have_their_size_in_c() -> None:
    assert ctypes.sizeof(Heuristic) == 64 + 8 + 4 + 4 + 16


def test_a_real_library_takes_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Descriptors need no GPU; only where the wheel is installed."""
    if not cublas.is_here():
        pytest.skip(cublas.MISSING.mend)
    for types in TYPES.values():
        product = object.__new__(cublas.Multiplication)
        product._lib, product._types, product._made, product._workspace = cublas.library(), types, [], None
        product._describe(64, 32, 16)
        assert len(product._made) == 4
        product.close()
