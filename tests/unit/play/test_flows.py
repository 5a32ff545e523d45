"""Max-min fair sharing and the flows that progress under it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simexplore.sim.play.devices.shares import max_min_rates
from simexplore.sim.play.engine import FS_PER_S, Clock, Event
from simexplore.sim.play.flows import Amounts, Flow, FlowNetwork, Stretch

US = 10**9  # femtoseconds
Trace = list[tuple[int, str]]

# --- the pure function ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caps", "demands", "capacities", "rates"),
    [
        ([3.0], [[]], [], [3.0]),
        ([3.0], [[(0, 1.0)]], [1.0], [1.0]),
        ([4.0, 4.0], [[(0, 1.0)], [(0, 1.0)]], [4.0], [2.0, 2.0]),
        ([1.0, 4.0], [[(0, 1.0)], [(0, 1.0)]], [4.0], [0.8, 3.2]),
        ([4.0, 4.0, 4.0], [[(0, 1.0), (1, 1.0)], [(0, 1.0)], [(1, 1.0)]], [4.0, 8.0], [2.0, 2.0, 4.0]),
        ([4.0, 4.0, 4.0], [[(0, 1.0), (1, 1.0)], [(0, 1.0)], [(1, 1.0)]], [2.0, 4.0], [1.0, 1.0, 3.0]),
        ([2.0, 2.0], [[(0, 3.0)], [(0, 1.0)]], [4.0], [1.0, 1.0]),
    ],
    ids=["no demands", "alone", "equal", "unequal caps", "two links", "fractions, not rates", "unequal demands"],
)
def test_rates_known_by_hand(
    caps: list[float], demands: list[Amounts], capacities: list[float], rates: list[float]
) -> None:
    assert max_min_rates(caps, demands, capacities) == pytest.approx(rates)


@st.composite
def sharing(draw: st.DrawFn, magnitude: float = 100.0) -> tuple[list[float], list[Amounts], list[float]]:
    """Caps, demands and capacities."""
    size = st.floats(1.0 / magnitude, magnitude)
    capacities = draw(st.lists(size, min_size=1, max_size=4))
    amounts = st.lists(st.one_of(st.just(0.0), size), min_size=len(capacities), max_size=len(capacities))
    flows = draw(st.lists(st.tuples(size, amounts), min_size=1, max_size=6))
    return [cap for cap, _ in flows], [list(enumerate(each)) for _, each in flows], capacities


def loads(rates: Sequence[float], demands: Sequence[Amounts], capacities: Sequence[float]) -> list[float]:
    totals = [0.0] * len(capacities)
    for rate, amounts in zip(rates, demands, strict=True):
        for resource, amount in amounts:
            totals[resource] += rate * amount
    return totals


def drip_fractions(caps: list[float], demands: list[Amounts], capacities: list[float], drops: int) -> list[float]:
    """Oracle: every flow in turn takes one more drop, 1 / drops of its cap, wherever it still fits."""
    taken, used = [0] * len(caps), [0.0] * len(capacities)
    for _ in range(drops):
        for flow, cap in enumerate(caps):
            more = [(resource, amount * cap / drops) for resource, amount in demands[flow]]
            if all(used[resource] + amount <= capacities[resource] for resource, amount in more):
                taken[flow] += 1
                for resource, amount in more:
                    used[resource] += amount
    return [count / drops for count in taken]


@settings(max_examples=60)
@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3),
    st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(0, 3), min_size=3, max_size=3)), min_size=1, max_size=5),
)
def test_rates_are_those_of_filling_drop_by_drop(capacities: list[int], flows: list[tuple[int, list[int]]]) -> None:
    caps = [float(cap) for cap, _ in flows]
    demands: list[Amounts] = [list(enumerate(map(float, amounts[: len(capacities)]))) for _, amounts in flows]
    room = [float(capacity) for capacity in capacities]
    rates = max_min_rates(caps, demands, room)
    drops = 4000
    fractions = drip_fractions(caps, demands, room, drops)
    most_drawn = max(caps) * 3 * len(caps) ** 2 / min(room)
    assert [rate / cap for rate, cap in zip(rates, caps, strict=True)] == pytest.approx(
        fractions, abs=max(8, most_drawn) / drops
    )


@given(sharing())
def test_rates_are_feasible_and_every_flow_has_a_bottleneck(
    case: tuple[list[float], list[Amounts], list[float]],
) -> None:
    assert_max_min(*case)


@given(sharing(magnitude=1e15))
@example(([1e15, 1e-15], [[(0, 1e15)], [(0, 1e-15)]], [1e-15]))
def test_extreme_magnitudes_do_not_break_fairness(case: tuple[list[float], list[Amounts], list[float]]) -> None:
    assert_max_min(*case)


def assert_max_min(caps: list[float], demands: list[Amounts], capacities: list[float]) -> None:
    """The bottleneck property, which holds for the max-min fair rates and no others (Bertsekas, Gallager, 6.5.2)."""
    rates = max_min_rates(caps, demands, capacities)
    totals = loads(rates, demands, capacities)
    fractions = [rate / cap for rate, cap in zip(rates, caps, strict=True)]
    assert all(total <= capacity * (1 + 1e-9) for total, capacity in zip(totals, capacities, strict=True))
    assert all(0.0 < fraction <= 1.0 for fraction in fractions)
    for fraction, amounts in zip(fractions, demands, strict=True):
        at_cap = fraction == 1.0
        bottlenecks = [
            resource
            for resource, amount in amounts
            if amount > 0.0
            and totals[resource] >= capacities[resource] * (1 - 1e-9)
            and fraction * (1 + 1e-9) >= max(largest_fractions(fractions, demands, resource))
        ]
        assert at_cap or bottlenecks


def largest_fractions(fractions: list[float], demands: list[Amounts], resource: int) -> list[float]:
    return [
        fraction
        for fraction, amounts in zip(fractions, demands, strict=True)
        if any(crossed == resource and amount > 0.0 for crossed, amount in amounts)
    ]


# --- dynamics ---------------------------------------------------------------------------------------------------------


class Recorder:
    """Owner of one flow: writes what it hears into a shared trace."""

    def __init__(self, name: str, clock: Clock, trace: Trace) -> None:
        self.name, self.clock, self.trace = name, clock, trace

    def wave_ended(self, flow: Flow) -> None:
        self.trace.append((self.clock.now_fs, f"{self.name} wave"))

    def stretch_ended(self, flow: Flow) -> None:
        self.trace.append((self.clock.now_fs, f"{self.name} stretch"))

    def flow_ended(self, flow: Flow) -> None:
        self.trace.append((self.clock.now_fs, f"{self.name} end"))


class Bench:
    """A clock, a network and a trace of all that happens in it."""

    def __init__(self, observe_waves: bool = False, **capacities: float) -> None:
        self.clock = Clock()
        self.trace: Trace = []
        self.rates: list[tuple[int, dict[str, float]]] = []
        self.network = FlowNetwork(self.clock, capacities, self._on_rates, observe_waves)

    def flow(self, name: str, cap: float, *stretches: Stretch, at_fs: int = 0, **demands: float) -> Flow:
        flow = Flow(Recorder(name, self.clock, self.trace), cap, demands, stretches)
        self.at(at_fs, lambda: self.network.join(flow))
        return flow

    def at(self, at_fs: int, action: object) -> None:
        self.clock.alarm(action).set(at_fs)  # type: ignore[arg-type]

    def run(self) -> Trace:
        self.clock.run()
        return self.trace

    def _on_rates(self, rates: object) -> None:
        self.rates.append((self.clock.now_fs, dict(rates)))  # type: ignore[call-overload]


def test_trace_of_one_flow_with_waves_and_a_tail() -> None:
    bench = Bench(observe_waves=True, dram=1.0)
    bench.flow("a", 1e6, Stretch(2.0, waves=3), Stretch(0.5), dram=5e-7)
    assert bench.run() == [
        (2 * US, "a wave"),
        (4 * US, "a wave"),
        (6 * US, "a wave"),
        (6 * US, "a stretch"),
        (6 * US + US // 2, "a wave"),
        (6 * US + US // 2, "a end"),
    ]
    assert bench.rates == [(0, {"dram": 0.5}), (6 * US + US // 2, {"dram": 0.0})]


def test_trace_of_two_flows_that_contend_on_dram() -> None:
    """b joins when a is half done; both then have half of DRAM until a ends."""
    bench = Bench(observe_waves=True, dram=1.0)
    bench.flow("a", 1e6, Stretch(1.0, waves=4), dram=1e-6)
    bench.flow("b", 1e6, Stretch(1.0, waves=3), at_fs=2 * US, dram=1e-6)
    assert bench.run() == [
        (1 * US, "a wave"),
        (2 * US, "a wave"),
        (4 * US, "b wave"),
        (4 * US, "a wave"),
        (6 * US, "b wave"),
        (6 * US, "a wave"),
        (6 * US, "a end"),
        (7 * US, "b wave"),
        (7 * US, "b end"),
    ]
    assert [load["dram"] for _, load in bench.rates] == pytest.approx([1.0, 1.0, 1.0, 0.0])


def test_trace_of_three_flows_with_caps() -> None:
    """c runs at its cap; a and b fill the resource in proportion to their caps, then b alone runs at its cap."""
    bench = Bench(l2=1.0)
    bench.flow("a", 1e6, Stretch(2.0), l2=0.75e-6)
    bench.flow("b", 1e6, Stretch(4.0), l2=0.75e-6)
    bench.flow("c", 0.25e6, Stretch(1.0))
    assert bench.run() == [(3 * US, "a end"), (4 * US, "c end"), (5 * US, "b end")]


def test_a_metered_resource_counts_and_limits_nothing() -> None:
    bench = Bench(dram=1.0, power=math.inf)
    bench.flow("a", 1e6, Stretch(1.0), dram=1e-7, power=1e-3)
    assert bench.run() == [(US, "a end")]
    assert bench.rates[0] == (0, {"dram": pytest.approx(0.1), "power": pytest.approx(1e3)})


def test_a_flow_that_leaves_frees_its_share_and_keeps_what_is_left() -> None:
    bench = Bench(dram=1.0)
    a = bench.flow("a", 1e6, Stretch(4.0), dram=1e-6)
    bench.flow("b", 1e6, Stretch(4.0), dram=1e-6)
    bench.at(2 * US, lambda: bench.network.leave(a))
    assert bench.run() == [(5 * US, "b end")]
    assert a.work_left(5 * US) == pytest.approx(3.0)


def test_a_flow_is_reshaped_with_what_is_left() -> None:
    bench = Bench(dram=1.0)
    a = bench.flow("a", 1e6, Stretch(2.0, waves=2), dram=1e-7)

    def speed_up() -> None:
        left = a.work_left(bench.clock.now_fs)
        bench.network.reshape(a, 2e6, {"dram": 1e-7}, [Stretch(left / 2, waves=2)])

    bench.at(US, speed_up)
    assert bench.run() == [(US + 3 * US // 2, "a end")]


def test_waves_on_their_way_stay_on_their_marks_when_rates_change() -> None:
    bench = Bench(observe_waves=True, dram=1.0)
    bench.flow("a", 1e6, Stretch(1.0, waves=3), dram=1e-6)
    bench.flow("b", 1e6, Stretch(0.25), at_fs=US // 2, dram=1e-6)
    assert [event for event in bench.run() if event[1] == "a wave"] == [
        (US + US // 4, "a wave"),
        (2 * US + US // 4, "a wave"),
        (3 * US + US // 4, "a wave"),
    ]


@st.composite
def joins(draw: st.DrawFn, magnitude: float) -> list[tuple[int, float, float, int, float, float]]:
    """(time, cap, wave work, waves, DRAM and L2 demand) of some flows."""
    size = st.floats(1.0 / magnitude, magnitude)
    flow = st.tuples(st.integers(0, 3000), size, size, st.integers(1, 5), size, st.one_of(st.just(0.0), size))
    return draw(st.lists(flow, min_size=1, max_size=8))


@given(joins(magnitude=30.0))
def test_work_done_is_work_asked(flows: list[tuple[int, float, float, int, float, float]]) -> None:
    """Also: what each resource gave over time is what the flows' work takes, and nothing is given beyond capacity."""
    bench = Bench(observe_waves=True, dram=1.0, l2=2.0)
    scale = FS_PER_S / 1000  # flows of about a thousand femtoseconds would drown in rounding: let them take a second
    for index, (at, cap, work, waves, dram, l2) in enumerate(flows):
        bench.flow(str(index), cap, Stretch(work, waves), at_fs=int(at * scale), dram=dram, l2=l2)
    trace = bench.run()
    for index, (_, _, _, waves, _, _) in enumerate(flows):
        assert [event for _, event in trace].count(f"{index} wave") == waves
        assert [event for _, event in trace].count(f"{index} end") == 1
    for name, capacity, place in (("dram", 1.0, 4), ("l2", 2.0, 5)):
        given_out = sum(
            load[name] * (end - start) / FS_PER_S
            for (start, load), (end, _) in zip(bench.rates, bench.rates[1:], strict=False)
        )
        asked = sum(flow[2] * flow[3] * flow[place] for flow in flows)
        assert given_out == pytest.approx(asked, rel=1e-9, abs=1e-9)
        assert all(load[name] <= capacity * (1 + 1e-9) for _, load in bench.rates)
    assert bench.rates[-1][1] == {"dram": 0.0, "l2": 0.0}


