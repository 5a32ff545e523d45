"""A whole trace, event by event, of an imaginary machine: two streams that contend on DRAM, a tail and its leftovers.

To accept a wanted change: `python tests/golden/test_golden_trace.py`, and read the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simexplore.sim.estimate.alone import Phase
from simexplore.sim.hardware.power import Board
from simexplore.sim.play.devices.board import RunningBoard
from simexplore.sim.play.devices.clocks import Clocked
from simexplore.sim.play.devices.phases import Phases
from simexplore.sim.play.engine import Clock, Event
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.probes import Activity, BoardState, Probes
from simexplore.sim.play.sm_array import GridTiming, SmArray
from simexplore.sim.play.trace import Trace

GOLDEN = Path(__file__).with_name("two_streams.trace.json")
IDLE_50_W = Board(idle_w=50.0, clocked_share=0.2, clock_exponent=3.0, held_w=1e3, headroom_w=0.0, drain_s=1e-3)
"""Its limit is never reached: a held clock is found by a search, and not to the same last bit on every machine."""


@dataclass(frozen=True)
class Ctas:
    """A grid whose waves take one microsecond each and half of DRAM when all four SMs run it."""

    ctas: int
    ctas_per_sm: int = 1

    def timing(self, ctas: int, sms: float) -> GridTiming:
        full, rest = divmod(ctas, round(sms * self.ctas_per_sm))
        waves = full + (rest > 0)
        share = 1.0 / waves
        demands: Mapping[str, float] = {"dram": 0.125e-6 / self.ctas_per_sm}
        power = Clocked("gpu", waves * 1e-6, 0.0, 1.0, clocked_j=1e-4)
        return GridTiming(0.25e-6, waves * 1e-6, full, share, share if rest else 0.0, demands, power)


def play() -> dict[str, Any]:
    """Four SMs; stream 0: ten CTAs, then a message; stream 1: three CTAs, then nine at two an SM."""
    clock, trace = Clock(), Trace("imaginary")
    probes = Probes([trace])
    board = RunningBoard("gpu", IDLE_50_W, 0.0, clock)

    def on_boards(drawn: Mapping[str, tuple[float, float]]) -> None:
        power_w, over_boost = drawn["gpu"]
        probes.on_boards(clock.now_fs, {"": BoardState(power_w, 1e9 * over_boost)})

    network = FlowNetwork(
        clock,
        {"dram": 1.0, "link": 1.0},
        lambda loads: probes.on_rates(clock.now_fs, loads),
        boards=[board],
        on_boards=on_boards,
    )
    board.on_look(network.settle_soon)
    network.settle_soon()
    array = SmArray(clock, network, sms=4, max_ctas_per_sm=2, probes=probes)

    def stream_0() -> Iterator[Event]:
        yield clock.sleep(1e-6)
        yield array.launch(Ctas(10), Activity("a", 0, "gemm", {"tile": "128x128"}))
        message = Phase(0.5e-6, 1.5e-6, {"link": 1.5e-6})
        yield Phases(clock, network, probes, Activity("b", 0, "all_reduce"), "link").start([message])

    def stream_1() -> Iterator[Event]:
        yield clock.sleep(2e-6)
        yield array.launch(Ctas(3), Activity("c", 1, "norm"))
        yield array.launch(Ctas(9, ctas_per_sm=2), Activity("d", 1, "gemm"))

    clock.process(stream_0())
    clock.process(stream_1())
    clock.run()
    return trace.to_json()


def test_the_trace_is_the_golden_one_event_by_event() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    played = play()
    assert played["traceEvents"] == golden["traceEvents"]
    assert played == golden


if __name__ == "__main__":
    one_event_a_line = json.dumps(play()).replace('[{"ph"', '[\n{"ph"').replace(', {"ph"', ',\n{"ph"')
    GOLDEN.write_text(one_event_a_line + "\n", encoding="utf-8")
