"""Search on a CPU, by hand: visits, walks over cores, and decode steps whose keys a CPU holds."""

from __future__ import annotations

from typing import Any

import pytest
from round_host import CPU, round_system

from simexplore.archs.load import load_arch
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.hardware.host.search import search_timing, visit_seconds
from simexplore.sim.play.execute import execute
from simexplore.workloads import catalog
from simexplore.workloads.families.offloaded.retrieval import Retrieval, retrieving
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import GraphSearch, HostWork

SEARCH = {"work": "200 clk", "misses": 1.5}


def searching(**changed: Any) -> Cpu:
    """The round CPU with what a visit takes."""
    return Cpu.model_validate({**CPU, "search": SEARCH, **changed})


def on_cpu(cpu: Cpu, op: GraphSearch) -> Any:
    system = round_system(devices={"cpu": {"arch": cpu}})
    return estimate_graph(Graph("test", (Node.of("walk", op, place="cpu"),)), system)


def test_a_visit_is_clocks_and_misses() -> None:
    assert visit_seconds(searching()) == pytest.approx(200e-9 + 1.5 * 100e-9)
    faster = {**CPU["cores"], "clock": "2 GHz"}
    assert visit_seconds(searching(cores=faster)) == pytest.approx(100e-9 + 150e-9)


def test_walks_wait_for_a_core_each() -> None:
    told = search_timing(32, 1000.0, 1e6, searching())
    assert told.run_s == pytest.approx(4 * 1000 * 350e-9)  # 32 walks on 10 cores: four rounds
    assert told.cores_s == pytest.approx(3.2 * 1000 * 350e-9)
    assert told.memory_s == pytest.approx(1e6 / 40e9)
    assert told.energy_j == pytest.approx(100.0 * 3.2 * 350e-6)
    assert search_timing(10, 1000.0, 1e6, searching()).run_s == pytest.approx(350e-6)
    assert search_timing(10, 1000.0, 1e9, searching()).run_s == pytest.approx(1e9 / 40e9)  # channels bind


def test_the_operator_by_hand() -> None:
    op = GraphSearch(32, 1000, 128)
    assert (op.flops, op.min_bytes, op.output_bytes) == (2 * 32 * 1000 * 128, 32 * 1000 * 128 * 4, 0)
    told = on_cpu(searching(), op)
    assert told.time_s == pytest.approx(1.4e-3)
    assert told.ops[0].bound == "cores"
    assert on_cpu(searching(), GraphSearch(32, 1000, 128, "fp16")).time_s == told.time_s


def test_a_cpu_that_says_nothing_of_search_is_refused() -> None:
    with pytest.raises(SimexploreError, match="Round CPU: expected a section search"):
        on_cpu(Cpu.model_validate(CPU), GraphSearch(1, 1, 8))


def test_a_step_that_retrieves_waits_for_what_it_finds() -> None:
    system = round_system(devices={"cpu": {"arch": searching()}, "gpu": {"arch": load_arch("nvidia/rtx-4090@facts")}})
    window = catalog.build("llm/pythia-70m/decode", {"context": 64, "layers": 2})
    (attention, *_) = (node.op for node in window.nodes if node.name == "layer0.attention")
    heads, width = attention.heads, attention.head_dim
    graph = retrieving(window, Retrieval(GraphSearch(heads, 1000, width), 10, 4000))
    names = [node.name for node in graph.nodes]
    assert len(names) == len(window.nodes) + 2 * 4
    (projection,) = (node for node in graph.nodes if node.name == "layer0.projection")
    assert projection.after == ("layer0.attention", "layer0.attention.found")
    (attend,) = (node.op for node in graph.nodes if node.name == "layer1.attention.attend")
    assert attend == HostWork(4 * heads * 10 * width, 2 * heads * 10 * width * 4)
    assert graph.resident_elsewhere["cpu"]["kv_cache"] == 2 * (2 * 4000 * heads * width * 4)
    plain, run = estimate_graph(window, system), execute(graph, system)
    added_s = 2 * sum(op.time_s for op in run.ops if op.name.startswith("layer0.attention."))
    alone_s = sum(op.time_s for op in run.ops if op.name.endswith("layer0.attention"))
    assert run.time_s == pytest.approx(plain.time_s + added_s - 2 * alone_s, rel=1e-6)
