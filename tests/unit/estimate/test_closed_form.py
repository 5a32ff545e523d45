"""A graph in closed form: nodes alone, along the longest chain."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

import simexplore
from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, SERVING, WARM, Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import parse_operator

SHORT, LONG, LAST = (parse_operator(f"gemm(m=64,n={n},k=4096,dtype=bf16)") for n in (256, 16384, 1024))
DIAMOND = Graph(
    "diamond",
    (
        Node.of("short", SHORT),
        Node.of("long", LONG),
        Node.of("last", LAST, after=("short", "long")),
    ),
)


def test_time_is_that_of_the_longest_chain() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    result = simexplore.estimate(DIAMOND, gpu)
    cold, serving = Conditions(cache=COLD), Conditions(cache=SERVING)
    short, long = (float(predict(op, gpu, cold).time_s[0]) for op in (SHORT, LONG))
    last = float(predict(LAST, gpu, serving).time_s[0])
    assert short < long
    assert result.time_s == pytest.approx(long + last, rel=1e-12)
    assert {op.name: op.start_s for op in result.ops} == pytest.approx({"short": 0.0, "long": 0.0, "last": long})


def test_energy_is_dynamic_of_all_and_idle_of_the_time() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    result = simexplore.estimate(DIAMOND, gpu)
    dynamic_j = sum(op.energy_j for op in result.ops)
    assert all(op.energy_j > 0 for op in result.ops)
    assert result.energy_j == pytest.approx(dynamic_j + gpu.power.idle_w * result.time_s)


def test_given_conditions_hold_for_every_node() -> None:
    warm, default = (simexplore.estimate(DIAMOND, "nvidia/h200-sxm", cache=cache) for cache in (WARM, None))
    assert warm.time_s < default.time_s


def test_what_a_machine_cannot_run_is_told_with_the_node() -> None:
    graph = Graph("one", (Node.of("mine", parse_operator("gemm(m=1,n=1,k=1,dtype=fp4)")),))
    with pytest.raises(SimexploreError, match=r"^mine: .*fp4"):
        simexplore.estimate(graph, "nvidia/t4")


@pytest.mark.parametrize("run", [simexplore.simulate, simexplore.estimate])
def test_a_result_is_shown_in_a_few_lines(run: Callable[..., object]) -> None:
    shown = repr(run("llm/llama-3-8b/decode", "nvidia/h200-sxm"))
    assert str(run("llm/llama-3-8b/decode", "nvidia/h200-sxm")) == shown
    first, *longest, last = shown.splitlines()
    assert re.match(r"<(Run|Estimate) [\d.]+ [mu]s \(80 %: [\d.]+ [mu]s to [\d.]+ [mu]s\), [\d.]+ m?J", first)
    assert first.endswith("259 operators")
    assert longest[0].split()[2:] == ["lm_head:", "gemm(m=1,n=128256,k=4096,dtype=bf16),", "dram"]
    assert (len(longest), last) == (3, "  and 256 more>")


@pytest.mark.parametrize(
    ("text", "family"),
    [("gemm m=4096", "gemm(m=4096)"), ("gemm m=1, n=2 k=3", "gemm(m=1,n=2,k=3)"), ("GEMM: m=8", "gemm(m=8)"),
     ("gelu ", "gelu(…)")],
)  # fmt: skip
def test_an_operator_without_brackets_is_told_how_to_be_written(text: str, family: str) -> None:
    with pytest.raises(SimexploreError) as caught:
        simexplore.load_workload(text)
    told = str(caught.value)
    assert told.startswith(f"expected an operator as {family}, for example ")
    assert "llm/" not in told


def test_an_unknown_workload_names_the_nearest_and_no_other() -> None:
    with pytest.raises(SimexploreError) as caught:
        simexplore.load_workload("LLM/Llama-3-8B/decode")
    assert str(caught.value) == (
        "unknown workload 'LLM/Llama-3-8B/decode'; did you mean 'llm/llama-3-8b/decode'? "
        "(simexplore workload list has all)"
    )
