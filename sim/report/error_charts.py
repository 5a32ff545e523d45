"""The figures of a comparison as plain Plotly data: error over sizes, distribution, bottlenecks, coverage.

A text that starts with `@` is a colour of the page (`report.css`) or a colour scale (`report.js`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simexplore.sim.estimate.correction import by_thirds
from simexplore.sim.report.page import label, percent, rounded

INTERVAL = 0.8
"""Share of rows that a prediction's interval promises to hold."""
SHOWN_ERROR = 1.0
"""Errors beyond ±100 % are drawn at the edge of a histogram."""

Spec = dict[str, Any]
Floats = NDArray[np.float64]

SIZES = (("m", "k"), ("heads in all", "seq_kv"), ("rows", "cols"), ("tokens", "width"), ("elements", "num_gpus"))
"""Two sizes that tell most about a kernel: a map is drawn over the first pair that all its rows have."""
MEANING = {
    "m": "m (rows of the result)",
    "k": "k (length of the dot products)",
    "heads in all": "batch × heads",
    "seq_kv": "seq_kv (keys per query, tokens)",
    "rows": "rows",
    "cols": "columns",
    "tokens": "tokens",
    "width": "width",
    "elements": "elements",
    "num_gpus": "GPUs",
}


DISTINCT = (0, 5, 4, 8, 3, 6, 1, 2, 7)
"""The page's colours, the most different first; in their own order they are those of `BOUNDS`."""


def colour(index: int) -> str:
    return f"@c{DISTINCT[index % len(DISTINCT)]}"


def error_map(rows: pd.DataFrame) -> Spec | None:
    """Mean |error| over two sizes in powers of two; None for a family without two sizes."""
    pair = next((pair for pair in SIZES if all(_has(rows, name) for name in pair)), None)
    if pair is None:
        return None
    down, across = (_size(rows, name) for name in pair)
    i, labels_down = _bins(down)
    j, labels_across = _bins(across)
    error = rows["error"].to_numpy(dtype=np.float64)
    cell = i * len(labels_across) + j
    cells = len(labels_down) * len(labels_across)
    count = np.bincount(cell, minlength=cells)
    with np.errstate(invalid="ignore"):
        mape = np.bincount(cell, np.abs(error), cells) / count
        bias = np.bincount(cell, error, cells) / count
    shape = (len(labels_down), len(labels_across))
    told = [
        f"mean |error| {percent(size)}<br>bias {percent(sign)}<br>{n:,} rows"
        for size, sign, n in zip(mape, bias, count, strict=True)
    ]
    trace = {
        "type": "heatmap",
        "x": labels_across,
        "y": labels_down,
        "z": [rounded(line, 3) for line in mape.reshape(shape)],
        "text": [list(line) for line in np.array(told, dtype=object).reshape(shape)],
        "hovertemplate": f"{pair[0]} %{{y}}, {pair[1]} %{{x}}<br>%{{text}}<extra></extra>",
        "texttemplate": "%{z:.0%}",
        "textfont": {"size": 10},
        "colorscale": "@sequential",
        "zmin": 0,
        "zmax": float(max(0.1, np.nanquantile(mape, 0.95))),
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".0%", "len": 0.9},
    }
    axes = {
        key: {"type": "category", "showgrid": False, "title": {"text": MEANING[name]}}
        for key, name in (("yaxis", pair[0]), ("xaxis", pair[1]))
    }
    return {"data": [trace], "layout": {"height": 120 + 26 * max(7, len(labels_down)), **axes}}


def _has(rows: pd.DataFrame, name: str) -> bool:
    columns = ("batch", "heads") if name == "heads in all" else (name,)
    return all(column in rows and rows[column].notna().all() for column in columns)


def _size(rows: pd.DataFrame, name: str) -> Floats:
    columns = ("batch", "heads") if name == "heads in all" else (name,)
    product: Floats = np.prod([rows[column].to_numpy(dtype=np.float64) for column in columns], axis=0)
    return product


def _bins(sizes: Floats) -> tuple[NDArray[np.int64], list[str]]:
    """The bin of each size and the bins' first sizes as labels; powers of two, or of four where that is many."""
    log = np.floor(np.log2(np.maximum(sizes, 1.0))).astype(np.int64)
    step = 1 if log.max() - log.min() < 14 else 2
    bins = log // step
    first = int(bins.min())
    labels = [_power(step * b) for b in range(first, int(bins.max()) + 1)]
    return bins - first, labels


def _power(exponent: int) -> str:
    """2^exponent as people write sizes: 512, 4k, 1M (k is 1024 here)."""
    for shift, unit in ((20, "M"), (10, "k")):
        if exponent >= shift:
            return f"{2 ** (exponent - shift)}{unit}"
    return str(2**exponent)


