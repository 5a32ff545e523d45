"""Kernels of operators on arrays, every figure worked out by hand on the machine of round numbers.

Operands are cold: of a working set of x MB that machine's L2 holds 1 / (1 + x).
"""

from __future__ import annotations

from typing import Any

import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.sim.conditions import COLD, WARM, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping import algorithms_of, demands_of
from simexplore.workloads.ops import parse_operator

CONDITIONS = Conditions(cache=COLD, activity=1.0)
USED_L2 = 1e6
COPIES = 1e9
STREAM = {
    "grid.warps_per_cta": 8,
    "grid.registers_per_thread": 32,
    "grid.shared_bytes_per_cta": 0,
    "latency.exposed_cycles": 200,
    "latency.setup_cycles": 100,
    "overlap.l2_rate": 1.25,
}


def held(size: float) -> float:
    return 1.0 / (1.0 + size / USED_L2)


def cold(operand: float, other: float) -> float:
    """Of an operand that rotates through so many copies that none is left."""
    return operand * (1.0 - held(COPIES * operand + other))


def written(result: float, touched: float) -> float:
    return result * (1.0 - held(touched))


def kernels(text: str) -> tuple[Any, ...]:
    """Of the one way in which the operator is done."""
    (way,) = algorithms_of(parse_operator(text), round_gpu(), CONDITIONS)
    return tuple(way.kernels)


def test_pooling_has_a_thread_for_each_result() -> None:
    (pool,) = kernels("pool(planes=10,width=20,height=20,cols=2,rows=2,out_width=10,out_height=10)")
    assert_demand(
        pool,
        {
            **STREAM,
            "kernel": "pool",
            "grid.ctas": 4,  # 1000 results, 256 threads
            "work.fma_ops": 4000 / 4,
            "work.shared_bytes": 1000 * 4 * 2 / 4 * 128 / 80,  # of L1, four taps a result
            "work.l2_read_bytes": 8000 / 4,
            "work.l2_write_bytes": 2000 / 4,
            "work.dram_read_bytes": cold(8000, 2000) / 4,
            "work.dram_write_bytes": written(2000, 10000) / 4,
            "latency.bytes_in_flight": 2000,  # all that a CTA reads; 256 threads x 4 taps x 2 B would be more
        },
    )


def test_a_long_window_has_four_loads_in_flight() -> None:
    (pool,) = kernels("pool(planes=256,width=64,cols=64,out_width=1)")
    assert pool.latency.bytes_in_flight.item() == 256 * 4 * 2
    (single,) = kernels("pool(planes=256,width=64,cols=1,out_width=64)")
    assert single.latency.bytes_in_flight.item() == 256 * 2


def test_a_grid_is_read_before_what_it_tells() -> None:
    (sampled,) = kernels("resample(planes=10,in_elements=25,out_elements=100,taps=4,coordinates=2)")
    read = 2 * (250 + 200)
    assert_demand(
        sampled,
        {
            **STREAM,
            "kernel": "resample",
            "grid.ctas": 4,
            "work.fma_ops": 1000 * 6 / 4,
            "work.shared_bytes": 1000 * 4 * 2 / 4 * 128 / 80,
            "work.l2_read_bytes": read / 4,
            "work.l2_write_bytes": 2000 / 4,
            "work.dram_read_bytes": cold(read, 2000) / 4,
            "work.dram_write_bytes": written(2000, read + 2000) / 4,
            "latency.bytes_in_flight": read / 4,
            "latency.exposed_cycles": 400,
        },
    )
    (plain,) = kernels("resample(planes=10,in_elements=25,out_elements=100,taps=4)")
    assert plain.latency.exposed_cycles.item() == 200


def test_a_reduction_of_rows() -> None:
    (reduced,) = kernels("reduce(rows=100,cols=1000)")  # 32 threads a row, 16 rows a CTA
    assert_demand(
        reduced,
        {
            **STREAM,
            "kernel": "reduce",
            "grid.ctas": 7,
            "grid.warps_per_cta": 16,
            "work.fma_ops": 100_000 / 7,
            "work.l2_read_bytes": 200_000 / 7,
            "work.l2_write_bytes": 200 / 7,
            "work.dram_read_bytes": cold(200_000, 200) / 7,
            "work.dram_write_bytes": written(200, 200_200) / 7,
            "latency.bytes_in_flight": 512 * 4 * 2,
            "latency.chain_cycles": 5 * 20 + 60,
        },
    )


