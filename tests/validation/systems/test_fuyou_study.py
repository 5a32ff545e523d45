"""`reproduce fuyou`: figures lie within their bounds, known gaps outside theirs; two constants make two inputs."""

from __future__ import annotations

from statistics import mean
from typing import Any

import pytest
from documents import paper_is_told

from simexplore.archs.load import read_document
from simexplore.sim.studies import reproduce
from simexplore.sim.studies.systems.fuyou import PUBLISHED

TABLE = read_document(PUBLISHED).data
FIGURES = {figure["quantity"]: figure for figure in TABLE["figures"]}


@pytest.fixture(scope="module")
def records() -> dict[str, dict[str, Any]]:
    return {record["quantity"]: record for record in reproduce("fuyou")}


def within(figure: dict[str, Any], ratio: float) -> bool:
    low, high = figure.get("ratio") or (1.0 - figure["within"], 1.0 + figure["within"])
    return bool(low <= ratio <= high)


def test_each_status_holds(records: dict[str, dict[str, Any]]) -> None:
    assert records.keys() == FIGURES.keys()
    for quantity, record in records.items():
        assert within(FIGURES[quantity], record["ratio"]) == (record["status"] != "known_gap"), quantity
        assert ("reason" in record) == (record["status"] == "known_gap")


def test_twenty_figures_are_near_in_the_mean_and_each(records: dict[str, dict[str, Any]]) -> None:
    errors = {
        quantity: abs(record["ratio"] - 1.0)
        for quantity, record in records.items()
        if FIGURES[quantity]["model"] == "13B" and FIGURES[quantity]["system"] == "fuyou"
    }
    assert len(errors) == 20
    assert mean(errors.values()) <= 0.10
    assert max(errors.values()) <= 0.20


def test_two_figures_set_two_constants() -> None:
    inputs = {quantity for quantity, figure in FIGURES.items() if figure["status"] == "input"}
    assert inputs == {"13B, batch 8, 12 drives", "13B, batch 32, 1 drive"}


def test_the_page_of_papers_tells_these_records(records: dict[str, dict[str, Any]]) -> None:
    """Stale: `python tools/site/papers.py` writes it anew."""
    assert paper_is_told("fuyou", records.values())
