"""A sweep as a page: which points are best, what decides, what bounds, and every point to search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from simexplore.errors import SimexploreError
from simexplore.sim.estimate.correction import NORMAL_80
from simexplore.sim.explore.analysis import bottleneck_changes, sensitivity
from simexplore.sim.explore.display import display_name, display_unit
from simexplore.sim.explore.pareto import FRONT
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import Column
from simexplore.sim.explore.verdict.verdict import Verdict, verdict_of
from simexplore.sim.report import sweep_charts as charts
from simexplore.sim.report.answers.verdict import verdict_html
from simexplore.sim.report.page import (
    Page,
    Section,
    facts,
    folded,
    live_table,
    note,
    plot,
    render,
    select,
    table,
    text,
    tiles,
    versions,
)
from simexplore.sim.report.sweep_data import PageColumns, Words, page_columns, point_status

FAILURES_LISTED = 20
CHANGES_LISTED = 12
MOST_DRAWN = 5000
"""Points of the scatter plot besides the front: more are no clearer, and slow a phone."""
SEED = 0


def sweep_html(store: Store, made: str, seed: int = SEED) -> str:
    """A sweep's page, as one self-contained HTML document.

    Args:
        store: the sweep, complete or not.
        made: date and time, as the reader shall see it.
        seed: chooses the points that are drawn where there are too many to draw all.

    Raises:
        SimexploreError: no point of the sweep has a result; plotly is not installed.
    """
    results = store.results()
    if results.empty:
        raise SimexploreError(_nothing(store))
    status, verdict = point_status(store, results), verdict_of(store)
    shares = sensitivity(store)
    shown = page_columns(results, store.columns, status, np.random.default_rng(seed))
    sections = [
        Section("trade-off", "Trade-off", _trade_off(shown, len(results))),
        Section("coordinates", "Parallel coordinates", _parallel()),
        Section("sensitivity", "What decides", _sensitivity(shares)),
        Section("bottlenecks", "What bounds the points", _bottlenecks(store, results), "Bottlenecks"),
        Section("table", "Points", _table(shown)),
        Section("failures", "Failed points", _failures(store.failures())),
        Section("machine", "Machine", _machine(store)),
        Section("spec", "The sweep's file", f'<pre tabindex="0">{text(store.spec_text.strip())}</pre>', "File"),
        Section("provenance", "Provenance", _provenance(store, made)),
    ]
    names = {column.name: display_name(column) for column in store.objectives}
    figures = {"bounds": charts.bound_shares(store.columns, results), "decides": charts.sensitivity_bars(shares, names)}
    page = Page(
        title=str(store.metadata.get("name") or store.metadata["arch"]["name"]),
        kind="design-space sweep",
        lead=_lead(store),
        opening=_opening(store, results, status, verdict_html(store, verdict)),
        sections=tuple(sections),
        data={"figures": figures, "sweep": _start(store, shown, shares, verdict)},
        scripts=("sweep.js", "parallel.js"),
    )
    return render(page, made)


def _nothing(store: Store) -> str:
    failed = store.failures()
    if failed.empty:
        return f"{store.path.parent}: expected results, found none yet: run simexplore sweep to its end first"
    return f"{store.path.parent}: expected results, found only failed points: {failed['error'].iloc[0]}"


def _lead(store: Store) -> str:
    """What was varied, on what, for what."""
    known = store.metadata
    description = store.spec.get("description") or ""
    workloads = ", ".join(str(work.get("source", name)) for name, work in known["workloads"].items())
    axes = ", ".join(column.name for column in store.axes)
    opening = f"{str(description).strip().rstrip('.')}. " if description else ""
    return f"{opening}{known['arch']['name']} running {workloads}, over {axes}."


def _opening(store: Store, results: pd.DataFrame, status: Words, verdict: str) -> str:
    """The verdict and the figures that matter most; the best points are folded where the verdict names designs."""
    failed = store.count() - len(results)
    found = [("points", f"{len(results):,}", f"of {store.planned:,} planned, {failed:,} failed")]
    if "feasible" in results and not results["feasible"].all():
        share = f"{results['feasible'].mean():.1%} hold all constraints"
        found.append(("feasible", f"{int(results['feasible'].sum()):,}", share))
    found.append(("on the Pareto front", f"{int((status == FRONT).sum()):,}", "no point is better in everything"))
    best = list(_best(store, results))
    found += [(f"best {display_name(column)}", value, f"point {point}") for column, value, point, _ in best]
    headers = ("best", "value", "point", *(column.name for column in store.axes))
    rows = [(display_name(column), value, f"{point}", *axes) for column, value, point, axes in best]
    title = "Best points"
    listed = folded(title, table("", headers, rows)) if verdict else table(title, headers, rows)
    return f"{verdict}{tiles(found[:6])}<section>{listed}</section>"


def _best(store: Store, results: pd.DataFrame) -> list[tuple[Column, str, int, list[str]]]:
    """The best feasible point of each objective: its value, number and axes, as people read them."""
    rows = results[results["feasible"]] if "feasible" in results and results["feasible"].any() else results
    found = []
    for column in store.objectives:
        values = rows[column.name]
        row = rows.iloc[int(values.argmax() if column.direction == "max" else values.argmin())]
        axes = [_shown(axis, results[axis.name], row[axis.name]) for axis in store.axes]
        found.append((column, _shown(column, results[column.name], row[column.name]), int(row["point"]), axes))
    return found


def _shown(column: Column, values: pd.Series[Any], value: Any) -> str:
    if column.kind in ("text", "bool"):
        return str(value)
    factor, unit = display_unit(column, values.to_numpy(dtype=np.float64))
    return f"{float(f'{float(value) / factor:.4g}'):,g} {unit}".strip()


def _trade_off(shown: PageColumns, points: int) -> str:
    thinned = f"The page holds {shown.points:,} of {points:,} points. " if shown.points < points else ""
    if shown.points > MOST_DRAWN:
        thinned += f"Of points that are not on the front at most {MOST_DRAWN:,} are drawn; filter to see the others. "
    words = (
        f"{thinned}The large points are on the Pareto front of all objectives; bars are their prediction intervals, "
        "where the machine has any. Hover a point, or walk with the arrow keys, to read it."
    )
    controls = select("scatter-x", "across") + select("scatter-y", "up") + select("scatter-tone", "colour")
    return f'<div class="controls">{controls}</div>' + plot("scatter", "Points", words, 560)


def _parallel() -> str:
    words = (
        "Each line is a point, coloured as above; those of the front lie over the others. Drag along an axis to choose "
        "a range."
    )
    return (
        note(f"{words} Scatter, map and table follow. With a keyboard, move the ends of an axis by arrow keys.")
        + note("On this narrow window the axes go on to the right: scroll sideways.", "phone")
        + '<div class="controls"><button type="button" id="parallel-clear" disabled>Clear ranges</button></div>'
        + '<div class="scroll plain"><div class="axes" id="parallel" role="group" aria-label="Parallel coordinates">'
        + '<canvas role="img" aria-label="A line for each point over parameters and objectives"></canvas></div></div>'
    )


def _bottlenecks(store: Store, results: pd.DataFrame) -> str:
    if not any(column.role == "bound" for column in store.columns):
        return note("The results of this sweep name no bottleneck.")
    shares = plot("bounds", "Share of points by bottleneck", "What takes the largest part of a point's time.", 160)
    if len([column for column in store.columns if column.role in ("axis", "derived")]) < 2:
        return shares
    controls = select("map-x", "across") + select("map-y", "up") + select("map-bound", "of")
    words = "The bottleneck of most chosen points of a cell: where it changes hands, another part is worth more."
    return (
        shares
        + f'<div class="controls">{controls}</div>'
        + plot("map", "Bottleneck map", words, 240)
        + _changes(store, results)
    )


def _changes(store: Store, results: pd.DataFrame) -> str:
    """Where the bottleneck changes hands between neighbours of a grid."""
    if store.metadata["sampler"] != "grid" or "bound" not in results:
        return ""
    changes = bottleneck_changes(store).sort_values("changes", ascending=False, kind="stable").head(CHANGES_LISTED)
    if changes.empty:
        return note("The bottleneck is the same on both sides of every step of every axis.")
    axes = {column.name: column for column in store.axes}
    rows = []
    for change in changes.itertuples(index=False):
        axis = axes[str(change.axis)]
        at = (_shown(axis, results[axis.name], value) for value in (change.low, change.median, change.high))
        rows.append((axis.name, f"{change.before} to {change.after}", f"{change.changes:,}", *at))
    headers = ("with more of", "bottleneck", "changes", "from", "half of them at", "to")
    return table("Where the bottleneck changes hands", headers, rows, numbers_from=2)


def _sensitivity(shares: pd.DataFrame) -> str:
    method = str(shares["method"].iloc[0])
    return plot("decides", "Sensitivity of each objective", charts.METHODS.get(method, method), 170)


def _table(shown: PageColumns) -> str:
    words = "Filter by words and comparisons in the units shown, as in: dram time<5. The CSV has the rows found, in SI."
    left_out = f" The same for all points, and left out: {', '.join(shown.constant)}." if shown.constant else ""
    return note(words + left_out) + live_table("points", "Points", "tensor sm.count>=132")


def _failures(failed: pd.DataFrame) -> str:
    if failed.empty:
        return note("None.")
    kinds = failed["error"].str.replace(r"\d[\d.]*", "#", regex=True)
    groups = failed.groupby(kinds, sort=False)["error"].agg(["size", "first"]).sort_values("size", ascending=False)
    rows = [(f"{size:,}", error) for size, error in groups.head(FAILURES_LISTED).itertuples(index=False)]
    words = "Points without a result are in no picture. Errors that differ in numbers only are counted together."
    return note(words) + table("", ("points", "first error"), rows, numbers_from=2)


def _machine(store: Store) -> str:
    arch = store.metadata["arch"]
    data = arch.get("data", {})
    body = facts(
        [("name", arch["name"]), ("from", arch.get("from", "–")), ("description", data.get("description") or "–")]
    )
    body += _errors(data.get("calibration") or {})
    if data.get("kin") or (data.get("calibration") or {}).get("residual"):
        body += note(
            "Points are variants: they keep the fitted physics, and what was learned on top of it as far as an "
            "operator's time stays near that on the machine that was measured. As that fades, intervals widen."
        )
    calibrated = arch.get("calibration") or {}
    if calibrated:
        values = table("", ("key", "fitted on; how well it is determined"), calibrated.items(), numbers_from=2)
        body += folded(f"Fitted values of {len(calibrated)} keys", values)
    sources = data.get("sources") or {}
    return body + folded(
        f"Sources of {len(sources)} keys", table("", ("key", "source"), sources.items(), numbers_from=2)
    )


def _errors(calibration: Mapping[str, Any]) -> str:
    """How far off the machine's predictions were, by group of measured rows."""
    if held_out := calibration.get("held_out"):
        rows = [
            (group, f"{found['rows']:,}", *(f"{100 * found[key]:.1f} %" for key in ("physics_mape", "full_mape")))
            for group, found in held_out.items()
        ]
        title = "Mean errors on measured rows that nothing was fitted on"
        return table(title, ("operator", "rows", "physics", "corrected"), rows)
    if spread := calibration.get("sigma_log"):
        rows = [(group, f"± {100 * math.expm1(NORMAL_80 * float(sigma)):.0f} %") for group, sigma in spread.items()]
        words = "Never measured itself; what its generation's measured members taught, and how far off that was there."
        return note(words) + table("", ("operator", "80 % of rows within"), rows)
    return note("Nothing of this machine was calibrated; predictions are physics with cited numbers.")


