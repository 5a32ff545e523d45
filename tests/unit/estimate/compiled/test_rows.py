"""What is compiled tells of every row what numpy tells, and nothing is compiled before it is worth it."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.sim.conditions import WARM, CacheState, Conditions
from simexplore.sim.estimate.compiled import build
from simexplore.sim.estimate.compiled import rows as compiling
from simexplore.sim.estimate.correction import sum_of_trees
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.ops import Bmm, Gemm, RmsNorm

pytest.importorskip("llvmlite", reason="llvmlite is not installed: pip install 'simexplore[fast]'")

WITHIN = 1e-12
"""Compiled and computed by numpy differ by rounding alone."""
RANDOM = np.random.default_rng(7)
SIZES = (2.0 ** RANDOM.uniform(0.0, 14.0, size=(3, 60))).astype(np.int64)
SIZES[1:, ::2] = SIZES[1:, ::2] // 64 * 64 + 64
"""Half of n and k are aligned, m is often 1: all of a library's algorithms are among them."""
COPIES = np.where(RANDOM.random(60) < 0.3, np.inf, RANDOM.integers(1, 9, 60) * 1.0)
CASES = [
    ("nvidia/h200-sxm", Gemm, "bf16", Conditions()),
    ("nvidia/a100-sxm-80gb", Gemm, "bf16", Conditions(cache=WARM, launch="stream", runs=30.0)),
    ("nvidia/l40s", Bmm, "fp8", Conditions(runs_before=np.inf)),
    ("nvidia/b200", Gemm, "fp8", Conditions()),
    ("nvidia/rtx-3090", Gemm, "fp32", Conditions()),
    ("nvidia/rtx-4090", Gemm, "bf16", Conditions()),
    ("nvidia/h200-sxm", Gemm, "bf16", Conditions(cache=CacheState(weight_copies=COPIES, activation_copies=1.0))),
]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile from the first row on."""
    monkeypatch.setattr(compiling, "MEMORY", compiling.Memory())
    monkeypatch.setattr(compiling, "WORTH", 0.0)


@pytest.mark.parametrize(("arch", "family", "dtype", "conditions"), CASES, ids=lambda value: str(value)[:40])
def test_rows_are_as_numpy_has_them(
    arch: str, family: type[Gemm], dtype: str, conditions: Conditions, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    gpu, op = load_arch(arch), family(m=SIZES[0], n=SIZES[1], k=SIZES[2], dtype=dtype)
    told = predict(op, gpu, conditions)
    programs = compiling.MEMORY.of(op, gpu, conditions)
    assert programs is not None
    assert programs.known
    assert not programs.refused
    monkeypatch.setattr(compiling, "WORTH", np.inf)
    expected = predict(op, gpu, conditions)
    for name in ("time_s", "energy_j", "interval_ratio", "energy_ratio", "correction"):
        np.testing.assert_allclose(getattr(told, name), getattr(expected, name), rtol=WITHIN, err_msg=name)
    assert told.bound == expected.bound


def test_nothing_is_compiled_before_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "MEMORY", compiling.Memory())
    monkeypatch.setattr(compiling, "WORTH", 100.0)
    gpu, op = load_arch("nvidia/l40s"), Gemm(m=SIZES[0], n=SIZES[1], k=SIZES[2], dtype="bf16")
    assert compiling.programs_of(op, gpu, Conditions(), 60) is None
    assert compiling.programs_of(op, gpu, Conditions(), 60) is not None
    other = Conditions(launch="stream")
    assert compiling.programs_of(op, gpu, other, 60) is None  # which is counted apart


def test_others_are_left_to_numpy(at_once: None) -> None:
    gpu = load_arch("nvidia/l40s")
    assert compiling.programs_of(RmsNorm(rows=1, cols=64), gpu, Conditions(), 1) is None
    quantised = Gemm(m=SIZES[0], n=SIZES[1], k=SIZES[2], dtype="fp8", activation_dtype="bf16")
    assert predict(quantised, gpu).time_s.min() > 0.0  # two kernels


@pytest.mark.parametrize(
    ("version", "serves"), [("0.43.0", False), ("0.44.0rc1", True), ("0.50.0", True), ("1.0", True)]
)
def test_a_compiler_that_is_too_old_is_none(version: str, serves: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "version", lambda _name: version)
    assert build.available.__wrapped__() is serves


def test_trees_are_walked_as_numpy_walks_them(monkeypatch: pytest.MonkeyPatch) -> None:
    residual = load_arch("nvidia/l40s").calibration.residual  # type: ignore[union-attr]
    correction = next(iter(residual.corrections.values()))  # type: ignore[union-attr]
    x = RANDOM.normal(5.0, 5.0, size=(300, len(correction.features))).astype(np.float32)
    monkeypatch.setattr("simexplore.sim.estimate.correction.ready", lambda _rows: True)
    told = sum_of_trees(correction.shift, x)
    monkeypatch.setattr("simexplore.sim.estimate.correction.ready", lambda _rows: False)
    np.testing.assert_allclose(told, sum_of_trees(correction.shift, x), rtol=1e-12, atol=1e-14)


def test_threads_do_not_touch_each_other(at_once: None) -> None:
    programs = compiling.Programs(Gemm(m=1, n=1, k=1, dtype="bf16"), load_arch("nvidia/l40s"), Conditions())
    shapes = [[64 * (1 + i), 1024, 64 * (20 - i), 1] for i in range(16)]
    expected = [programs.tell_one(shape) for shape in shapes]
    wrong: list[int] = []

    def ask() -> None:
        for i in [*range(16)] * 20:
            told = programs.tell_one(shapes[i])
            if told is None or not np.array_equal(told, expected[i]):  # type: ignore[arg-type]
                wrong.append(i)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