def test_few_long_rows_are_shared_by_ctas_that_leave_partial_sums() -> None:
    (reduced,) = kernels("reduce(rows=1,cols=1000000)")
    partial = 4 * 30 / 30
    assert_demand(
        reduced,
        {
            **STREAM,
            "kernel": "reduce",
            "grid.ctas": 30,  # 3 CTAs of 512 threads an SM; 1954 values a thread would do for 123
            "grid.warps_per_cta": 16,
            "work.fma_ops": 1e6 / 30,
            "work.l2_read_bytes": 2e6 / 30 + partial,
            "work.l2_write_bytes": 2 / 30 + partial,
            "work.dram_read_bytes": cold(2e6, 2) / 30,
            "work.dram_write_bytes": written(2, 2e6 + 2) / 30,
            "latency.bytes_in_flight": 512 * 4 * 2,
            "latency.chain_cycles": 9 * 20 + 60,
            "latency.exposed_cycles": 600,
        },
    )


@pytest.mark.parametrize(
    ("text", "ctas", "warps", "chain"),
    [
        ("reduce(rows=2,cols=100,inner=64)", 1, 16, 60),  # a thread a column, 512 of them a CTA
        ("reduce(rows=1,cols=4096,inner=64)", 2 * 15, 16, 4 * 20 + 60),  # 32 columns by 16 rows; 30 CTAs at once
        ("reduce(rows=4096,cols=2)", 8, 16, 60),  # rows of less than a vector have one thread
        ("reduce(rows=1,cols=4)", 1, 1, 0),
    ],
)
def test_how_reductions_are_laid_out(text: str, ctas: float, warps: float, chain: float) -> None:
    (reduced,) = kernels(text)
    assert reduced.grid.ctas.item() == ctas
    assert (reduced.grid.warps_per_cta.item(), reduced.latency.chain_cycles.item()) == (warps, chain)


def test_a_running_sum_walks_through_rows() -> None:
    (scan,) = kernels("scan(rows=64,cols=1000)")  # 2^((9 + 10 - 6) / 2) threads along a row, 8 rows a CTA
    assert_demand(
        scan,
        {
            **STREAM,
            "kernel": "scan",
            "grid.ctas": 8,
            "grid.warps_per_cta": 16,
            "work.fma_ops": 64_000 / 8,
            "work.l2_read_bytes": 128_000 / 8,
            "work.l2_write_bytes": 128_000 / 8,
            "work.dram_read_bytes": cold(128_000, 128_000) / 8,
            "work.dram_write_bytes": written(128_000, 256_000) / 8,
            "latency.bytes_in_flight": 512 * 2 * 2,
            "latency.chain_cycles": 8 * (2 * 7) * (20 + 30),  # 1000 / 128 steps, a tree of 128 up and down
        },
    )


@pytest.mark.parametrize(
    ("text", "ctas", "warps", "chain", "in_flight"),
    [
        ("scan(rows=1,cols=10240)", 10, 16, 2 * 10 * 50, 512 * 2 * 2),  # one row has a CTA for each 1024 elements
        ("scan(rows=2,cols=100,inner=64)", 2, 2, 0, 64 * 4 * 2),
        ("scan(rows=2,cols=100,inner=1000)", 4, 16, 0, 512 * 4 * 2),
    ],
)
def test_how_running_sums_are_laid_out(text: str, ctas: float, warps: float, chain: float, in_flight: float) -> None:
    (scan,) = kernels(text)
    assert (scan.grid.ctas.item(), scan.grid.warps_per_cta.item()) == (ctas, warps)
    assert (scan.latency.chain_cycles.item(), scan.latency.bytes_in_flight.item()) == (chain, in_flight)


def test_short_rows_are_sorted_in_shared_memory() -> None:
    (sort,) = kernels("sort(rows=10,cols=1000,dtype=fp16)")
    assert_demand(
        sort,
        {
            **STREAM,
            "kernel": "sort",
            "grid.ctas": 10,
            "grid.warps_per_cta": 1,  # 32 elements a thread
            "grid.shared_bytes_per_cta": 1000 * 10,  # a key of 2 B and an index of 8 B
            "work.shared_bytes": 2 * 4 * 1000 * 10,  # 16 bits, four a pass
            "work.l2_read_bytes": 2000,
            "work.l2_write_bytes": 10_000,
            "work.dram_read_bytes": cold(20_000, 100_000) / 10,
            "work.dram_write_bytes": written(100_000, 120_000) / 10,
            "latency.bytes_in_flight": 2000,
            "latency.chain_cycles": 4 * (2 * 20 + 3 * 30),
        },
    )
    (edge,) = kernels("sort(rows=10,cols=4096,dtype=fp16)")
    assert edge.grid.warps_per_cta.item() == 4


