"""The time of one kernel, worked out by hand. With an overlap exponent of 1 all terms add up, so each of them shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.hardware.timing import (
    Timeline,
    kernel_seconds,
    kernel_timing,
    launch_seconds,
    load_latency_cycles,
    settled_seconds,
)

NS = 1e-9
"""One clock of the machine [s]."""


def changed(gpu: Gpu, **changes: Any) -> Gpu:
    """The GPU with some values replaced, named as in `dram__latency_s`."""
    for path, value in changes.items():
        part, field = path.split("__")
        gpu = gpu.model_copy(update={part: getattr(gpu, part).model_copy(update={field: value})})
    return gpu


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    """Ten SMs at 1 GHz without a power limit; a hit takes 250 clocks, a miss 650; DRAM gives 100 B/clk at most."""
    return changed(
        round_gpu(),
        clock__boost_hz=1e9,
        sm__count=10,
        sm__max_warps=64,
        sm__registers=65536,
        sm__shared_memory_bytes=100_000.0,
        sm__shared_memory_per_cta_bytes=90_000.0,
        sm__shared_memory_reserved_bytes=1000.0,
        sm__tensor_ops_per_clk={"fp16": 1000.0},
        sm__fma_ops_per_clk={"fp32": 100.0, "fp16": 200.0},
        sm__special_function_ops_per_clk=20.0,
        sm__shared_bandwidth_bytes_per_clk=50.0,
        sm__l2_port_bytes_per_clk=40.0,
        l2__partitions=4,
        l2__near_latency_cycles=100.0,
        l2__far_latency_cycles=300.0,
        l2__bandwidth_bytes_per_clk=200.0,
        l2__write_cost=2.0,
        dram__latency_s=650e-9,
        dram__bandwidth_bytes_per_s=100e9,
        dram__efficiency=0.5,
        launch__stream_s=5e-6,
        launch__graph_s=2e-6,
        power__tdp_w=1e9,
        library__overlap_exponent=1.0,
    )


def arrays(fields: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: np.array([float(x)]) if name in names else x for name, x in fields.items()}


WORK = {"tensor_ops", "fma_ops", "special_ops", "shared_bytes", "l2_read_bytes", "l2_write_bytes"}
WORK |= {"dram_read_bytes", "dram_write_bytes", "epilogue_bytes"}
LATENCY = {"bytes_in_flight", "chain_cycles", "exposed_cycles", "setup_cycles", "straggler_share", "extra_launches"}


def kernel(
    ctas: float = 10.0,
    shared: float = 90_000.0,
    work: dict[str, Any] | None = None,
    latency: dict[str, Any] | None = None,
    **overlap: Any,
) -> KernelDemand:
    """A kernel of which an SM holds one CTA at a time, unless it asks for less shared memory."""
    return KernelDemand(
        kernel="mine",
        grid=Grid(*(np.array([float(x)]) for x in (ctas, 4, 32, shared))),
        work=Work(**{"tensor_dtype": "fp16", "fma_dtype": "fp32", **arrays(work or {}, WORK)}),
        latency=Latency(**arrays(latency or {}, LATENCY)),
        overlap=Overlap(**overlap),
    )


FULL = kernel(
    ctas=20,
    work={
        "tensor_ops": 1e5,  # 100 clocks, at half the rate 200
        "fma_ops": 3000,  # 30
        "special_ops": 140,  # 7
        "shared_bytes": 550,  # 11
        "l2_read_bytes": 4000,
        "l2_write_bytes": 1200,
        "epilogue_bytes": 1000,  # so the port has (4000 + 1200 - 1000) / 40 = 105 in the main loop
        "dram_read_bytes": 2000,  # half of what is read misses
        "dram_write_bytes": 500,
    },
    latency={
        "chain_cycles": 13,
        "bytes_in_flight": 1000,  # a quarter of what is read: four times the latency of 250 + 400 / 2
        "exposed_cycles": 17,
        "setup_cycles": 40,
        "ramp_cycles": 60.0,
        "host_s": 1e-6,
    },
    wave_exposure=0.5,
    tensor_efficiency=0.5,
    epilogue_efficiency=0.5,
    l2_rate=2.0,
    dram_rate=1.6,
)
WAVE = 200 + 30 + 7 + 11 + 105 + 13 + 4 * 450 + 0.5 * (17 + 450)
"""One CTA on each SM, and half of what is exposed and filled before it [clk]."""
LAST = 0.5 * 17 - 0.5 * 450
"""The last wave's exposed latency shows as a whole; the first fill is part of the set-up."""
EPILOGUE = (0.5 * 25 + 0.5 * 100) / 0.5
"""25 clocks for a CTA's 1000 B at the port, 20 000 B in 100 clocks at the L2, which is slower than two at a port."""
L2 = 20 * (4000 / 2 + 2 * 1200) / 200
DRAM = 20 * 2500 / 80
"""Half the bandwidth that streams reach, times 1.6."""


