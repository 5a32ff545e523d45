"""Demands of kernels that stream and of links, against figures worked out by hand on the round machine.

Its L2 hits 1 / (1 + x) where x MB are touched between two reads, 200 clk away; a CTA of a stream loads
256 x 16 B x 2 = 8192 B at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import COLD, NORMAL_ACTIVITY, SERVING, WARM, CacheState, Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, KernelDemand
from simexplore.sim.mapping import algorithms_of, demands_of
from simexplore.sim.mapping.host import called, host_seconds
from simexplore.sim.mapping.rowwise import dynamic_quantize_demands
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.sim.mapping.traffic import passes, warm_share, written_back_share
from simexplore.workloads import ops

STREAM = {
    "kernel": "mine",
    "grid.warps_per_cta": 8,
    "grid.registers_per_thread": 32,
    "grid.shared_bytes_per_cta": 0,
    "latency.exposed_cycles": 200,
    "latency.setup_cycles": 100,
    "overlap.l2_rate": 1.25,
}
"""What all streams have in common: 256 threads, an L2 hit at the end and half of one at the beginning."""


def a(number: float) -> Any:
    return np.array([[float(number)]])


def only(op: ops.Operator, gpu: Gpu | None = None, cache: CacheState = WARM) -> Any:
    (demand,) = demands_of(op, gpu or round_gpu(), Conditions(cache=cache))
    return demand


# --- what L2 holds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operand", "copies", "other", "room", "share"),
    [
        (2e6, 1.0, 1e6, 1.0, 1 / 4),  # 3 MB
        (2e6, 3.0, 1e6, 1.0, 1 / 8),  # 7 MB
        (2e6, 3.0, 1e6, 0.5, 1 / 15),  # 14 times what such lines can fill
        (0.0, np.inf, 1e6, 1.0, 1 / 2),  # of nothing there is nothing else, however many copies
        (1.0, np.inf, 0.0, 1.0, 1 / 1001),  # a thousand million copies stand for infinitely many
    ],
)
def test_operands_of_the_run_before(operand: float, copies: float, other: float, room: float, share: float) -> None:
    assert warm_share(a(operand), copies, a(other), round_gpu(), room).item() == pytest.approx(share)


def test_copies_by_row() -> None:
    sizes = np.array([[1e6], [1e6]])
    assert warm_share(sizes, np.array([1.0, 3.0]), sizes, round_gpu()).tolist() == [[pytest.approx(1 / 3)], [0.2]]


def test_results_that_reach_dram() -> None:
    assert written_back_share(a(3e6), round_gpu()).item() == pytest.approx(3 / 4)
    assert written_back_share(a(3e6), round_gpu(), room=0.5).item() == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    ("rows", "columns", "at_once", "times"),
    [(30, 4, 40, 3), (25, 4, 40, 2.5), (5, 4, 40, 1), (30, 80, 40, 30), (30, 40, 40, 30), (30, 20, 40, 15)],
)
def test_passes_over_an_operand(rows: float, columns: float, at_once: float, times: float) -> None:
    """Of rows that run at once there are at_once / columns, one at least; nothing is passed over less than once."""
    assert passes(a(rows), a(columns), at_once).item() == pytest.approx(times)


# --- streams ----------------------------------------------------------------------------------------------------------


def stream(read: float, write: float) -> Stream:
    return Stream(a(read), a(write), flops=a(1000), special_ops=a(500), warm_share=a(0.25), written_back_share=a(0.6))


def test_a_stream_has_a_cta_for_what_its_threads_load_at_once() -> None:
    assert_demand(
        stream_demand("mine", stream(81920, 40960), round_gpu()),
        {
            **STREAM,
            "grid.ctas": 10,
            "work.fma_ops": 100,
            "work.special_ops": 50,
            "work.l2_read_bytes": 8192,
            "work.l2_write_bytes": 4096,
            "work.dram_read_bytes": 8192 * 0.75,
            "work.dram_write_bytes": 4096 * 0.6,
            "latency.bytes_in_flight": 8192,
        },
    )


@pytest.mark.parametrize(("read", "write", "ctas"), [(100, 81921, 11), (81921, 100, 11), (0, 0, 1), (8192, 8192, 1)])
def test_ctas_of_a_stream_by_the_larger_of_its_sides(read: float, write: float, ctas: int) -> None:
    demand = stream_demand("mine", stream(read, write), round_gpu())
    assert demand.grid.ctas.item() == ctas
    assert demand.latency.bytes_in_flight.item() == pytest.approx(min(read / ctas, 8192))


def test_a_grid_and_a_chain_may_be_given() -> None:
    demand = stream_demand("mine", stream(81920, 40960), round_gpu(), ctas=a(2), chain_cycles=a(77))
    assert (demand.grid.ctas.item(), demand.latency.chain_cycles.item()) == (2, 77)
    assert (demand.work.l2_read_bytes.item(), demand.latency.bytes_in_flight.item()) == (40960, 8192)


def test_an_elementwise_kernel_reads_its_inputs_and_writes_its_result() -> None:
    """A million times x + y at 16 bits: 4 MB and 2 MB, 6 MB touched."""
    assert_demand(
        only(ops.Add(elements=1_000_000, dtype="fp16")),
        {
            **STREAM,
            "kernel": "add",
            "grid.ctas": 489,  # 4 000 000 / 8192 = 488.3
            "work.fma_ops": 1e6 / 489,
            "work.l2_read_bytes": 4e6 / 489,
            "work.l2_write_bytes": 2e6 / 489,
            "work.dram_read_bytes": 4e6 / 489 * 6 / 7,
            "work.dram_write_bytes": 2e6 / 489 * 6 / 7,
            "latency.bytes_in_flight": 4e6 / 489,
        },
    )


def test_special_functions_are_no_flops() -> None:
    """Of GELU's eight operations an element one is a tanh."""
    work = only(ops.Gelu(elements=4096, dtype="fp16")).work  # one CTA
    assert (work.fma_ops.item(), work.special_ops.item()) == (7 * 4096, 4096)


