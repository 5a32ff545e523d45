"""What time is made of: norms, occupancy, cache, power and links, with numbers for the head.

The round machine has 10 SMs, 1 MB of L2 that can be used, evicted so gently that x times as much hits 1 / (1 + x),
links of 50 and 10 GB/s, and 80 W to spend above idle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.archs.load import load_arch
from simexplore.sim.demand import Choice, Grid, KernelDemand, LinkDemand, Work
from simexplore.sim.hardware.cache import hit_share
from simexplore.sim.hardware.idle import idle_w
from simexplore.sim.hardware.link import link_seconds
from simexplore.sim.hardware.norms import norm, norm_of_counts
from simexplore.sim.hardware.occupancy import ctas_per_sm
from simexplore.sim.hardware.power import dynamic_energy_j, throttle
from simexplore.sim.hardware.timing import kernel_seconds, kernel_timing


def a(*numbers: float) -> Any:
    return np.array(numbers)


# --- norms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "expected"), [(1.0, 7.0), (2.0, 5.0), (4.0, 337**0.25), (5.0, 1267**0.2)])
def test_norm_of_three_and_four(p: float, expected: float) -> None:
    assert norm((a(3.0), a(4.0)), p) == pytest.approx(expected)


@pytest.mark.parametrize("p", [2.0, 4.0, 5.0])
def test_counted_terms_come_several_times(p: float) -> None:
    several = norm_of_counts((a(1.0), a(2.0)), (a(3.0),), p)
    assert several(a(5.0)) == pytest.approx((5**p + 10**p + 3**p) ** (1 / p))


# --- occupancy --------------------------------------------------------------------------------------------------------


def grid(warps: float = 1.0, registers: float = 1.0, shared: float = 0.0, offered: bool = True) -> KernelDemand:
    return KernelDemand("mine", Grid(a(1.0), a(warps), a(registers), a(shared)), choice=Choice(offered=a(offered)))


@pytest.mark.parametrize(
    ("demand", "held"),
    [
        (grid(), 12),  # the slots
        (grid(warps=4), 12),  # 48 warps
        (grid(warps=5), 9),
        (grid(warps=48), 1),
        (grid(warps=49), 0),
        (grid(warps=4, registers=60), 8),  # 61 440 registers, of 4 x 32 threads 60 each: 8 times 7680
        (grid(warps=4, registers=61), 7),
        (grid(warps=4, registers=0), 12),
        (grid(shared=9000), 10),  # with 1 kB for the driver, ten times in 100 kB
        (grid(shared=9001), 9),
        (grid(shared=96_000), 1),
        (grid(shared=96_001), 0),  # more than one CTA may ask for
    ],
)
def test_each_limit_of_the_occupancy(demand: KernelDemand, held: int) -> None:
    gpu = round_gpu()
    assert ctas_per_sm(demand, gpu).tolist() == [held]
    assert kernel_timing(demand, gpu).waves.fits.tolist() == [held > 0]


def test_what_a_library_does_not_offer_cannot_run() -> None:
    assert kernel_seconds(grid(offered=False), round_gpu()).tolist() == [[np.inf]]
    assert np.isfinite(kernel_seconds(grid(), round_gpu())).all()


def test_no_driver_asks_for_shared_memory_without_a_limit() -> None:
    """Nothing asked and nothing reserved: no division by zero."""
    gpu = round_gpu({"sm.shared_memory_reserved": "0 B"})
    assert ctas_per_sm(grid(), gpu).tolist() == [12]


# --- cache ------------------------------------------------------------------------------------------------------------


def test_hits_fall_with_the_working_set() -> None:
    """Half of the usable cache, all of it, three times as much."""
    assert hit_share(a(0.5e6, 1e6, 3e6), round_gpu()) == pytest.approx(a(2 / 3, 1 / 2, 1 / 4))


def test_hits_fall_the_steeper_the_sharper_the_eviction() -> None:
    """1 / (1 + x^sharpness), with the machine's sharpness or another."""
    gpu = round_gpu({"l2.eviction_sharpness": 2})
    assert hit_share(a(3e6), gpu) == pytest.approx(1 / 10)
    assert hit_share(a(3e6), gpu, sharpness=1.0) == pytest.approx(1 / 4)
    assert hit_share(a(3e6), round_gpu(), sharpness=3.0) == pytest.approx(1 / 28)


