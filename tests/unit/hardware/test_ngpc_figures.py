"""The neural-graphics cluster, against figures worked out by hand: four processors of two engines at 2 GHz."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.ngpc import EncodingEngines, MlpEngine, Ngpc
from simexplore.errors import SimexploreError
from simexplore.sim.hardware.ngpc import addresses
from simexplore.sim.hardware.ngpc.area import area_shares, nfp_area, nfp_power, power_shares
from simexplore.sim.hardware.ngpc.cluster import (
    FieldQueries,
    batch_energies,
    batch_timing,
    doorbell_seconds,
    handed_over_missing,
)
from simexplore.sim.hardware.ngpc.nfp import (
    Field,
    Level,
    NfpRun,
    bank_trace,
    inputs_in_parallel,
    layer_cycles,
    play,
    slice_cycles,
    steady_rate,
)

FILE = Path(__file__).resolve().parents[2] / "data" / "round-ngpc.yaml"
NS, PJ = 1e-9, 1e-12
COARSE, FINE = Level(16, 256, False), Level(1024, 1_000_000, True)
PLAIN = Field(2, (COARSE,), 4.0, ((16, 32),))
"""One level and one layer that takes the whole array."""


@cache
def machine(changes: tuple[tuple[str, str], ...] = ()) -> tuple[Gpu, Ngpc]:
    gpu = load_arch(FILE, {f"ngpc.{key}": value for key, value in changes})
    assert gpu.ngpc is not None
    return gpu, gpu.ngpc


def cluster(**changes: object) -> Ngpc:
    return machine(tuple((key.replace("__", "."), str(value)) for key, value in changes.items()))[1]


def engines(**changes: Any) -> EncodingEngines:
    return cluster().encoding.model_copy(update=changes)


def array(**changes: Any) -> MlpEngine:
    return cluster().mlp.model_copy(update=changes)


# --- addresses --------------------------------------------------------------------------------------------------------


def test_points_are_shifted_by_half_a_cell() -> None:
    cell, place = addresses.cells(np.array([[0.0, 1.0, 0.25]]), 15.0)
    assert cell.tolist() == [[0, 15, 4]]
    assert place.tolist() == [[0.5, 0.5, 0.25]]


def test_corners_of_a_cell_x_fastest() -> None:
    assert addresses.corner_offsets(2).tolist() == [[0, 0], [1, 0], [0, 1], [1, 1]]


def test_dense_entries_go_along_x_then_y_and_wrap() -> None:
    """The cell at (4, 8) of 16 x 16 points."""
    points = np.array([[4.0 / 15, 8.0 / 15]])
    assert addresses.corner_entries(points, 16, 256, hashed=False).tolist() == [[132, 133, 148, 149]]
    assert addresses.corner_entries(points, 16, 140, hashed=False).tolist() == [[132, 133, 8, 9]]


def test_hashed_entries_by_the_primes_in_32_bits() -> None:
    points = np.array([[4.0 / 15, 8.0 / 15]])
    prime = 2654435761
    expected = [(x ^ (y * prime % 2**32)) % 1000 for y in (8, 9) for x in (4, 5)]
    assert addresses.corner_entries(points, 16, 1000, hashed=True).tolist() == [expected]


def test_banks_by_index_and_by_parity() -> None:
    """Entries 132, 133, 148, 149 of two words each over eight banks; the odd and even corners of (5, 8)."""
    points = np.array([[4.0 / 15, 8.0 / 15]])
    by_index = addresses.request_banks(points, 16, 256, False, "index", 8, 2)
    assert by_index.tolist() == [[0, 1, 2, 3, 0, 1, 2, 3]]
    points = np.array([[5.0 / 15, 8.0 / 15]])
    by_parity = addresses.request_banks(points, 16, 256, False, "parity", 8, 2)
    assert by_parity.tolist() == [[2, 3, 0, 1, 6, 7, 4, 5]]


# --- one processor ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "packed", "whole"),
    [
        ((16, 32), 10 + 3, 10 + 3),
        ((8, 32), 5 + 3, 10 + 3),  # two side by side
        ((5, 10), 2 + 3, 10 + 3),  # three along rows and three along columns: ten queries in two turns
        ((17, 32), 20 + 3, 20 + 3),  # one more input than rows
        ((16, 33), 20 + 3, 20 + 3),
        ((40, 70), 90 + 3, 90 + 3),
    ],
)
def test_clocks_of_a_layer_of_ten_queries(layer: tuple[int, int], packed: int, whole: int) -> None:
    assert layer_cycles(layer, 10, array()) == packed
    assert layer_cycles(layer, 10, array(packing="whole")) == whole


def test_layers_of_a_slice_come_one_after_another() -> None:
    assert slice_cycles(((16, 32), (8, 32)), 10, array()) == 13 + 8


def test_engines_that_levels_leave_encode_side_by_side() -> None:
    assert inputs_in_parallel(PLAIN, engines(count=5)) == 5
    two = replace(PLAIN, levels=(COARSE, FINE))
    assert inputs_in_parallel(two, engines(count=5)) == 2
    assert inputs_in_parallel(two, engines(count=2)) == 1
    with pytest.raises(SimexploreError, match=r"^ngpc.encoding.count: 2 levels need as many engines, found 1$"):
        inputs_in_parallel(two, engines(count=1))


def test_a_trace_counts_requests_by_step_engine_and_bank() -> None:
    """Three queries, two at a time: the third is left out. By parity each of four banks has one corner of each."""
    points = np.array([[0.1, 0.2], [0.5, 0.6], [0.7, 0.8]])
    assert bank_trace(points, PLAIN, engines()).tolist() == [[[1, 1, 1, 1], [1, 1, 1, 1]]]
    wide = replace(PLAIN, entry_bytes=5.0)  # two words of 4 B
    assert bank_trace(points, wide, engines()).tolist() == [[[2, 2, 2, 2], [2, 2, 2, 2]]]
    tiny = replace(PLAIN, entry_bytes=0.5)
    assert bank_trace(points, tiny, engines()).tolist() == [[[1, 1, 1, 1], [1, 1, 1, 1]]]


def test_engines_of_a_level_lie_together() -> None:
    """Two levels, each with two queries at a time: engines 0 and 1 hold the first, 2 and 3 the second."""
    points = np.array([[0.1, 0.2], [0.5, 0.6]])
    two = replace(PLAIN, levels=(COARSE, Level(2, 1, False)))
    trace = bank_trace(points, two, engines(count=4, interleave="index"))
    assert trace[0, 2:].tolist() == [[4, 0, 0, 0], [4, 0, 0, 0]], "a table of one entry is one bank's"
    assert trace[0, :2].sum(axis=1).tolist() == [4, 4]
    assert trace[0, :2, 0].max() < 4


def played(counts: list[list[int]], mlp: MlpEngine, **changes: Any) -> NfpRun:
    """Steps of one engine by the requests of each at two banks."""
    return play(np.array(counts)[:, None, :], PLAIN, engines(count=1, banks=2, **changes), mlp)


def test_queries_without_conflicts_come_every_clock() -> None:
    """A clock at its bank and ten on its way; slices of two take 2 + 3 clocks, the last one of one 1 + 3."""
    run = played([[1, 1]] * 5, array(slice=2))
    first = 0 + 1 + 10 + 1 + 5  # the second query is there a clock after the first
    assert run.slice_ends == (first, first + 5, first + 5 + 4)
    assert run.cycles == first + 9
    assert run.mlp_share == pytest.approx((5 + 5 + 4) / (first + 9))
    assert run.bank_share == pytest.approx(10 / 2 / (first + 9))


def test_queries_are_taken_in_order_one_a_clock() -> None:
    """The second and the third are ready before the first, which has four requests at one bank."""
    run = played([[4, 0], [0, 1], [0, 1]], array(slice=3, switch_cycles=0.0))
    assert run.slice_ends == (4 + 10 + 2 + 3,)


def test_a_bank_serves_its_ports_a_clock() -> None:
    """Four requests each at one bank: every four clocks with one port, every two with two, every one with four."""
    for ports, clocks in ((1, 4), (2, 2), (4, 1)):
        run = played([[4, 0]] * 9, array(slice=1), ports=ports)
        assert np.diff(run.slice_ends).tolist() == [max(clocks, 4)] * 8  # of the network 1 + 3
        assert run.slice_ends[0] == clocks + 10 + 4
        slow = played([[8, 0]] * 9, array(slice=1), ports=ports)
        assert np.diff(slow.slice_ends).tolist() == [max(2 * clocks, 4)] * 8
        assert slow.bank_share == pytest.approx(72 / (2 * ports) / slow.cycles)


def test_a_processor_without_latency_starts_at_once() -> None:
    """Eight ports serve one request in an eighth of a clock, and the network takes a clock."""
    mlp = array(slice=1, switch_cycles=0.0)
    assert played([[1, 0]], mlp, ports=8, latency_cycles=0.0).slice_ends == (1 / 8 + 1,)


def test_addresses_are_made_by_lane() -> None:
    """Ten requests on four lanes: a query every three clocks, however many ports there are."""
    run = played([[5, 5]] * 9, array(slice=1, switch_cycles=0.0), lanes=4, ports=8)
    assert np.diff(run.slice_ends).tolist() == [3.0] * 8
    assert run.slice_ends[0] == pytest.approx(5 / 8 + 10 + 1)


def test_a_query_waits_until_its_requests_find_room() -> None:
    """A fifo of eight: the second query's six enter when the first six are down to two, at the fourth clock."""
    run = played([[6, 0], [6, 0]], array(slice=1, switch_cycles=0.0), bank_fifo=8)
    assert run.slice_ends == (6 + 10 + 1, 12 + 10 + 1)
    other = played([[6, 0], [6, 2], [0, 6]], array(slice=1, switch_cycles=0.0), bank_fifo=8)
    # The second is issued at 4, so bank 1 has its two from 4 to 6; the third's six have room there at once.
    assert other.slice_ends == (17, 23, 24)
    assert other.bank_share == pytest.approx(20 / 2 / 24)


