"""What time is made of: norms, occupancy, cache and links, with numbers for the head.

The round machine has 10 SMs, 1 MB of L2 that can be used, evicted so gently that x times as much hits 1 / (1 + x),
and links of 50 and 10 GB/s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.archs.load import load_arch
from simexplore.sim.demand import Choice, Grid, KernelDemand, LinkDemand
from simexplore.sim.hardware.cache import hit_share
from simexplore.sim.hardware.idle import idle_w
from simexplore.sim.hardware.link import link_seconds
from simexplore.sim.hardware.norms import norm, norm_of_counts
from simexplore.sim.hardware.occupancy import ctas_per_sm
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
    assert hit_share(a(0.0), round_gpu()) == pytest.approx(1 / (1 + 1e-6), rel=1e-12)  # as one byte
    assert 1.0 / hit_share(a(1e9), sharp) == pytest.approx(1 + np.exp(60.0), rel=1e-12)
    assert hit_share(a(1.0), sharp) == pytest.approx(1.0, rel=1e-15)


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
