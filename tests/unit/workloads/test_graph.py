"""Graphs: order, critical path, streams, and a user's graph as plain data."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.workloads.graph import Exchange, Graph, Node, chained, single
from simexplore.workloads.graph_data import from_data, to_data
from simexplore.workloads.ops import Add, Gemm, parse_operator


def graph_of(**after: str) -> Graph:
    """A graph from `name="its dependencies"`."""
    return Graph("test", tuple(Node.of(name, Add(1), needed.split()) for name, needed in after.items()))


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(1, 12))
    after = {f"n{i}": draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set() for i in range(size)}
    return graph_of(**{name: " ".join(f"n{i}" for i in sorted(needed)) for name, needed in after.items()})


def ancestors(graph: Graph) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node in graph.nodes:
        found[node.name] = set(node.after).union(*(found[name] for name in node.after))
    return found


def test_nodes_come_in_an_order_in_which_they_can_run() -> None:
    graph = graph_of(d="b c", c="a", b="a", a="")
    assert [node.name for node in graph.nodes] == ["a", "c", "b", "d"]


@given(random_graphs())
def test_an_order_that_can_run_is_kept(graph: Graph) -> None:
    assert [node.name for node in graph.nodes] == [f"n{i}" for i in range(len(graph.nodes))]


@given(random_graphs(), st.randoms(use_true_random=False))
def test_every_node_comes_after_what_it_needs(graph: Graph, random: Any) -> None:
    shuffled = random.sample(graph.nodes, len(graph.nodes))
    seen: set[str] = set()
    for node in Graph("shuffled", tuple(shuffled)).nodes:
        assert seen >= set(node.after)
        seen.add(node.name)


def test_a_cycle_is_named() -> None:
    with pytest.raises(SimexploreError, match=r"in a circle: (b -> c -> b|c -> b -> c)$"):
        graph_of(a="", b="a c", c="b")


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(SimexploreError, match="two operators are named 'a'"):
        Graph("test", (Node.of("a", Add(1)), Node.of("a", Add(2))))


def test_an_unknown_dependency_names_the_nearest() -> None:
    with pytest.raises(SimexploreError, match=r"'down' is to run after 'gate_upp'.*did you mean 'gate_up'\?"):
        graph_of(gate_up="", down="gate_upp")


def test_critical_path_of_a_diamond() -> None:
    graph = graph_of(a="", b="a", c="a", d="b c")
    assert graph.critical_path({"a": 1.0, "b": 2.0, "c": 5.0, "d": 1.0}) == (7.0, ("a", "c", "d"))


def test_critical_path_of_nothing_is_nothing() -> None:
    assert Graph("empty", ()).critical_path({}) == (0.0, ())


@given(random_graphs(), st.data())
def test_critical_path_is_a_chain_as_long_as_it_says_and_no_chain_is_longer(graph: Graph, data: st.DataObject) -> None:
    durations = {node.name: float(data.draw(st.integers(0, 9))) for node in graph.nodes}
    length, path = graph.critical_path(durations)
    needs = {node.name: node.after for node in graph.nodes}
    assert length == sum(durations[name] for name in path)
    assert all(before in needs[name] for before, name in pairwise(path))
    assert needs[path[0]] == ()
    assert length == longest_chain(graph, durations)


def longest_chain(graph: Graph, durations: dict[str, float]) -> float:
    """The longest chain by trying every one."""
    needs = {node.name: node.after for node in graph.nodes}

    def ending_at(name: str) -> float:
        return durations[name] + max((ending_at(before) for before in needs[name]), default=0.0)

    return max(map(ending_at, needs))


def test_a_chain_is_one_stream_and_branches_have_their_own() -> None:
    graph = graph_of(a="", b="a", c="a", d="b c", e="d", f="d")
    assert graph.streams() == {"a": 0, "b": 0, "c": 1, "d": 0, "e": 0, "f": 1}


@given(random_graphs())
def test_a_stream_never_makes_a_node_wait_for_one_it_does_not_need(graph: Graph) -> None:
    before = ancestors(graph)
    streams = graph.streams()
    for stream in set(streams.values()):
        members = [node.name for node in graph.nodes if streams[node.name] == stream]
        assert all(first in before[second] for first, second in pairwise(members))
    assert set(streams.values()) == set(range(len(set(streams.values()))))


def test_totals_and_the_graph_of_one_operator() -> None:
    gemm = Gemm(2, 3, 5)
    graph = single(gemm)
    assert (graph.name, graph.nodes[0].name) == ("gemm(m=2,n=3,k=5,dtype=bf16)", "gemm")
    assert (graph.flops, graph.min_bytes, graph.nodes[0].output_bytes) == (60.0, 62.0, 12.0)


def test_a_graph_does_not_change_and_can_be_sent_to_another_process() -> None:
    resident = {"weights": 10.0}
    graph = Graph("test", (Node.of("a", Add(1)),), resident)
    resident["weights"] = 20.0
    assert graph.resident_bytes == {"weights": 10.0}
    assert pickle.loads(pickle.dumps(graph)) == graph
    with pytest.raises(AttributeError):
        graph.name = "other"  # type: ignore[misc]


GEMM = "gemm(m=16,n=4096,k=4096,dtype=bf16)"


def test_a_users_graph() -> None:
    data = {
        "name": "two-layer MLP",
        "resident_bytes": {"weights": 100},
        "operators": [
            {"name": "up", "op": GEMM},
            {"name": "act", "op": "gelu", "elements": 65536, "dtype": "fp16", "group": "middle"},
            {"name": "down", "op": GEMM, "after": ["act"], "output_bytes": 7, "place": "b"},
        ],
    }
    graph = from_data(data)
    assert [node.place for node in graph.nodes] == [None, None, "b"]
    assert from_data(to_data(graph)) == graph
    assert (graph.name, graph.resident_bytes) == ("two-layer MLP", {"weights": 100.0})
    assert [(node.name, node.after, node.group) for node in graph.nodes] == [
        ("up", (), ""),
        ("act", ("up",), "middle"),
        ("down", ("act",), ""),
    ]
    assert graph.nodes[1].op == parse_operator("gelu(elements=65536,dtype=fp16)")
    assert [node.output_bytes for node in graph.nodes] == [2 * 16 * 4096, 2 * 65536, 7]


def test_a_list_is_a_graph_and_a_text_is_an_operator() -> None:
    graph = from_data([GEMM, {"op": "copy", "elements": "65536"}, GEMM], name="mine")
    assert graph.name == "mine"
    assert [(node.name, node.after) for node in graph.nodes] == [
        ("gemm_0", ()),
        ("copy_1", ("gemm_0",)),
        ("gemm_2", ("copy_1",)),
    ]


def test_a_dependency_may_stand_further_down() -> None:
    graph = from_data([{"name": "b", "op": GEMM, "after": "a"}, {"name": "a", "op": GEMM, "after": []}])
    assert [node.name for node in graph.nodes] == ["a", "b"]


def test_a_repeated_operator_is_a_chain_and_those_after_it_wait_for_its_last() -> None:
    graph = from_data([{"name": "up", "op": GEMM, "repeat": 3}, {"name": "down", "op": GEMM}])
    assert [(node.name, node.after) for node in graph.nodes] == [
        ("up.0", ()),
        ("up.1", ("up.0",)),
        ("up.2", ("up.1",)),
        ("down", ("up.2",)),
    ]


def test_a_pass_of_a_repeated_graph_begins_when_the_one_before_has_ended() -> None:
    operators = [{"name": "a", "op": GEMM}, {"name": "b", "op": GEMM, "after": []}]
    graph = from_data({"repeat": 2, "operators": operators})
    assert [(node.name, node.after) for node in graph.nodes] == [
        ("a.0", ()),
        ("b.0", ()),
        ("a.1", ("a.0", "b.0")),
        ("b.1", ("a.0", "b.0")),
    ]


@given(random_graphs())
def test_a_graph_survives_json(graph: Graph) -> None:
    assert from_data(json.loads(json.dumps(to_data(graph)))) == graph


def test_a_chain_of_runs_keeps_names_readable_and_reads_nothing_of_the_run_before() -> None:
    work = chained(graph_of(a="", b="", c="a", d="c"), 3)
    assert [node.name for node in work.nodes][:6] == ["run0/a", "run0/b", "run0/c", "run0/d", "run1/a", "run1/b"]
    after = {node.name: node.after for node in work.nodes}
    assert (after["run0/a"], after["run0/b"], after["run0/d"]) == ((), (), ("run0/c",))
    assert after["run2/a"] == after["run2/b"] == ("run1/b", "run1/d")
    assert (after["run2/c"], after["run2/d"]) == (("run2/a",), ("run2/c",))
    reads = {node.name: node.reads for node in work.nodes}
    assert reads["run2/a"] == ()
    assert reads["run2/c"] == ("run2/a",)


def test_a_chain_of_runs_holds_what_is_resident_once() -> None:
    once = Graph(
        "test", (Node.of("a", Add(1)), Node.of("b", Add(1))), {"weights": 8.0}, (Exchange("a", "b", 3, 1.0, 2, 0.0),)
    )
    twice = chained(once, 2)
    assert twice.resident_bytes == {"weights": 8.0}
    assert [(each.asks, each.answers, each.batches) for each in twice.exchanges] == [
        ("run0/a", "run0/b", 3),
        ("run1/a", "run1/b", 3),
    ]


def test_a_graph_once_is_itself_and_never_is_refused() -> None:
    once = graph_of(a="")
    assert chained(once, 1) is once
    with pytest.raises(SimexploreError, match="at least once, found 0 times"):
        chained(once, 0)