def test_more_requests_than_a_fifo_holds_wait_for_an_empty_one() -> None:
    run = played([[12, 0], [12, 1]], array(slice=1, switch_cycles=0.0), bank_fifo=8)
    assert run.slice_ends == (12 + 11, 24 + 11)
    # The second waits for nine at one bank, and then has twenty at the other.
    assert played([[9, 0], [9, 20]], array(slice=1, switch_cycles=0.0), lanes=32).slice_ends[1] == 9 + 20 + 11


def test_engines_run_ahead_by_the_output_fifo() -> None:
    """With room for one query the next is issued a clock after the last has been taken, eleven after its own issue."""
    run = played([[1, 1]] * 4, array(slice=1, switch_cycles=0.0), output_fifo=1)
    assert np.diff(run.slice_ends).tolist() == [12.0] * 3
    two = played([[1, 1]] * 5, array(slice=1, switch_cycles=0.0), output_fifo=2)
    assert two.slice_ends == (12, 13, 24, 25, 36)


def test_a_slice_gathers_in_the_buffer_that_the_one_before_the_last_leaves() -> None:
    """Slices of one query take 50 clocks, and the engine runs one query ahead.

    The third is ready at 35 and taken at 61, when the first slice has ended; so the fourth, of 150 requests at one
    bank, is issued at 62.
    """
    run = played([[1, 1]] * 3 + [[150, 0]], array(slice=1, switch_cycles=49.0), output_fifo=1, lanes=200)
    assert run.slice_ends == (11 + 50, 61 + 50, 111 + 50, 62 + 150 + 10 + 50)


