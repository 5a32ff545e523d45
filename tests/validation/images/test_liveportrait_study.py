"""LivePortrait: every published latency is enforced within its bound, and a gap that closes must be promoted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from documents import paper_is_told

from simexplore.archs.load import read_document
from simexplore.sim.studies import reproduce
from simexplore.sim.studies.liveportrait import PUBLISHED

FIGURES = {figure["quantity"]: figure for figure in read_document(PUBLISHED).data["figures"]}


Check = Callable[[Mapping[str, Any], Mapping[str, Any]], None]


@pytest.fixture(scope="module")
def records() -> dict[str, dict[str, Any]]:
    return {record["quantity"]: record for record in reproduce("liveportrait")}


@pytest.mark.parametrize("quantity", FIGURES)
def test_a_figure_keeps_its_bound_or_is_a_gap(
    quantity: str, records: dict[str, dict[str, Any]], check_bound: Check
) -> None:
    check_bound(FIGURES[quantity], records[quantity])


def test_a_frame_is_its_two_modules(records: dict[str, dict[str, Any]]) -> None:
    parts = [records[name]["simulated"] for name in ("warping module (W)", "SPADE generator (G)")]
    assert records["a frame (W and G)"]["simulated"] == pytest.approx(sum(parts))


def test_the_page_of_papers_tells_these_records(records: dict[str, dict[str, Any]]) -> None:
    """Stale: `python tools/site/papers.py` writes it anew."""
    assert paper_is_told("liveportrait", records.values())
