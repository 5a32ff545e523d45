"""One self-contained HTML page: its parts as text, and the frame that holds style, scripts and data inline.

Every name that came from outside passes `text` (into HTML) or `script_json` (into a script) on its way here.
"""

from __future__ import annotations

import html
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

import numpy as np

from simexplore.errors import SimexploreError

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""Content-Security-Policy of a page: a browser refuses any request it would make."""

PHONE_COLUMNS = 2
"""A table of no more columns fits a phone as it is."""
SOFTWARE = ("simexplore", "numpy", "pandas", "plotly")


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading; `body` is HTML."""

    id: str
    title: str
    body: str
    short: str = ""
    """The title in the list of contents, where it is another."""


@dataclass(frozen=True)
class Page:
    """What a report says; `lead` is plain text, bodies of sections are HTML, `data` is read by the scripts."""

    title: str
    kind: str
    lead: str
    opening: str
    """HTML before the first section: the figures that matter most."""
    sections: tuple[Section, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    """Files beside this module, run after `report.js`."""


def text(value: object) -> str:
    """A value as HTML text, also safe within a quoted attribute."""
    return html.escape(str(value), quote=True)


def label(value: object) -> str:
    """A name as a label of a figure, where Plotly would read `<b>` as HTML."""
    return html.escape(str(value), quote=False)


def script_json(data: object) -> str:
    """JSON that can stand inside a script element: nothing in it ends the element or opens a comment."""
    dumped = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
    return dumped.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} in a report's data")


def rounded(values: Iterable[float], digits: int = 5) -> list[float | int | None]:
    """Numbers with so many significant digits, to keep a page small; what is not finite becomes None."""
    return [_round(float(value), digits) for value in values]


def _round(value: float, digits: int) -> float | int | None:
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{digits - 1}e}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def percent(share: float | None) -> str:
    """`0.1234` → `12.3 %`, unbreakable, and with a minus sign that is one."""
    return "–" if share is None or math.isnan(share) else f"{share * 100:.1f}\u00a0%".replace("-", "−")


def tiles(figures: Iterable[tuple[str, str, str]]) -> str:
    """Summary figures: (label, value, hint)."""
    cells = (
        f'<div><dt>{text(name)}</dt><dd>{text(value)}<span class="hint">{text(hint)}</span></dd></div>'
        for name, value, hint in figures
    )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """A list of name and value."""
    return f'<dl class="facts">{"".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs)}</dl>'