def test_long_rows_are_sorted_digit_by_digit_through_memory() -> None:
    count, *digits = kernels("sort(rows=10,cols=4097,dtype=fp16)")
    keys, both = 2 * 40_970.0, 10 * 40_970.0
    assert (count.kernel, [each.kernel for each in digits]) == ("count_digits", ["digit"] * 2)
    assert (count.grid.ctas * count.work.l2_read_bytes).item() == pytest.approx(keys)
    assert (count.grid.ctas * count.work.dram_read_bytes).item() == pytest.approx(cold(keys, 0))
    for digit in digits:
        ctas = digit.grid.ctas
        assert ((ctas * digit.work.l2_read_bytes).item(), (ctas * digit.work.l2_write_bytes).item()) == (both, both)
        assert (ctas * digit.work.dram_read_bytes).item() == pytest.approx(both * (1 - held(2 * both)))  # just written
        assert (ctas * digit.work.dram_write_bytes).item() == pytest.approx(written(both, 2 * both))
    assert len(kernels("sort(rows=10,cols=4097,dtype=fp32)")) == 1 + 4


def test_a_selection_passes_over_its_row_for_every_two_bits() -> None:
    select, sort = kernels("top_k(rows=10,cols=1000,k=8,dtype=fp16)")
    again = 9 * 2000  # 16 bits make eight passes; two more take what was found
    meanwhile = 10 * (2000 + 80) / 10
    assert_demand(
        select,
        {
            **STREAM,
            "kernel": "select",
            "grid.ctas": 10,
            "grid.warps_per_cta": 32,
            "work.l2_read_bytes": 2000 + again,
            "work.l2_write_bytes": 80,
            "work.dram_read_bytes": cold(20_000, 800) / 10 + again * _missing(meanwhile),
            "work.dram_write_bytes": written(800, 20_800) / 10,
            "latency.bytes_in_flight": 2000,
            "latency.chain_cycles": 10 * (3 * 30 + 5 * 20),
        },
    )
    assert (sort.kernel, sort.grid.ctas.item(), sort.grid.shared_bytes_per_cta.item()) == ("sort", 10, 8 * 10)


def _missing(touched: float) -> float:
    """Of rows that are read again, by the machine's own share of L2 and its eviction for them."""
    rowwise = round_gpu().library.elementwise.rowwise
    fill = touched / (rowwise.l2_share * USED_L2)
    return 1.0 - 1.0 / (1.0 + fill**rowwise.eviction_sharpness)


def test_few_long_rows_are_selected_from_by_several_ctas() -> None:
    first, second, take, sort = kernels("top_k(rows=10,cols=20000,k=8,dtype=fp16)")
    keys = 2 * 200_000.0
    assert [each.kernel for each in (first, second, take, sort)] == ["digit", "digit", "take", "sort"]
    for each in (first, second):
        assert (each.grid.ctas * each.work.l2_read_bytes).item() == pytest.approx(keys)
        assert each.latency.extra_launches == 1.0  # adds counts up
    assert (first.grid.ctas * first.work.dram_read_bytes).item() == pytest.approx(cold(keys, 0))
    assert (second.grid.ctas * second.work.dram_read_bytes).item() == pytest.approx(keys * (1 - held(keys)))
    assert (take.grid.ctas * take.work.l2_write_bytes).item() == pytest.approx(80 * 10)


@pytest.mark.parametrize(
    ("rows", "cols", "several"),
    [
        *((20, 19_999, False), (20, 20_000, True), (21, 10_000, True), (40, 9_999, False), (41, 8_000, True)),
        *((80, 7_999, False), (81, 5_000, True), (199, 4_999, False), (200, 3_000, True), (799, 2_999, False)),
        *((800, 800, True), (4000, 799, False), (4001, 400, True), (4001, 399, False)),
    ],
)
def test_when_several_ctas_select(rows: int, cols: int, several: bool) -> None:
    first, *_ = kernels(f"top_k(rows={rows},cols={cols},k=1)")
    assert first.kernel == ("digit" if several else "select")


def test_rows_of_a_column_go_their_own_ways() -> None:
    import numpy as np

    from simexplore.workloads.ops import Sort, TopK

    ways = algorithms_of(Sort(np.array([1, 1]), np.array([4096, 4097])), round_gpu(), CONDITIONS)
    assert [(way.kernels[0].kernel, way.serves.tolist()) for way in ways] == [  # type: ignore[attr-defined]
        ("sort", [True, False]),
        ("count_digits", [False, True]),
    ]
    ways = algorithms_of(TopK(np.array([1, 1]), np.array([100, 30_000]), np.array([2, 2])), round_gpu(), CONDITIONS)
    assert [(way.kernels[0].kernel, way.serves.tolist()) for way in ways] == [  # type: ignore[attr-defined]
        ("select", [True, False]),
        ("digit", [False, True]),
    ]