def test_several_copies_of_an_activation_push_one_another_out() -> None:
    """Three of 4 MB, and 2 MB of results: 14 MB."""
    cache = CacheState(weight_copies=1.0, activation_copies=3.0)
    work = only(ops.Add(elements=1_000_000, dtype="fp16"), cache=cache).work
    assert (work.dram_read_bytes / work.l2_read_bytes).item() == pytest.approx(14 / 15)


def test_an_embedding_is_as_warm_as_weights() -> None:
    """1000 rows of 500 elements and 4 B of index each are read, 1 MB is written: 2.004 MB."""
    op = ops.Embedding(tokens=1000, width=500, vocabulary=10**6, dtype="fp16")
    work = only(op, cache=CacheState(weight_copies=1.0)).work
    assert (work.dram_read_bytes / work.l2_read_bytes).item() == pytest.approx(2.004 / 3.004)
    assert (only(op, cache=SERVING).work.dram_read_bytes / work.l2_read_bytes).item() == pytest.approx(1.0)
    assert (work.l2_read_bytes / work.l2_write_bytes).item() == pytest.approx(1.004)


# --- rows -------------------------------------------------------------------------------------------------------------

ROWS = {**STREAM, "grid.ctas": 200, "work.l2_write_bytes": 7500, "work.dram_write_bytes": 5625}
"""200 rows of 3750 elements at 16 bits: 1.5 MB read and 1.5 MB written, so a quarter hits."""