def note(words: str, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="note {kind}">{text(words)}</p>'


def plot(name: str, title: str, explanation: str, height: int = 360, css: str = "") -> str:
    """The place of a figure [px high], which a script draws; a screen reader says its title and `explanation`."""
    return (
        f'<figure><figcaption id="{name}-title">{text(title)}<span>{text(explanation)}</span></figcaption>'
        f'<div class="plot {css}" id="{name}" role="img" aria-labelledby="{name}-title" style="--height:{height}px">'
        "</div></figure>"
    )


def table(title: str, headers: Sequence[str], rows: Iterable[Sequence[object]], numbers_from: int = 1) -> str:
    """A fixed table whose columns from `numbers_from` on are numbers. A row that starts with `all` is a total.

    On a phone a row of more than two columns stands as a list of its cells, each with its column's name.
    """
    kind = ["" if column < numbers_from else ' class="num"' for column in range(len(headers))]
    named = [f' data-label="{text(name)}"{css}' for name, css in zip(headers, kind, strict=True)]
    wide = " wide" if len(headers) > PHONE_COLUMNS else ""
    head = "".join(f'<th scope="col"{css}>{text(name)}</th>' for name, css in zip(headers, kind, strict=True))
    lines = []
    for row in rows:
        cells = "".join(f"<td{css}>{text(cell)}</td>" for cell, css in zip(row, named, strict=True))
        lines.append(('<tr class="total">' if row[0] == "all" else "<tr>") + cells + "</tr>")
    caption = f"<caption>{text(title)}</caption>" if title else ""
    label = text(title or headers[0])
    return (
        f'<div class="scroll{wide}" tabindex="0" role="region" aria-label="{label}"><table>{caption}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def live_table(name: str, title: str, hint: str) -> str:
    """The place of a table that a script fills: filter, sort, pages and download."""
    return f"""<div id="{name}" class="live">
<div class="controls"><label class="grow" for="{name}-filter">Filter
<input type="search" id="{name}-filter" data-role="filter" placeholder="{text(hint)}" autocomplete="off"
spellcheck="false"></label>
<button type="button" data-role="download">Download CSV</button></div>
<div class="scroll wide" tabindex="0" role="region" aria-label="{text(title)}"><table>
<caption class="sr">{text(title)}</caption>
<thead data-role="head"></thead><tbody data-role="body"></tbody></table></div>
<div class="pager"><button type="button" data-role="previous">Previous</button>
<button type="button" data-role="next">Next</button><span data-role="page"></span>
<span data-role="count" role="status" aria-live="polite"></span></div></div>"""


def choice(name: str, legend: str, options: Sequence[tuple[str, str]]) -> str:
    """Radio buttons (value, words), the first of them chosen."""
    radios = "".join(
        f'<label><input type="radio" name="{name}" value="{text(value)}"{checked}>{text(words)}</label>'
        for checked, (value, words) in zip([" checked", *[""] * len(options)], options, strict=False)
    )
    return f'<fieldset class="choice"><legend>{text(legend)}</legend>{radios}</fieldset>'


def select(name: str, words: str) -> str:
    """A list to choose from, which a script fills."""
    return f'<label>{text(words)} <select id="{name}"></select></label>'


def pair(*parts: str) -> str:
    """Parts side by side where the window is wide enough."""
    return f'<div class="pair">{"".join(parts)}</div>'


def folded(words: str, body: str) -> str:
    """HTML behind a line that opens it."""
    return f"<details><summary>{text(words)}</summary>{body}</details>"


def versions() -> list[tuple[str, str]]:
    """The software that made the page."""
    found = [("Python", platform.python_version())]
    for name in SOFTWARE:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def render(page: Page, made: str) -> str:
    """The page as one HTML document.

    Args:
        page: what it says.
        made: date and time of its making, as the reader shall see it.

    Raises:
        SimexploreError: plotly, which draws the figures, is not installed.
    """
    contents = "".join(f'<li><a href="#{part.id}">{text(part.short or part.title)}</a></li>' for part in page.sections)
    sections = "".join(
        f'<section id="{part.id}" aria-labelledby="{part.id}-head"><h2 id="{part.id}-head">{text(part.title)}</h2>'
        f"{part.body}</section>"
        for part in page.sections
    )
    scripts = "".join(f"<script>{asset(name)}</script>" for name in ("report.js", *page.scripts))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="simexplore">
<link rel="icon" href="data:,">
<title>{text(page.title)} – {text(page.kind)}</title>
<style>{asset("report.css")}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header><p class="kind">{text(page.kind)}</p><h1>{text(page.title)}</h1><p class="lead">{text(page.lead)}</p>
<nav aria-label="Sections"><ul>{contents}</ul></nav></header>
<main id="content" tabindex="-1">{page.opening}{sections}
<noscript><p class="note warning">Figures and tables need JavaScript, which stays in this page.</p></noscript>
<div id="told" class="sr" role="status" aria-live="polite"></div></main>
<footer><p>Made {text(made)} with {text(", ".join(f"{name} {number}" for name, number in versions()))}.</p></footer>
<script>{_plotly()}</script>
<script type="application/json" id="report-data">{script_json(page.data)}</script>
{scripts}
</body>
</html>
"""


def asset(name: str) -> str:
    """A style or script that lies beside this module."""
    return files("simexplore.sim.report").joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    """The text of plotly.min.js, out of the Python package: a page that needs no network carries its own."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise SimexploreError("a report needs plotly; install it with: pip install 'simexplore[report]'") from None
    script: str = get_plotlyjs()
    return script
