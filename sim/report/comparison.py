"""A comparison as a page: how far predictions are from measurements, where, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.compare.comparison import Comparison
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.report import error_charts as charts
from simexplore.sim.report.page import (
    Page,
    Section,
    choice,
    facts,
    folded,
    live_table,
    note,
    pair,
    percent,
    plot,
    render,
    rounded,
    table,
    tiles,
    versions,
)
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import FAMILIES

DRAWN_POINTS = 5000
"""Points of the parity plot; more are no clearer and slow a phone."""
ALWAYS_DRAWN = 200
"""The worst rows are all drawn and all listed."""
SEED = 0


def comparison_html(
    comparison: Comparison, gpu: Gpu, made: str, settings: Sequence[tuple[str, str]] = (), seed: int = SEED
) -> str:
    """A comparison as one self-contained HTML document.

    Args:
        comparison: the compared rows and their figures.
        gpu: the machine, for its name and the sources of its numbers.
        made: date and time, as the reader shall see it.
        settings: what was asked for, as (name, value).
        seed: chooses the rows drawn where there are too many to draw all.

    Raises:
        SimexploreError: plotly is not installed.
    """
    rows = comparison.table
    groups = _groups(rows)
    bounds = [*BOUNDS, *sorted(set(rows["bound"]) - set(BOUNDS))]
    maps = {op: charts.error_map(part) for op, part in rows.groupby("op")}
    figures: dict[str, charts.Spec] = {
        "histogram": charts.error_histogram(rows),
        "cdf": charts.error_cdf(rows, groups),
        "bounds": charts.bound_shares(rows, groups, bounds),
        **{f"map-{i}": spec for i, spec in enumerate(maps.values()) if spec is not None},
    }
    if _has_interval(rows):
        figures["coverage"] = charts.coverage(rows, groups)
    drawn = _drawn(rows, np.random.default_rng(seed))
    sections = (
        Section("operators", "Error by operator", _by_operator(comparison), "Operators"),
        Section("parity-plot", "Predicted against measured", _parity(len(drawn), len(rows)), "Parity"),
        Section("distribution", "How errors are spread", _distribution(), "Spread"),
        Section("sizes", "Error by size", _maps({str(op): spec for op, spec in maps.items()}), "Sizes"),
        Section("bottlenecks", "What bounds the rows", _bottlenecks(rows, bounds), "Bottlenecks"),
        Section("interval", "Interval", _interval(rows)),
        Section("worst", "Worst rows", _worst(rows)),
        Section("refused", "Not compared", _refused(comparison)),
        Section("machine", "Machine", _machine(gpu)),
        Section("provenance", "Provenance", facts([*settings, ("made", made), *versions()])),
    )
    page = Page(
        title=comparison.arch,
        kind="predictions against measured kernels",
        lead=_lead(comparison),
        opening=_opening(comparison),
        sections=sections,
        data={
            "figures": figures,
            "points": _points(rows.iloc[drawn], bounds),
            "tables": {"worst-rows": {"name": "worst-rows", "columns": _worst_columns(rows)}},
        },
        scripts=("parity.js",),
    )
    return render(page, made)


def _lead(comparison: Comparison) -> str:
    rows = comparison.table
    operators = ", ".join(comparison.by_dtype)
    devices = ", ".join(str(device) for device in rows["device"].unique())
    sources = ", ".join(str(source) for source in rows["source"].unique())
    return f"{operators}. Measured on {devices}; source: {sources}."


def _opening(comparison: Comparison) -> str:
    total = comparison.total
    direction = "predictions too slow" if total.bias > 0 else "predictions too fast"
    refused = sum(comparison.refused.values())
    left_out = f"{refused:,} not compared"
    if comparison.fitted_rows:
        left_out += f", {comparison.fitted_rows:,} left out: the machine was fitted on them"
    figures = [
        ("rows compared", f"{total.rows:,}", left_out),
        ("mean |error|", percent(total.mape), "mape"),
        ("median |error|", percent(total.median_ape), "half of the rows are closer"),
        ("90th percentile", percent(total.p90_ape), "of |error|"),
        ("bias", percent(total.bias), f"{direction} on average"),
    ]
    if total.interval_coverage is not None:
        promise = f"of rows; {charts.INTERVAL:.0%} promised"
        figures.append(("interval coverage", percent(total.interval_coverage), promise))
    else:
        figures.append(("speed", f"{total.rows_per_s:,.0f}", "rows predicted per second"))
    warnings = "".join(note(line, "warning") for line in comparison.warnings)
    return tiles(figures) + warnings


def _has_interval(rows: pd.DataFrame) -> bool:
    return {"low_us", "high_us"} <= set(rows.columns) and bool(rows[["low_us", "high_us"]].notna().any().all())


def _by_operator(comparison: Comparison) -> str:
    lines = [
        (name, f"{e.rows:,}", *map(percent, (e.mape, e.median_ape, e.p90_ape, e.bias, e.interval_coverage)))
        for name, e in {**comparison.by_dtype, "all": comparison.total}.items()
    ]
    headers = ("operator", "rows", "mean |error|", "median", "90th percentile", "bias", "coverage")
    words = "The error of a row is (predicted − measured) / measured; bias is its mean."
    return note(words) + table("", headers, lines)


def _parity(drawn: int, rows: int) -> str:
    thinned = f"{drawn:,} of {rows:,} rows are drawn, the {ALWAYS_DRAWN} worst among them. " if drawn < rows else ""
    words = f"{thinned}On the line they are equal; dotted are +25\u00a0% and −20\u00a0%. Arrow keys walk along points."
    colours = choice("colour", "Colour by", (("group", "operator"), ("bound", "bottleneck")))
    return f'<div class="controls">{colours}</div>' + plot("parity", "Time of a kernel", words, 600, "square")


def _distribution() -> str:
    signed = "Right of 0 predictions are too slow. Rows beyond ±100\u00a0% stand at the edge."
    within = "The share of rows whose |error| is at most that of the axis."
    return pair(plot("histogram", "Signed error", signed, 340), plot("cdf", "Rows within an error", within, 340))


def _maps(maps: dict[str, charts.Spec | None]) -> str:
    drawn = [
        plot(f"map-{i}", op, "Mean |error|; a label is the first size of its bin (k = 1024).", spec["layout"]["height"])
        for i, (op, spec) in enumerate(maps.items())
        if spec is not None
    ]
    left_out = [op for op, spec in maps.items() if spec is None]
    words = note(f"Without two sizes to draw over: {', '.join(left_out)}.") if left_out else ""
    return pair(*drawn) + words


def _bottlenecks(rows: pd.DataFrame, bounds: list[str]) -> str:
    lines = []
    for name in bounds:
        error = rows["error"][rows["bound"] == name]
        shares = (len(error) / len(rows), error.abs().mean(), error.mean())
        if len(error):
            lines.append((name, f"{len(error):,}", *map(percent, shares)))
    words = "What takes the largest part of a row's predicted time."
    figure = plot("bounds", "Share of rows by bottleneck", words, 200)
    return figure + table("Error by bottleneck", ("bottleneck", "rows", "share", "mean |error|", "bias"), lines)


def _interval(rows: pd.DataFrame) -> str:
    if not _has_interval(rows):
        return note("These predictions carry no interval: the machine has no learned correction with one.")
    words = f"Dotted is the promise, {charts.INTERVAL:.0%}: left of it intervals are too narrow, right of it too wide."
    return plot("coverage", "Rows within their predicted interval", words, 200)


def _refused(comparison: Comparison) -> str:
    if not comparison.refused:
        return note("Every row was compared.")
    return table("", ("reason", "rows"), [(reason, f"{count:,}") for reason, count in comparison.refused.items()])


def _machine(gpu: Gpu) -> str:
    pairs = [
        ("name", gpu.name),
        ("description", gpu.description or "–"),
        ("chip", f"{gpu.vendor} {gpu.chip} ({gpu.generation}), {gpu.sm.count} SMs"),
        ("clock", f"{gpu.clock.boost_hz / 1e9:.3g} GHz"),
        ("L2", f"{gpu.l2.capacity_bytes / 2**20:.4g} MiB"),
        ("DRAM", f"{gpu.dram.technology}, {gpu.dram.bandwidth_bytes_per_s / 1e12:.3g} TB/s"),
    ]
    calibrated = {key: source for key, source in gpu.sources.items() if source.startswith("calibrated")}
    body = facts(pairs)
    body += (
        folded(
            f"How {len(calibrated)} keys were calibrated", table("", ("key", "how"), calibrated.items(), numbers_from=2)
        )
        if calibrated
        else note("Nothing of this machine was calibrated; every number is from the sources below.")
    )
    rest = [(key, source) for key, source in gpu.sources.items() if key not in calibrated]
    return body + folded(f"Sources of {len(rest)} keys", table("", ("key", "source"), rest, numbers_from=2))


def _worst(rows: pd.DataFrame) -> str:
    listed = min(ALWAYS_DRAWN, len(rows))
    words = f"The {listed} rows with the largest |error|. Filter by words and comparisons, as in: gemm error>50%"
    return note(words) + live_table("worst-rows", "Worst rows", "gemm bound=dram error>50%")


def _worst_columns(rows: pd.DataFrame) -> list[dict[str, Any]]:
    worst = rows.iloc[_worst_first(rows)[:ALWAYS_DRAWN]]
    columns = [
        {**_column("error", "error", rounded(worst["error"], 5)), "kind": "share"},
        _column("measured_us", "measured (µs)", rounded(worst["time_us"], 6)),
        _column("predicted_us", "predicted (µs)", rounded(worst["predicted_us"], 6)),
    ]
    if _has_interval(rows):
        columns += [_column(f"{end}_us", f"{end} (µs)", rounded(worst[f"{end}_us"], 6)) for end in ("low", "high")]
    return [
        *columns,
        _column("bound", "bound", worst["bound"].astype(str).tolist()),
        _column("operator", "operator", list(_described(worst)), code=True),
        *(_column(name, name, worst[name].astype(str).tolist()) for name in ("device", "source")),
    ]


def _column(key: str, words: str, values: list[Any], code: bool = False) -> dict[str, Any]:
    kind = "text" if values and isinstance(values[0], str) else "number"
    return {"key": key, "label": words, "kind": kind, "values": values, "code": code}


def _worst_first(rows: pd.DataFrame) -> NDArray[np.int64]:
    order: NDArray[np.int64] = np.argsort(-rows["error"].abs().to_numpy(dtype=np.float64), kind="stable")
    return order


def _drawn(rows: pd.DataFrame, random: np.random.Generator) -> NDArray[np.int64]:
    """The rows of the parity plot: all of them, or the worst and a fair choice of the others."""
    if len(rows) <= DRAWN_POINTS:
        return np.arange(len(rows))
    order = _worst_first(rows)
    others = random.choice(order[ALWAYS_DRAWN:], DRAWN_POINTS - ALWAYS_DRAWN, replace=False)
    return np.sort(np.concatenate([order[:ALWAYS_DRAWN], others]))


def _points(rows: pd.DataFrame, bounds: list[str]) -> dict[str, Any]:
    group = rows["op"].astype(str) + " " + rows["dtype"].astype(str)
    names = sorted(group.unique())
    return {
        "measured": rounded(rows["time_us"]),
        "predicted": rounded(rows["predicted_us"]),
        "text": list(_described(rows)),
        "group": {"names": names, "codes": [names.index(name) for name in group]},
        "bound": {"names": bounds, "codes": [bounds.index(name) for name in rows["bound"]]},
    }


def _described(rows: pd.DataFrame) -> Iterator[str]:
    """Each row's operator as it is written on the command line, `gemm(m=16,n=4096,k=4096,dtype=bf16)`."""
    for row in rows.to_dict("records"):
        family = FAMILIES.get(str(row["op"]))
        names = list(parameters_of(family)) if family is not None else []
        given = ((name, row.get(name)) for name in names)
        inside = ",".join(f"{name}={_value(value)}" for name, value in given if not _missing(value))
        yield f"{row['op']}({inside or 'dtype=' + str(row['dtype'])})"


def _missing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and np.isnan(value))


def _value(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _groups(rows: pd.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Rows of each operator and dtype, as masks."""
    name = (rows["op"].astype(str) + " " + rows["dtype"].astype(str)).to_numpy(dtype=object)
    return {group: name == group for group in sorted(set(name))}