def test_softmax_by_loads() -> None:
    """468.75 loads of 16 B: half of 512 threads. 60 CTAs at once touch 60 x 15 000 / 3 B = 0.3 MB of 0.6 MB: 1/5."""
    assert_demand(
        only(ops.Softmax(rows=200, cols=3750, dtype="fp16")),
        {
            **ROWS,
            "kernel": "softmax",
            "grid.warps_per_cta": 8,
            "work.fma_ops": 4 * 3750,
            "work.special_ops": 3750,
            "work.l2_read_bytes": 3 * 7500,
            "work.dram_read_bytes": 7500 * 0.75 + 2 * 7500 * 0.2,
            "latency.bytes_in_flight": 7500,
            "latency.chain_cycles": 2 * ((5 + 3) * 20 + 2 * 30),  # five shuffles in a warp, three among eight
        },
    )


def test_layer_norm() -> None:
    """128 threads; 120 CTAs at once touch 120 x 15 000 / 3 B = 0.6 MB of 0.6 MB: half misses."""
    read = 7500 + 2 * 7500 / 200  # its share of the two vectors
    assert_demand(
        only(ops.LayerNorm(rows=200, cols=3750, dtype="fp16")),
        {
            **ROWS,
            "kernel": "layernorm",
            "grid.warps_per_cta": 4,
            "work.fma_ops": 7 * 3750 - 1,
            "work.special_ops": 1,
            "work.shared_bytes": 2 * 7500 * 128 / 80,  # the vectors, from L1 at 80 B/clk
            "work.l2_read_bytes": read + 2 * 7500,
            "work.dram_read_bytes": read * 3.015 / 4.015 + 2 * 7500 * 0.5,
            "work.dram_write_bytes": 7500 * 3.015 / 4.015,
            "latency.bytes_in_flight": 128 * 16 * 2,
            "latency.chain_cycles": 2 * ((5 + 2) * 20 + 2 * 30),
        },
    )


def test_rms_norm_from_l1() -> None:
    """One reduction, one vector and one further pass, which L1 serves."""
    read = 7500 + 7500 / 200
    assert_demand(
        only(
            ops.RmsNorm(rows=200, cols=3750, dtype="fp16"),
            round_gpu({"library.elementwise.rowwise.again_from": "l1"}),
        ),
        {
            **ROWS,
            "kernel": "rmsnorm",
            "grid.warps_per_cta": 4,
            "work.fma_ops": 4 * 3750 - 1,
            "work.special_ops": 1,
            "work.shared_bytes": (7500 + 7500) * 128 / 80,
            "work.l2_read_bytes": read,
            "work.dram_read_bytes": read * 3.0075 / 4.0075,
            "work.dram_write_bytes": 7500 * 3.0075 / 4.0075,
            "latency.bytes_in_flight": 128 * 16 * 2,
            "latency.chain_cycles": 1 * ((5 + 2) * 20 + 2 * 30),
        },
    )


def test_no_more_rows_are_resident_than_there_are() -> None:
    """60 CTAs would be; of 30 rows, 30 x 15 000 / 3 B = 0.15 MB of 0.6 MB are touched: one in 17 misses."""
    demand = only(ops.Softmax(rows=30, cols=3750, dtype="fp16"))
    first = 7500 * 0.45 / 1.45
    assert demand.work.dram_read_bytes.item() == pytest.approx(first + 2 * 7500 / 17)


def test_a_short_softmax_stays_in_a_warps_registers() -> None:
    """250 rows of 2000 B: 0.5 MB in and out. 2000 B are 15.6 registers of 4 B for each of 32 threads."""
    assert_demand(
        only(ops.Softmax(rows=250, cols=1000, dtype="fp16")),
        {
            **STREAM,
            "kernel": "softmax",
            "grid.ctas": 250,
            "grid.warps_per_cta": 1,
            "grid.registers_per_thread": 32 + 2000 / (4 * 32),
            "work.fma_ops": 4000,
            "work.special_ops": 1000,
            "work.l2_read_bytes": 2000,
            "work.l2_write_bytes": 2000,
            "work.dram_read_bytes": 1000,
            "work.dram_write_bytes": 1000,
            "latency.bytes_in_flight": 2000,
            "latency.chain_cycles": 2 * 5 * 20,
        },
    )


# --- conversions ------------------------------------------------------------------------------------------------------