def in_clocks(seconds: FloatArray) -> float:
    return float(seconds.item()) / NS


def clocks_of(demand: KernelDemand, gpu: Gpu) -> float:
    """Of a kernel without set-up [clk]."""
    return in_clocks(kernel_seconds(demand, gpu))


def test_every_term_counts_where_nothing_overlaps(gpu: Gpu) -> None:
    timing = kernel_timing(FULL, gpu)
    assert (timing.waves.full.item(), timing.waves.rest.item(), timing.waves.busiest.item()) == (2, 0, 2)
    assert in_clocks(timing.run_s) == pytest.approx(2 * WAVE + LAST + EPILOGUE + L2 + DRAM)
    assert in_clocks(timing.setup_s) == pytest.approx(40 + 60 / 2 + 450)
    assert in_clocks(timing.time_s) == pytest.approx(in_clocks(timing.setup_s) + in_clocks(timing.run_s))
    assert in_clocks(kernel_seconds(FULL, gpu)) == pytest.approx(in_clocks(timing.time_s))
    assert in_clocks(timing.latency_s) == pytest.approx(2 * (1800 + 17 + 450))


def test_busy_seconds_are_the_work_over_what_the_whole_machine_does(gpu: Gpu) -> None:
    busy = kernel_timing(FULL, gpu).busy_s
    assert {name: in_clocks(seconds) for name, seconds in busy.items()} == pytest.approx(
        {"tensor": 2 * 200, "fma": 2 * 30, "special": 2 * 7, "shared": 2 * 11, "l2": L2, "dram": DRAM}
    )


def test_a_longer_chain_than_loads_explains_the_latency(gpu: Gpu) -> None:
    demand = kernel(latency={"chain_cycles": 5000}, work={"l2_read_bytes": 400})
    assert in_clocks(kernel_timing(demand, gpu).latency_s) == pytest.approx(5000 + 250)


def test_fewer_sms_have_more_waves(gpu: Gpu) -> None:
    demand = kernel(ctas=20, latency={"chain_cycles": 100})
    clocks = [in_clocks(kernel_timing(demand, gpu, sms).run_s) for sms in (None, 10, 5, 2.5, 7)]
    assert clocks == pytest.approx([200, 200, 400, 800, 300])


def test_a_partial_wave_does_the_work_of_its_own_ctas(gpu: Gpu) -> None:
    """Nine CTAs on the busiest SM, four at a time: two full waves, and one CTA alone."""
    demand = kernel(ctas=81, shared=24_000, work={"fma_ops": 1000}, latency={"chain_cycles": 7, "exposed_cycles": 3})
    timing = kernel_timing(demand, gpu)
    assert (timing.waves.per_sm.item(), timing.waves.full.item(), timing.waves.rest.item()) == (4, 2, 1)
    full, tail = 40 + 7 + 3, 10 + 7 + 3
    assert in_clocks(timing.run_s) == pytest.approx(2 * full + tail)
    assert timing.full_wave_share.item() == pytest.approx(full / (2 * full + tail))
    assert timing.tail_share.item() == pytest.approx(tail / (2 * full + tail))
    assert in_clocks(timing.latency_s) == pytest.approx(3 * (7 + 3))


