"""An explanation as a page: where the time goes, what is near its peak, what would help, and what it all stands on."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from simexplore.archs.units import quantity
from simexplore.sim.explain.kernel import KernelPage
from simexplore.sim.explain.machines import beside
from simexplore.sim.explain.tables import PEAKS, WHAT_IF, Table, beside_table, interval, ratio, tables_of
from simexplore.sim.explain.whole import Explanation
from simexplore.sim.report.error_charts import colour
from simexplore.sim.report.page import Page, Section, facts, label, plot, render, table, tiles, versions

Spec = dict[str, Any]
_SHORTEST = 90
"""Height of a figure without its bars [px]."""
_BAR = 26
"""Height of a bar [px]."""
_NARROW = 14
"""Letters of a line of a machine's name beside its bar: a phone has room for no more."""


def explained_html(every: Sequence[Explanation], made: str) -> str:
    """Explanations of the same work, of one machine or of several, as one self-contained HTML document.

    Args:
        every: one a machine.
        made: date and time, as the reader shall see it.

    Raises:
        SimexploreError: plotly, which draws the figures, is not installed.
    """
    first = every[0]
    figures = _drawn(every)
    shown = tables_of(first) if len(every) == 1 else [beside_table(every)]
    sections = [
        Section(f"part-{index}", f"{part.title[0].upper()}{part.title[1:]}", _figure(part.title, figures) + _html(part))
        for index, part in enumerate(shown)
    ]
    sections.append(Section("provenance", "Provenance", facts([("page made", made), *versions()])))
    page = Page(
        title=first.work,
        kind="explanation",
        lead=f"Why it takes as long as it does on {', '.join(told.machine for told in every)}.",
        opening=tiles(_figures(every)),
        sections=tuple(sections),
        data={"figures": {_ID[title]: spec for title, spec in figures.items()}},
    )
    return render(page, made)


_ID = {"where the time goes": "parts", "machines": "beside", PEAKS: "peaks", WHAT_IF: "what-if"}
"""Of the figure above a table, by the table's title."""
_WORDS = {
    "parts": "The parts add up to the predicted time. The main loop includes what it waits for L2 and DRAM.",
    "beside": "The parts add up to the predicted time. The main loop includes what it waits for L2 and DRAM.",
    "peaks": "Bars: share of the time for which a resource is busy, at the rate that kernels of this kind reach. "
    "Diamonds: what it did over its peak at the top clock.",
    "what-if": "Change of the time when one number of the machine is a fifth better: the closed form, run again.",
}


def _drawn(every: Sequence[Explanation]) -> dict[str, Spec]:
    """Figures by the title of the table that they stand above."""
    if len(every) > 1:
        return {"machines": _parts(every)}
    (told,) = every
    kernels = [kernel for op in told.ops for kernel in op.kernels] if len(told.ops) == 1 else []
    found = {"where the time goes": _parts(every)}
    if kernels:
        found[PEAKS] = _peaks(kernels)
    if told.what_ifs:
        found[WHAT_IF] = _what_if(told)
    return found


def _figure(title: str, figures: dict[str, Spec]) -> str:
    """The place of the figure above a table, where it has one."""
    if title not in figures:
        return ""
    height = int(figures[title]["layout"]["height"])
    return plot(_ID[title], f"{title[0].upper()}{title[1:]}", _WORDS[_ID[title]], height)


def _html(shown: Table) -> str:
    return table("", shown.headers, shown.rows, numbers_from=shown.left)


def _figures(every: Sequence[Explanation]) -> list[tuple[str, str, str]]:
    """The first figures that a reader sees."""
    if len(every) > 1:
        rows = beside([(told.machine, told.estimate) for told in every])
        return [(row.machine, quantity(row.time_s.value, "s"), f"{ratio(row.time_s)} of the first") for row in rows]
    told = every[0]
    part = max(told.parts_s, key=lambda name: told.parts_s[name])
    found = [
        ("time", quantity(told.time_s, "s"), f"80 %: {interval(*told.interval_s, 's')}"),
        ("longest part", part, f"{100.0 * told.parts_s[part] / told.time_s:.0f} % of the time"),
        ("energy", quantity(told.estimate.energy_j, "J"), f"{quantity(told.estimate.mean_power_w, 'W')} on average"),
    ]
    if told.what_ifs:
        best = told.what_ifs[0]
        found.append(("helps most", f"{best.name} {best.change:+.0%}", f"{best.gain:+.1%} of the time"))
    return found


def _bars(x: Sequence[float], y: Sequence[str], name: str, tint: int, hover: str) -> Spec:
    return {
        "type": "bar",
        "orientation": "h",
        "name": label(name),
        "x": list(x),
        "y": [label(each).replace("\n", "<br>") for each in y],
        "marker": {"color": colour(tint)},
        "hovertemplate": f"%{{y}}: {hover}<extra>{label(name)}</extra>",
    }


def _layout(bars: int, title: str, ticks: str, stacked: bool) -> Spec:
    return {
        "barmode": "stack" if stacked else "group",
        "height": _SHORTEST + _BAR * bars,
        "bargap": 0.3,
        "showlegend": stacked,
        "legend": {"traceorder": "normal"},
        "xaxis": {"tickformat": ticks, "title": {"text": title}},
        "yaxis": {"type": "category", "showgrid": False, "autorange": "reversed"},
    }


def _parts(every: Sequence[Explanation]) -> Spec:
    """A bar a machine, stacked by part, in microseconds."""
    names = list(dict.fromkeys(name for told in every for name in told.parts_s))
    machines = ["\n".join(wrap(told.machine, _NARROW)) for told in every]
    data = [
        _bars([1e6 * told.parts_s.get(name, 0.0) for told in every], machines, name, index, "%{x:.4g} µs")
        for index, name in enumerate(names)
    ]
    return {"data": data, "layout": _layout(len(every), "µs", "", stacked=True)}


def _peaks(kernels: Sequence[KernelPage]) -> Spec:
    uses = [(kernel.kernel, use) for kernel in kernels for use in kernel.uses]
    names = [f"{use.resource} ({kernel})" if len(kernels) > 1 else use.resource for kernel, use in uses]
    bars = _bars([use.in_use for _, use in uses], names, "in use", 0, "%{x:.1%}")
    marks = {
        **_bars([use.rate / use.peak for _, use in uses], names, "of peak", 1, "%{x:.1%}"),
        "type": "scatter",
        "mode": "markers",
        "marker": {"color": colour(1), "symbol": "diamond", "size": 9},
    }
    marks.pop("orientation")
    return {"data": [bars, marks], "layout": {**_layout(len(uses), "share", ".0%", stacked=False), "showlegend": True}}


def _what_if(told: Explanation) -> Spec:
    names = [f"{each.name} {each.change:+.0%}" for each in told.what_ifs]
    bars = _bars([each.gain for each in told.what_ifs], names, "change of the time", 0, "%{x:+.1%}")
    return {"data": [bars], "layout": _layout(len(names), "change of the time", "+.0%", stacked=False)}
