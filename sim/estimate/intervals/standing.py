"""Where a prediction stands: how far it is from the rows that its machine knows of, and what that does to its interval.

A row may be a neighbour of fitted ones, of another size, or of another kind. Where the machine has no rows of its own,
what it knows comes from another board, die or generation, or from the kernels of another engine. Each step tells less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from math import hypot

from simexplore.archs.schema.calibration import Calibration, Teacher
from simexplore.archs.schema.gpu import Gpu


class Standing(IntEnum):
    """From near to far."""

    NEIGHBOUR = 0
    OTHER_SIZE = 1
    OTHER_KIND = 2
    OTHER_BOARD = 3
    OTHER_DIE = 4
    OTHER_GENERATION = 5
    OTHER_ENGINE = 6
    NOTHING = 7

    @property
    def key(self) -> str:
        """As `calibration.spread` and JSON have it: `other_board`."""
        return self.name.lower()

    @property
    def words(self) -> str:
        """As a table tells it."""
        return _WORDS[self]


_WORDS = {
    Standing.NEIGHBOUR: "measured neighbours",
    Standing.OTHER_SIZE: "other sizes",
    Standing.OTHER_KIND: "another kind",
    Standing.OTHER_BOARD: "another board of the die",
    Standing.OTHER_DIE: "another die of the generation",
    Standing.OTHER_GENERATION: "another generation",
    Standing.OTHER_ENGINE: "another engine",
    Standing.NOTHING: "nothing fitted",
}


def names_of(group: str) -> list[str]:
    """A group's name and those of wider ones, narrowest first: `gemm bf16 graph`, `gemm bf16`, `gemm`."""
    words = group.split(" ")
    return [" ".join(words[:length]) for length in range(len(words), 0, -1)]


def standing_of(group: str, gpu: Gpu) -> Standing:
    """Where the rows of a group stand on a machine, whatever their sizes and kinds."""
    calibration, family = gpu.calibration or Calibration(), group.split(" ", 1)[0]
    own = [name for name, rows in calibration.rows.items() if rows]
    if any(name.split(" ", 1)[0] == family for name in own):
        nearest = Standing.NEIGHBOUR if group in own else Standing.OTHER_KIND
        return max(nearest, Standing.OTHER_BOARD) if gpu.stands_on_another else nearest
    taught = next((name for name in names_of(group) if name in calibration.teachers), None)
    if taught is None:
        return _of_untold(group, gpu, calibration)
    nearest = min(distance(teacher, gpu) for teacher in calibration.teachers[taught])
    return nearest if taught == group else max(nearest, Standing.OTHER_KIND)


def _of_untold(group: str, gpu: Gpu, calibration: Calibration) -> Standing:
    """Of a file that does not tell whose rows it knows: another board's is the least that a spread alone can be of.

    Of other kernels than those that a machine was fitted with, everything but the kernels may be fitted.
    """
    if any(name in calibration.sigma_log for name in names_of(group)):
        return Standing.OTHER_BOARD
    return Standing.OTHER_ENGINE if gpu.is_of_other_engine else Standing.NOTHING


def distance(teacher: Teacher, gpu: Gpu) -> Standing:
    """How far a machine is from one whose rows taught it something."""
    if teacher.engine and gpu.engine and teacher.engine != gpu.engine:
        return Standing.OTHER_ENGINE
    if teacher.generation != gpu.generation:
        return Standing.OTHER_GENERATION
    if teacher.machine == gpu.name:
        return Standing.NEIGHBOUR
    return Standing.OTHER_BOARD if teacher.chip == gpu.chip else Standing.OTHER_DIE


def sigma_at(standing: Standing, known: float, spread: Mapping[str, float], family: str) -> float:
    """Spread of the log error of the physics where a prediction stands: never less than nearer ones have.

    What distance adds is independent of what the machine knows, so that squares add up. Where nothing was fitted there
    is nothing to add to: what is assumed there allows for it.

    Args:
        standing: of the group.
        known: what the machine tells of the nearest group, or what is assumed where nothing was fitted.
        spread: `calibration.spread` of the machine.
        family: the operator family, whose own entries come before those of all.
    """
    added = max(_told(_up_to(standing), spread, family), default=0.0)
    return max(known, added) if standing is Standing.NOTHING else hypot(known, added)


def sigma_of_unseen(spread: Mapping[str, float], family: str, axis: str) -> float:
    """Spread of rows whose kind on an axis was never seen, by the nearest that is told; 0 where nothing is."""
    step = Standing.OTHER_KIND.key
    names = (f"{family} {step} {axis}", f"{step} {axis}", f"{family} {step}", step)
    return next((spread[name] for name in names if name in spread), 0.0)


def _up_to(standing: Standing) -> list[Standing]:
    """What is no farther. How kernels of another engine err says nothing of silicon of which nothing was fitted."""
    nearer = [step for step in Standing if Standing.OTHER_KIND <= step <= standing]
    return [step for step in nearer if standing is not Standing.NOTHING or step is not Standing.OTHER_ENGINE]


def _told(steps: Iterable[Standing], spread: Mapping[str, float], family: str) -> list[float]:
    """Of each step the family's own spread, or that of all families."""
    found = (spread.get(f"{family} {step.key}", spread.get(step.key)) for step in steps)
    return [sigma for sigma in found if sigma is not None]
