"""The figures of a sweep that need no choosing, as plain Plotly data. Colours as in `report.error_charts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from simexplore.sim.explore.table import Column
from simexplore.sim.report.error_charts import Spec, colour
from simexplore.sim.report.page import label, rounded

METHODS = {
    "sobol": "Bars: share of the variance that an axis explains alone; diamonds: with interactions (Sobol indices).",
    "anova": "Bars: share of the variance that an axis explains alone; diamonds: with its interactions (whole grid).",
    "binned": "Share of the variance that an axis explains alone, from the objective's mean over bins of the axis.",
    "one-at-a-time": "Largest change among points that differ from the best in this axis alone, over the range of all.",
}
"""What the figures of `analysis.sensitivity` are, by method."""


def by_weight(shares: pd.DataFrame) -> list[str]:
    """The axes, those that decide most first."""
    weight = shares["total"].fillna(shares["first"]).groupby(shares["axis"], sort=False).max()
    return [str(name) for name in weight.sort_values(ascending=False, kind="stable").index]


def sensitivity_bars(shares: pd.DataFrame, names: Mapping[str, str]) -> Spec:
    """A group of bars an axis, a bar an objective (`names` for people); diamonds where totals are known."""
    axes = by_weight(shares)[::-1]
    data: list[Spec] = []
    # Horizontal bars are stacked upwards, and read downwards.
    for index, (objective, name) in reversed(list(enumerate(names.items()))):
        known = shares[shares["objective"] == objective].set_index("axis").loc[axes]
        place: Spec = {
            "y": [label(axis) for axis in axes],
            "name": label(name),
            "offsetgroup": str(index),
            "orientation": "h",
        }
        tint = colour(index)
        hover = f"%{{y}}<br>{label(name)}: %{{x:.1%}}"
        data.append(
            {
                "type": "bar",
                "x": rounded(known["first"], 4),
                "marker": {"color": tint},
                "hovertemplate": f"{hover} alone<extra></extra>",
                **place,
            }
        )
        if known["total"].notna().any():
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": rounded(known["total"], 4),
                    "showlegend": False,
                    "marker": {"color": tint, "symbol": "diamond", "size": 9, "line": {"color": "@paper", "width": 1}},
                    "hovertemplate": f"{hover} with interactions<extra></extra>",
                    **place,
                }
            )
    layout = {
        "barmode": "group",
        "scattermode": "group",
        "scattergap": 0.2,
        "bargap": 0.2,
        "height": 110 + len(axes) * (22 + 16 * shares["objective"].nunique()),
        "showlegend": True,
        "legend": {"traceorder": "reversed"},
        "xaxis": {"tickformat": ".0%", "rangemode": "tozero", "title": {"text": "share"}},
        "yaxis": {"type": "category", "showgrid": False},
    }
    return {"data": data, "layout": layout}


def bound_shares(columns: Sequence[Column], results: pd.DataFrame) -> Spec:
    """What bounds the points, overall and by workload: stacked bars, each 100 %."""
    bounds = [column for column in columns if column.role == "bound"][::-1]
    words = bounds[0].words if bounds else ()
    shares = [results[column.name].value_counts(normalize=True) for column in bounds]
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label(word),
            "y": [label(column.name) for column in bounds],
            "x": [round(float(share.get(word, 0.0)), 4) for share in shares],
            "hovertemplate": f"%{{y}}: {label(word)} %{{x:.1%}}<extra></extra>",
            "marker": {"color": f"@c{index % 9}", "line": {"color": "@paper", "width": 1}},
        }
        for index, word in enumerate(words)
        if any(share.get(word, 0.0) > 0 for share in shares)
    ]
    layout = {
        "barmode": "stack",
        "height": 120 + 32 * len(bounds),
        "bargap": 0.35,
        "showlegend": True,
        "legend": {"traceorder": "normal"},
        "xaxis": {"tickformat": ".0%", "range": [0, 1], "title": {"text": "share of points"}},
        "yaxis": {"type": "category", "showgrid": False},
    }
    return {"data": bars, "layout": layout}