def test_a_cta_that_fits_no_sm_takes_for_ever(gpu: Gpu) -> None:
    demand = kernel(shared=90_001, work={"fma_ops": 1000})
    assert np.isinf(kernel_seconds(demand, gpu)).all()


@pytest.mark.parametrize(
    ("overlap", "clocks"),
    [
        ({}, 30 + 40 + 50 + 120),
        ({"within_sm": 2.0}, 50 + 50 + 120),
        ({"sm_l2": 2.0}, np.hypot(np.hypot(50, 50), 120)),
        ({"dram": 2.0}, np.hypot(30 + 40 + 50, 120)),
        ({"sm_l2": 2.0, "within_sm": 1.0}, np.hypot(np.hypot(70, 50), 120)),
        ({"sm_l2": 2.0, "dram": 1.0}, np.hypot(50, 50) + 120),
        ({"sm_l2": 4.0}, (30**4 + 40**4 + 50**4 + 120**4) ** 0.25),
    ],
    ids=str,
)
def test_how_parts_overlap(gpu: Gpu, overlap: dict[str, float], clocks: float) -> None:
    """30 clocks of products and 40 of special functions on the SMs, 50 of writes at the L2 and 120 at DRAM."""
    wide = changed(gpu, sm__l2_port_bytes_per_clk=1e12)
    work = {"fma_ops": 3000, "special_ops": 800, "l2_write_bytes": 500, "dram_write_bytes": 600}
    assert in_clocks(kernel_timing(kernel(work=work, **overlap), wide).run_s) == pytest.approx(clocks)


def test_dram_gives_no_more_than_its_peak(gpu: Gpu) -> None:
    work = {"dram_read_bytes": 1000}
    assert clocks_of(kernel(work=work), gpu) == pytest.approx(10_000 / 50)
    assert clocks_of(kernel(work=work, dram_rate=3.0), gpu) == pytest.approx(10_000 / 100)


@pytest.mark.parametrize(
    ("ctas", "exposure", "port", "clocks"),
    [
        (20, 0.0, 40.0, 25),  # the last wave of one CTA an SM; nothing of the other
        (20, 1.0, 40.0, 100),  # 20 000 B through the L2, slower than 2 x 25 at a port
        (20, 1.0, 10.0, 200),  # 2 x 100 at a port, slower than the L2
        (20, 0.25, 10.0, 0.75 * 100 + 0.25 * 200),
        (5, 0.0, 10.0, 100),  # one CTA on the busiest SM
    ],
)
def test_epilogue(gpu: Gpu, ctas: int, exposure: float, port: float, clocks: float) -> None:
    """Of results that are written after the main loop; the L2 is as busy with them as with all writes."""
    machine = changed(gpu, sm__l2_port_bytes_per_clk=port, l2__write_cost=0.5)
    demand = kernel(ctas, work={"l2_write_bytes": 1000, "epilogue_bytes": 1000}, wave_exposure=exposure)
    assert clocks_of(demand, machine) == pytest.approx(clocks + ctas * 500 / 200)


def test_the_last_wave_of_an_epilogue_is_as_many_ctas_as_an_sm_holds(gpu: Gpu) -> None:
    """Eight CTAs an SM, four at a time: 4 x 25 clocks at the port."""
    demand = kernel(80, shared=24_000, work={"l2_write_bytes": 1000, "epilogue_bytes": 1000}, wave_exposure=0.0)
    assert clocks_of(demand, gpu) == pytest.approx(100 + 80 * 2000 / 200)


@pytest.mark.parametrize(("exposure", "clocks"), [(0.0, 10), (0.5, 10 + 10), (1.0, 30)])
def test_exposed_latency_of_waves_that_hide_one_another(gpu: Gpu, exposure: float, clocks: float) -> None:
    """Three waves with 10 clocks each: the last wave's show, of the others a share."""
    demand = kernel(30, latency={"exposed_cycles": 10}, wave_exposure=exposure)
    assert clocks_of(demand, gpu) == pytest.approx(clocks)


