"""Power: energies of work, the clock within a limit, the energy budget; with numbers for the head.

The round machine may draw 100 W, of which 20 W are idle; its limit holds from the start unless a test says otherwise.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from round_gpu import round_gpu

from simexplore.sim.demand import Grid, KernelDemand, Work
from simexplore.sim.hardware.power import (
    COMPONENTS,
    FIXED,
    Board,
    Draw,
    Repeated,
    board_of,
    clock_within,
    kernel_energies,
    power_w,
    split_energy,
    steady_w,
)


def a(*numbers: float) -> Any:
    return np.array(numbers)


GRID = Grid(a(7.0), a(1.0), a(1.0), a(0.0))
PARTS = {
    "tensor_ops": ("tensor", 1),
    "fma_ops": ("fma", 4),
    "special_ops": ("special", 8),
    "shared_bytes": ("shared", 10),
    "l2_read_bytes": ("l2", 40),
    "l2_write_bytes": ("l2", 40),
    "dram_read_bytes": ("dram", 100),
    "dram_write_bytes": ("dram", 100),
    "epilogue_bytes": ("l2", 0),
}


@pytest.mark.parametrize("part", PARTS)
def test_energy_by_part(part: str) -> None:
    """Seven CTAs, and a thousand of each unit of work in pJ: 1, 4, 8, 10, 40 and 100 each; of all else nothing."""
    name, picojoules = PARTS[part]
    demand = KernelDemand("mine", GRID, Work(**{part: a(1000.0)}))  # type: ignore[arg-type]
    found = {key: np.sum(joules) for key, joules in kernel_energies(demand, round_gpu()).items()}
    assert found.pop(name) == pytest.approx(7 * 1000 * picojoules * 1e-12, rel=1e-12)
    if name == "l2" and picojoules:  # what crosses the L2 has passed an L1
        assert found.pop("shared") == pytest.approx(7 * 1000 * 10e-12, rel=1e-12)
    assert not any(found.values())


def test_energy_follows_the_type_of_the_operands() -> None:
    both = Work(fma_dtype="fp16", tensor_dtype="fp8", fma_ops=a(1000.0), tensor_ops=a(1000.0))
    found = kernel_energies(KernelDemand("mine", GRID, both), round_gpu())
    assert (found["fma"].item(), found["tensor"].item()) == pytest.approx((7 * 3000e-12, 7 * 500e-12))
    unknown = Work(tensor_dtype="int4", tensor_ops=a(5.0))
    assert kernel_energies(KernelDemand("mine", GRID, unknown), round_gpu())["tensor"].item() == 0.0


def test_dram_and_links_keep_their_own_voltage() -> None:
    assert set(FIXED) == {"dram", "link", "host"}
    assert split_energy(dict.fromkeys(COMPONENTS, 1.0)) == (len(COMPONENTS) - 3, 3)


STEADY = {"power.burst_headroom": 0}


def clock(draw: Draw, changes: dict[str, object] | None = None) -> float:
    board = board_of(round_gpu({**STEADY, **(changes or {})}))
    found = float(clock_within(draw, board.held_w, board))
    if found < 1.0:
        assert power_w(draw, found, board) == pytest.approx(board.held_w, rel=1e-9)
    return found


def test_within_the_limit_nothing_changes() -> None:
    assert clock(Draw(1.0, 0.5, 8.0, 79.0, 1.0)) == 1.0


def test_on_the_clock_power_falls_with_its_cube() -> None:
    """640 W beside idle, eight times what is left, at half the clock."""
    assert clock(Draw(1.0, 0.0, 4.0, 640.0, 0.0)) == pytest.approx(0.5)
    assert clock(Draw(1.0, 0.0, 4.0, 320.0, 0.0), {"power.clock_exponent": 2}) == pytest.approx(0.5)


def test_where_the_voltage_no_longer_falls_power_falls_with_the_clock_alone() -> None:
    """At half of boost 320 W become 40 W; a voltage that stays at 0.8 of boost's keeps 0.64 of the energy."""
    floor = {"power.voltage_floor": f"{0.8 * round_gpu().clock.boost_hz} Hz"}
    assert clock(Draw(1.0, 0.0, 4.0, 320.0, 0.0), floor) == pytest.approx(80.0 / (320.0 * 0.64))
    above = {"power.voltage_floor": f"{0.4 * round_gpu().clock.boost_hz} Hz"}
    assert clock(Draw(1.0, 0.0, 4.0, 640.0, 0.0), above) == pytest.approx(0.5)
    shared = clock(Draw(1.0, 0.0, 4.0, 320.0, 0.0), {**floor, "power.clocked_share": 0.5})
    assert 320.0 * 0.64 * shared + 20.0 * (0.5 + 0.5 * 0.64 * shared) == pytest.approx(100.0)


