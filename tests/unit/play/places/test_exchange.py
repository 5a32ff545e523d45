"""Two nodes that hand each other batches: events and the closed form, with and without a middle that is one stretch."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.system import Place
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.alone import Alone, Phase, alone
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.estimate.placed import Ready
from simexplore.sim.play.execute import execute
from simexplore.sim.play.result import Run
from simexplore.workloads.graph import Exchange, Graph, Node

GPU = load_arch("nvidia/a100-sxm-80gb@facts")
BATCHES = 100


@dataclass(frozen=True)
class Lonely:
    """Takes a time, most of DRAM if it is `hungry`, and a joule."""

    batch_s: float
    latency_s: float = 0.0
    hungry: bool = False
    phases: int = 1
    kernel: str = "lonely"


@alone.register
def _lonely(demand: Lonely, place: Place, conditions: Conditions) -> Alone:
    run_s = demand.batch_s * (BATCHES - 0.5)
    phase = Phase(demand.latency_s, run_s, {"dram": run_s * (0.8 if demand.hungry else 0.0)}, {"l2": 1e-3})
    return Alone((phase,) * demand.phases, "latency")


def graph(asks: Lonely, answers: Lonely, in_flight: int = 2, doorbell_s: float = 1e-7) -> Graph:
    nodes = (Node("asks", Ready(asks, "work")), Node("answers", Ready(answers, "work")))
    return Graph("exchange", nodes, exchanges=(Exchange("asks", "answers", BATCHES, 0.5, in_flight, doorbell_s),))


def shorter(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    for module in ("estimate", "play"):
        monkeypatch.setattr(f"simexplore.sim.{module}.exchange.LONGEST_PLAYED", batches)


@pytest.mark.parametrize("longest", [10**6, 40, 12])
@pytest.mark.parametrize(
    ("asks_s", "answers_s", "in_flight", "doorbell_s"),
    [
        (3e-6, 1e-6, 2, 1e-7),  # the stretch begins while a doorbell rings
        (1e-6, 3e-6, 2, 1e-7),  # while the other side works
        (1e-6, 1e-6, 1, 5e-6),  # nothing overlaps
        (2e-6, 2e-6, 3, 1e-9),
    ],
)
def test_events_are_the_closed_form_where_nothing_is_shared(
    monkeypatch: pytest.MonkeyPatch, longest: int, asks_s: float, answers_s: float, in_flight: int, doorbell_s: float
) -> None:
    shorter(monkeypatch, longest)
    work = graph(Lonely(asks_s, latency_s=4e-6), Lonely(answers_s), in_flight, doorbell_s)
    run, estimate = execute(work, GPU), estimate_graph(work, GPU)
    assert run.time_s == pytest.approx(estimate.time_s, rel=1e-7)
    assert run.energy_j == pytest.approx(2e-3 + GPU.power.idle_w * run.time_s, rel=1e-7)
    assert [(op.name, op.start_s) for op in run.ops] == [("asks", 4e-6), ("answers", 4e-6)]
    for op, side_s in zip(run.ops, (asks_s, answers_s), strict=True):
        assert op.time_s == pytest.approx(side_s * (BATCHES - 0.5))
    assert [op.time_s for op in estimate.ops] == pytest.approx([op.time_s for op in run.ops])


def played(monkeypatch: pytest.MonkeyPatch, longest: int) -> Run:
    shorter(monkeypatch, longest)
    return execute(graph(Lonely(2e-6, hungry=True), Lonely(3e-6, hungry=True)), GPU)


def test_the_stretch_goes_at_the_pace_of_the_contention_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, folded = played(monkeypatch, 10**6), played(monkeypatch, 40)
    lonely_s = estimate_graph(graph(Lonely(2e-6), Lonely(3e-6)), GPU).time_s
    assert whole.time_s > 1.2 * lonely_s
    assert folded.time_s == pytest.approx(whole.time_s, rel=1e-6)
    assert folded.energy_j == pytest.approx(whole.energy_j, rel=1e-6)
    assert folded.utilization == pytest.approx(whole.utilization, rel=1e-6)


def test_other_nodes_run_beside_an_exchange_and_do_not_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    shorter(monkeypatch, 12)
    work = graph(Lonely(1e-6), Lonely(3e-6))
    other = Node("other", Ready(Lonely(1e-6), "work"))
    after = Node("after", Ready(Lonely(1e-6), "work"), ("answers", "other"))
    run = execute(Graph("more", (*work.nodes, other, after), exchanges=work.exchanges), GPU)
    by_name = {op.name: op for op in run.ops}
    assert by_name["other"].time_s == pytest.approx(1e-6 * (BATCHES - 0.5))
    alone_s = execute(work, GPU).time_s
    assert by_name["after"].start_s == pytest.approx(alone_s)
    estimate = estimate_graph(Graph("more", (*work.nodes, other, after), exchanges=work.exchanges), GPU)
    assert run.time_s == pytest.approx(estimate.time_s, rel=1e-7)


@pytest.mark.parametrize("run", [execute, estimate_graph])
def test_a_share_of_several_phases_is_no_batch(run: object) -> None:
    with pytest.raises(ValueError, match="one phase"):
        run(graph(Lonely(1e-6, phases=2), Lonely(1e-6)), GPU)  # type: ignore[operator]
