"""Device memory: everything that an operator reads or writes is in it, and nothing is counted twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_machines import operators

import simexplore
from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.play.execute import execute
from simexplore.sim.play.memory.ledger import Memory
from simexplore.workloads.graph import Graph, Node, single
from simexplore.workloads.operators.tensors.operands import operand_bytes
from simexplore.workloads.ops import FAMILIES, Operator, parse_operator

H200, RTX_4090 = load_arch("nvidia/h200-sxm"), load_arch("nvidia/rtx-4090")


def peak(graph: Graph, capacity_bytes: float = float("inf")) -> float:
    memory = Memory(graph, "a GPU", capacity_bytes)
    highest = memory.held_bytes
    for node in graph.nodes:
        memory.begin(node)
        highest = max(highest, memory.held_bytes)
        memory.end(node)
    return highest


@given(operators())
def test_a_lone_operator_needs_room_for_all_that_it_reads_and_writes(op: Operator) -> None:
    needed = peak(single(op))
    assert needed >= op.min_bytes * (1 - 1e-12)
    assert peak(single(op), needed) == needed
    with pytest.raises(SimexploreError, match="of device memory at"):
        peak(single(op), needed * 0.999 - 1.0)


@pytest.mark.parametrize("family", FAMILIES.values())
def test_no_family_has_less_in_memory_than_it_reads(family: type[Operator]) -> None:
    op = parse_operator(family.example)
    in_place = getattr(op, "state_bytes", 0)  # an optimizer's states are written where they are read
    assert sum(operand_bytes(op).values()) >= (op.min_bytes - op.output_bytes - in_place) * (1 - 1e-12)
    assert all(size >= 0.0 for size in operand_bytes(op).values())


@given(st.lists(operators(), min_size=1, max_size=6), st.floats(0.0, 1e9))
def test_a_chain_needs_at_least_its_hungriest_operator_and_at_most_all_of_them(
    ops: list[Operator], resident: float
) -> None:
    nodes = tuple(Node.of(str(i), op, (str(i - 1),) if i else ()) for i, op in enumerate(ops))
    alone = [peak(single(op)) for op in ops]
    found = peak(Graph("chain", nodes, {"weights": resident}))
    assert found >= max(max(alone) - max(op.output_bytes for op in ops), resident)
    assert found <= sum(alone) + resident + 1e-6


def test_what_a_graph_names_is_not_counted_again() -> None:
    gemm = parse_operator("gemm(m=1,n=1000,k=1000)")
    one = (Node("a", gemm, (), 2000.0),)
    assert peak(Graph("all named", one, {"weights": 2e6, "activations": 2e3})) == 2e6 + 4e3
    assert peak(Graph("more named", one, {"weights": 9e6})) == 9e6 + 2e3
    assert peak(Graph("less named", one, {"weights": 1e6})) == 2e6 + 4e3
    both = (*one, Node("b", gemm, ("a",), 2000.0))
    assert peak(Graph("handed on", both)) == 2e6 + 4e3


def test_who_watches_from_the_middle_of_a_run_is_told_of_each_part_once() -> None:
    node = Node("a", parse_operator("gemm(m=1,n=1000,k=1000)"), (), 2000.0)
    memory = Memory(Graph("one", (node,)), "a GPU", float("inf"))
    memory.begin(node)
    changes: list[tuple[str, float]] = []
    memory.watch(lambda name, kind, size: changes.append((name, size)))
    assert sum(size for _, size in changes) == memory.held_bytes == 2e6 + 4e3
    memory.end(node)
    assert [size for name, size in changes if name == "operands"] == [2e6 + 2e3, -(2e6 + 2e3)]
    assert sum(size for _, size in changes) == memory.held_bytes == 0.0


@pytest.mark.parametrize(
    ("text", "gpu", "said"),
    [
        ("gemm(m=200000,n=200000,k=100000)", H200, "160 GB .*activations 40 GB, weights 40 GB, results 80 GB"),
        ("attention_decode(batch=1,heads=32,kv_heads=8,head_dim=128,seq_kv=10000000)", RTX_4090, "kv_cache 40.96 GB"),
        ("embedding(tokens=1,width=100000,vocabulary=1000000)", H200, "table 200 GB"),
        ("conv2d(batch=100000,cin=512,cout=1,ksize=1,hw=100)", H200, "images"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_tensors(text: str, gpu: object, said: str) -> None:
    with pytest.raises(SimexploreError, match=said):
        simexplore.simulate(text, gpu)  # type: ignore[arg-type]
    assert simexplore.simulate(text, gpu, allow_overflow=True).peak_memory_bytes > 25e9  # type: ignore[arg-type]


@pytest.mark.parametrize("work", ["ngp/nerf/hashgrid", "ngp/gia/densegrid", "grid_encoding(queries=1000000)"])
def test_a_frame_on_a_cluster_holds_its_tables_and_batches(work: str) -> None:
    machine = load_arch("ngpc/rtx-3090-ngpc-64")
    graph = simexplore.load_workload(work)
    needed = execute(graph, machine).peak_memory_bytes
    tables = max(getattr(node.op, "table_bytes", 0.0) for node in graph.nodes)
    assert needed > sum(graph.resident_bytes.values())
    assert needed > tables > 0.0
    small = machine.model_copy(update={"dram": machine.dram.model_copy(update={"capacity_bytes": needed - 1.0})})
    with pytest.raises(SimexploreError, match="tables"):
        execute(graph, small)