@pytest.mark.parametrize(("exposure", "clocks"), [(0.0, 0), (0.5, 250), (1.0, 500)])
def test_pipelines_are_filled_once_in_the_setup_and_then_for_each_further_wave(
    gpu: Gpu, exposure: float, clocks: float
) -> None:
    """Three waves that read what L2 has, 250 clocks away."""
    demand = kernel(30, work={"l2_read_bytes": 40}, wave_exposure=exposure)
    timing = kernel_timing(demand, gpu)
    assert in_clocks(timing.setup_s) == pytest.approx(250)
    assert in_clocks(timing.run_s) == pytest.approx(3 * 40 / 40 + 30 * 40 / 200 + clocks)


def test_what_reads_nothing_fills_no_pipeline(gpu: Gpu) -> None:
    demand = kernel(work={"l2_write_bytes": 400}, latency={"setup_cycles": 5})
    assert in_clocks(kernel_timing(demand, gpu).setup_s) == pytest.approx(5)


def test_loads_in_flight_by_littles_law(gpu: Gpu) -> None:
    """1000 B at 250 clocks' distance, 100 B at a time; with half a byte in flight no less than one."""
    demand = kernel(work={"l2_read_bytes": 1000}, latency={"bytes_in_flight": 100})
    alone = 1000 / 40 + 10 * 1000 / 200
    assert in_clocks(kernel_timing(demand, gpu).run_s) == pytest.approx(alone + 2500)
    demand = kernel(work={"l2_read_bytes": 2}, latency={"bytes_in_flight": 0.5})
    assert in_clocks(kernel_timing(demand, gpu).run_s) == pytest.approx(2 / 40 + 10 * 2 / 200 + 500)


@pytest.mark.parametrize(
    ("read", "missed", "miss_share", "clocks"),
    [
        (1000, 0, 1.0, 250),
        (1000, 1000, 1.0, 650),
        (1000, 250, 1.0, 350),
        (1000, 250, 0.5, 300),
        (1000, 5000, 1.0, 650),  # never more than all
        (0, 0.5, 1.0, 450),  # of nothing: no division by zero
    ],
)
def test_latency_of_loads_by_how_much_misses(
    gpu: Gpu, read: float, missed: float, miss_share: float, clocks: float
) -> None:
    demand = kernel(work={"l2_read_bytes": read, "dram_read_bytes": missed}, latency={"miss_share": miss_share})
    assert load_latency_cycles(demand, gpu).item() == pytest.approx(clocks)


def test_a_miss_is_never_nearer_than_a_hit(gpu: Gpu) -> None:
    demand = kernel(work={"l2_read_bytes": 10, "dram_read_bytes": 10})
    assert load_latency_cycles(demand, changed(gpu, dram__latency_s=200e-9)).item() == pytest.approx(250)


def test_hits_are_near_for_one_partitions_share(gpu: Gpu) -> None:
    """A quarter of 100 and three quarters of 300; of one partition all are near."""
    assert gpu.l2.mean_latency_cycles == pytest.approx(250)
    assert changed(gpu, l2__partitions=1).l2.mean_latency_cycles == pytest.approx(100)
    assert changed(gpu, l2__partitions=2).l2.mean_latency_cycles == pytest.approx(200)


def test_the_longest_cta_is_waited_for_once(gpu: Gpu) -> None:
    """A tenth of what one CTA takes by its chain and its units, at their full rate, added to each SM's waves."""
    work = {"tensor_ops": 1e5, "fma_ops": 3000, "special_ops": 140, "shared_bytes": 550}
    plain = kernel(30, work=work, latency={"chain_cycles": 13}, tensor_efficiency=0.5)
    late = plain.but(latency={"straggler_share": np.array([0.1])})
    more = in_clocks(kernel_timing(late, gpu).run_s) - in_clocks(kernel_timing(plain, gpu).run_s)
    assert more == pytest.approx(0.1 * (100 + 30 + 7 + 13))


def test_the_longest_ctas_units_overlap_as_others_do(gpu: Gpu) -> None:
    work = {"fma_ops": 3000, "special_ops": 800}
    plain = kernel(work=work, within_sm=2.0)
    late = plain.but(latency={"straggler_share": np.array([0.2])})
    assert in_clocks(kernel_timing(late, gpu).run_s) == pytest.approx(50 + 0.2 * 50)