def _provenance(store: Store, made: str) -> str:
    known = store.metadata
    swept = ", ".join(f"{name} {number}" for name, number in known.get("versions", {}).items())
    pairs = [
        ("sampler", known.get("sampler", "–")),
        ("seed", known.get("seed", "–")),
        ("fidelity", known.get("fidelity", "–")),
        *((f"workload {name}", _workload(work)) for name, work in known["workloads"].items()),
        ("swept with", swept or "–"),
        ("page made", made),
    ]
    return facts([*pairs, *versions()])


def _workload(work: Mapping[str, Any]) -> str:
    parameters = ", ".join(f"{name}={value}" for name, value in (work.get("parameters") or {}).items())
    weight = f", weight {work['weight']:g}" if work.get("weight", 1) != 1 else ""
    return f"{work.get('source', '')}{f' ({parameters})' if parameters else ''}{weight}"


def _start(store: Store, shown: PageColumns, shares: pd.DataFrame, verdict: Verdict) -> dict[str, Any]:
    """The page's columns, and what its selectors begin with: the objectives that conflict most, and the two axes that
    decide most."""
    objectives = [column.name for column in store.objectives]
    bounds = [column.name for column in store.columns if column.role == "bound"]
    axes = charts.by_weight(shares)
    x, y = (axes[0], objectives[0]) if verdict.chart is None else verdict.chart[:2]
    return {
        "name": "sweep",
        "order": {"sort": objectives[0], "descending": store.objectives[0].direction == "max"},
        "columns": shown.columns,
        "drawn": MOST_DRAWN,
        "scatter": {"x": x, "y": y, "tone": bounds[0] if bounds else ""},
        "map": {"x": axes[min(1, len(axes) - 1)], "y": axes[0], "bound": bounds[0] if bounds else ""},
    }
