"""Collectives of more GPUs than a node has: by hand, beside those within a node, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.archs.views.machines import load_machine
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.estimate.nodes.collectives import cluster_demand, with_nodes
from simexplore.sim.estimate.offload import gpus_of
from simexplore.sim.estimate.placed import Ready
from simexplore.sim.play.execute import execute
from simexplore.workloads.catalog import build
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.graph_data import from_data, to_data
from simexplore.workloads.ops import AllGather, AllReduce, AllToAll, Collective

GIGA = 10**9
NETWORK = Link.model_construct(bandwidth_bytes_per_s=50e9, latency_s=2e-6)


def nodes() -> System:
    found = load_machine("systems/dgx-h100-x4")
    assert isinstance(found, System)
    return found


def gpu() -> Gpu:
    return nodes().place().gpu


def graph(op: Collective) -> Graph:
    return Graph("one", (Node.of("a", op),))


def rate() -> float:
    library, nvlink = gpu().collective_library, gpu().links.nvlink
    assert library is not None
    assert nvlink is not None
    return library.efficiency * nvlink.bandwidth_bytes_per_s


def test_a_large_tensor_by_hand() -> None:
    """16 GPUs send 2 x 15/16 of 2 GB round rings over NVLink; an adapter carries an eighth of it."""
    library = gpu().collective_library
    assert library is not None
    demand = cluster_demand(AllReduce(GIGA, 16, "bf16"), gpu(), 8, NETWORK)
    own, adapter = 2 * 15 / 16 * 2e9 / rate(), 2 * 15 / 16 * 2e9 / 8 / 50e9
    assert demand.takes == {"nvlink": pytest.approx(own)}
    assert demand.run_s == pytest.approx(max(own, adapter))
    # 30 steps in all, of which two are between nodes, at 14 us.
    started = library.start_s + library.simple_start_s
    assert demand.waits_s == pytest.approx(started + 28 * library.simple_step_s + 2 * 14e-6)
    slower = Link.model_construct(bandwidth_bytes_per_s=10e9, latency_s=20e-6)
    late = cluster_demand(AllReduce(GIGA, 16, "bf16"), gpu(), 8, slower)
    assert late.run_s == pytest.approx(5 * adapter)
    assert late.waits_s == pytest.approx(demand.waits_s + 2 * 6e-6)


def test_a_small_tensor_goes_by_flags() -> None:
    """Rings of two nodes have 30 steps, two of them at 2.7 us; trees 14 in a chain, and two at 5 us."""
    library = gpu().collective_library
    assert library is not None
    demand = cluster_demand(AllReduce(512, 16, "bf16"), gpu(), 8, NETWORK)
    tree = library.start_s + 14 * library.step_s + 2 * 5.0e-6
    ring = library.start_s + 28 * library.step_s + 2 * 2.7e-6
    assert demand.waits_s == pytest.approx(min(tree, ring))


@pytest.mark.parametrize("elements", [2**12, 2**19, 2**24, 2**30])
def test_the_quickest_of_four_ways_is_taken(elements: int) -> None:
    """32 GPUs of four nodes: a ring of 62 steps, six between nodes; a tree of 14 in a chain, and four between nodes."""
    library, size = gpu().collective_library, 2.0 * elements
    assert library is not None
    simple_s = library.start_s + library.simple_start_s
    ring, tree = 2 * 31 / 32 * size, 2 * size

    def run_s(sent: float) -> float:
        return max(sent / rate(), sent / 8 / 50e9)

    ways = [
        library.start_s + 56 * library.step_s + 6 * 2.7e-6 + run_s(2 * ring),
        library.start_s + 14 * library.step_s + 4 * 5e-6 + run_s(2 * tree),
        simple_s + 56 * library.simple_step_s + 6 * 14e-6 + run_s(ring),
        simple_s + 14 * library.simple_step_s + 4 * 14e-6 + run_s(tree),
    ]
    demand = cluster_demand(AllReduce(elements, 32, "bf16"), gpu(), 8, NETWORK)
    assert demand.waits_s + demand.run_s == pytest.approx(min(ways))


def test_an_exchange_with_all_sends_most_over_the_adapter() -> None:
    demand = cluster_demand(AllToAll(GIGA, 32, "bf16"), gpu(), 8, NETWORK)
    assert demand.run_s == pytest.approx(2e9 * 24 / 32 / 50e9)
    assert demand.wire_bytes == pytest.approx(2e9 * 31 / 32)


@pytest.mark.parametrize("family", [AllReduce, AllGather, AllToAll])
def test_more_nodes_and_more_bytes_are_never_faster(family: type[Collective]) -> None:
    system = nodes()

    def seconds(elements: int, gpus: int) -> float:
        return estimate_graph(graph(family(elements, gpus, "bf16")), system).time_s  # type: ignore[arg-type]

    for size in (2**10, 2**20, 2**28):
        # Where NVLink binds, adapters add nothing, and rings within a node have costs of their own.
        assert 0.99 * seconds(size, 8) < seconds(size, 16) <= seconds(size, 32)
        assert seconds(size, 16) < seconds(4 * size, 16)


def test_copies_of_a_whole_node_exchange_over_an_adapter_each() -> None:
    """Four copies of 8 GPUs each: a ring of six steps between nodes, and nothing over NVLink."""
    library = gpu().collective_library
    assert library is not None
    demand = cluster_demand(AllReduce(GIGA, 4, "bf16"), gpu(), 1, NETWORK)
    assert demand.takes == {"nvlink": 0.0}
    assert demand.run_s == pytest.approx(2 * 3 / 4 * 2e9 / 50e9)
    assert demand.waits_s == pytest.approx(library.start_s + library.simple_start_s + 6 * 14e-6)
    assert demand.wire_bytes == pytest.approx(2 * 3 / 4 * 2e9)


@pytest.mark.parametrize(("copies", "apart", "together"), [(4, 8, 1), (8, 4, 2), (2, 16, 1), (2, 6, 1)])
def test_gpus_of_a_collective_may_lie_apart(copies: int, apart: int, together: int) -> None:
    op = AllReduce(GIGA, copies, "bf16")
    node = replace(Node.of("a", op), apart=apart)
    found, demand = with_nodes(Graph("one", (node,)), nodes()).nodes[0].op, cluster_demand(op, gpu(), together, NETWORK)
    assert isinstance(found, Ready)
    assert found.demand == demand


def test_gpus_that_lie_apart_in_one_node_are_as_neighbours() -> None:
    graph = Graph("one", (replace(Node.of("a", AllReduce(GIGA, 2, "bf16")), apart=4),))
    assert with_nodes(graph, nodes()) == graph


def test_copies_of_a_training_step_lie_beyond_the_gpus_of_a_layer() -> None:
    params = {"tensor_parallel": 8, "data_parallel": 4, "layers": 1, "tokens": 256}
    step = build("llm/llama-3-8b/train", params)
    assert gpus_of(step) == 32
    assert {node.apart for node in step.nodes if "gradients_all_reduce" in node.name} == {8}
    assert from_data(to_data(step)) == step
    told = {op.name: op.time_s for op in estimate_graph(step, nodes()).ops}
    summed = next(node.op for node in step.nodes if node.name == "layer0.gradients_all_reduce")
    assert told["layer0.gradients_all_reduce"] > 2 * 3 / 4 * float(summed.output_bytes) / 50e9
    for one_node in ("systems/dgx-h100", "nvidia/h100-sxm"):
        with pytest.raises(SimexploreError, match=r"at most 8 GPUs to work together, .* found 32"):
            estimate_graph(step, load_machine(one_node))


def test_events_and_the_closed_form_agree() -> None:
    one = graph(AllReduce(2**24, 16, "bf16"))
    run, told = execute(one, nodes()), estimate_graph(one, nodes())
    assert run.time_s == pytest.approx(told.time_s, rel=1e-6)
    assert run.ops[0].op == "all_reduce(elements=16777216,num_gpus=16,dtype=bf16)"
    assert run.utilization["nvlink"] > 0.5


@pytest.mark.parametrize(
    ("machine", "gpus", "message"),
    [
        ("systems/dgx-h100-x4", 12, "a: all_reduce: expected whole nodes of 8 GPUs, found 12"),
        ("systems/dgx-h100-x4", 40, "at most 32 GPUs to work together, those of Four DGX H100"),
        ("systems/dgx-h100", 16, "at most 8 GPUs to work together, those of a node of DGX H100"),
    ],
)
def test_what_no_domain_has_is_refused(machine: str, gpus: int, message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        estimate_graph(graph(AllReduce(1024, gpus)), load_machine(machine))