def error_histogram(table: pd.DataFrame) -> Spec:
    """Rows by signed error, in steps of 5 points; a row beyond ±100 % stands at the edge."""
    error = np.clip(table["error"].to_numpy(dtype=np.float64), -SHOWN_ERROR, SHOWN_ERROR)
    edges = np.linspace(-SHOWN_ERROR, SHOWN_ERROR, 41)
    count, _ = np.histogram(error, edges)
    middle = (edges[:-1] + edges[1:]) / 2
    used = np.flatnonzero(count)
    shown = slice(max(0, used[0] - 1), used[-1] + 2)
    told = [f"{percent(a)} to {percent(b)}" for a, b in pairwise(edges)]
    bars = {
        "type": "bar",
        "x": rounded(middle[shown]),
        "y": (count[shown] / len(error)).tolist(),
        "text": told[shown],
        "customdata": count[shown].tolist(),
        "textposition": "none",
        "width": 0.048,
        "hovertemplate": "%{text}<br>%{customdata:,} rows (%{y:.1%})<extra></extra>",
        "marker": {"color": ["@c5" if x > 0 else "@c0" for x in middle[shown]]},
    }
    zero = {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": {"color": "@ink", "width": 1}}
    return {
        "data": [bars],
        "layout": {
            "height": 340,
            "xaxis": {"tickformat": "+.0%", "title": {"text": "error (predicted − measured) / measured"}},
            "yaxis": {"tickformat": ".0%", "title": {"text": "share of rows"}, "rangemode": "tozero"},
            "shapes": [zero],
        },
    }


def error_cdf(table: pd.DataFrame, groups: dict[str, NDArray[np.bool_]]) -> Spec:
    """Share of rows within an error, a line per operator and dtype."""
    share = np.linspace(0.0, 1.0, 101)
    dashes = ("solid", "dash", "dot", "dashdot", "longdash")
    lines = []
    for index, (name, rows) in enumerate(groups.items()):
        size = np.quantile(np.abs(table["error"].to_numpy(dtype=np.float64)[rows]), share)
        lines.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": label(name),
                "x": rounded(np.maximum(size, 1e-4), 4),
                "y": rounded(share, 3),
                "line": {"color": colour(index), "width": 2, "dash": dashes[(index // 3) % 5]},
                "hovertemplate": f"{label(name)}<br>%{{y:.0%}} of rows within %{{x:.1%}}<extra></extra>",
            }
        )
    ticks = {"tickvals": [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5], "tickformat": ".0%"}
    return {
        "data": lines,
        "layout": {
            "height": 340,
            "xaxis": {"type": "log", **ticks, "range": [-2.2, 0.4], "title": {"text": "|error|, at most"}},
            "yaxis": {"tickformat": ".0%", "range": [0, 1.02], "title": {"text": "share of rows"}},
        },
    }


def bound_shares(table: pd.DataFrame, groups: dict[str, NDArray[np.bool_]], bounds: list[str]) -> Spec:
    """What bounds the rows of each operator and dtype: stacked bars, each 100 %."""
    names = list(groups)[::-1]
    bound = table["bound"].to_numpy(dtype=object)
    error = np.abs(table["error"].to_numpy(dtype=np.float64))
    bars = []
    for index, name in enumerate(bounds):
        held = [(groups[group] & (bound == name), groups[group]) for group in names]
        told = [
            f"{mine.sum():,} rows, mean |error| {percent(float(error[mine].mean()) if mine.any() else None)}"
            for mine, _ in held
        ]
        bars.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": label(name),
                "y": [label(group) for group in names],
                "x": rounded((mine.sum() / rows.sum() for mine, rows in held), 4),
                "text": told,
                "textposition": "none",
                "hovertemplate": f"%{{y}}: {label(name)} %{{x:.1%}}<br>%{{text}}<extra></extra>",
                "marker": {"color": f"@c{index % 9}", "line": {"color": "@paper", "width": 1}},
            }
        )
    return {
        "data": [bar for bar in bars if any(bar["x"])],
        "layout": {
            "barmode": "stack",
            "height": 130 + 34 * len(names),
            "bargap": 0.35,
            "legend": {"traceorder": "normal"},
            "xaxis": {"tickformat": ".0%", "range": [0, 1], "title": {"text": "share of rows"}},
            "yaxis": {"type": "category", "showgrid": False},
        },
    }


def coverage(table: pd.DataFrame, groups: dict[str, NDArray[np.bool_]]) -> Spec:
    """Share of rows within their interval, by operator and by third of measured time; the line is the promise."""
    inside = held_by_interval(table)
    thirds = (("shortest third", "circle"), ("middle third", "diamond"), ("longest third", "square"))
    names = list(groups)[::-1]
    time = table["time_us"].to_numpy(dtype=np.float64)
    shares = np.full((len(names), len(thirds)), np.nan)
    for i, group in enumerate(names):
        shares[i] = by_thirds(inside[groups[group]], time[groups[group]]) or np.nan
    dots = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": rounded(shares[:, index], 4),
            "y": [label(group) for group in names],
            "marker": {"size": 10, "symbol": symbol, "color": colour(index)},
            "hovertemplate": f"%{{y}}, {name}: %{{x:.1%}}<extra></extra>",
        }
        for index, (name, symbol) in enumerate(thirds)
    ]
    line = {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "@ink", "width": 1, "dash": "dot"}}
    return {
        "data": dots,
        "layout": {
            "height": 130 + 34 * len(names),
            "xaxis": {"tickformat": ".0%", "range": [0, 1.02], "title": {"text": "rows within their interval"}},
            "yaxis": {"type": "category"},
            "shapes": [{**line, "x0": INTERVAL, "x1": INTERVAL}],
        },
    }


def held_by_interval(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each measured time lies within its predicted interval."""
    time = table["time_us"].to_numpy(dtype=np.float64)
    low, high = (table[name].to_numpy(dtype=np.float64) for name in ("low_us", "high_us"))
    held: NDArray[np.bool_] = (low <= time) & (time <= high)
    return held
