"""Waves that nobody watches: a stretch of them is one event, and the run is the same as if each were one."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_machines import operators

import simexplore
from simexplore.archs.load import load_arch
from simexplore.sim.play.engine import FS_PER_S, Clock
from simexplore.sim.play.execute import execute
from simexplore.sim.play.flows import Flow, FlowNetwork, Stretch
from simexplore.sim.play.probes import Activity, Probe
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Operator

GPU = load_arch("nvidia/t4")


class WaveCounter(Probe):
    """Hears of every wave."""

    def __init__(self) -> None:
        self.waves = 0

    def on_wave(self, now_fs: int, activity: Activity) -> None:
        self.waves += 1


class Silent:
    """Owner of a flow, who must not be told of waves."""

    def wave_ended(self, flow: Flow) -> None:
        raise AssertionError("nobody watches")

    def stretch_ended(self, flow: Flow) -> None: ...

    def flow_ended(self, flow: Flow) -> None: ...


@given(st.lists(operators(), min_size=1, max_size=5), st.data())
def test_a_watched_run_is_the_same_run(ops: list[Operator], data: st.DataObject) -> None:
    nodes: list[Node] = []
    for index, op in enumerate(ops):
        after = data.draw(st.sets(st.sampled_from([node.name for node in nodes])) if nodes else st.just(set()))
        nodes.append(Node.of(str(index), op, sorted(after)))
    graph, counter = Graph("several", tuple(nodes)), WaveCounter()
    runs = []
    for probes in ([], [counter]):
        try:
            runs.append(execute(graph, GPU, probes=probes))
        except simexplore.SimexploreError as error:
            runs.append(str(error))
    assert runs[0] == runs[1]
    assert isinstance(runs[0], str) or counter.waves >= len(ops)


class Deaf(Silent):
    """Owner of a flow who does not mind."""

    def wave_ended(self, flow: Flow) -> None: ...


def steps_of(waves: int, looks_fs: list[int]) -> tuple[list[int], int]:
    """Waves that a flow of one a microsecond has left at some times, and how many events all of it takes."""
    clock, left, steps = Clock(), [], 0
    network = FlowNetwork(clock, {"dram": 1.0})
    flow = Flow(Silent(), 1e6, {"dram": 0.5e-6}, [Stretch(1.0, waves), Stretch(0.5)])
    network.join(flow)
    for at_fs in looks_fs:
        clock.alarm(lambda: left.append(flow.waves_left(clock.now_fs))).set(at_fs)
    while clock.peek() < inf:
        clock.step()
        steps += 1
    assert clock.now_fs == pytest.approx((waves + 0.5) * 1e-6 * FS_PER_S, rel=1e-12)
    return left, steps


@pytest.mark.parametrize("waves", [1, 2, 1000, 10**12])
def test_a_stretch_is_one_event_however_many_waves_it_has(waves: int) -> None:
    assert steps_of(waves, [])[1] <= 6


def test_waves_left_are_told_from_the_time() -> None:
    us = FS_PER_S // 10**6
    left, _ = steps_of(4, [us // 2, us - 1, us, us + 1, 3 * us, 4 * us - 1])
    assert left == [4, 4, 3, 3, 1, 1]


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=6), st.integers(1, 40))
def test_waves_left_when_others_come_and_go(joins: list[int], waves: int) -> None:
    """As many as a network that observes waves tells of."""

    def looks(observed: bool) -> list[tuple[int, int]]:
        clock, told = Clock(), []
        network = FlowNetwork(clock, {"dram": 1.0}, observe_waves=observed)
        owner = type("Deaf", (Silent,), {"wave_ended": lambda *_: None})()
        flow = Flow(owner, 1e9, {"dram": 1e-9}, [Stretch(1.0, waves), Stretch(0.25)])
        network.join(flow)

        def come(work: int) -> None:
            network.join(Flow(owner, 1e9, {"dram": 0.7e-9}, [Stretch(1e-6 * (work + 1))]))
            told.append((clock.now_fs, flow.waves_left(clock.now_fs)))

        for index, at_fs in enumerate(sorted(joins)):
            clock.alarm(lambda work=joins[index]: come(work)).set(at_fs)
        clock.run()
        return told

    assert looks(observed=True) == looks(observed=False)