@given(joins(magnitude=1e15))
@example([(0, 1e15, 1e-15, 5, 1e-15, 0.0), (0, 1e-15, 1e15, 5, 1e15, 1e15)])
def test_extreme_magnitudes_come_to_an_end(flows: list[tuple[int, float, float, int, float, float]]) -> None:
    """No Zeno loop: a flow that is due is done, so each flow makes as many events as it has waves, and few more."""
    bench = Bench(dram=1.0, l2=2.0)
    for index, (at, cap, work, waves, dram, l2) in enumerate(flows):
        bench.flow(str(index), cap, Stretch(work, waves), at_fs=at, dram=dram, l2=l2)
    steps = 0
    while bench.clock.peek() < math.inf:
        bench.clock.step()
        steps += 1
        assert steps < 1000 * len(flows)
    assert len(bench.trace) == len(flows)


@given(joins(magnitude=100.0))
def test_a_run_repeats_bit_for_bit(flows: list[tuple[int, float, float, int, float, float]]) -> None:
    def play() -> Trace:
        bench = Bench(observe_waves=True, dram=1.0, l2=2.0)
        for index, (at, cap, work, waves, dram, l2) in enumerate(flows):
            bench.flow(str(index), cap, Stretch(work, waves), at_fs=at, dram=dram, l2=l2)
        return bench.run()

    assert play() == play()


def test_processes_and_flows_share_one_clock() -> None:
    bench = Bench(dram=1.0)

    def copies() -> Iterator[Event]:
        for index in range(2):
            yield bench.clock.sleep(1e-6)
            bench.network.join(Flow(Recorder(str(index), bench.clock, bench.trace), 1e6, {}, [Stretch(3.0)]))

    bench.clock.process(copies())
    assert bench.run() == [(4 * US, "0 end"), (5 * US, "1 end")]