def test_a_floor_above_boost_keeps_the_voltage_of_boost() -> None:
    floor = {"power.voltage_floor": f"{1.5 * round_gpu().clock.boost_hz} Hz"}
    assert clock(Draw(1.0, 0.0, 4.0, 160.0, 0.0), floor) == pytest.approx(0.5)
    board = board_of(round_gpu(floor))
    assert (board.scale(0.3), board.scale(1.0)) == (1.0, 1.0)
    assert board.scale(np.array([0.3, 1.0])).tolist() == [1.0, 1.0]


def test_waiting_for_dram_the_energy_of_the_core_alone_falls() -> None:
    """DRAM keeps its second and its 35 J: 45 of 405 J of the core are left at a third of the clock."""
    assert clock(Draw(1e-6, 1.0, 4.0, 405.0, 35.0)) == pytest.approx(1 / 3)


def test_the_energy_of_dram_is_no_matter_of_the_clock() -> None:
    """A kernel of DRAM's 160 J, twice what is left for its second, takes two, and still 160 J."""
    draw, board = Draw(0.1, 1.0, 64.0, 0.0, 160.0), board_of(round_gpu(STEADY))
    slow = clock_within(draw, board.held_w, board)
    assert draw.seconds(slow) == pytest.approx(2.0, rel=1e-3)
    assert draw.dynamic_j(slow, board) == 160.0


def test_idle_power_that_follows_the_clock_leaves_more() -> None:
    """Of 20 W idle half falls to an eighth at half the clock: 80 + 8.75 W are left, for an eighth of 710 W."""
    assert clock(Draw(1.0, 0.0, 4.0, 710.0, 0.0), {"power.clocked_share": 0.5}) == pytest.approx(0.5)


def test_a_board_whose_limit_is_its_idle_power_has_a_watt() -> None:
    assert clock(Draw(1.0, 0.0, 4.0, 8.0, 0.0), {"power.tdp": "20 W"}) == pytest.approx(0.5)


def test_what_no_clock_can_hold_back_is_left() -> None:
    """Links alone: nothing that the core's clock drives."""
    board = board_of(round_gpu(STEADY))
    assert clock_within(Draw(0.0, 1.0, 1.0, 0.0, 500.0), board.held_w, board) == 1.0


BURST = {"power.burst_headroom": 0.5, "power.burst": "2 s", "power.time_constant": "1000 s"}


def test_a_budget_and_what_it_leaves_to_hold() -> None:
    """Half of 80 W for two seconds is 80 J, over 10,000 s 8 mW that the board does not hold."""
    board = board_of(round_gpu(BURST))
    assert board.headroom_w == pytest.approx(40.0)
    assert board.budget_j == pytest.approx(80.0)
    assert board.held_w == pytest.approx(100.0 - 0.008)
    assert board.most_w == pytest.approx(139.992)
    assert board_of(round_gpu(BURST), 10.0).held_w == pytest.approx(100.0 - 0.007)
    assert board_of(round_gpu(BURST), 10.0).idle_w == pytest.approx(30.0)


def test_what_a_budget_adds_over_a_time() -> None:
    """40 W at once; over its time constant 1 - 1/e of that, and all of its 80 J over a very long time."""
    board = board_of(round_gpu(BURST))
    assert board.excess_w(1e-9) == pytest.approx(40.0)
    assert board.excess_w(2.0) == pytest.approx(40.0 * (1.0 - np.exp(-1.0)))
    assert board.excess_w(2.0, 0.25) == pytest.approx(10.0 * (1.0 - np.exp(-1.0)))
    assert board.excess_w(1e6) * 1e6 == pytest.approx(80.0)


def test_a_budget_too_large_for_its_window_is_cut() -> None:
    board = board_of(round_gpu({"power.burst_headroom": 2, "power.burst": "1 s", "power.time_constant": "0.1 s"}))
    assert (board.headroom_w, board.held_w) == pytest.approx((40.0, 60.0))
    at_once = board_of(round_gpu({"power.burst_headroom": 2, "power.burst": "0 s"}))
    assert (at_once.budget_j, at_once.held_w) == (0.0, 100.0)


def work(*kernels: tuple[float, float, float], waits_s: float = 0.0) -> Repeated:
    """Kernels on the clock, each (how often, seconds, joules)."""
    often, seconds, joules = (np.array(column)[:, None] for column in zip(*kernels, strict=True))
    nothing = np.zeros_like(seconds)
    return Repeated(Draw(seconds, nothing, nothing + 4.0, joules, nothing), often, a(waits_s))


