"""Reports in a real browser: they load in silence, answer the pointer and the keys, and fit a phone."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages import canvas_of, point_of, rows_shown, until
from reports import COLUMNS, FAILED, make_store, metadata

from simexplore.sim.explore.storage.header import Header
from simexplore.sim.explore.store import Chunk, Store
from simexplore.sim.explore.table import Column
from simexplore.sim.report.sweep import sweep_html

POINTS = 600 - FAILED
"""Points with a result in the sweep's page."""
PLOTS = {
    "sweep": ["scatter", "map", "bounds", "decides"],
    "comparison": ["parity", "histogram", "cdf", "bounds"],
    "explanation": ["parts"],
}
BOTH = pytest.mark.parametrize("name", ["sweep", "comparison"])
ALL = pytest.mark.parametrize("name", ["sweep", "comparison", "explanation"])
CLIPPED = """[...document.querySelectorAll('td, th')].filter((cell) => {
  const box = cell.getBoundingClientRect();
  if (!box.width || !box.height) return false;
  if (cell.scrollWidth > cell.clientWidth + 1 || box.right > window.innerWidth + 1) return true;
  for (let around = cell.parentElement; around; around = around.parentElement) {
    const edge = around.getBoundingClientRect();
    if (getComputedStyle(around).overflowX !== 'visible' && box.right > edge.right + 1) return true;
  }
  return false;
}).map((cell) => cell.textContent)"""
"""Texts of cells that do not stand wholly in the window, or in what scrolls around them."""
CUT = """[...document.querySelectorAll('.plot')].flatMap((plot) => {
  const box = plot.getBoundingClientRect();
  const inner = plot._fullLayout._size;
  const labels = '.xtick text, .ytick text, .y2tick text, .xtitle, .ytitle, .y2title, .legendtext';
  const out = [...plot.querySelectorAll(labels)].filter((label) => {
    const at = label.getBoundingClientRect();
    return at.width && (at.left < box.left - 1 || at.right > box.right + 1 || at.bottom > box.bottom + 1);
  });
  const over = [...plot.querySelectorAll('.legendtext')].filter((label) =>
    label.getBoundingClientRect().bottom > box.top + inner.t + 2);
  return [...out, ...over].map((label) => `${plot.id}: ${label.textContent}`);
})"""
"""Labels of figures that stand out of their figure, and names of a legend that lie over what is drawn."""
TALLEST = {"sweep": 8000, "comparison": 7600, "explanation": 7000, "memory": 4000, "serving": 4000}
"""Of a page on a phone [px]."""


@ALL
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_loads_in_silence_and_draws(opened: Any, pages: dict[str, Path], name: str, scheme: str) -> None:
    page = opened(pages[name], scheme=scheme)
    for plot in PLOTS[name]:
        assert page.locator(f"#{plot} .main-svg").count() > 0, plot
        assert page.locator(f"#{plot} .xtitle, #{plot} .ytitle").count() > 0, f"{plot} has no axis title"
    assert page.title() != "owned"
    assert page.locator("img").count() == 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[scheme]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


@pytest.mark.parametrize("name", TALLEST)
def test_no_cell_or_label_is_cut_on_a_phone(opened: Any, pages: dict[str, Path], name: str) -> None:
    page = opened(pages[name], width=390)
    assert page.locator("td").count() > 10
    assert page.evaluate(CLIPPED) == []
    assert page.locator(".plot .xtitle").count() > 0
    assert page.evaluate(CUT) == []
    assert page.evaluate("document.documentElement.scrollHeight") <= TALLEST[name]


def test_a_filter_that_finds_nothing_says_why(kept: Any) -> None:
    page = kept("sweep")
    count = "document.querySelector('#points [data-role=count]').textContent"
    for asked, why in (
        ("tme<5 fp8", "no column is called tme"), ("zebra", "zebra is in no row"),
        ("time<1e-9", "no row meets all of it"),
    ):  # fmt: skip
        page.get_by_label("Filter").fill(asked)
        until(page, f"{count}.endsWith('rows: {why}')")
    page.get_by_label("Filter").fill("fp8")
    until(page, f"{count}.endsWith('rows')")


@ALL
def test_no_window_scrolls_sideways(opened: Any, pages: dict[str, Path], name: str) -> None:
    page = opened(pages[name], width=390)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("h1").bounding_box()["width"] <= 390
    for width in (844, 320, 768, 1400, 390):
        page.set_viewport_size({"width": width, "height": 844})
        until(page, f"document.documentElement.scrollWidth <= {width}")


