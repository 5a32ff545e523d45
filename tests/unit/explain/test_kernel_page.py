"""One kernel taken apart: every part by hand on the machine of round numbers, and sums that hold on any machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.archs.load import load_arch
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.estimate.operators import kernels_of
from simexplore.sim.explain.kernel import PARTS, kernel_page
from simexplore.sim.hardware.norms import norm
from simexplore.sim.hardware.occupancy import LIMITS, cta_limits, ctas_per_sm
from simexplore.sim.hardware.power import board_of
from simexplore.sim.hardware.timing import kernel_timing, timeline
from simexplore.workloads.ops import parse_operator

CLK_S = 1e-9
"""One clock of the round machine."""


def one(value: float) -> np.ndarray:
    return np.array([value])


def kernel(**changes: object) -> KernelDemand:
    """45 CTAs on ten SMs that hold two each: five on the busiest, two full waves and one of a single CTA.

    Only the tensor cores work, 500 clocks a CTA, so that nothing overlaps with anything.
    """
    demand = KernelDemand(
        kernel="made up",
        grid=Grid(one(45.0), one(8.0), one(100.0), one(40_000.0)),
        work=Work(tensor_ops=one(512_000.0), epilogue_bytes=one(400.0), l2_read_bytes=one(8.0)),
        latency=Latency(setup_cycles=one(70.0), exposed_cycles=one(30.0), straggler_share=one(0.1)),
        overlap=Overlap(wave_exposure=0.25),
    )
    return replace(demand, **changes)


def test_the_time_of_an_sm_part_by_part() -> None:
    found = timeline(kernel(), round_gpu())
    # The first load fills for the 200 clk of an L2 hit, which is part of the set-up; of two waves behind it a quarter
    # of that shows, and of the 30 clk that are exposed each wave shows a quarter and the last one the rest.
    assert found.setup_s == pytest.approx(70.0 * CLK_S)
    assert found.first_fill_s == pytest.approx(200.0 * CLK_S)
    assert found.fill_s == pytest.approx((200.0 + 0.25 * 2 * 200.0 + 0.25 * 3 * 30.0 + 0.75 * 30.0) * CLK_S)
    # Two full waves of two CTAs of 500 clk, then one CTA alone; loads of 8 B take a fifth of a clock of the port.
    assert found.main_s == pytest.approx(2 * 1000.0 * CLK_S)
    # The longest CTA takes a tenth more than the others, once at the end, as far as the waves show it.
    assert found.tail_s == pytest.approx((500.0 + 50.0 * (0.25 + 0.75 / 3.0)) * CLK_S)
    # Ten SMs write 400 B a CTA: 10 clk at a port of 40 B/clk, 72 clk of 45 CTAs at the 250 B/clk of the L2.
    assert found.epilogue_s == pytest.approx((0.75 * 2 * 10.0 + 0.25 * 72.0) * CLK_S)


def test_one_wave_is_a_main_loop_not_a_tail() -> None:
    grid = Grid(one(10.0), one(8.0), one(100.0), one(40_000.0))
    found = timeline(kernel(grid=grid, latency=Latency()), round_gpu())
    assert found.main_s == pytest.approx(500.0 * CLK_S)
    assert found.tail_s == 0.0


def test_room_on_an_sm() -> None:
    demand, gpu = kernel(), round_gpu()
    # 48 warps / 8; 61,440 registers / (100 x 8 x 32); 100 kB / (40 + 1) kB; 12 slots.
    assert [float(np.ravel(limit)[0]) for limit in cta_limits(demand, gpu)] == pytest.approx(
        [6.0, 2.4, 2.43902439, 12.0]
    )
    assert ctas_per_sm(demand, gpu) == 2.0
    page = kernel_page(demand, gpu, Conditions(), board_of(gpu), 1e9)
    assert page.occupancy.limit == "registers and shared memory"
    assert dict(page.occupancy.room) == pytest.approx(dict(zip(LIMITS, (6.0, 2.4, 2.43902439, 12.0), strict=True)))
    assert (page.occupancy.waves, page.occupancy.last_wave, page.occupancy.warps) == pytest.approx((2.25, 0.25, 1 / 3))


def test_a_page_of_the_round_machine() -> None:
    gpu = round_gpu({"library.overlap_exponent": 1})
    page = kernel_page(kernel(), gpu, Conditions(), board_of(gpu), 1e9, correction=2.0)
    timing = kernel_timing(kernel(), gpu)
    assert page.time_s == pytest.approx(2.0 * (1e-6 + float(np.ravel(timing.time_s)[0])))
    assert page.parts_s["launch"] == pytest.approx(2e-6)
    assert page.parts_s["set-up"] == pytest.approx(140.0 * CLK_S)
    # Nothing hides anything with an exponent of 1: L2 serves 45 x 8 B at 250 B/clk after all, and DRAM nothing.
    assert page.waits_s == pytest.approx({"L2": 2.0 * 1.44 * CLK_S, "DRAM": 0.0})
    uses = {use.resource: use for use in page.uses}
    assert set(uses) == {"tensor", "l2"}
    tensor = uses["tensor"]
    assert (tensor.key, tensor.amount, tensor.peak) == ("sm.tensor.fp16", 45 * 512_000.0, 10 * 1024 * 1e9)
    assert tensor.rate == pytest.approx(tensor.amount / page.time_s)
    assert tensor.in_use == pytest.approx(2.0 * 45 * 500.0 / 10 * CLK_S / page.time_s)


def test_a_held_clock_stretches_what_the_core_does() -> None:
    gpu = round_gpu()
    free = kernel_page(kernel(), gpu, Conditions(), board_of(gpu), 1e9)
    held = kernel_page(kernel(), gpu, Conditions(), board_of(gpu), 0.5 * (20.0 + free.clock.wants_w))
    assert free.clock.held_by == ""
    assert held.clock.held_by == "the power limit"
    slower = 1.0 / held.clock.over_boost
    assert slower > 1.1
    assert held.clock.hz == pytest.approx(1e9 / slower)
    for part in ("main loop", "tail", "epilogue"):
        assert held.parts_s[part] == pytest.approx(slower * free.parts_s[part])
    assert [held.parts_s[part] for part in ("launch", "set-up")] == [
        free.parts_s[part] for part in ("launch", "set-up")
    ]
    assert held.parts_s["fill"] == pytest.approx(200.0 * CLK_S + slower * (free.parts_s["fill"] - 200.0 * CLK_S))


@pytest.mark.parametrize("machine", ["nvidia/h200-sxm", "nvidia/t4", "nvidia/b200"])
@pytest.mark.parametrize(
    "text",
    ["gemm(m=777,n=4096,k=512)", "attention_prefill(batch=2,heads=32,kv_heads=8,head_dim=128,seq_q=3000,seq_kv=3000)",
     "softmax(rows=5000,cols=333)"],
)  # fmt: skip
def test_the_parts_are_those_of_the_timing(machine: str, text: str) -> None:
    gpu = load_arch(machine)
    op = replace(parse_operator(text), dtype="fp16")
    for demand in kernels_of(op, gpu, Conditions()):
        assert isinstance(demand, KernelDemand)
        line, timing = timeline(demand, gpu), kernel_timing(demand, gpu)
        assert line.setup_s + line.first_fill_s == pytest.approx(timing.setup_s, rel=1e-12)
        exponent = demand.overlap.sm_l2 or gpu.library.overlap_exponent
        l2_s = timing.busy_s["l2"]
        assert norm((line.on_sm_s, l2_s), exponent) == pytest.approx(timing.draw.on_clock_s, rel=1e-9)
        page = kernel_page(demand, gpu, Conditions(), board_of(gpu), 0.7 * gpu.power.tdp_w)
        assert tuple(page.parts_s) == PARTS
        assert min(page.parts_s.values()) >= 0.0
        assert min(page.waits_s.values()) >= -1e-15
        assert sum(page.parts_s.values()) == pytest.approx(page.time_s, rel=1e-12)
