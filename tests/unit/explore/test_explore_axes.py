"""Every number of a machine can be an axis: points are what the machine with that number gives, or fail alone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeps import write

import simexplore
from simexplore.archs.fields import leaf_fields
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation.points import Evaluator
from simexplore.sim.explore.spec.file import read_spec

MACHINES = ("nvidia/h200-sxm@facts", "nvidia/rtx-4090@facts")
WORKS = (
    "gemm(m=1024,n=4096,k=4096)",
    "gemm(m=1,n=4096,k=4096)",
    "attention_prefill(batch=1,heads=8,kv_heads=8,head_dim=128,seq_q=512,seq_kv=512)",
    "attention_decode(batch=4,heads=8,kv_heads=8,head_dim=128,seq_kv=4096)",
    "rmsnorm(rows=128,cols=4096)",
    "gelu(elements=1000000)",
)
U = np.array([[0.25], [0.75]])


@cache
def as_it_is(machine: str) -> Gpu:
    return load_arch(machine)


def check(folder: Path, machine: str, path: str, factor: float, work: str, fidelity: str) -> int:
    """Hold two values of one field against machines that have them; returns how many points have a result."""
    gpu = as_it_is(machine)
    field = leaf_fields(gpu)[path]
    own = field.read(gpu)
    other = own * factor if field.kind == "float" else max(round(own * factor), 1)
    texts = [field.write(own), field.write(other)]
    text = f"arch: {machine}\nworkload: '{work}'\nfidelity: {fidelity}\nallow_overflow: true\n"
    try:
        spec = read_spec(write(folder, f"{text}parameters:\n  {path}: [{', '.join(texts)}]\n"))
    except SimexploreError:  # a value that the field cannot have, or the same as its own
        return 0
    chunk = Evaluator(spec.problem).evaluate(0, U)
    times = chunk.values[[column.name for column in spec.problem.columns].index("time_s")]
    run = simexplore.estimate if fidelity == "estimate" else simexplore.simulate
    if 0 not in chunk.failures:
        assert times[0] == pytest.approx(run(work, gpu).time_s, rel=1e-2)
    if 1 not in chunk.failures:
        assert times[1] == pytest.approx(run(work, load_arch(machine, {path: texts[1]})).time_s, rel=1e-2)
    return int(np.isfinite(times).sum())


def test_every_eighth_number_of_a_machine(tmp_path: Path) -> None:
    """Each is once a column of its own beside an operator that is the same in all rows; others are drawn below."""
    paths = list(leaf_fields(as_it_is(MACHINES[0])))[::8]
    assert len(paths) > 20
    assert sum(check(tmp_path, MACHINES[0], path, 0.8, WORKS[0], "estimate") for path in paths) > len(paths)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_number_with_any_work(tmp_path: Path, data: st.DataObject) -> None:
    machine = data.draw(st.sampled_from(MACHINES))
    path = data.draw(st.sampled_from(sorted(leaf_fields(as_it_is(machine)))))
    work, fidelity = data.draw(st.sampled_from(WORKS)), data.draw(st.sampled_from(["estimate", "execute"]))
    check(tmp_path, machine, path, data.draw(st.sampled_from([0.25, 0.8, 1.5, 4.0])), work, fidelity)


@pytest.mark.parametrize(
    ("machine", "engine"),
    [
        ("nvidia/a100-sxm-80gb", "vllm"),
        ("nvidia/h200-sxm", "vllm"),
        ("nvidia/b200", "sglang"),
        ("nvidia/l40s", "torch"),
    ],
)
def test_the_kernels_of_each_engine_take_a_column_of_machines(tmp_path: Path, machine: str, engine: str) -> None:
    """Their rules split by how many SMs there are, which may be an axis."""
    base = load_arch(f"{machine}@facts", engine=engine)
    for work in (*WORKS[2:5], "mla_decode(batch=4,heads=16,seq_kv=4096)", "softmax(rows=64,cols=32000)"):
        text = f"arch: {machine}@facts\nengine: {engine}\nworkload: '{work}'\nallow_overflow: true\n"
        spec = read_spec(write(tmp_path, f"{text}parameters:\n  sm.count: [60, {base.sm.count}]\n"))
        chunk = Evaluator(spec.problem).evaluate(0, U)
        times = chunk.values[[column.name for column in spec.problem.columns].index("time_s")]
        for count, time_s in zip((60, base.sm.count), times, strict=True):
            try:
                alone_s = simexplore.estimate(work, base.replace({"sm.count": count})).time_s
            except SimexploreError:
                assert np.isnan(time_s)
            else:
                assert time_s == pytest.approx(alone_s, rel=1e-2)
