"""Which candidate is taken, and how candidates are laid out: by hand, on the machine of round numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.sim.conditions import Conditions, Launch
from simexplore.sim.demand import Choice, Grid, KernelDemand, Latency, LinkDemand, Work
from simexplore.sim.hardware.timing import kernel_seconds
from simexplore.sim.mapping.choice import choose, reckoned_seconds
from simexplore.sim.mapping.columns import Pairs, ceil_div, constant, row

CONDITIONS = Conditions()


def table(*rows: Any) -> np.ndarray:
    """Rows of candidates, or one row for all."""
    return np.atleast_2d(np.array(rows, dtype=np.float64))


def demand(read: np.ndarray, **choice: Any) -> KernelDemand:
    """Ten CTAs, each of which reads so many bytes of DRAM and does nothing else."""
    one = constant(1.0)
    return KernelDemand(
        "some",
        Grid(10.0 * one, one, 32.0 * one, 0.0 * one),
        Work(dram_read_bytes=read),
        Latency(extra_launches=0.0 * read, helper_cycles=500.0),
        choice=Choice(label=(read,), **choice),
    )


def taken(kernel: KernelDemand, conditions: Conditions = CONDITIONS) -> list[float]:
    chosen = choose(kernel, round_gpu(), conditions)
    assert isinstance(chosen, KernelDemand)
    return chosen.choice.label[0].tolist()  # type: ignore[no-any-return]


def test_each_row_has_the_fastest_of_its_candidates() -> None:
    assert taken(demand(table([30, 20, 40], [50, 70, 60]))) == [20, 50]
    assert taken(demand(table([30, 20]))) == [20]


def test_what_the_library_has_not_is_not_taken() -> None:
    offered = np.array([[True, False, True], [False, False, True]])
    assert taken(demand(table([30, 20, 40], [50, 70, 60]), offered=offered)) == [30, 60]
    assert taken(demand(table([30, 20, 40]), offered=np.zeros((1, 3), dtype=np.bool_))) == [30]


def test_a_single_candidate_is_taken_for_each_row() -> None:
    assert taken(demand(table([30], [50]))) == [30, 50]


def test_other_demands_have_nothing_to_choose() -> None:
    link = LinkDemand("copy", "pcie", np.ones(1), np.ones(1))
    assert choose(link, round_gpu(), CONDITIONS) is link


@pytest.mark.parametrize(("launch", "each_s"), [("graph", 1e-6), ("stream", 3e-6), ("profiled", 0.0)])
def test_seconds_that_a_library_reckons_with(launch: Launch, each_s: float) -> None:
    """Ten CTAs at 80 GB/s: what they read and what the library thinks that they do; launches, a helper's with its 500
    clocks, and what else it takes a candidate to cost.
    """
    kernel = demand(table([800, 1600]), reckoned_read_bytes=table([400, 0]), reckoned_cycles=table([0, 700]))
    kernel = kernel.but(latency={"extra_launches": table([2, 0])})
    expected = [10 * 1200 / 80e9 + each_s + 2 * (each_s + 500e-9), 10 * 1600 / 80e9 + each_s + 700e-9]
    assert reckoned_seconds(kernel, round_gpu(), Conditions(launch=launch))[0].tolist() == pytest.approx(expected)


def test_the_latency_of_misses_that_a_library_reckons_with() -> None:
    """Beside traffic it may weigh only a part of what loads wait for."""
    reads = {"l2_read_bytes": table([1000]), "dram_read_bytes": table([500])}
    kernel = demand(table([0]), reckoned_miss_share=0.25).but(work=reads, latency={"bytes_in_flight": table([100])})
    meant = replace(kernel, latency=replace(kernel.latency, miss_share=0.25))
    found = reckoned_seconds(kernel, round_gpu(), Conditions(launch="profiled"))
    assert found.item() == pytest.approx(kernel_seconds(meant, round_gpu()).item())
    assert found.item() < kernel_seconds(kernel, round_gpu()).item() * 0.95


def test_candidates_are_rows_and_amounts_are_columns() -> None:
    assert row([1, 2, 3]).tolist() == [[1.0, 2.0, 3.0]]
    assert constant(7).tolist() == [[7.0]]
    assert constant(np.array([[1], [2]])).tolist() == [[1.0], [2.0]]  # type: ignore[arg-type] - a column of machines
    assert ceil_div(np.array([1.0, 8.0, 9.0]), 8.0).tolist() == [1.0, 1.0, 2.0]


def test_pairs_lay_out_two_choices_the_second_faster() -> None:
    pairs = Pairs(first=2, second=3)
    assert pairs.of_first(table([1, 2])).tolist() == [[1, 1, 1, 2, 2, 2]]
    assert pairs.of_second(table([5, 6, 7], [8, 9, 10])).tolist() == [[5, 6, 7, 5, 6, 7], [8, 9, 10, 8, 9, 10]]
    alike = table([4], [5])
    assert pairs.of_first(alike) is alike
    assert pairs.of_second(alike) is alike
