"""A few designs that stand for a front: its knee, its ends, what beats today in everything, and what lies between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from simexplore.sim.explore.table import FloatArray
from simexplore.sim.explore.verdict.apart import Losses, on_front
from simexplore.sim.explore.verdict.conflict import conflict

MOST, FEWEST = 5, 3
"""Designs that are named, and from how many on nothing is filled in between."""
KNEE, EVERYTHING, BETWEEN = "knee", "better in everything", "between"
BEST, NEARLY = "best", "nearly best"
"""In one objective: by its value; or as good as the intervals can tell, and better in the others."""


class Named(NamedTuple):
    """A row of the points, and why it is named."""

    row: int
    why: str
    """A word of this module."""
    objective: int | None = None
    """Of what is best, or nearly best, in one objective: its number."""


def chosen(points: Losses, today: int | None = None) -> list[Named]:
    """Three to five designs of a front, fewer where the intervals tell no more apart.

    Any two of them are told apart, each better than the other in something; each is told from today's machine, which
    covers none of them.

    Args:
        points: all that may be chosen, and today's machine.
        today: its row, which is not chosen itself; None where there is none.
    """
    front = [int(row) for row in on_front(points) if row != today]
    choosable = [row for row in front if not _covers(points, today, row)]
    if not choosable:
        return []
    found: list[Named] = []
    for named in _wanted(points, choosable, today, points.log[front].min(axis=0)):
        has = any(other.objective is not None and other.objective == named.objective for other in found)
        if len(found) < MOST and not has and all(_apart(points, named.row, other.row) for other in found):
            found.append(named)
    while len(found) < FEWEST and (row := _farthest(points, choosable, found)) is not None:
        found.append(Named(row, BETWEEN))
    return sorted(found, key=lambda named: points.log[named.row, 0])


def _covers(points: Losses, today: int | None, row: int) -> bool:
    return today is not None and not bool(points.worse(today)[row].any())


def _apart(points: Losses, row: int, other: int) -> bool:
    """Whether each of two points is better than the other in something, beyond the intervals."""
    return bool(points.better(row)[other].any() and points.worse(row)[other].any())


def _wanted(points: Losses, rows: Sequence[int], today: int | None, best_of_all: FloatArray) -> Iterator[Named]:
    """What a reader asks for first; of each objective the best, and where that is not told apart the nearly best.

    The best of all may be a point that today's machine covers; what is best among the others is nearly so.
    """
    log = points.log[rows]
    yield Named(rows[knee(log)], KNEE)
    if today is not None:
        best = rows[int(np.argmin((log - points.log[today]).max(axis=1)))]
        if (points.log[best] < points.log[today]).all():
            yield Named(best, EVERYTHING)
    for objective in range(log.shape[1]):
        at = rows[int(np.argmin(log[:, objective]))]
        yield Named(at, BEST if points.log[at, objective] <= best_of_all[objective] else NEARLY, objective)
        alike = ~points.better(at)[rows, objective]
        others = np.where(alike, _scaled(log).sum(axis=1), np.inf)
        yield Named(rows[int(np.argmin(others))], NEARLY, objective)


def knee(log: FloatArray) -> int:
    """Where a front bends most, as seen in the two objectives that conflict most.

    The curvature of a curve between two objectives that are scaled to [0, 1] is greatest where it lies farthest below
    the chord between its ends (Satopaa et al., Finding a "Kneedle" in a haystack, ICDCS Workshops 2011). A third
    objective that goes along with one of the two would pull the knee to that one's end, and is left out.

    Args:
        log: losses of the front, shape (points, objectives).
    """
    if log.shape[1] == 1:
        return int(np.argmin(log[:, 0]))
    first, second, _ = conflict(log)
    return int(np.argmin(_scaled(log[:, [first, second]]).sum(axis=1)))


def _scaled(log: FloatArray) -> FloatArray:
    """Objectives from 0, the best of them, to 1, the worst."""
    low, span = log.min(axis=0), np.ptp(log, axis=0)
    scaled: FloatArray = (log - low) / np.where(span > 0.0, span, 1.0)
    return scaled


def _farthest(points: Losses, rows: Sequence[int], found: Sequence[Named]) -> int | None:
    """The point that is farthest from all that are named; None where none is told from each of them."""
    left = [row for row in rows if all(_apart(points, row, named.row) for named in found)]
    if not left:
        return None
    scaled = _scaled(points.log[rows])
    place = {row: scaled[index] for index, row in enumerate(rows)}
    near = [min(float(np.abs(place[row] - place[named.row]).max()) for named in found) for row in left]
    return left[int(np.argmax(near))]