@pytest.mark.parametrize(
    ("launch", "alone_s", "with_helpers_s"),
    [("graph", 2e-6, 2e-6 + 3 * 2.1e-6), ("stream", 5e-6, 5e-6 + 3 * 5.1e-6), ("profiled", 0.0, 3 * 0.1e-6)],
)
def test_launches(gpu: Gpu, launch: Any, alone_s: float, with_helpers_s: float) -> None:
    """Three helpers take a launch each and 100 clocks."""
    assert launch_seconds(kernel(), gpu, launch).item() == pytest.approx(alone_s)
    demand = kernel(latency={"helper_cycles": 100.0}).with_extra_launches(3.0)
    assert launch_seconds(demand, gpu, launch).item() == pytest.approx(with_helpers_s)


def test_rows_with_and_without_products(gpu: Gpu) -> None:
    """One row has no tensor operations, the other 5000 on ten SMs."""
    demand = kernel().but(work={"tensor_ops": np.array([0.0, 5000.0])})
    assert kernel_seconds(demand, gpu).ravel() / NS == pytest.approx(np.array([0.0, 5.0]))


def test_the_power_limit_slows_what_is_on_the_clock_and_not_dram(gpu: Gpu) -> None:
    """Of 10 x 3000 operations of 1e-9 J a quarter is left at half the clock, over the 63 ns that they take then."""
    machine = changed(
        gpu,
        energy__fma_j_per_op={"fp32": 1e-9},
        energy__l2_j_per_byte=0.0,
        energy__dram_j_per_byte=0.0,
        power__tdp_w=10.0 + 7500 / np.hypot(60, 20),
        power__idle_w=10.0,
        power__clock_exponent=3.0,
        power__burst_headroom=0.0,
    )
    demand = kernel(work={"fma_ops": 3000, "dram_write_bytes": 100}, latency={"setup_cycles": 7}, dram=2.0)
    timing = kernel_timing(demand, machine)
    assert in_clocks(timing.run_s) == pytest.approx(np.hypot(30, 20))
    assert in_clocks(kernel_seconds(demand, machine)) == pytest.approx(7 + np.hypot(30, 20))
    assert timing.energies_j["fma"].item() == pytest.approx(30_000e-9)
    assert {name: in_clocks(timing.busy_s[name]) for name in ("fma", "dram")} == pytest.approx({"fma": 30, "dram": 20})
    assert timing.draw.clocked_j.item() == pytest.approx(30_000e-9)
    assert in_clocks(settled_seconds(timing, machine)) == pytest.approx(7 + np.hypot(60, 20))


def test_the_host_is_waited_for_before_the_launch(gpu: Gpu) -> None:
    waiting = kernel(latency={"host_s": 1e-6})
    for launch in ("graph", "stream", "profiled"):
        alone = launch_seconds(kernel(), gpu, launch)
        assert launch_seconds(waiting, gpu, launch).item() == pytest.approx(alone.item() + 1e-6)


def test_dram_latency_is_a_time(gpu: Gpu) -> None:
    """Twice the clock takes twice the clocks to memory, and as long."""
    faster = changed(gpu, clock__boost_hz=2.0 * gpu.clock.boost_hz)
    assert faster.dram_latency_cycles == pytest.approx(2.0 * gpu.dram_latency_cycles)


def test_kernels_run_at_the_clock_that_a_board_reaches(gpu: Gpu) -> None:
    above = changed(gpu, clock__max_hz=1.25 * gpu.clock.boost_hz)
    assert (above.clock.top_hz, gpu.clock.top_hz) == (1.25 * gpu.clock.boost_hz, gpu.clock.boost_hz)


def test_parts_of_a_timeline_add_up_on_the_sm() -> None:
    parts = {"setup_s": 32.0, "fill_s": 16.0, "main_s": 8.0, "tail_s": 4.0, "epilogue_s": 2.0, "first_fill_s": 1.0}
    assert Timeline(**{name: np.array([value]) for name, value in parts.items()}).on_sm_s.item() == 29.0
