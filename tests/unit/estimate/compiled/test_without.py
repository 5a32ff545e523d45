"""Where there is no compiler, numpy says all of it: as in an environment without the extra `fast`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

import simexplore
from simexplore.archs.load import load_arch
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.compiled import build
from simexplore.sim.estimate.compiled import rows as compiling
from simexplore.sim.estimate.compiled import single as alone
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.workloads.graph import single
from simexplore.workloads.ops import Gemm


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its import fails, and all is asked for often enough to be worth compiling."""
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    memory = compiling.Memory()
    for module in (compiling, alone):
        monkeypatch.setattr(module, "MEMORY", memory)
        monkeypatch.setattr(module, "WORTH", 0.0)
    build.available.cache_clear()
    yield
    build.available.cache_clear()


def test_a_column_and_its_operators_alone_are_the_same() -> None:
    gpu, m = load_arch("nvidia/l40s"), np.array([16, 300, 4096])
    told = simexplore.predict({"op": "gemm", "m": m, "n": 1024, "k": 4096, "dtype": "bf16"}, gpu)
    for row, time_s in zip(m.tolist(), told["time_s"], strict=True):
        op = Gemm(m=row, n=1024, k=4096, dtype="bf16")
        assert alone.estimate_alone(op, gpu, Conditions(), "serving") is None
        whole = estimate_graph(single(op), gpu, Conditions(), "graph", "serving")
        assert time_s == pytest.approx(whole.time_s, rel=1e-9)
    programs = compiling.MEMORY.of(Gemm(m=1, n=1, k=1, dtype="bf16"), gpu, Conditions())
    assert programs is not None
    assert not programs.known
    assert not programs.refused


def test_trees_do_not_wait_for_one() -> None:
    assert not build.ready(build.WORTH_IMPORT)
