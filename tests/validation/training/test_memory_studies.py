"""GaLore and GradNormLoRP: every entry within its bound, known gaps open, and the paper's accounting by hand."""

from __future__ import annotations

from typing import Any

import pytest

import simexplore
from simexplore.archs.load import load_arch, read_document
from simexplore.errors import SimexploreError
from simexplore.sim.studies import reproduce
from simexplore.sim.studies.training import galore, gradnormlorp
from simexplore.sim.studies.training.accounting import G_BYTES, counted, states_of_8_bits
from simexplore.workloads.training.methods.weights import Weight

TABLES = {
    name: read_document(study.PUBLISHED).data for name, study in (("galore", galore), ("gradnormlorp", gradnormlorp))
}
FIGURES = [(name, figure["quantity"]) for name, table in TABLES.items() for figure in table["figures"]]


Records = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def records() -> Records:
    return {name: {record["quantity"]: record for record in reproduce(name)} for name in TABLES}


def test_all_sixty_entries_of_tables_2_and_6_are_within_their_bound(records: Records) -> None:
    table = TABLES["galore"]
    entries = {
        f"{size}, {method}: {part}": published
        for part in ("weights", "states", "total")
        for method, sizes in table[part].items()
        for size, published in sizes.items()
    }
    assert len(entries) == 60
    told = records["galore"]
    assert all(told[name]["published"] == published for name, published in entries.items())
    off = {name: told[name]["simulated"] - published for name, published in entries.items()}
    assert {name for name, error in off.items() if abs(error) > table["within_g"]} == set()
    assert [name for name in entries if told[name]["status"] == "input"] == [
        "1B, full: weights", "1B, galore: weights", "1B, full: states", "1B, full: total",
    ]  # fmt: skip


def test_the_figure_that_the_unit_of_7b_was_read_from_is_an_input() -> None:
    inputs = [
        figure["quantity"] for table in TABLES.values() for figure in table["figures"] if figure["status"] == "input"
    ]
    assert inputs == ["7B, states of AdamW in bf16"]


@pytest.mark.parametrize(("name", "quantity"), FIGURES, ids=lambda text: text)
def test_a_figure_keeps_its_bound_or_is_a_gap(name: str, quantity: str, records: Records) -> None:
    figure = next(each for each in TABLES[name]["figures"] if each["quantity"] == quantity)
    record = records[name][quantity]
    error = abs(record["ratio"] - 1.0)
    if figure["status"] == "known_gap":
        assert error > figure["within"], "the gap has closed: enforce it"
        assert record["reason"]
    else:
        assert error <= figure["within"]


def test_true_bytes_of_7b_save_less_than_the_paper_says(records: Records) -> None:
    told = {name: record["simulated"] for name, record in records["galore"].items()}
    assert told["7B, true bytes: states, 8-bit GaLore under 8-bit Adam"] == pytest.approx(-58.4, abs=0.05)
    assert told["7B, true bytes: states, 8-bit GaLore under AdamW in bf16"] == pytest.approx(-78.9, abs=0.06)
    assert told["7B, total of 8-bit GaLore"] < 24.0


def test_a_step_of_7b_fits_an_rtx_4090_by_galore_of_8_bits_where_adamw_does_not(records: Records) -> None:
    held_bytes = records["galore"]["7B, a step as played"]["simulated"] * G_BYTES
    assert held_bytes == pytest.approx(20.7e9, rel=0.01)
    assert held_bytes < load_arch("nvidia/rtx-4090").dram.capacity_bytes == 24 * 2**30
    for params in ({"optimizer": "adamw"}, {"optimizer": "adamw", "update": "layer_wise"}, {"optimizer": "adam8bit"}):
        with pytest.raises(SimexploreError, match=r"needs .* of device memory \(weights 13.48 GB, states"):
            simexplore.simulate("llm/llama-2-7b/train", "nvidia/rtx-4090", {"tokens": 256, **params})


def test_the_accounting_by_hand() -> None:
    """A matrix of 3 x 5 M rows and columns at rank 1, and 4 M elements of embedding; r (m + n) is 8 M."""
    million = 1_000_000
    weights = [Weight("w", 3 * million, 5 * million, "mlp"), Weight("e", 4 * million, 1, "embedding")]
    told = counted(weights, 1, 512.0)
    assert told["full"] == (1.0, 2.0)
    assert told["galore"] == (1.0, 1.5 * 12 / 512)
    assert told["lowrank"] == (12 / 512, 24 / 512)
    assert told["lora"] == told["relora"] == (1.0 + 12 / 512, 24 / 512)
    assert told["lora"].total == pytest.approx(1.0 + 36 / 512)


def test_states_of_one_byte_by_hand() -> None:
    """6 x 4 at rank 2: two moments of 6 x 2 and a projector of 2 x 4; a vector of 10: two moments."""
    weights = [Weight("w", 6, 4, "mlp", count=3), Weight("n", 10, 0, "vector")]
    assert states_of_8_bits(weights, 2) == pytest.approx((3 * (24 + 8) + 20) * 1.073741824 / 1e9)
