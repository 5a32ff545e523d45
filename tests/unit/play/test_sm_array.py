"""CTA slots and their dispatch, by exact traces. Times are of imaginary kernels whose CTAs take one microsecond."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.sim.play.devices.clocks import Clocked
from simexplore.sim.play.engine import Clock
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.probes import Activity, Probe, Probes
from simexplore.sim.play.sm_array import GridTiming, SmArray

US = 10**9  # femtoseconds


@dataclass(frozen=True)
class Ctas:
    """A grid whose waves take one microsecond each, whatever the number of CTAs in them."""

    ctas: int
    ctas_per_sm: int = 1
    setup_s: float = 0.0
    demands: Mapping[str, float] = field(default_factory=dict)
    power: Clocked | None = None
    wave_s: float = 1e-6

    def timing(self, ctas: int, sms: float) -> GridTiming:
        slots = round(sms * self.ctas_per_sm)
        full, rest = divmod(ctas, slots)
        waves = full + (rest > 0)
        tail_share = 1.0 / waves if rest else 0.0
        return GridTiming(self.setup_s, waves * self.wave_s, full, 1.0 / waves, tail_share, self.demands, self.power)


class Recorder(Probe):
    """Writes down (time in microseconds, event)."""

    def __init__(self) -> None:
        self.trace: list[tuple[float, str]] = []
        self.held: list[tuple[float, float]] = []
        self.work = {"dram": 0.0}
        self.last: tuple[int, Mapping[str, float]] = (0, {"dram": 0.0})

    def on_kernel_start(self, now_fs: int, activity: Activity) -> None:
        self.trace.append((now_fs / US, f"{activity.node} start"))

    def on_kernel_end(self, now_fs: int, activity: Activity) -> None:
        self.trace.append((now_fs / US, f"{activity.node} end"))

    def on_wave(self, now_fs: int, activity: Activity) -> None:
        self.trace.append((now_fs / US, f"{activity.node} wave"))

    def on_sms(self, now_fs: int, held_share: float) -> None:
        self.held.append((now_fs / US, held_share))

    def on_rates(self, now_fs: int, loads: Mapping[str, float]) -> None:
        then_fs, then = self.last
        for name in self.work:
            self.work[name] += then[name] * (now_fs - then_fs) / 1e15
        self.last = (now_fs, loads)


class Machine:
    """Four SMs and a DRAM."""

    def __init__(self, sms: int = 4, max_ctas_per_sm: int = 4) -> None:
        self.clock = Clock()
        self.recorder = Recorder()
        probes = Probes([self.recorder])
        network = FlowNetwork(
            self.clock, {"dram": 1.0}, lambda loads: probes.on_rates(self.clock.now_fs, loads), observe_waves=True
        )
        self.array = SmArray(self.clock, network, sms, max_ctas_per_sm, probes)

    def launch(self, name: str, grid: Ctas, at_us: float = 0.0, max_sms: int | None = None) -> None:
        def launch() -> None:
            self.array.launch(grid, Activity(name, 0, "kernel"), max_sms)

        self.clock.alarm(launch).set(round(at_us * US))

    def run(self) -> list[tuple[float, str]]:
        self.clock.run()
        return self.recorder.trace


def test_one_kernel_with_a_tail() -> None:
    machine = Machine()
    machine.launch("a", Ctas(10))
    assert machine.run() == [(0, "a start"), (1, "a wave"), (2, "a wave"), (3, "a wave"), (3, "a end")]
    assert machine.recorder.held == [(0, 1.0), (2, 0.5), (3, 0.0)]


def test_a_grid_of_whole_waves_has_no_tail() -> None:
    machine = Machine()
    machine.launch("a", Ctas(16, ctas_per_sm=2))
    assert machine.run() == [(0, "a start"), (1, "a wave"), (2, "a wave"), (2, "a end")]
    assert machine.recorder.held == [(0, 1.0), (2, 0.0)]


def test_a_grid_smaller_than_the_array_holds_only_its_slots() -> None:
    machine = Machine()
    machine.launch("a", Ctas(3, ctas_per_sm=2))
    assert machine.run() == [(0, "a start"), (1, "a wave"), (1, "a end")]
    assert machine.recorder.held == [(0, 0.375), (1, 0.0)]


def test_waves_that_take_no_time_end_with_the_setup() -> None:
    machine = Machine()
    machine.launch("a", Ctas(8, setup_s=0.5e-6, wave_s=0.0))
    *_, (at_us, last) = machine.run()
    assert (last, at_us) == ("a end", pytest.approx(0.5, abs=1e-8))


def test_setup_comes_before_the_first_wave_and_holds_the_slots() -> None:
    machine = Machine()
    machine.launch("a", Ctas(4, setup_s=0.5e-6))
    assert machine.run() == [(0, "a start"), (1.5, "a wave"), (1.5, "a end")]
    assert machine.recorder.held == [(0, 1.0), (1.5, 0.0)]


def test_a_later_kernel_gets_the_slots_that_a_tail_leaves() -> None:
    """a's second wave leaves 2 of 4 slots, where 2 of b's 6 CTAs run; then b's other 4 have the whole array.

    b is laid out anew when it gets a's slots, and its first wave, which ends just then, is part of the new layout.
    """
    machine = Machine()
    machine.launch("a", Ctas(6))
    machine.launch("b", Ctas(6))
    assert machine.run() == [
        (0, "a start"),
        (1, "a wave"),
        (1, "b start"),
        (2, "a wave"),
        (2, "a end"),
        (3, "b wave"),
        (3, "b end"),
    ]
    assert [held for _, held in machine.recorder.held] == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_a_kernel_that_waits_blocks_those_behind_it() -> None:
    """c would fit into the slots that a leaves, but b was launched before it and takes them."""
    machine = Machine()
    machine.launch("a", Ctas(2))
    machine.launch("b", Ctas(10))
    machine.launch("c", Ctas(1))
    starts = [(time, event) for time, event in machine.run() if event.endswith("start")]
    assert starts == [(0, "a start"), (0, "b start"), (3, "c start")]


def test_small_kernels_run_side_by_side() -> None:
    machine = Machine()
    for name in "abc":
        machine.launch(name, Ctas(1))
    assert [event for event in machine.run() if "end" in event[1]] == [(1, "a end"), (1, "b end"), (1, "c end")]


def test_slots_of_kernels_with_other_occupancies_add_up_exactly() -> None:
    """3 CTAs of a at three an SM leave 3 SMs; b at two an SM fills them."""
    machine = Machine()
    machine.launch("a", Ctas(3, ctas_per_sm=3))
    machine.launch("b", Ctas(7, ctas_per_sm=2))
    machine.run()
    assert machine.recorder.held[:2] == [(0, 0.25), (0, 1.0)]


def test_a_kernel_limited_to_some_sms_leaves_the_others_to_the_next() -> None:
    machine = Machine()
    machine.launch("a", Ctas(4), max_sms=2)
    machine.launch("b", Ctas(4), max_sms=2)
    ends = [event for event in machine.run() if "end" in event[1]]
    assert ends == [(2, "a end"), (2, "b end")]


def test_kernels_side_by_side_contend_on_dram() -> None:
    """Each alone would use 0.75 of DRAM; together each gets a half and takes 1.5 times as long."""
    machine = Machine()
    for name in "ab":
        machine.launch(name, Ctas(2, demands={"dram": 0.375e-6}))
    assert [event for event in machine.run() if "end" in event[1]] == [
        (pytest.approx(1.5), "a end"),
        (pytest.approx(1.5), "b end"),
    ]


def test_slots_that_come_late_do_not_shorten_the_wave_that_is_under_way() -> None:
    """5 CTAs on 3 slots, and on 4 from 1.5 us on: two waves, as alone. Work that is left would fit into less."""
    machine = Machine()
    machine.launch("a", Ctas(1, setup_s=0.5e-6))
    machine.launch("b", Ctas(5))
    ends = [event for event in machine.run() if "end" in event[1]]
    assert ends == [(1.5, "a end"), (2, "b end")]


def test_what_the_present_wave_has_done_counts_when_slots_come() -> None:
    """Two of b's eight CTAs are half done when it gets all four slots: of two waves seven eighths are left."""
    machine = Machine()
    machine.launch("a", Ctas(2))
    machine.launch("b", Ctas(8), at_us=0.5)
    ends = [event for event in machine.run() if "end" in event[1]]
    assert ends == [(1, "a end"), (pytest.approx(1 + 2 * 7 / 8), "b end")]


