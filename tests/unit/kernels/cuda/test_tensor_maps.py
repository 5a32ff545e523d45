"""Tensor maps: what the driver is told, and that a device that follows it finds every box where numpy does."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from fake_cuda import FakeCuda
from fake_tensor_map import FakeMap, find

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.cuda import device as cuda_device
from simexplore.kernels.cuda.device import CudaBackend
from simexplore.kernels.cuda.runtime import launching
from simexplore.kernels.cuda.runtime.tensor_maps import MAP_BYTES, Tiled, encoded
from simexplore.kernels.cuda.suites import BOXES
from simexplore.kernels.runner import Effort, measure_case
from simexplore.kernels.suites import cases_of

BRIEF = Effort(warmup=1, min_samples=2, max_samples=2)


def box_at(fake: FakeMap, number: int) -> np.ndarray[Any, Any]:
    """The words of a box, copied row by row as the strides say."""
    along = [fake.sides[axis] // fake.box[axis] for axis in range(fake.rank)] + [1] * (3 - fake.rank)
    at = [number % along[0], number // along[0] % along[1], number // (along[0] * along[1])]
    first = [cell * (fake.box[axis] if axis < fake.rank else 1) for axis, cell in enumerate(at)]
    planes = range(fake.box[2]) if fake.rank == 3 else (0,)
    rows = []
    for plane in planes:
        for row in range(fake.box[1]):
            offset = 4 * first[0] + (first[1] + row) * fake.strides[0] + (first[2] + plane) * fake.strides[1]
            rows.append(np.ctypeslib.as_array((ctypes.c_uint32 * fake.box[0]).from_address(fake.tensor + offset)))
    return np.concatenate(rows)


class TensorCuda(FakeCuda):
    """Its one kernel is tensor_copy."""

    missing = False

    def cuGetProcAddress(self, name: bytes, since: int, flags: int) -> tuple[int, int, int]:  # noqa: N802
        return (0, 0, 1) if self.missing else (0, find(name, since), 0)

    def cuLaunchKernel(self, kernel: bytes, *arguments: Any) -> tuple[int]:  # noqa: N802
        self.launches += 1
        ctas, places = arguments[0], (ctypes.c_uint64 * 4).from_address(arguments[-2])
        target, _cycles = (ctypes.c_uint64.from_address(place).value for place in places[:2])
        fake, boxes = FakeMap.from_address(places[2]), ctypes.c_uint32.from_address(places[3]).value
        for cta in range(ctas):
            words = np.zeros(32, dtype=np.uint32)
            for number in range(cta, boxes, ctas):
                box = box_at(fake, number)
                words += box[:32] + np.uint32(3) * box[-32:]
            ctypes.memmove(target + 128 * cta, words.tobytes(), 128)
        return (0,)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> TensorCuda:
    fake = TensorCuda()
    monkeypatch.setattr(cuda_device, "bindings", lambda: fake)
    monkeypatch.setattr(launching, "compiled", lambda source, architecture: b"\x7fELF")
    monkeypatch.setattr(cuda_device, "nvrtc_version", lambda: (13, 0))
    return fake


def small(box: tuple[int, ...], ctas: int) -> Case:
    sides = dict(zip(("box_x", "box_y", "box_z"), (*box, 1), strict=False))
    params = {"rank": len(box), **sides, "boxes": 128, "ctas": ctas, "dtype": "int32"}
    return Case("tensor_copy", params, "tensor_copy", {"stages": 2})


@pytest.mark.parametrize("box", [(8, 8), (32, 8), (8, 8, 4), (16, 8, 8)], ids=str)
@pytest.mark.parametrize("ctas", [1, 7])
def test_a_device_that_follows_the_map_finds_what_numpy_does(cuda: TensorCuda, box: tuple[int, ...], ctas: int) -> None:
    with CudaBackend().open() as session:
        measured = measure_case(session, small(box, ctas), seed=0, effort=BRIEF)
    assert measured.timing.time_s > 0.0
    assert cuda.launches > 0
    assert cuda.memory == {}


def test_the_driver_is_told_the_tensor_from_the_innermost_side_on() -> None:
    fake = FakeMap.from_buffer(encoded(Tiled((128, 64, 32), (16, 8, 8)), 4096, find))
    assert (fake.tensor, fake.rank) == (4096, 3)
    assert list(fake.sides) == [128, 64, 32]
    assert list(fake.strides) == [512, 512 * 64]
    assert list(fake.box) == [16, 8, 8]


def test_what_the_driver_refuses_or_lacks_is_said(cuda: TensorCuda) -> None:
    assert encoded(Tiled((64, 64), (8, 8)), 4096, find).nbytes == MAP_BYTES
    with pytest.raises(ValueError, match="refuses a tensor map"):
        encoded(Tiled((64, 64), (512, 8)), 4096, find)
    cuda.missing = True
    with CudaBackend().open() as session, pytest.raises(SimexploreError, match="has no cuTensorMapEncodeTiled"):
        measure_case(session, small((8, 8), 1), seed=0, effort=BRIEF)


def test_the_suite_asks_for_boxes_that_the_accelerator_takes(cuda: TensorCuda) -> None:
    with CudaBackend().open() as session:
        cases = [case for case in cases_of("hopper", session.device, 0)[0] if case.op == "tensor_copy"]
    sides = {tuple(case.count(f"box_{axis}") for axis in "xyz") for case in cases}
    assert sides == {(*box, 1)[:3] for box in BOXES}
    assert len(cases) > 5 * len(BOXES)
    for case in cases:
        box_bytes = 4 * np.prod([case.count(f"box_{axis}") for axis in "xyz"])
        assert box_bytes % 128 == 0, "a box starts at a multiple of 128 bytes of shared memory"
        assert box_bytes * case.count("stages") <= 227 * 1024
        assert case.count("boxes") % 64 == 0
        assert case.count("boxes") * box_bytes <= 256 * 2**20