def test_a_gather_moves_whole_sectors() -> None:
    (gather,) = kernels("gather(indices=1000,table=100000,run=10)")
    index, moved, result = 8000.0, 1000 * 32.0, 20_000.0  # pieces of 20 B lie in a sector of 32 B
    assert_demand(
        gather,
        {
            **STREAM,
            "kernel": "gather",
            "grid.ctas": 5,
            "work.l2_read_bytes": (index + moved) / 5,
            "work.l2_write_bytes": result / 5,
            "work.dram_read_bytes": cold(index + moved, result) / 5,
            "work.dram_write_bytes": written(result, index + moved + result) / 5,
            "latency.bytes_in_flight": (index + moved) / 5,
            "latency.exposed_cycles": 400,
        },
    )


def test_a_small_table_comes_from_dram_once() -> None:
    (gather,) = kernels("gather(indices=100000,table=100,run=1)")
    total = gather.grid.ctas * gather.work.dram_read_bytes
    assert total.item() == pytest.approx(8e5 + 224, rel=1e-5)  # 200 B of table are seven sectors
    assert (gather.grid.ctas * gather.work.l2_read_bytes).item() == pytest.approx(8e5 + 32e5)


def test_a_scatter_that_adds_reads_what_is_there() -> None:
    (scatter,) = kernels("scatter(indices=1000,table=100000,run=10,adds=1)")
    read, moved = 8000.0 + 20_000.0, 1000 * 32.0
    assert_demand(
        scatter,
        {
            **STREAM,
            "kernel": "scatter",
            "grid.ctas": 4,
            "work.fma_ops": 10_000 / 4,
            "work.l2_read_bytes": read / 4,
            "work.l2_write_bytes": moved / 4,
            "work.dram_read_bytes": (cold(read, moved) + cold(moved, read)) / 4,
            "work.dram_write_bytes": written(moved, read + moved) / 4,
            "latency.bytes_in_flight": read / 4,
            "latency.exposed_cycles": 400,
        },
    )


@pytest.mark.parametrize(("run", "adds", "fetched"), [(16, 0, 0.0), (10, 0, 32_000.0), (16, 1, 32_000.0)])
def test_a_scatter_of_whole_sectors_reads_nothing_there_but_to_add(run: int, adds: int, fetched: float) -> None:
    (scatter,) = kernels(f"scatter(indices=1000,table=1000000,run={run},adds={adds})")
    total = (scatter.grid.ctas * scatter.work.dram_read_bytes).item()
    assert total == pytest.approx(8000 + 2000 * run + fetched, rel=1e-6)


def test_a_group_norm_finds_moments_and_then_scales() -> None:
    moments, scale = kernels("group_norm(batch=2,channels=64,pixels=100,groups=4)")
    image, vectors, moved = 25_600.0, 256.0, 8.0 * 8
    assert_demand(
        moments,
        {
            **STREAM,
            "kernel": "moments",
            "grid.ctas": 8,
            "grid.warps_per_cta": 16,
            "work.fma_ops": 5 * 12_800 / 8,
            "work.special_ops": 1,
            "work.l2_read_bytes": (image + vectors) / 8,
            "work.l2_write_bytes": moved / 8,
            "work.dram_read_bytes": (image + vectors) * (1 - held(COPIES * image + image)) / 8,
            "work.dram_write_bytes": written(moved, image) / 8,
            "latency.bytes_in_flight": (image + vectors) / 8,
            "latency.chain_cycles": 9 * 20 + 60,
        },
    )
    factors = 2 * 4 * 2 * 64
    assert_demand(
        scale,
        {
            **STREAM,
            "kernel": "scale_shift",
            "grid.ctas": 4,  # 26,624 B, 8 KB a CTA
            "work.fma_ops": 2 * 12_800 / 4,
            "work.l2_read_bytes": (image + factors) / 4,
            "work.l2_write_bytes": image / 4,
            "work.dram_read_bytes": (image + factors) * (1 - held(2 * image + factors)) / 4,
            "work.dram_write_bytes": written(image, 2 * image + factors) / 4,
            "latency.bytes_in_flight": (image + factors) / 4,
            "latency.extra_launches": 1,
        },
    )
    small, _ = kernels("group_norm(batch=2,channels=64,pixels=7,groups=1)")  # 448 elements have a warp
    assert (small.grid.warps_per_cta.item(), small.latency.chain_cycles.item()) == (1, 5 * 20 + 60)


def test_warm_operands_stay_in_l2() -> None:
    for text in (
        "reduce(rows=8,cols=64)",
        "gather(indices=8,table=64)",
        "group_norm(batch=1,channels=8,pixels=8,groups=2)",
    ):
        first, *_ = demands_of(parse_operator(text), round_gpu(), Conditions(cache=WARM))
        assert isinstance(first, KernelDemand)
        assert first.work.dram_read_bytes.item() < 0.01 * first.work.l2_read_bytes.item()