def test_the_steady_rate_of_slices_that_the_network_bounds() -> None:
    """Two queries a clock, and 8 + 3 clocks for a slice of eight: six slices end 25, 36, … 80 clocks after the start.

    The first is there after 1 + 10 clocks, its fourth pair three later: 14 clocks more than a slice takes.
    """
    rate = steady_rate(PLAIN, engines(), array())
    assert rate.cycles_per_query == pytest.approx(11 / 8)
    assert rate.fill_cycles == pytest.approx(14)
    assert rate.mlp_share == pytest.approx(66 / 80)
    assert rate.bank_share == pytest.approx(6 * 8 * 4 / (2 * 4) / 80)


def test_a_slice_narrower_than_what_is_side_by_side_is_one_step() -> None:
    rate = steady_rate(PLAIN, engines(count=4), array(slice=2))
    assert rate.cycles_per_query == pytest.approx((4 + 3) / 4)


# --- the cluster ------------------------------------------------------------------------------------------------------

ASKED = FieldQueries(queries=5000.0, field=PLAIN, spilled=(), input_bytes=8.0, result_bytes=6.0)
STEADY = 1600 / 4 * 11 / 8 / 2
"""A quarter of a batch on each processor at 2 GHz [ns]."""
MISSING = 2 * 1600 * 14 / 1e6 / (1 + 2 * 1600 * 14 / 1e6)
"""Of two batches' 14 B a query in 1 MB of L2."""