def test_the_end_of_a_kernel_tells_what_it_took() -> None:
    machine = Machine()
    taken: list[object] = []
    power = Clocked("gpu", 1.0, 0.0, 1.0, clocked_j=2e-9, fixed_j=1e-9)
    done = machine.array.launch(Ctas(10, power=power), Activity("a", 0, "kernel"))
    done.callbacks.append(lambda event: taken.append(event.value))
    machine.run()
    assert taken == [pytest.approx(10 * 3e-9)]


def test_a_kernel_that_grows_during_setup_starts_once() -> None:
    machine = Machine()
    machine.launch("a", Ctas(2))
    machine.launch("b", Ctas(8, setup_s=2e-6))
    assert machine.run() == [
        (0, "a start"),
        (0, "b start"),
        (1, "a wave"),
        (1, "a end"),
        (3, "b wave"),
        (4, "b wave"),
        (4, "b end"),
    ]


grids = st.builds(
    Ctas,
    ctas=st.integers(1, 40),
    ctas_per_sm=st.integers(1, 4),
    setup_s=st.sampled_from([0.0, 0.3e-6]),
    demands=st.fixed_dictionaries({"dram": st.floats(0.0, 1e-6)}),
)


@given(st.lists(st.tuples(grids, st.integers(0, 6), st.sampled_from([None, 1, 3])), min_size=1, max_size=8))
def test_every_kernel_ends_its_work_is_done_and_slots_are_never_overbooked(
    launches: list[tuple[Ctas, int, int | None]],
) -> None:
    machine = Machine()
    for index, (grid, at_us, max_sms) in enumerate(launches):
        machine.launch(str(index), grid, at_us, max_sms)
    trace = machine.run()
    events = [event for _, event in trace]
    assert all(events.count(f"{index} end") == events.count(f"{index} start") == 1 for index in range(len(launches)))
    assert all(0.0 <= held <= 1.0 for _, held in machine.recorder.held)
    assert machine.recorder.held[-1][1] == 0.0
    times = dict(reversed([(event, time) for time, event in trace]))
    for index, (grid, _, max_sms) in enumerate(launches):
        alone = grid.timing(grid.ctas, float(max_sms or 4))
        taken_us = times[f"{index} end"] - times[f"{index} start"]
        assert taken_us >= (alone.setup_s + alone.run_s) * 1e6 * (1 - 1e-6), "faster than alone"
    asked = sum(grid.ctas * grid.demands["dram"] for grid, _, _ in launches)
    assert machine.recorder.work["dram"] == pytest.approx(asked, rel=1e-9, abs=1e-20)


@pytest.mark.parametrize("most", [64, 65, 1000, 10**9])
@pytest.mark.parametrize("ctas_per_sm", [1, 7, 64, 67, 999])
def test_an_sm_may_hold_any_number_of_ctas(most: int, ctas_per_sm: int) -> None:
    """All slots of all SMs are there, and no more, however many the machine's file says that there are."""
    if ctas_per_sm > most:
        return
    clock = Clock()
    array = SmArray(clock, FlowNetwork(clock, {"dram": 1.0}), 1000, most, Probes([]))
    per_cta = array.parts_per_sm // ctas_per_sm
    assert 1000 * array.parts_per_sm // per_cta == 1000 * ctas_per_sm
    assert array.parts_per_sm < 10**30