def test_lines_that_can_fill_a_part_of_the_cache() -> None:
    assert hit_share(a(1e6), round_gpu(), share=0.25) == pytest.approx(1 / 5)
    assert hit_share(a(1e6), round_gpu({"l2.usable_share": 1, "l2.capacity": "3 MB"})) == pytest.approx(3 / 4)


def test_the_ends_of_the_cache_are_finite() -> None:
    """A working set of nothing counts as a byte; exponents end at 60 either way."""
    sharp = round_gpu({"l2.eviction_sharpness": 100})
    assert hit_share(a(0.0), round_gpu()) == pytest.approx(1 / (1 + 1e-6))
    assert 1.0 / hit_share(a(1e9), sharp) == pytest.approx(1 + np.exp(60.0), rel=1e-12)
    assert hit_share(a(1.0), sharp) == pytest.approx(1.0, rel=1e-15)


# --- power ------------------------------------------------------------------------------------------------------------


def test_energy_by_part() -> None:
    """Seven CTAs, and a thousand of each unit of work in pJ: 1, 4, 8, 10, 40 and 100 each."""
    gpu = round_gpu()
    grid_of_seven = Grid(a(7.0), a(1.0), a(1.0), a(0.0))
    parts = {
        "tensor_ops": 1,
        "fma_ops": 4,
        "special_ops": 8,
        "shared_bytes": 10,
        "l2_read_bytes": 40,
        "l2_write_bytes": 40,
        "dram_read_bytes": 100,
        "dram_write_bytes": 100,
        "epilogue_bytes": 0,
    }
    for part, picojoules in parts.items():
        demand = KernelDemand("mine", grid_of_seven, Work(**{part: a(1000.0)}))  # type: ignore[arg-type]
        assert dynamic_energy_j(demand, gpu).item() == pytest.approx(7 * 1000 * picojoules * 1e-12, rel=1e-12)
    both = Work(fma_dtype="fp16", tensor_dtype="fp8", fma_ops=a(1000.0), tensor_ops=a(1000.0))
    assert dynamic_energy_j(KernelDemand("mine", grid_of_seven, both), gpu).item() == pytest.approx(7 * 3500e-12)


def test_work_of_an_unknown_type_takes_no_energy() -> None:
    demand = KernelDemand("mine", Grid(a(7.0), a(1.0), a(1.0), a(0.0)), Work(tensor_dtype="int4", fma_dtype="int4"))
    assert dynamic_energy_j(demand, round_gpu()).item() == 0.0
    busy = Work(tensor_dtype="int4", tensor_ops=a(5.0))
    assert dynamic_energy_j(KernelDemand("mine", demand.grid, busy), round_gpu()).item() == 0.0


STEADY = {"power.burst_headroom": 0, "power.tdp": "100 W", "power.idle": "20 W"}


def throttled(on_clock_s: float, dram_s: float, energy_j: float, changes: dict[str, object]) -> list[float]:
    return [float(x.item()) for x in throttle(a(on_clock_s), a(dram_s), a(energy_j), round_gpu(changes))]


def test_within_the_limit_nothing_changes() -> None:
    """80 W over the longer of the two times."""
    assert throttled(1.0, 0.5, 80.0, STEADY) == [1.0, 0.5, 1.0, 80.0]
    assert throttled(0.5, 1.0, 80.0, STEADY) == [0.5, 1.0, 1.0, 80.0]


def test_on_the_clock_power_falls_with_its_cube() -> None:
    """640 W, eight times the limit, at half the clock: twice the time and a quarter of the energy, which is 80 W."""
    assert throttled(1.0, 0.1, 640.0, STEADY) == pytest.approx([2.0, 0.1, 0.5, 160.0])


def test_waiting_for_dram_energy_alone_falls() -> None:
    """DRAM keeps its second: nine times the limit at a third of the clock, a ninth of the energy."""
    assert throttled(0.01, 1.0, 720.0, STEADY) == pytest.approx([0.03, 1.0, 1 / 3, 80.0])


