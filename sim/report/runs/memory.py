"""Memory over time as a page: what each place held by kind, its tensors at the peak, and what an allocator takes."""

from __future__ import annotations

from collections.abc import Mapping

from simexplore.archs import units
from simexplore.sim.play.memory.caching import reserved_bytes
from simexplore.sim.play.memory.timeline import MemoryTimeline, PlaceMemory, Step, Tensor
from simexplore.sim.report.error_charts import Spec, colour
from simexplore.sim.report.page import Page, Section, label, note, plot, render, rounded, table, tiles

LARGEST = 20
"""Tensors that are listed of a peak."""
MOST_STEPS = 4000
"""Instants that a figure draws; of more, the highest of each stretch."""
GIGA = 1e9


def memory_html(name: str, machine: str, timeline: MemoryTimeline, memory: Mapping[str, PlaceMemory], made: str) -> str:
    """The page of a run, as one self-contained HTML document.

    Args:
        name: of what ran.
        machine: name of what it ran on.
        timeline: the births and deaths of its tensors.
        memory: what each place held at its peak, as in the run's result, the first GPU first.
        made: date and time, as the reader shall see it.

    Raises:
        SimexploreError: plotly, which draws the figures, is not installed.
    """
    places = [place for place in memory if place in timeline.places]
    sections = [Section(f"place-{index}", place, _body(index, place, timeline)) for index, place in enumerate(places)]
    steps = [timeline.steps(place) for place in places]
    end_s = max((step.at_s for each in steps for step in each), default=0.0)
    figures = {f"over-time-{index}": _over_time(each, end_s) for index, each in enumerate(steps)}
    opening = tiles((f"peak of {place}", _shown(memory[place].peak_bytes), _of(memory[place])) for place in places)
    lead = f"{name} on {machine}: what is in memory, where, and from when to when."
    return render(Page(name, "memory of a run", lead, opening, tuple(sections), {"figures": figures}), made)


def _body(index: int, place: str, timeline: MemoryTimeline) -> str:
    peak = timeline.peak(place)
    alive = [t for t in timeline.tensors(place) if t.born_s <= peak.at_s and (t.died_s is None or t.died_s > peak.at_s)]
    largest = sorted(alive, key=lambda tensor: -tensor.bytes)[:LARGEST]
    words = _allocator(timeline, place, peak) if index == 0 else ""  # of GPUs: hosts and drives have none such
    by_kind = sorted(peak.by_kind.items(), key=lambda item: -item[1])
    return (
        plot(f"over-time-{index}", "Memory over time", "By kind, stacked; the highest instant is the peak.")
        + (note(words) if words else "")
        + table("At the peak, by kind", ("kind", "bytes"), [(kind, _shown(size)) for kind, size in by_kind])
        + table(f"The {len(largest)} largest of {len(alive)} tensors at the peak", _HEADERS, map(_row, largest), 2)
    )


def _allocator(timeline: MemoryTimeline, place: str, peak: PlaceMemory) -> str:
    """What the first GPU's allocator takes."""
    reserved = reserved_bytes(timeline.changes(place))
    times = reserved / peak.peak_bytes
    return f"A caching allocator takes {_shown(reserved)} for the same tensors, {times:.3g} of the peak."


_HEADERS = ("tensor", "kind", "bytes", "born", "died")


def _row(tensor: Tensor) -> tuple[str, ...]:
    died = "stays" if tensor.died_s is None else units.format(float(f"{tensor.died_s:.4g}"), units.SECONDS)
    return (
        tensor.name,
        tensor.kind,
        _shown(tensor.bytes),
        units.format(float(f"{tensor.born_s:.4g}"), units.SECONDS),
        died,
    )


def _shown(size: float) -> str:
    return units.format(float(f"{size:.4g}"), units.BYTES)


def _of(memory: PlaceMemory) -> str:
    return "" if memory.capacity_bytes is None else f"of {_shown(memory.capacity_bytes)}"


def thinned(steps: list[Step], most: int = MOST_STEPS) -> list[Step]:
    """At most so many steps, each the highest of its stretch: the peak is always among them."""
    stride = -(-len(steps) // most)
    stretches = (steps[first : first + stride] for first in range(0, len(steps), stride))
    return [max(stretch, key=lambda step: sum(step.by_kind.values())) for stretch in stretches]


def _over_time(steps: list[Step], end_s: float) -> Spec:
    """Stacked levels by kind, each held until the next instant, the last until the end of the run [s]."""
    drawn = thinned(steps)
    if drawn and drawn[-1].at_s < end_s:
        drawn.append(Step(end_s, drawn[-1].by_kind))
    kinds = dict.fromkeys(kind for step in drawn for kind in step.by_kind)
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": label(kind),
            "stackgroup": "all",
            "x": rounded((step.at_s for step in drawn), 8),
            "y": rounded((step.by_kind.get(kind, 0.0) / GIGA for step in drawn), 5),
            "line": {"shape": "hv", "width": 0.5, "color": colour(index)},
            "hovertemplate": f"%{{x:.4~g}} s<br>{label(kind)}: %{{y:.4~g}} GB<extra></extra>",
        }
        for index, kind in enumerate(kinds)
    ]
    axes = {"xaxis": {"title": {"text": "time (s)"}}, "yaxis": {"title": {"text": "GB"}, "rangemode": "tozero"}}
    return {"data": data, "layout": {"height": 360, "showlegend": True, **axes}}