MATRIX = ops.Quantize(rows=1000, cols=1000, dtype="fp8", input_dtype="bf16")
"""2 MB in and 1 MB out: a quarter hits."""
CONVERSION = {
    **STREAM,
    "kernel": "quant_scale_matrix",
    "grid.ctas": 100,
    "work.fma_ops": 2 * 16 * 10_000,
    "work.l2_read_bytes": 20_000,
    "work.l2_write_bytes": 10_000,
    "work.dram_read_bytes": 15_000,
    "work.dram_write_bytes": 7500,
    "latency.bytes_in_flight": 4 * 256 * 2,
    "latency.chain_cycles": 2 * 200,
    "latency.exposed_cycles": 0,
}


def test_conversion_by_a_known_scale() -> None:
    assert_demand(only(MATRIX), CONVERSION)


@pytest.mark.parametrize(("kernels", "helpers"), [(7, 5), (2, 0)])
def test_conversion_by_a_scale_from_the_data(kernels: int, helpers: int) -> None:
    """A pass that only reads comes before it, and whatever kernels there are beside these two."""
    gpu = round_gpu({"library.gemm.tensor.quantize_kernels": kernels})
    largest, convert = dynamic_quantize_demands(MATRIX, gpu, Conditions(cache=WARM))
    assert_demand(convert, CONVERSION)
    assert_demand(
        largest,
        {
            **STREAM,
            "kernel": "largest_value",
            "grid.ctas": 245,  # 2 000 000 / 8192 = 244.1
            "work.fma_ops": 2e6 / 245,
            "work.l2_read_bytes": 2e6 / 245,
            "work.dram_read_bytes": 1.5e6 / 245,
            "latency.bytes_in_flight": 2e6 / 245,
            "latency.extra_launches": helpers,
        },
    )


# --- links and host ---------------------------------------------------------------------------------------------------


def test_a_host_read_is_a_copy_and_an_answer() -> None:
    demand = only(ops.HostRead(words=5, dtype="fp32"))
    assert (demand.kernel, demand.link) == ("host_read", "pcie")
    assert (demand.bytes.tolist(), demand.steps.tolist()) == ([20.0], [2.0])


EAGER = Conditions(eager=True, cache=CacheState(earlier_shapes=1000.0))


def test_the_gpu_waits_for_the_host_before_the_first_kernel_of_an_eager_call() -> None:
    op = ops.Add(elements=10, dtype="fp16")
    (kernel,) = demands_of(op, round_gpu(), Conditions())
    (way,) = algorithms_of(op, round_gpu(), EAGER)
    assert [demand.latency.host_s.item() for demand in way.kernels] == [20e-6]  # type: ignore[union-attr]
    twice = called(Algorithm((kernel, kernel), ANY_ROW), op, round_gpu(), EAGER)
    first, second = twice.kernels
    assert isinstance(first, KernelDemand)
    assert np.asarray(first.latency.host_s).item() == 20e-6
    assert second == replace(kernel, work=replace(kernel.work, activity=NORMAL_ACTIVITY["fp16"]))


def test_without_an_eager_call_the_host_is_ahead() -> None:
    op = ops.Add(elements=10, dtype="fp16")
    (way,) = algorithms_of(op, round_gpu(), Conditions(cache=COLD))
    assert way.kernels[0].latency.host_s == 0.0  # type: ignore[union-attr]


def test_only_kernels_wait_for_the_host() -> None:
    op = ops.HostRead(words=5, dtype="fp32")
    (way,) = algorithms_of(op, round_gpu(), EAGER)
    assert way.kernels[0] == only(op)


def test_a_convolutions_host_looks_for_a_plan() -> None:
    """60 us, and a quarter more after half of the shapes that double it."""
    op = ops.Conv2d(batch=1, cin=1, cout=1, ksize=1, hw=1, dtype="fp32")
    assert host_seconds(op, round_gpu(), EAGER).item() == pytest.approx(75e-6)