def test_the_exponent_is_the_machines() -> None:
    """Of x = 2: power falls as the square of the clock, and of energy on the clock one power is left."""
    square = {**STEADY, "power.clock_exponent": 2}
    assert throttled(1.0, 0.1, 320.0, square) == pytest.approx([2.0, 0.1, 0.5, 160.0])
    assert throttled(0.01, 1.0, 160.0, square) == pytest.approx([0.02, 1.0, 0.5, 80.0])


def test_a_short_burst_may_draw_more() -> None:
    """Headroom 1: at the burst's length half of it is left, so 120 W; at a ninth of it nine tenths, 152 W."""
    burst = {**STEADY, "power.burst_headroom": 1, "power.burst": "1 s"}
    assert throttled(1.0, 0.1, 120.0, burst)[2] == 1.0
    assert throttled(1.0, 0.1, 960.0, burst)[2] == pytest.approx(0.5)
    assert throttled(1 / 9, 0.0, 152.0 / 9 * 8, burst)[2] == pytest.approx(0.5)
    assert throttled(0.0, 1 / 9, 152.0 / 9 * 4, burst)[2] == pytest.approx(0.5)


def test_a_regulator_without_delay_gives_no_headroom_to_a_second() -> None:
    at_once = {**STEADY, "power.burst_headroom": 1, "power.burst": "0 s"}
    assert throttled(1.0, 0.0, 640.0, at_once)[2] == pytest.approx(0.5, rel=1e-8)
    assert throttled(1e-9, 0.0, 960e-9, at_once)[2] == pytest.approx(0.5)  # as if it looked every nanosecond


def test_a_board_whose_limit_is_its_idle_power_has_a_watt() -> None:
    none = {**STEADY, "power.tdp": "20 W"}
    assert throttled(1.0, 0.0, 8.0, none) == pytest.approx([2.0, 0.0, 0.5, 2.0])


def test_rows_are_throttled_each_by_itself() -> None:
    gpu = round_gpu(STEADY)
    times, dram, clock, energy = throttle(a(1.0, 1.0, 0.01), a(0.0, 0.0, 1.0), a(1.0, 640.0, 720.0), gpu)
    assert clock == pytest.approx(a(1.0, 0.5, 1 / 3))
    assert times == pytest.approx(a(1.0, 2.0, 0.03))
    assert dram == pytest.approx(a(0.0, 0.0, 1.0))
    assert energy == pytest.approx(a(1.0, 160.0, 80.0))


# --- links and idle power ---------------------------------------------------------------------------------------------


def message(link: str, size_bytes: float, steps: float) -> LinkDemand:
    return LinkDemand("copy", link, a(size_bytes), a(steps))


def test_a_message_takes_each_steps_latency_and_its_bytes() -> None:
    """nvlink: 2 us a step, 50 GB/s; pcie: 5 us a step, 10 GB/s."""
    gpu = round_gpu()
    assert link_seconds(message("nvlink", 50e3, 3), gpu) == pytest.approx(3 * 2e-6 + 1e-6)
    assert link_seconds(message("pcie", 50e3, 3), gpu) == pytest.approx(3 * 5e-6 + 5e-6)


def test_without_nvlink_all_messages_go_over_pcie() -> None:
    gpu = round_gpu()
    alone = gpu.model_copy(update={"links": gpu.links.model_copy(update={"nvlink": None})})
    assert link_seconds(message("nvlink", 50e3, 3), alone) == pytest.approx(20e-6)


def test_a_link_that_is_given_is_itself_whatever_its_name() -> None:
    assert link_seconds(message("nvlink", 50e3, 3), round_gpu().links.pcie) == pytest.approx(20e-6)


def test_idle_power_by_kind_of_device() -> None:
    ngpc = load_arch("ngpc/rtx-3090-ngpc-64@facts").ngpc
    assert ngpc is not None
    leaking = ngpc.model_copy(update={"nfps": 5, "silicon": ngpc.silicon.model_copy(update={"leakage_w": 0.25})})
    assert idle_w(round_gpu()) == 20.0
    assert idle_w(leaking) == 1.25
    assert idle_w(object()) == 0.0
