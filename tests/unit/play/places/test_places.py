"""Places: what runs where, and what a machine says of one that it does not have."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import inf
from typing import Any

import pytest
from pydantic import ValidationError

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.archs.schema.system import Device, Domain, System, SystemLink, system_of
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, Conditions
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.play.engine import to_fs
from simexplore.sim.play.execute import execute
from simexplore.sim.play.meters import Integral
from simexplore.sim.play.probes import BoardState, Probe
from simexplore.workloads.graph import Exchange, Graph, GraphError, Node
from simexplore.workloads.ops import Gemm, Operator, parse_operator

GEMM = Gemm(2048, 2048, 2048, dtype="fp16")
SLOW = {"bandwidth": "1 GB/s", "latency": "1 us"}
COPY = parse_operator("copy(elements=536870912,dtype=fp16)")


@cache
def gpu() -> Gpu:
    return load_arch("nvidia/a100-sxm-80gb@facts")


@cache
def cluster() -> Gpu:
    return load_arch("ngpc/rtx-3090-ngpc-8@facts")


def two() -> System:
    """Two GPUs and the link between them, as a file would describe them."""
    return System.model_validate(
        {
            "kind": "system",
            "name": "two",
            "devices": {"a": {"arch": gpu()}, "b": {"arch": load_arch("nvidia/l40s@facts"), "count": 2}},
            "links": {"ab": {"between": ["a", "b"], "bandwidth": "10 GB/s", "latency": "2 us", "duplex": "half"}},
            "domains": {"node": {"devices": ["a"], "link": "ab", "size": 8}},
        }
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"links": {"a": {"between": ["a", "b"], **SLOW}}}, "a name that no device has"),
        ({"links": {"ab": {"between": ["a", "c"], **SLOW}}}, "one of the devices a, b"),
        ({"domains": {"node": {"devices": ["c"], "link": "ab", "size": 8}}}, "one of the devices a, b"),
        ({"domains": {"node": {"devices": ["a"], "link": "ac", "size": 8}}}, "the name of a link"),
        ({"devices": {"a": {"arch": gpu(), "beside": "z"}}, "links": {}, "domains": {}}, "one of the devices a"),
    ],
)  # fmt: skip
def test_a_system_names_only_what_it_has(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        System.model_validate({**dict(two()), **change})


def at(*nodes: tuple[str, Operator, tuple[str, ...], str | None]) -> Graph:
    return Graph("test", tuple(Node.of(name, op, after, place=place) for name, op, after, place in nodes))


def test_a_gpu_is_a_system_of_one_device_and_its_links() -> None:
    system = system_of(gpu())
    assert list(system.devices) == ["gpu"]
    assert set(system.links) == {"pcie", "nvlink"}
    assert system.place().arch is system.place("gpu").arch is gpu()
    assert system_of(system) is system
    with_cluster = system_of(cluster())
    assert list(with_cluster.devices) == ["gpu", "ngpc"]
    assert isinstance(with_cluster.place("ngpc").arch, Ngpc)
    assert with_cluster.place("ngpc").gpu is cluster()


def test_a_system_is_what_its_file_says() -> None:
    system = two()
    assert system.devices["b"] == Device(arch=system.devices["b"].arch, count=2)
    link = system.links["ab"]
    assert (link.between, link.bandwidth_bytes_per_s, link.latency_s, link.duplex) == (("a", "b"), 10e9, 2e-6, "half")
    assert system.domains["node"] == Domain(devices=("a",), link="ab", size=8)
    assert isinstance(system.place("ab").arch, SystemLink)


@pytest.mark.parametrize("run", [execute, estimate_graph])
def test_an_unknown_place_is_one_line_that_names_the_node_and_the_places(run: object) -> None:
    told = r"^mine: expected a place of A100 SXM 80GB \(gpu, pcie, nvlink\), found 'gpu7'$"
    with pytest.raises(SimexploreError, match=told.replace("A100 SXM 80GB", gpu().name)):
        run(at(("mine", GEMM, (), "gpu7")), gpu())  # type: ignore[operator]


def test_a_node_that_says_nothing_is_on_the_first_gpu() -> None:
    by_default, told = (execute(at(("a", GEMM, (), place)), two()) for place in (None, "a"))
    assert by_default == told
    assert by_default.time_s == execute(at(("a", GEMM, (), None)), gpu()).time_s


def test_each_gpu_has_its_own_resources_and_they_share_none() -> None:
    cold = Conditions(cache=COLD, runs_before=inf)
    graph = at(("first", GEMM, (), "a"), ("second", GEMM, (), "b"))
    run, estimate = execute(graph, two(), cold), estimate_graph(graph, two(), cold)
    assert run.time_s == pytest.approx(estimate.time_s, rel=1e-4)
    assert run.energy_j == pytest.approx(estimate.energy_j, rel=1e-4)
    assert run.utilization["tensor"] > 0.0
    assert run.utilization["b.tensor"] > 0.0
    alone = [execute(at(("one", GEMM, (), place)), two(), cold) for place in ("a", "b")]
    assert run.time_s == pytest.approx(max(one.time_s for one in alone), rel=1e-4)
    assert "b.tensor" not in alone[0].utilization, "only what the graph uses is in the result"


def test_idle_devices_that_a_graph_uses_draw_power() -> None:
    system = two()
    on_both = execute(at(("first", GEMM, (), "a"), ("second", GEMM, (), "b")), system)
    idle_w = sum(device.arch.power.idle_w for device in system.devices.values())  # type: ignore[union-attr]
    assert 0.9 * idle_w * on_both.time_s < on_both.energies_j["idle"] <= idle_w * on_both.time_s
    assert on_both.energy_j == pytest.approx(sum(op.energy_j for op in on_both.ops) + on_both.energies_j["idle"])


class Watts(Probe):
    """Energy by board, and the clocks that were told."""

    def __init__(self) -> None:
        self.energies: dict[str, Integral] = {}
        self.clocks_hz: dict[str, set[float | None]] = {}

    def on_boards(self, now_fs: int, boards: Mapping[str, BoardState]) -> None:
        for prefix, board in boards.items():
            self.energies.setdefault(prefix, Integral()).step(now_fs, board.power_w)
            self.clocks_hz.setdefault(prefix, set()).add(board.clock_hz)


def test_each_gpu_has_a_board_whose_limit_holds_its_own_clock() -> None:
    system, watts = two(), Watts()
    many = tuple((f"{place}{run}", GEMM, (), place) for place in "ab" for run in range(3))
    run = execute(at(*many), system, probes=[watts])
    end_fs = to_fs(run.time_s)
    by_board = {prefix: energy.until(end_fs) for prefix, energy in watts.energies.items()}
    assert list(by_board) == ["", "b."]
    assert sum(by_board.values()) == pytest.approx(run.energy_j, rel=1e-9)
    for prefix, place in (("", "a"), ("b.", "b")):
        arch = system.devices[place].arch
        assert isinstance(arch, Gpu)
        beside_j = by_board[prefix] - sum(op.energy_j for op in run.ops if op.name.startswith(place))
        idle_j = arch.power.idle_w * run.time_s
        assert (1.0 - arch.power.clocked_share) * idle_j < beside_j <= idle_j * (1.0 + 1e-9)
        assert max(filter(None, watts.clocks_hz[prefix])) == arch.clock.boost_hz


def test_a_copy_is_a_node_whose_place_is_a_link() -> None:
    graph = at(("up", COPY, (), "ab"), ("beside", GEMM, (), None))
    run = execute(graph, two())
    copy = next(op for op in run.ops if op.name == "up")
    assert copy.time_s == pytest.approx(2e-6 + 2.0 * 536870912 / 10e9)
    assert copy.bound == "link"
    assert run.utilization["ab"] == pytest.approx((copy.time_s - 2e-6) / run.time_s)
    assert run.time_s == pytest.approx(estimate_graph(graph, two()).time_s)
    both = execute(at(("one", COPY, (), "ab"), ("other", COPY, (), "ab")), two())
    assert both.time_s == pytest.approx(2.0 * copy.time_s, rel=1e-4), "they share it"


@pytest.mark.parametrize(("place", "told"), [("pcie", "a copy to go over pcie"), ("ngpc", "work that ngpc can do")])
def test_what_a_place_cannot_run_is_a_mistake_in_one_line(place: str, told: str) -> None:
    for run in (execute, estimate_graph):
        with pytest.raises(SimexploreError, match=f"^mine: expected {told}, found gemm$"):
            run(at(("mine", GEMM, (), place)), cluster())


def test_what_other_devices_hold_is_not_in_the_first_gpus_memory() -> None:
    nodes = (Node("here", GEMM, (), 5e9), Node("there", GEMM, (), 7e9, place="b"))
    operands = GEMM.min_bytes - GEMM.output_bytes
    assert execute(Graph("test", nodes), two()).peak_memory_bytes == 5e9 + operands


def test_an_exchange_needs_two_nodes_that_can_run_at_once() -> None:
    nodes = (Node("a", GEMM), Node("b", GEMM, ("a",)), Node("c", GEMM))
    with pytest.raises(GraphError, match="'a' and 'b' hand each other work while they run: give both the same 'after'"):
        Graph("test", nodes, exchanges=(Exchange("a", "b", 2, 1.0, 1, 0.0),))
    with pytest.raises(GraphError, match="found 'x'"):
        Graph("test", nodes, exchanges=(Exchange("a", "x", 2, 1.0, 1, 0.0),))
    assert Graph("test", nodes, exchanges=(Exchange("a", "c", 2, 1.0, 1, 0.0),)).exchanges[0].full_batches == 2.0


def test_a_system_without_a_gpu_says_so() -> None:
    ngpc = cluster().ngpc
    assert ngpc is not None
    with pytest.raises(SimexploreError, match="none: expected a GPU among the devices, found ngpc"):
        execute(Graph("test", ()), System(name="none", devices={"ngpc": Device(arch=ngpc)}))
