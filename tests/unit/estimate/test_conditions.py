"""How the nodes of a graph run: what is warm, and attention as the serving engine's module that it is in a model."""

from __future__ import annotations

import pytest

import simexplore
from simexplore.sim.conditions import COLD, SERVING, WARM, Conditions, conditions_of
from simexplore.sim.estimate.correction import correction_of
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.graph_data import GraphDataError, from_data, to_data
from simexplore.workloads.ops import Attention, parse_operator

DECODE = parse_operator("attention_decode(batch=4,heads=32,kv_heads=8,head_dim=128,seq_kv=4096)")


def test_what_a_node_reads_of_others_is_warm() -> None:
    assert conditions_of(Node("a", DECODE)) == Conditions(cache=COLD)
    assert conditions_of(Node("a", DECODE, ("b",)), "stream") == Conditions(cache=SERVING, launch="stream")


def test_a_module_is_one_whatever_conditions_are_given() -> None:
    node = Node("a", DECODE, module=True)
    assert conditions_of(node).attention_module
    given = Conditions(cache=WARM, launch="stream", runs_before=3.0)
    assert conditions_of(node, "graph", given) == Conditions(
        cache=WARM, launch="stream", runs_before=3.0, attention_module=True
    )
    assert conditions_of(Node("a", DECODE), "graph", given) == given


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("cache", [None, WARM])
def test_a_language_models_attention_is_the_engines_module(phase: str, cache: object) -> None:
    graph = simexplore.load_workload(f"llm/llama-3-8b/{phase}", {"layers": 2, "batch": 4})
    assert {node.module for node in graph.nodes if isinstance(node.op, Attention)} == {True}
    assert not any(node.module for node in graph.nodes if not isinstance(node.op, Attention))
    plain = Graph("plain", tuple(Node(n.name, n.op, n.after, n.output_bytes) for n in graph.nodes))
    given = None if cache is None else Conditions(cache=WARM)
    gpu = simexplore.load_arch("nvidia/h200-sxm@facts")
    module, lone = (estimate_graph(each, gpu, given).time_s for each in (graph, plain))
    assert 1.0 < module / lone < 1.2
    assert simexplore.simulate(graph, gpu).time_s > simexplore.simulate(plain, gpu).time_s


def test_a_module_gets_what_was_learned_of_modules() -> None:
    gpu = simexplore.load_arch("nvidia/h200-sxm")
    (node,) = [n for n in simexplore.load_workload("llm/llama-3-8b/decode", {"layers": 1}).nodes if n.module]
    assert correction_of(node.op, gpu, conditions_of(node)) is not None


def test_a_file_says_so() -> None:
    graph = from_data([{"name": "a", "op": DECODE.describe(), "module": True}])
    assert graph.nodes[0].module
    assert from_data(to_data(graph)) == graph
    with pytest.raises(GraphDataError, match=r"module: expected true or false"):
        from_data([{"op": DECODE.describe(), "module": "yes"}])
