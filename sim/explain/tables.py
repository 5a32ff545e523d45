"""An explanation as tables of words, the same on the terminal and on a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from simexplore.archs.units import quantity
from simexplore.sim.explain.kernel import PARTS, WAITS, KernelPage
from simexplore.sim.explain.lost import Choices
from simexplore.sim.explain.machines import Amount, beside
from simexplore.sim.explain.whole import BESIDE, Explanation, OpPage

PEAKS, WHAT_IF = "resources beside their peaks", "what would help"
"""Titles of tables that a page draws too."""
SHOWN_OPS = 20
ALIKE = 1e-9
"""Relative difference of two times that rounding makes."""
MEANING = {
    "launch": "from the kernel before to this one's start",
    "set-up": "parameters, descriptors, DRAM's first answer",
    "fill": "first loads, pipelines that fill, barriers, as far as nothing hides them",
    "main loop": "full waves, or the only one",
    "tail": "the partial wave behind full ones, and the longest CTA",
    "epilogue": "results written while nothing else is done",
    BESIDE: "operators that run at the same time",
}


@dataclass(frozen=True)
class Table:
    """Words in rows; the first `left` columns are text, the others numbers."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


def tables_of(told: Explanation) -> list[Table]:
    """What is worth reading, the most important first; tables that would be empty are left out."""
    kernels = [kernel for op in told.ops for kernel in op.kernels]
    single = len(told.ops) == 1
    found = [
        _whole(told),
        Table("where the time goes", ("part", "", "time", "share"), tuple(_parts(told)), left=2),
        *(() if single else (_kinds(told), _layers(told), _operators(told))),
        *((_kernels(kernels), _uses(kernels)) if single else ()),
        _what_ifs(told),
        *((_choices(told.ops[0].choices),) if single and told.ops[0].choices else ()),
        _origins(told),
    ]
    return [table for table in found if table.rows]


def _share(value: float, whole: float) -> str:
    return f"{100.0 * value / whole:.1f} %".replace("-", "−") if whole > 0.0 else "–"


def _signed(share: float) -> str:
    return f"{100.0 * share:+.1f} %".replace("-", "−")


def interval(low: float, high: float, unit: str) -> str:
    """Both ends of an interval."""
    return f"{quantity(low, unit)} – {quantity(high, unit)}"


def _whole(told: Explanation) -> Table:
    rows = [("time", quantity(told.time_s, "s")), ("80 % interval", interval(*told.interval_s, "s"))]
    if len(told.ops) == 1:
        rows += list(_of_one(told.ops[0]))
    rows += [
        ("energy", quantity(told.estimate.energy_j, "J")),
        ("mean power", quantity(told.estimate.mean_power_w, "W")),
    ]
    return Table("in all", ("in all", ""), tuple(rows))


def _of_one(op: OpPage) -> Iterator[tuple[str, str]]:
    """What is said of an operator alone."""
    if op.least_s:
        reached = f"{100.0 * op.least_s / op.time_s:.3g} % reached"
        yield "roofline", f"{quantity(op.least_s, 's')}, {reached}"
    yield "bound by", op.bound
    for kernel in op.kernels:
        clock = kernel.clock
        held = (
            f", {100.0 * clock.over_boost:.1f} %: {clock.held_by} holds it" if clock.held_by else ", nothing holds it"
        )
        name = "clock" if len(op.kernels) == 1 else f"clock of {kernel.kernel}"
        yield name, f"{quantity(clock.hz, 'Hz')}{held}"
        yield "it wants", f"{quantity(clock.wants_w, 'W')} at the top clock, may draw {quantity(clock.allowed_w, 'W')}"
    yield "learned correction", "none" if op.correction == 1.0 else f"{_signed(op.correction - 1.0)} of the time"
    if op.stands_on:
        yield "stands on", op.stands_on


def _parts(told: Explanation) -> Iterator[tuple[str, ...]]:
    for name, seconds in told.parts_s.items():
        yield name, MEANING[name], quantity(seconds, "s"), _share(seconds, told.time_s)
        if name == "main loop":
            for wait in WAITS:
                waits_s = sum(len(op.names) * kernel.waits_s[wait] for op in told.ops for kernel in op.kernels)
                if waits_s > 0.0:
                    what = "of it: what the SMs' own work does not hide"
                    yield f"  for {wait}", what, quantity(waits_s, "s"), _share(waits_s, told.time_s)


def _kernels(kernels: Sequence[KernelPage]) -> Table:
    headers = ("kernel", "tile", "limited by", "CTAs", "per SM", "waves", "last wave", "warps")
    rows = tuple(
        (
            kernel.kernel, kernel.tile, kernel.occupancy.limit, f"{kernel.occupancy.ctas:g}",
            f"{kernel.occupancy.per_sm:g}", f"{kernel.occupancy.waves:.2f}", _share(kernel.occupancy.last_wave, 1.0),
            _share(kernel.occupancy.warps, 1.0),
        )
        for kernel in kernels
    )  # fmt: skip
    return Table("grid and occupancy", headers, rows, left=3)


