"""Pages of comparisons and sweeps: self-contained, small, safe against names, and complete."""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports import COLUMNS, FAILED, HOSTILE, make_comparison, make_store

import simexplore
from simexplore.errors import SimexploreError
from simexplore.sim.report import error_charts, page
from simexplore.sim.report.comparison import comparison_html
from simexplore.sim.report.sweep import sweep_html
from simexplore.sim.report.sweep_data import choose_rows

MADE = "2026-01-02 03:04 UTC"


class Elements(HTMLParser):
    """Every element of a page with its attributes, scripts and styles left out."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def sweep_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    with make_store(tmp_path_factory.mktemp("sweep"), 400) as store:
        return sweep_html(store, MADE)


@pytest.fixture(scope="module")
def comparison_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    found = make_comparison(tmp_path_factory.mktemp("comparison"), interval=True)
    return comparison_html(found, simexplore.load_arch("nvidia/h200-sxm"), MADE, [("measured", HOSTILE)])


@pytest.fixture(params=["sweep_page", "comparison_page"])
def html(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def data_of(html: str) -> Any:
    (found,) = re.findall(r'<script type="application/json" id="report-data">(.*?)</script>', html, re.DOTALL)
    return json.loads(found)


def test_nothing_is_loaded_from_elsewhere(html: str) -> None:
    for tag, attributes in Elements(html).found:
        address = attributes.get("src") or attributes.get("href") or ""
        assert address.startswith(("#", "data:")) or not address, f"<{tag}> asks for {address}"
    assert f'content="{page.POLICY}"' in html
    assert "default-src 'none'" in page.POLICY
    assert "@import" not in page.asset("report.css")


def test_hostile_names_are_text(html: str) -> None:
    outside = re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert "owned" in outside, "the page should show the hostile name"
    tags = [tag for tag, _ in Elements(html).found]
    assert "img" not in tags
    assert tags.count("script") == html.count("<script>") + 1
    assert "<img" not in outside


def test_it_can_be_read_without_a_mouse_and_on_a_phone(html: str) -> None:
    elements = Elements(html).found
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in elements
    assert [tag for tag, _ in elements].count("h1") == 1
    labelled = {attributes["for"] for tag, attributes in elements if tag == "label" and "for" in attributes}
    for tag, attributes in elements:
        if tag == "input" and attributes["type"] == "search":
            assert attributes["id"] in labelled
        if tag == "div" and "plot" in (attributes.get("class") or "").split():
            assert attributes["aria-labelledby"] == f"{attributes['id']}-title"
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {href[1:] for _, a in elements if (href := a.get("href") or "").startswith("#")} <= set(ids)
    style = page.asset("report.css")
    assert all(
        rule in style for rule in ("@media print", "prefers-color-scheme: dark", ":focus-visible", ".skip:focus")
    )


def test_a_page_says_what_made_it(html: str) -> None:
    assert MADE in html
    assert f"simexplore {simexplore.__version__}" in html


def test_sweep_page_has_every_point_and_its_provenance(sweep_page: str) -> None:
    columns = {column["key"]: column for column in data_of(sweep_page)["sweep"]["columns"]}
    assert columns["point"]["values"] == list(range(FAILED, 400))
    assert list(columns)[:8] == [
        "point", "dram.bandwidth", "l2.capacity", "sm.count", "workload.dtype", "time_s", "energy_j", "pareto",
    ]  # fmt: skip
    assert (columns["l2.capacity"]["shown"], columns["l2.capacity"]["factor"]) == ("MiB", 2**20)
    assert columns["l2.capacity"]["levels"] == [x * 2**20 for x in (25, 50, 100, 200)]
    assert (columns["time_s"]["name"], columns["time_s"]["shown"]) == ("time", "ms")
    assert "peak_memory_bytes" not in columns
    assert "left out: peak_memory_bytes" in sweep_page
    assert "calibrated: mape 4.2 %" in sweep_page
    assert "expected less than 0 B" in sweep_page
    assert "arch: nvidia/h200-sxm" in sweep_page


def test_status_of_the_front(tmp_path: Path) -> None:
    with make_store(tmp_path, 300) as store:
        columns = {c["key"]: c for c in data_of(sweep_html(store, MADE))["sweep"]["columns"]}
        results = store.results()
    words = [columns["pareto"]["levels"][code] for code in columns["pareto"]["codes"]]
    for row, word in zip(results.itertuples(), words, strict=True):
        better = results.query("feasible and time_s <= @row.time_s and energy_j <= @row.energy_j")
        strictly = better.query("time_s < @row.time_s or energy_j < @row.energy_j")
        assert (word == "front") == (bool(row.feasible) and strictly.empty)
        assert (word == "infeasible") == (not row.feasible)


def test_one_objective_and_one_axis_are_enough(tmp_path: Path) -> None:
    names = ("sm.count", "time_s", "bound", "feasible")
    with make_store(tmp_path, 50, columns=tuple(c for c in COLUMNS if c.name in names)) as store:
        html = sweep_html(store, MADE)
    assert data_of(html)["sweep"]["scatter"] == {"x": "sm.count", "y": "time_s", "tone": "bound"}
    assert 'id="map"' not in html


def test_ten_thousand_points_fit_in_eight_megabytes(tmp_path: Path) -> None:
    with make_store(tmp_path, 10_000) as store:
        html = sweep_html(store, MADE)
    assert len(html.encode()) <= 8_000_000


def test_a_sweep_too_large_for_a_page_keeps_its_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simexplore.sim.report.sweep_data.MOST_CHARACTERS", 30_000)
    with make_store(tmp_path, 2000) as store:
        html = sweep_html(store, MADE)
    columns = {column["key"]: column for column in data_of(html)["sweep"]["columns"]}
    drawn = len(columns["point"]["values"])
    assert 100 < drawn < 700
    assert f"The page holds {drawn:,} of {2000 - FAILED:,} points" in html
    assert len(json.dumps(list(columns.values()))) < 40_000


def test_chosen_rows_are_the_first_ones_and_a_sample() -> None:
    first = np.arange(1000) % 100 == 0
    rows = choose_rows(first, 50, np.random.default_rng(0))
    assert len(rows) == len(set(rows.tolist())) == 50
    assert set(np.flatnonzero(first)) <= set(rows.tolist())
    assert len(choose_rows(first, 4, np.random.default_rng(0))) == 4
    assert choose_rows(first, 1000, np.random.default_rng(0)).tolist() == list(range(1000))


def test_a_sweep_without_results_has_no_page(tmp_path: Path) -> None:
    with make_store(tmp_path, FAILED) as store, pytest.raises(SimexploreError, match="found only failed points"):
        sweep_html(store, MADE)


def test_comparison_page_has_figures_rows_and_refusals(comparison_page: str) -> None:
    data = data_of(comparison_page)
    assert len(data["points"]["measured"]) == 300
    assert {"histogram", "cdf", "bounds", "coverage", "map-0", "map-1"} == set(data["figures"])
    worst = {column["key"]: column["values"] for column in data["tables"]["worst-rows"]["columns"]}
    sizes = np.abs(worst["error"])
    assert (np.diff(sizes) <= 0).all()
    assert len(sizes) == 200
    errors = np.array(worst["predicted_us"]) / np.array(worst["measured_us"]) - 1
    np.testing.assert_allclose(errors, worst["error"], rtol=1e-4, atol=1e-4)
    assert any(re.fullmatch(r"gemm\(m=\d+,n=\d+,k=\d+,dtype=bf16\)", text) for text in worst["operator"])
    assert "operator unknown &lt;b&gt;op&lt;/b&gt; is not modelled" in comparison_page
    assert "50.0\u00a0%" in comparison_page


def test_without_intervals_the_page_says_so(tmp_path: Path) -> None:
    html = comparison_html(make_comparison(tmp_path), simexplore.load_arch("nvidia/h200-sxm"), MADE)
    assert "coverage" not in data_of(html)["figures"]
    assert "These predictions carry no interval" in html


def test_rows_that_the_machine_was_fitted_on_are_told_of(tmp_path: Path) -> None:
    found = replace(make_comparison(tmp_path), fitted_rows=1234)
    html = comparison_html(found, simexplore.load_arch("nvidia/h200-sxm"), MADE)
    assert "1 not compared, 1,234 left out: the machine was fitted on them" in html


def test_many_rows_are_thinned_and_the_worst_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simexplore.sim.report.comparison.DRAWN_POINTS", 220)
    found = make_comparison(tmp_path)
    html = comparison_html(found, simexplore.load_arch("nvidia/h200-sxm"), MADE)
    points = data_of(html)["points"]
    assert len(points["measured"]) == 220
    assert "220 of 300 rows are drawn" in html
    worst = found.table.loc[found.table["error"].abs().idxmax()]
    assert pytest.approx(worst["time_us"], rel=1e-4) in points["measured"]


def test_error_map_means_are_those_of_their_cells(tmp_path: Path) -> None:
    rows = make_comparison(tmp_path).table.query("op == 'gemm'")
    spec = error_charts.error_map(rows)
    assert spec is not None
    trace = spec["data"][0]
    cell = rows[(rows["m"] >= 4) & (rows["m"] < 8) & (rows["k"] >= 64) & (rows["k"] < 128)]
    z = trace["z"][trace["y"].index("4")][trace["x"].index("64")]
    assert z == (None if cell.empty else pytest.approx(cell["error"].abs().mean(), rel=1e-2))
    seen = [line for line in trace["z"] if any(value is not None for value in line)]
    assert len(seen) == len(trace["y"])


def test_without_plotly_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name.startswith("plotly"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with make_store(tmp_path, 20) as store, pytest.raises(SimexploreError, match=r"pip install 'simexplore\[report\]'"):
        sweep_html(store, MADE)


def test_script_json_cannot_end_its_element() -> None:
    dumped = page.script_json({"a": ["</script><!--", "\u2028"], "b": np.float64(1.5), "c": np.arange(3)})
    assert "<" not in dumped
    assert "\u2028" not in dumped
    assert json.loads(dumped) == {"a": ["</script><!--", "\u2028"], "b": 1.5, "c": [0, 1, 2]}
    with pytest.raises(ValueError, match="JSON"):
        page.script_json(float("nan"))


def test_rounding_keeps_digits_and_drops_what_is_not_finite() -> None:
    assert page.rounded([1.23456789, 52428800.0, float("nan"), 0.0], 4) == [1.235, 52430000, None, 0]
