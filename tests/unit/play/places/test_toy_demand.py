"""A kind of demand is added in one file: its record, how long it takes alone, and with that how it is played."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.system import Place
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.alone import Alone, Phase, alone
from simexplore.sim.estimate.graphs import busy_seconds, estimate_graph
from simexplore.sim.estimate.placed import Ready
from simexplore.sim.play.devices.stage import Playing, Stage
from simexplore.sim.play.devices.steps import step_of
from simexplore.sim.play.execute import execute
from simexplore.sim.play.probes import Activity
from simexplore.workloads.graph import Graph, Node


@dataclass(frozen=True)
class Scrub:
    """A pass of a DMA engine over memory: some bytes at half of DRAM's bandwidth, after a wait."""

    bytes: float
    kernel: str = "scrub"


@alone.register
def _scrub(demand: Scrub, place: Place, conditions: Conditions) -> Alone:
    half_s = demand.bytes / place.gpu.dram.bandwidth_bytes_per_s
    phase = Phase(1e-6, 2.0 * half_s, {"dram": half_s}, {"dram": 0.03}, (0.0, 2.0 * half_s, 1.0))
    return Alone((phase,), "dram", {"bytes": demand.bytes})


@dataclass(frozen=True)
class Nap:
    """A kind with a player of its own."""

    time_s: float
    kernel: str = "nap"


@alone.register
def _nap(demand: Nap, place: Place, conditions: Conditions) -> Alone:
    return Alone((Phase(demand.time_s),), "latency")


class NapStep:
    kernel = "nap"
    details: Mapping[str, object] = {}
    spends: Mapping[str, float] = {}

    def __init__(self, demand: Nap, place: Place, conditions: Conditions, correction: float = 1.0) -> None:
        self._time_s = demand.time_s

    def play(self, stage: Stage, activity: Activity) -> Playing:
        stage.probes.on_kernel_start(stage.clock.now_fs, activity)
        yield stage.clock.sleep(self._time_s)
        stage.probes.on_kernel_end(stage.clock.now_fs, activity)
        return 0.0


step_of.register(Nap, NapStep)

GPU = load_arch("nvidia/a100-sxm-80gb@facts")
SCRUB = Scrub(1e9)
HALF_S = 1e9 / GPU.dram.bandwidth_bytes_per_s


def graph(*demands: object) -> Graph:
    """Demands side by side."""
    return Graph("toys", tuple(Node(f"n{i}", Ready(demand, f"toy {i}")) for i, demand in enumerate(demands)))  # type: ignore[arg-type]


def test_one_is_estimated_and_played_alike() -> None:
    run, estimate = execute(graph(SCRUB), GPU), estimate_graph(graph(SCRUB), GPU)
    assert run.time_s == pytest.approx(1e-6 + 2.0 * HALF_S, rel=1e-9)
    assert estimate.time_s == pytest.approx(run.time_s, rel=1e-9)
    assert run.energy_j == pytest.approx(0.03 + GPU.power.idle_w * run.time_s)
    assert estimate.energy_j == pytest.approx(run.energy_j)
    assert run.utilization["dram"] == pytest.approx(HALF_S / run.time_s)
    assert busy_seconds(graph(SCRUB), GPU)["dram"] == pytest.approx(HALF_S)
    for told in (run.ops[0], estimate.ops[0]):
        assert (told.op, told.bound, told.kernel, told.energy_j) == ("toy 0", "dram", "scrub", 0.03)


def test_three_of_them_contend() -> None:
    run = execute(graph(SCRUB, SCRUB, SCRUB), GPU)
    assert run.time_s == pytest.approx(1e-6 + 3.0 * HALF_S, rel=1e-9)
    assert estimate_graph(graph(SCRUB, SCRUB, SCRUB), GPU).time_s == pytest.approx(1e-6 + 2.0 * HALF_S)


def test_a_kind_may_have_a_player_of_its_own() -> None:
    run = execute(graph(Nap(2e-3)), GPU)
    assert run.time_s == pytest.approx(2e-3) == estimate_graph(graph(Nap(2e-3)), GPU).time_s
    assert run.ops[0].kernel == "nap"


def test_a_kind_that_nobody_knows_is_told_by_its_name() -> None:
    @dataclass(frozen=True)
    class Odd:
        kernel: str = "odd"

    with pytest.raises(Exception, match="n0: nothing says how long a Odd takes"):
        execute(graph(Odd()), GPU)