def _uses(kernels: Sequence[KernelPage]) -> Table:
    headers = ("resource", "kernel", "asked", "rate", "peak", "of peak", "in use")
    rows = tuple(
        (
            use.resource, kernel.kernel, quantity(use.amount, use.unit), quantity(use.rate, f"{use.unit}/s"),
            quantity(use.peak, f"{use.unit}/s"), _share(use.rate, use.peak), _share(use.in_use, 1.0),
        )
        for kernel in kernels
        for use in kernel.uses
    )  # fmt: skip
    return Table(PEAKS, headers, rows, left=2)


def _what_ifs(told: Explanation) -> Table:
    rows = tuple(
        (f"{each.name} {_signed(each.change).replace('.0', '')}", quantity(each.time_s, "s"), _signed(each.gain))
        for each in told.what_ifs
    )
    return Table(WHAT_IF, ("what if", "time", "change"), rows)


def _choices(choices: Choices) -> Table:
    rows = tuple(
        (each.kernel, each.tile, _signed(each.behind), quantity(each.takes_s, "s"))
        for each in (*choices.candidates, *choices.algorithms)
    )
    title = f"candidates that lost, of {choices.tried} that can run"
    return Table(title, ("kernel", "tile", "reckoned", "takes at the top clock"), rows, left=2)


def _kinds(told: Explanation) -> Table:
    whole_s = sum(told.kinds.values())
    counts = {kind: sum(len(op.names) for op in told.ops if op.kind == kind) for kind in told.kinds}
    rows = tuple((kind, f"{counts[kind]}", quantity(s, "s"), _share(s, whole_s)) for kind, s in told.kinds.items())
    return Table("by kind", ("kind", "count", "time", "share"), rows)


def _layers(told: Explanation) -> Table:
    """Layers in order; neighbours that take the same time are one line."""
    rows = []
    whole_s = sum(told.layers.values())
    pairs = [(name or "the rest", seconds) for name, seconds in told.layers.items()]
    for _, alike in groupby(pairs, key=lambda pair: float(f"{pair[1]:.9e}")):
        names = list(alike)
        name = names[0][0] if len(names) == 1 else f"{names[0][0]} to {names[-1][0]}"
        each_s = names[0][1]
        rows.append((name, f"{len(names)}", quantity(each_s, "s"), _share(len(names) * each_s, whole_s)))
    return Table("by layer", ("layer", "count", "time of each", "share of all"), tuple(rows))


def _operators(told: Explanation) -> Table:
    headers = ("operator", "bound", "count", "time", "share", "main loop", "roofline")
    whole_s = sum(told.kinds.values())
    rows = tuple(
        (
            op.op, op.bound, f"{len(op.names)}", quantity(op.time_s, "s"), _share(len(op.names) * op.time_s, whole_s),
            _share(op.parts_s["main loop"], op.time_s), _share(op.least_s or 0.0, op.time_s) if op.least_s else "–",
        )
        for op in told.ops[:SHOWN_OPS]
    )  # fmt: skip
    return Table("operators", headers, rows, left=2)


def _origins(told: Explanation) -> Table:
    rows = tuple((origin.key, origin.value, origin.kind, origin.source) for origin in told.origins)
    return Table("where the numbers come from", ("key", "value", "kind", "source"), rows, left=4)


def beside_table(every: Sequence[Explanation]) -> Table:
    """Machines in columns: times, ratios to the first, and where the time goes; `~` where intervals meet."""
    rows = beside([(told.machine, told.estimate) for told in every])
    lines = [
        ("time", *(quantity(row.time_s.value, "s") for row in rows)),
        ("80 % interval", *(interval(row.time_s.low, row.time_s.high, "s") for row in rows)),
        ("ratio", *(ratio(row.time_s) for row in rows)),
        ("energy", *(quantity(row.energy_j.value, "J") for row in rows)),
        ("ratio", *(ratio(row.energy_j) for row in rows)),
        ("mean power", *(quantity(row.mean_power_w, "W") for row in rows)),
    ]
    if all(len(told.ops) == 1 and len(told.ops[0].kernels) == 1 for told in every):
        kernels = [told.ops[0].kernels[0] for told in every]
        lines += [
            ("tile", *(kernel.tile for kernel in kernels)),
            ("waves", *(f"{kernel.occupancy.waves:.2f}" for kernel in kernels)),
            ("clock", *(quantity(kernel.clock.hz, "Hz") for kernel in kernels)),
        ]
    lines += [(part, *(quantity(told.parts_s[part], "s") for told in every)) for part in PARTS]
    if all(len(told.ops) == 1 for told in every):
        lines.append(("bound by", *(told.ops[0].bound for told in every)))
    return Table("machines", ("", *(told.machine for told in every)), tuple(lines))


def ratio(amount: Amount) -> str:
    """`1.32`, marked with `~` where the intervals can't tell it from 1."""
    return f"{'' if amount.differs or amount.ratio == 1.0 else '~'}{amount.ratio:.3g}"
