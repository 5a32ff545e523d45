"""The CUDA backend on a driver that is not there: what it asks of the driver, frees and says."""

from __future__ import annotations

import numpy as np
import pytest
from fake_cuda import FakeCuda

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.registry import backend_of
from simexplore.kernels.cuda import cublas
from simexplore.kernels.cuda import device as cuda_device
from simexplore.kernels.cuda.device import CudaBackend
from simexplore.kernels.cuda.runtime import driver as cuda_driver
from simexplore.kernels.cuda.runtime import launching
from simexplore.kernels.runner import Effort, measure_case

COPY = Case("copy", {"elements": 1024, "dtype": "fp32"}, "stream", {"threads": 64})
COLD = Case("copy", {"elements": 1024, "dtype": "fp32"}, "stream", {"threads": 64, "cold": 1})
STREAM = Case("copy", {"elements": 1024, "dtype": "fp32"}, "stream", {"threads": 64, "stream": 1})
ADD_ONE = Case("launch", {"dtype": "int32"}, "launch")
BRIEF = Effort(warmup=1, sample_s=2e-3, max_launches=3, min_samples=2, max_samples=2)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(cuda_device, "bindings", lambda: fake)
    monkeypatch.setattr(launching, "compiled", lambda source, architecture: b"\x7fELF")
    monkeypatch.setattr(cuda_device, "nvrtc_version", lambda: (13, 0))
    monkeypatch.setattr(cublas, "is_here", lambda: False)
    return fake


def test_devices_are_described(cuda: FakeCuda) -> None:
    (device,) = backend_of("cuda").report().devices
    assert (device.name, device.kind, device.driver) == ("NVIDIA Fake", "discrete GPU", "CUDA 13.0")
    assert device.features == {"sm_90a", "mma_sync", "fp8", "cluster", "wgmma"}
    assert device.limits["clock_hz"] == 1.98e9
    assert not any(cuda.alive.values())


@pytest.mark.parametrize("case", [COPY, COLD, STREAM], ids=["graph", "cold", "stream"])
def test_a_kernel_is_checked_timed_and_freed(cuda: FakeCuda, case: Case) -> None:
    with CudaBackend().open() as session:
        measured = measure_case(session, case, seed=0, effort=BRIEF)
        assert session.describe()["nvrtc"] == "13.0"
    assert measured.timing.time_s == pytest.approx(5e-4 if case is COLD else 5e-4 / 3)
    assert cuda.launches == 1 + 1 + 2 * 3
    assert cuda.memory == {}
    assert not any(cuda.alive.values())


def test_a_wrong_result_has_no_time(cuda: FakeCuda) -> None:
    """The driver copies where the kernel should have added one."""
    with CudaBackend().open() as session, pytest.raises(SimexploreError, match="wrong result"):
        measure_case(session, ADD_ONE, seed=0, effort=BRIEF)
    assert cuda.memory == {}
    assert not any(cuda.alive.values())


def test_an_error_of_the_driver_is_named(cuda: FakeCuda) -> None:
    with CudaBackend().open() as session:
        kernel = session.prepare(COPY)
        cuda.fails = "cuStreamSynchronize"
        with pytest.raises(SimexploreError, match="cuStreamSynchronize failed: CUDA_ERROR_ILLEGAL_ADDRESS"):
            kernel.run({"x": np.zeros(1024, dtype=np.float32)})
        cuda.fails = None


def test_what_the_gpu_lacks_is_refused(cuda: FakeCuda) -> None:
    with CudaBackend().open() as session, pytest.raises(SimexploreError, match="has no tcgen05"):
        session.prepare(Case("copy", {"elements": 4, "dtype": "fp32"}, "stream", requires=frozenset({"tcgen05"})))
    with pytest.raises(SimexploreError, match="expected a device among 0"):
        CudaBackend().open(3)


@pytest.mark.parametrize(
    ("error", "what"),
    [(ImportError(), "cuda-bindings"), (RuntimeError(), "the NVIDIA driver"), (None, "a GPU that")],
)
def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception | None, what: str) -> None:
    class NoGpu(FakeCuda):
        def cuInit(self, flags: int) -> tuple[int]:  # noqa: N802 - the driver's name
            if error is not None:
                raise error
            return (100,)

    def importing(name: str) -> object:
        if isinstance(error, ImportError):
            raise error
        return NoGpu()

    monkeypatch.setattr(cuda_driver, "import_module", importing)
    (missing,) = CudaBackend().report().missing
    assert what in missing.what
    assert missing.mend
    with pytest.raises(SimexploreError, match="no device found"):
        CudaBackend().open()