def test_counts_of_a_query() -> None:
    layers = replace(ASKED, field=replace(PLAIN, layers=((16, 32), (32, 3))))
    assert layers.macs_per_query == 512 + 96
    assert ASKED.sram_bytes_per_query == 4 * 4
    two = replace(ASKED, field=replace(PLAIN, dims=3, levels=(COARSE, FINE, FINE)), spilled=(FINE,))
    assert two.sram_bytes_per_query == 2 * 8 * 4
    assert ASKED.spill_bytes_per_query(32.0) == 0.0
    assert two.spill_bytes_per_query(32.0) == 4 * (1 + 1 / 8) * 32
    deep = replace(two, field=replace(two.field, dims=4))
    assert deep.spill_bytes_per_query(32.0) == 8 * (1 + 1 / 8) * 32
    wide = replace(two, field=replace(two.field, entry_bytes=64.0), spilled=(FINE, FINE))
    assert wide.spill_bytes_per_query(32.0) == 2 * 4 * 2 * 32


def test_a_batch_by_its_engines() -> None:
    gpu, ngpc = machine()
    timing = batch_timing(ASKED, gpu, ngpc)
    assert timing.time_s == pytest.approx((STEADY + 14 / 2) * NS)
    assert timing.bound == "encode"  # arrays are busy for 0.825 of the time
    assert timing.takes == pytest.approx(
        {
            "l2": 1600 * (8 + 2 * 6) / 250 * NS,
            "dram": 1600 * 14 * MISSING / 80 * NS,
            "ngpc": timing.time_s,
            "ngpc_banks": 0.3 * STEADY * NS,
            "ngpc_mlp": 0.825 * STEADY * NS,
        }
    )


def test_a_batch_by_its_networks() -> None:
    gpu, ngpc = machine()
    slow = ngpc.model_copy(update={"mlp": array(switch_cycles=43.0)})
    timing = batch_timing(ASKED, gpu, slow)
    assert timing.bound == "mlp"
    assert timing.time_s == pytest.approx((1600 / 4 * 51 / 8 + 14) / 2 * NS)


SPILLED = replace(ASKED, field=replace(PLAIN, levels=(COARSE, FINE)), spilled=(FINE,))
DRAWN = 2 * (1 + 1 / 8) * 32
"""Of a spilled level of two dimensions for each query [B]."""


def test_a_batch_by_its_ports() -> None:
    """A port of 1 B/clk each: 1600 x 14 B over four of them, while the L2 has most of its time left."""
    gpu, ngpc = machine()
    timing = batch_timing(ASKED, gpu, ngpc.model_copy(update={"port_bytes_per_clk": 1.0}))
    assert timing.time_s == pytest.approx(1600 * 14 / 4 * NS)
    assert timing.bound == "l2"
    assert timing.takes["ngpc"] == timing.time_s


