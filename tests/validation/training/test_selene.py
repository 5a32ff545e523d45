"""Steps of Megatron-LM on Selene: all eight published times within their bound, nothing fitted on them."""

from __future__ import annotations

from typing import Any

import pytest

from simexplore.archs.load import load_arch, read_document
from simexplore.sim.studies import reproduce
from simexplore.sim.studies.training.selene import PUBLISHED, decoder, step_of

TABLE = read_document(PUBLISHED).data
FIGURES = {figure["quantity"]: figure for figure in TABLE["figures"]}


@pytest.fixture(scope="module")
def records() -> dict[str, dict[str, Any]]:
    return {record["quantity"]: record for record in reproduce("selene")}


@pytest.mark.parametrize("quantity", FIGURES)
def test_a_step_is_within_its_bound(quantity: str, records: dict[str, dict[str, Any]]) -> None:
    assert FIGURES[quantity]["status"] == "enforced"
    assert abs(records[quantity]["ratio"] - 1.0) <= FIGURES[quantity]["within"] <= 0.10


@pytest.mark.parametrize("figure", TABLE["memory"], ids=lambda figure: figure["quantity"])
def test_activations_are_those_of_figure_1(figure: dict[str, Any], records: dict[str, dict[str, Any]]) -> None:
    assert abs(records[figure["quantity"]]["ratio"] - 1.0) <= figure["within"]


def test_shares_of_activations_are_those_of_figure_7(records: dict[str, dict[str, Any]]) -> None:
    shares = [record for name, record in records.items() if name.endswith("of a layer")]
    assert len(shares) == 16
    assert all(abs(record["ratio"] - 1.0) <= TABLE["within_share"] for record in shares)


@pytest.mark.parametrize("model", TABLE["models"])
def test_selective_recomputation_saves_what_it_saved(model: str, records: dict[str, dict[str, Any]]) -> None:
    full, selective = (records[f"{model}, {way}"] for way in ("full recomputation", "selective, sequence parallel"))
    simulated, published = (selective[key] / full[key] for key in ("simulated", "published"))
    assert simulated == pytest.approx(published, rel=0.03)


def test_as_events_stages_of_selene_are_no_slower() -> None:
    """A batch of eight of 175B on its eight stages of three chunks: only transfers beside passes make a difference."""
    table = {**TABLE, "models": {"175B": {**TABLE["models"]["175B"], "batch": 8}}}
    asked = {"model": "175B", "way": "selective, sequence parallel"}
    machine = load_arch(TABLE["arch"])
    closed, played = (step_of(table, asked, machine, events=events).step.passes for events in (False, True))
    assert 0.97 * closed.time_s < played.time_s < closed.time_s
    assert sum(played.busy_s) < sum(closed.busy_s)


@pytest.mark.parametrize(("model", "billions"), [("22B", 22), ("175B", 175), ("530B", 530), ("1T", 1008)])
def test_the_models_have_the_parameters_of_their_names(model: str, billions: float) -> None:
    assert decoder(TABLE["models"][model], TABLE["vocabulary"]).parameters == pytest.approx(billions * 1e9, rel=0.005)