@pytest.mark.parametrize(("name", "plot"), [("sweep", "scatter"), ("comparison", "parity")])
def test_hovering_shows_a_point(kept: Any, name: str, plot: str) -> None:
    page = kept(name)
    page.locator(f"#{plot}").scroll_into_view_if_needed()
    x, y = point_of(page, plot)
    before = canvas_of(page)
    page.mouse.move(x - 40, y - 40)
    page.mouse.move(x, y, steps=4)
    page.wait_for_selector(f"#{plot} .hoverlayer .hovertext", timeout=5000)
    shown = page.locator(f"#{plot} .hoverlayer").text_content()
    assert all(word in shown for word in {"scatter": ("point", "time", "ms"), "parity": ("measured", "µs")}[plot])
    if name == "sweep":
        page.wait_for_timeout(100)
        assert canvas_of(page) != before, "the point's line is not lifted in the parallel coordinates"


@pytest.mark.parametrize(("name", "plot"), [("sweep", "scatter"), ("comparison", "parity")])
def test_arrow_keys_walk_through_points(kept: Any, name: str, plot: str) -> None:
    page = kept(name)
    page.locator(f"#{plot}").focus()
    told = []
    for _ in range(2):
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(f"#{plot} .hoverlayer .hovertext", timeout=5000)
        told.append(page.locator("#told").text_content())
    assert told[0] != told[1]
    assert all(told)


def test_filtering_changes_table_scatter_and_download(kept: Any, pages: dict[str, Path]) -> None:
    page = kept("sweep")
    with Store.open(pages["sweep"].parent / "sweep") as store:
        results = store.results()
    assert rows_shown(page, "points") == POINTS
    page.get_by_label("Filter").fill("sm.count>=150 fp8")
    wanted = results[(results["sm.count"] >= 150) & (results["workload.dtype"] == "fp8")]
    until(page, f"sweep.chosenRows().length === {len(wanted)}")
    assert rows_shown(page, "points") == len(wanted)
    drawn = (
        "document.getElementById('scatter').data.filter(t => t.meta !== 'behind').reduce((n, t) => n + t.x.length, 0)"
    )
    assert page.evaluate(drawn) == len(wanted)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert download.value.suggested_filename == "sweep.csv"
    saved = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert sorted(int(row["point"]) for row in saved) == wanted["point"].tolist()
    by_point = wanted.set_index("point")
    for row in saved:
        assert float(row["time_s"]) == pytest.approx(by_point["time_s"][int(row["point"])], rel=1e-4)
        assert float(row["l2.capacity"]) == by_point["l2.capacity"][int(row["point"])]


def test_comparisons_are_in_the_units_shown(kept: Any, pages: dict[str, Path]) -> None:
    page = kept("sweep")
    with Store.open(pages["sweep"].parent / "sweep") as store:
        results = store.results()
    page.get_by_label("Filter").fill("l2.capacity=50 time<25 pareto=front")
    front = page.evaluate("sweep.front.map((on, row) => on ? sweep.byKey.get('point').values[row] : -1)")
    small = results[(results["l2.capacity"] == 50 * 2**20) & (results["time_s"] < 0.025)]
    until(page, f"sweep.chosenRows().length === {small['point'].isin(front).sum()}")


def test_sorting_puts_the_best_first(opened: Any, pages: dict[str, Path]) -> None:
    page = opened(pages["sweep"])
    cells = page.locator("#points tbody tr td:nth-child(6)")
    times = [float(text) for text in cells.all_text_contents()]
    assert times == sorted(times)
    page.get_by_role("button", name="time (ms)").click()
    assert page.locator("#points th[aria-sort=descending]").count() == 1
    falling = [float(text) for text in cells.all_text_contents()]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > times[0]


def test_ranges_of_the_parallel_coordinates_choose_points(kept: Any, pages: dict[str, Path]) -> None:
    page = kept("sweep")
    at_least = page.get_by_role("slider", name="l2.capacity: at least")
    at_least.press("ArrowUp")
    at_least.press("ArrowUp")
    with Store.open(pages["sweep"].parent / "sweep") as store:
        wanted = int((store.results()["l2.capacity"] >= 100 * 2**20).sum())
    until(page, f"sweep.chosenRows().length === {wanted}")
    assert at_least.get_attribute("aria-valuetext") == "100"
    assert rows_shown(page, "points") == wanted
    page.get_by_role("button", name="Clear ranges").click()
    until(page, f"sweep.chosenRows().length === {POINTS}")