def test_work_alone_is_held_at_what_may_be_drawn_for_ever() -> None:
    board = board_of(round_gpu(BURST))
    assert steady_w(work((1, 1.0, 640.0)), board) == pytest.approx(board.held_w)


def test_what_others_leave_hungry_kernels_take() -> None:
    """A second of 120 W and one of 60 W: their mean is 90 W, and nothing is held back below 140 W."""
    board = board_of(round_gpu(BURST))
    assert steady_w(work((1, 1.0, 100.0), (1, 1.0, 40.0)), board) == pytest.approx(board.most_w)
    assert steady_w(work((1, 1.0, 100.0), (3, 1.0, 78.0)), board) < 120.0


def test_pauses_count_as_idle() -> None:
    """A second at 120 W and a third of one at 20 W: 95 W."""
    board = board_of(round_gpu(BURST))
    assert steady_w(work((1, 1.0, 100.0), waits_s=1 / 3), board) == pytest.approx(board.most_w)
    assert steady_w(work((1, 1.0, 100.0), waits_s=1 / 5), board) < 120.0


def test_the_mean_of_what_is_held_back_is_what_may_be_held() -> None:
    board = board_of(round_gpu(BURST))
    hungry = work((2, 1.0, 300.0), (1, 0.5, 10.0), waits_s=0.1)
    allowed = steady_w(hungry, board)
    assert board.held_w < allowed < board.most_w
    _, mean_w = hungry.whole(clock_within(hungry.draw, allowed, board), board)
    assert mean_w == pytest.approx(board.held_w, rel=1e-9)


def test_rows_are_held_each_by_itself() -> None:
    board = board_of(round_gpu(BURST))
    seconds, joules = np.array([[1.0, 1.0, 0.5]]), np.array([[640.0, 1.0, 400.0]])
    nothing = np.zeros_like(seconds)
    waits = a(0.0, 0.0, 0.3)
    together = steady_w(Repeated(Draw(seconds, nothing, nothing + 4, joules, nothing), np.ones((1, 1)), waits), board)
    alone = [steady_w(work((1, seconds[0, row], joules[0, row]), waits_s=waits[row]), board).item() for row in range(3)]
    assert together == pytest.approx(alone, rel=1e-9)


POWERS = st.floats(1.0, 1e4)
SHARES = st.floats(0.0, 1.0)


@given(
    on_clock=st.floats(0.01, 10.0), own=st.floats(0.0, 10.0), exponent=st.floats(1.0, 12.0),
    clocked=st.floats(0.0, 1e5), fixed=st.floats(0.0, 1e5), idle=POWERS, room=POWERS, more=st.floats(1.0, 5.0),
    share=SHARES, x=st.floats(2.0, 4.0), least=SHARES,
)  # fmt: skip
def test_more_power_is_never_slower_and_nothing_passes_the_limit(
    on_clock: float, own: float, exponent: float, clocked: float, fixed: float, idle: float, room: float,
    more: float, share: float, x: float, least: float,
) -> None:  # fmt: skip
    draw, board = Draw(on_clock, own, exponent, clocked, fixed), Board(idle, share, x, idle + room, 0.0, 0.0, least)
    held, better = (float(clock_within(draw, idle + watts, board)) for watts in (room, room * more))
    assert held <= better * (1.0 + 1e-9)
    assert draw.seconds(held) >= draw.seconds(better) * (1.0 - 1e-9)
    if held > 1e-3:
        assert power_w(draw, held, board) <= (idle + room) * (1.0 + 1e-8)


@given(
    joules=st.lists(st.floats(0.0, 2e3), min_size=1, max_size=5), headroom=st.floats(0.0, 2.0),
    burst=st.floats(0.0, 5.0), faster=st.floats(1.0, 4.0),
)  # fmt: skip
def test_a_higher_limit_never_makes_work_slower(
    joules: list[float], headroom: float, burst: float, faster: float
) -> None:
    def seconds(tdp_w: float) -> float:
        changes = {"power.burst_headroom": headroom, "power.burst": f"{burst} s", "power.tdp": f"{tdp_w} W"}
        board = board_of(round_gpu(changes))
        repeated = work(*((1, 1.0, each) for each in joules))
        clocks = clock_within(repeated.draw, steady_w(repeated, board), board)
        return float(repeated.whole(clocks, board)[0].item())

    assert seconds(100.0 * faster) <= seconds(100.0) * (1.0 + 1e-8)