def test_a_batch_by_the_l2() -> None:
    gpu, ngpc = machine()
    small = replace(SPILLED, spilled=(COARSE,))
    timing = batch_timing(small, gpu, ngpc.model_copy(update={"port_bytes_per_clk": 1000.0}))
    assert timing.time_s == pytest.approx(1600 * (8 + DRAWN + 2 * 6) / 250 * NS)
    assert timing.bound == "l2"
    assert timing.takes["dram"] == pytest.approx(1600 * 14 * MISSING / 80 * NS), "a table of 1 kB stays in L2"
    ports = batch_timing(small, gpu, ngpc)
    assert ports.time_s == pytest.approx(1600 * (14 + DRAWN) / (4 * 32) * NS)


def test_a_batch_by_dram() -> None:
    """Of a table of 4 MB a quarter is in L2."""
    gpu, ngpc = machine()
    timing = batch_timing(SPILLED, gpu, ngpc)
    assert timing.time_s == pytest.approx(1600 * (14 * MISSING + DRAWN * 0.75) / 80 * NS)
    assert timing.bound == "dram"


def test_what_is_handed_over_leaves_l2_with_its_size() -> None:
    gpu, ngpc = machine()
    assert handed_over_missing(ASKED, gpu, ngpc) == pytest.approx(MISSING)


def test_energy_of_all_queries() -> None:
    """Products at 2 pJ for 16 bits, of which weights have eight; 3 pJ a byte of SRAM and 40 of L2."""
    gpu, ngpc = machine()
    asked = replace(SPILLED, spilled=(FINE,))
    found = batch_energies(asked, gpu, ngpc)
    assert found["cluster"] == pytest.approx(5000 * (2 * 512 * 2 * 8 / 16 + 16 * 3) * PJ)
    assert found["l2"] == pytest.approx(5000 * (8 + 6 + DRAWN) * 40 * PJ)


def test_a_doorbell_is_round_trips_to_the_l2() -> None:
    assert doorbell_seconds(*machine()) == pytest.approx(600 * NS)


# --- area and power ---------------------------------------------------------------------------------------------------

UM2 = 1e-12


def test_area_of_a_processor() -> None:
    """Two engines of 1000 B and four banks; activations of two slices of eight by 16 rows at 2 B; a quarter at 8 nm."""
    area = nfp_area(cluster())
    assert area.bits_m2 == pytest.approx(8 * (2 * 1000 + 2 * 8 * 16 * 2) * 0.5 * UM2)
    assert area.banks_m2 == pytest.approx(2 * 4 * 7 * UM2)
    assert area.macs_m2 == pytest.approx(16 * 32 * 100 / 4 / 4 * UM2)
    assert area.engines_m2 == pytest.approx(2 * 300 / 4 * UM2)
    assert area.total_m2 == pytest.approx((8 * 2512 * 0.5 + 56 + 3200 + 150) * UM2)
    three_ports = nfp_area(cluster(encoding__ports=3))
    assert three_ports.bits_m2 == pytest.approx(8 * (2000 * 1.5 + 512) * 0.5 * UM2)


def test_power_of_a_processor() -> None:
    power = nfp_power(cluster())
    assert power.macs_w == pytest.approx(2 * 16 * 32 * 2e9 * 2e-12 * 8 / 16)
    assert power.sram_w == pytest.approx(2 * 8 * 4 * 2e9 * 3e-12)
    assert power.leakage_w == 0.01
    assert power.total_w == pytest.approx(2.048 + 0.384 + 0.01)


def test_shares_of_the_host() -> None:
    assert area_shares(cluster()) == pytest.approx((4 * 13454e-6 / 400, 4 * 0.2 / 400))
    assert power_shares(cluster(), 50.0) == pytest.approx((4 * 2.442 / 50, 4 * 0.5 / 50))
