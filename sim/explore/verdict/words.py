"""How a verdict is read: names, shares with their sign, and what the intervals leave open, the same on every page."""

from __future__ import annotations

from collections.abc import Mapping

from simexplore.archs.units import one_line
from simexplore.sim.explore.display import display_name
from simexplore.sim.explore.table import Column
from simexplore.sim.explore.verdict.steps import PRICES, Step
from simexplore.sim.explore.verdict.verdict import Design, Verdict

LIKE = "~"
"""Marks what the intervals can't tell from today's."""
PER = {"area_mm2": "mm²", "power_w": "W", "cost": "USD"}
"""What a change takes, as people read it."""

Columns = Mapping[str, Column]


def name_of(column: Column) -> str:
    """A column's name on one line, without its unit."""
    return one_line(display_name(column))


def at_work(verdict: Verdict) -> str:
    """At which work all is compared, where the sweep has several: `, decode.context = 1024`."""
    return "".join(f", {one_line(path)} = {_plain(value)}" for path, value in verdict.work.items())


def _plain(value: float | str) -> str:
    return f"{value:g}" if isinstance(value, float) else one_line(value)


def title(design: Design, columns: Columns) -> str:
    """What a design is named for: `best time`."""
    how, _, name = design.why.rpartition(" ")
    return f"{how} {name_of(columns[name])}" if name in columns else design.why


def change(ratio: float) -> str:
    """`0.743` → `−25.7 %`."""
    return f"{100.0 * (ratio - 1.0):+.1f} %".replace("-", "−")


def ratios(design: Design) -> list[str]:
    """A design's objectives beside today's; those that the intervals can't tell from it are marked."""
    return [f"{LIKE if name in design.alike else ''}{change(ratio)}" for name, ratio in design.ratios.items()]


def notes(verdict: Verdict, columns: Columns) -> list[str]:
    """What the intervals tell and what not, a line each."""
    lines = []
    if any(design.alike for design in verdict.designs):
        lines.append(f"{LIKE} the 80 % intervals can't tell it from today's")
    if not verdict.designs:
        lines.append("no design is better than today's machine beyond the 80 % intervals")
    together: dict[tuple[str, ...], list[str]] = {}
    for a, b, names in verdict.pairs:
        together.setdefault(names, []).append(f"{a} from {b}")
    for names, pairs in together.items():
        told = " and ".join(name_of(columns[name]) for name in names)
        every = len(pairs) == len(verdict.designs) * (len(verdict.designs) - 1) // 2 > 1
        lines.append(f"they can't tell by {told}: {'any of these designs from another' if every else ', '.join(pairs)}")
    if verdict.designs:
        lines.append(f"of {verdict.front:,} points of the front, {verdict.distinct:,} differ beyond the intervals")
    if verdict.chart is not None:
        first, second = (name_of(columns[name]) for name in verdict.chart[:2])
        lines.append(f"the choice is between {first} and {second}, which conflict most")
    return lines


def price_headers(verdict: Verdict, columns: Columns) -> list[str]:
    """What a unit of each price is said to buy: `time/mm²`."""
    first = next(iter(verdict.objectives))
    return [f"{name_of(columns[first])}/{PER[price]}" for price in prices_of(verdict)]


def prices_of(verdict: Verdict) -> list[str]:
    """The prices that are known of any change."""
    steps = [step for design in (verdict.today, *verdict.designs) if design for step in design.steps]
    first = next(iter(verdict.objectives))
    return [price for price in PRICES if price != first and any(price in step.takes for step in steps)]


def effects(step: Step, verdict: Verdict) -> list[str]:
    """What a change does to each objective, then what a unit of each price buys of the first."""
    changed = [
        f"{LIKE if name in step.alike else ''}{change(1.0 - gain if verdict.objectives[name] == 'min' else 1.0 + gain)}"
        for name, gain in step.gains.items()
    ]
    return changed + [_bought(step, next(iter(verdict.objectives)), price) for price in prices_of(verdict)]


def _bought(step: Step, objective: str, price: str) -> str:
    if step.gains[objective] <= 0.0:
        return "–"
    if price in step.per.get(objective, {}):
        return f"{100.0 * step.per[objective][price]:.3g} %"
    return "free" if price in step.takes else "–"