def test_dragging_along_an_axis_chooses_points(kept: Any) -> None:
    page = kept("sweep")
    handle = page.get_by_role("slider", name="sm.count: at least")
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] - 20
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 120, steps=5)
    page.mouse.up()
    until(page, f"sweep.chosenRows().length < {POINTS // 2}")
    assert 0 < rows_shown(page, "points") < POINTS // 2


def test_other_axes_of_the_scatter_and_the_map(kept: Any) -> None:
    page = kept("sweep")
    page.locator("#scatter-x").select_option("sm.count")
    assert page.locator("#scatter .xtitle").text_content() == "sm.count"
    page.locator("#scatter-tone").select_option("l2.capacity")
    assert page.locator("#scatter .colorbar").count() == 1
    page.locator("#map-x").select_option("workload.dtype")
    assert page.locator("#map .xtitle").text_content() == "workload.dtype"


def test_parity_by_bottleneck(kept: Any) -> None:
    page = kept("comparison")
    names = "document.getElementById('parity').data.filter(t => t.showlegend !== false).map(t => t.name)"
    assert page.evaluate(names) == ["gemm bf16", "softmax fp32"]
    page.get_by_label("bottleneck", exact=True).check()
    assert set(page.evaluate(names)) <= {
        "tensor",
        "fma",
        "special",
        "shared",
        "l2",
        "dram",
        "latency",
        "launch",
        "link",
    }


def test_worst_rows_filter_by_per_cent(kept: Any) -> None:
    page = kept("comparison")
    page.get_by_label("Filter").fill("softmax error<-50%")
    errors = page.evaluate("report.data.tables['worst-rows'].columns.find(c => c.key === 'error').values")
    operators = page.evaluate("report.data.tables['worst-rows'].columns.find(c => c.key === 'operator').values")
    wanted = sum(e < -0.5 and o.startswith("softmax") for e, o in zip(errors, operators, strict=True))
    until(page, f"document.querySelector('#worst-rows [data-role=count]').textContent.startsWith('{wanted} of 200')")


@BOTH
def test_on_paper_controls_are_gone_and_colours_are_light(kept: Any, name: str) -> None:
    page = kept(name)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator(".controls").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="screen", color_scheme="light")


def test_ten_thousand_points_open_in_three_seconds(opened: Any, tmp_path: Path) -> None:
    """Three seconds of the page's thread, which waits for nothing else: other work on the machine does not count."""
    with make_store(tmp_path / "sweep", 10_000) as store:
        html = sweep_html(store, "now")
    file = tmp_path / "large.html"
    file.write_text(html, encoding="utf-8")
    assert file.stat().st_size <= 8_000_000
    page = opened(file)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.reload()
    assert page.locator("#scatter .point").count() > 3000
    spent = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    assert 0.1 < spent["TaskDuration"] <= 3.0


def test_bars_are_in_the_unit_of_their_axis(opened: Any, tmp_path: Path) -> None:
    """Times just above 1 s are shown in s, their lower ends in ms."""
    names = [column.name for column in COLUMNS]
    times = [names.index(name) for name in ("time_s", "time_low_s", "time_high_s")]
    with make_store(tmp_path / "short", 200) as store:
        values = store.values()[1]
    values[times] *= 1.03 / np.median(values[times[0]])
    rate = values[names.index("tokens_per_s")]
    ends = tuple(Column(f"tokens_per_s_{end}", "interval", "1/s") for end in ("low", "high"))
    values = np.concatenate([values, [0.7 * rate, 1.5 * rate]])
    with Store.create(tmp_path / "long", Header({}, "", (*COLUMNS, *ends), 200, metadata())) as store:
        store.add(Chunk(0, values, {}))
        (tmp_path / "page.html").write_text(sweep_html(store, "2026-01-02"), encoding="utf-8")
    page = opened(tmp_path / "page.html")
    until(page, "document.getElementById('scatter').data")
    page.get_by_label("up").first.select_option("tokens_per_s")
    until(page, "document.getElementById('scatter').data.some((trace) => trace.error_y?.array)")
    for way, upper, lower in (("x", 0.2, 0.1), ("y", 0.5, 0.3)):
        bars = f"trace.error_{way}"
        drawn = f"(trace) => trace.{way}.map((value, i) => [value, {bars}.array[i], {bars}.arrayminus[i]])"
        found = page.evaluate(
            f"document.getElementById('scatter').data.filter((trace) => {bars}?.array).flatMap({drawn})"
        )
        assert found
        for value, above, below in found:
            assert above == pytest.approx(upper * value, rel=1e-3)
            assert below == pytest.approx(lower * value, rel=1e-3)
