"""Twenty operators on five machines: parts that add up to the time, and what-ifs that a re-run as events confirms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

import simexplore
from simexplore.archs.load import machine_of, overridden, resolve
from simexplore.archs.merge import Layer
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.explain.what_if import what_ifs
from simexplore.sim.explain.whole import explain

MACHINES = ("nvidia/h200-sxm", "nvidia/a100-sxm-80gb", "nvidia/l40s", "nvidia/rtx-4090", "nvidia/b200")
OPERATORS = (
    "gemm(m=4096,n=4096,k=4096)", "gemm(m=16,n=8192,k=4096)", "gemm(m=3,n=4096,k=14336)", "gemm(m=333,n=777,k=555)",
    "gemm(m=128,n=128,k=65536)", "bmm(batch=64,m=128,n=128,k=64)", "gemm(m=2048,n=2048,k=2048,dtype=fp16)",
    "attention_prefill(batch=2,heads=32,kv_heads=8,head_dim=128,seq_q=2048,seq_kv=2048)",
    "attention_prefill(batch=1,heads=8,kv_heads=8,head_dim=64,seq_q=300,seq_kv=300)",
    "attention_decode(batch=8,heads=32,kv_heads=8,head_dim=128,seq_kv=8192)",
    "attention_decode(batch=64,heads=32,kv_heads=4,head_dim=128,seq_kv=1000)",
    "conv2d(batch=16,cin=64,cout=64,ksize=3,hw=56,pad=1)", "softmax(rows=4096,cols=4096)", "softmax(rows=8,cols=100)",
    "layernorm(rows=4096,cols=4096)", "rmsnorm(rows=16,cols=8192)", "gelu(elements=10000000)",
    "silu_mul(elements=14336)",
    "embedding(tokens=128,width=4096,vocabulary=128256)", "rope(tokens=2048,heads=32,kv_heads=8,head_dim=128)",
)  # fmt: skip
TRIED = ("clock.boost", "sm.count", "dram.bandwidth", "l2.bandwidth", "launch.graph", "power.tdp", "sm.l2_port")
"""Keys that are changed: the clock, which changes all times, and by turns one of the others."""


@cache
def as_written(machine: str) -> Layer:
    """A machine's data, read once."""
    return resolve(machine)


@pytest.mark.parametrize("machine", MACHINES)
def test_parts_add_up_on(machine: str) -> None:
    gpu = simexplore.load_arch(machine)
    for text in OPERATORS:
        told = explain(simexplore.load_workload(text), gpu)
        played = simexplore.simulate(text, gpu)
        assert sum(told.parts_s.values()) == pytest.approx(told.time_s, rel=1e-3), text
        assert told.time_s == pytest.approx(played.time_s, rel=0.01), text


@pytest.mark.parametrize("index", range(len(OPERATORS)))
def test_a_re_run_as_events_confirms_what_if(index: int) -> None:
    text, machine = OPERATORS[index], MACHINES[index % len(MACHINES)]
    layer, graph = as_written(machine), simexplore.load_workload(text)
    asked = {TRIED[0], TRIED[1 + index % (len(TRIED) - 1)]}

    def variant(changes: Mapping[str, str]) -> Gpu:
        if not asked & set(changes):
            raise SimexploreError("another's turn")
        return machine_of(overridden(layer, changes))

    before_s = estimate_graph(graph, machine_of(layer)).time_s
    found = what_ifs(machine_of(layer), before_s, variant, lambda gpu: estimate_graph(graph, gpu).time_s)
    assert "clock" in {each.name for each in found}
    for each in found:
        again = simexplore.simulate(graph, machine_of(overridden(layer, each.changes)))
        assert 1.0 + each.gain == pytest.approx(again.time_s / before_s, rel=0.01), each.name
