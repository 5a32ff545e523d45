"""A study's results in a folder that may be killed at any moment: what is done stays, and the rest follows.

The folder has `serve.json`, which says what is asked, and one file a point, each there wholly or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.sim.keeping.folder import FolderLock, written_aside

HEADER = "serve.json"
FOLDER = "points"

Point = dict[str, Any]


class Points:
    """Results by the number of their point."""

    def __init__(self, folder: Path, asked: Mapping[str, Any]) -> None:
        """Open a folder, or make it.

        Args:
            folder: where they are kept.
            asked: all that results follow from.

        Raises:
            SimexploreError: the folder holds the results of something else, or cannot be written.
        """
        self.folder = folder
        try:
            (folder / FOLDER).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SimexploreError(f"{folder}: the results can't be kept there: {error.strerror}") from None
        header = folder / HEADER
        text = json.dumps(asked, indent=1, sort_keys=True)
        if not header.exists():
            with written_aside(header, "what is asked") as aside:
                aside.write_text(text, encoding="utf-8")
        elif _read(header) != json.loads(text):
            raise SimexploreError(
                f"{folder}: expected results of the same question, found others: choose another folder"
            )

    def done(self, number: int) -> Point | None:
        """The result of a point; None where there is none yet.

        Raises:
            SimexploreError: its file has been changed.
        """
        file = self._file(number)
        return _read(file) if file.exists() else None

    def keep(self, number: int, point: Point) -> None:
        """Write a result.

        Raises:
            SimexploreError: it cannot be written.
        """
        with written_aside(self._file(number), "the result") as aside:
            aside.write_text(json.dumps(point, allow_nan=False), encoding="utf-8")

    def _file(self, number: int) -> Path:
        return self.folder / FOLDER / f"{number:05d}.json"


def fill(points: Points | None, count: int, make: Callable[[int], Point]) -> Iterator[Point]:
    """The results of all points in order; what is not there yet is made, and kept.

    Raises:
        SimexploreError: another command writes to the folder, or as `make`.
    """
    with _writing(points):
        for number in range(count):
            point = points.done(number) if points is not None else None
            if point is None:
                point = make(number)
                if points is not None:
                    points.keep(number, point)
            yield point


@contextmanager
def _writing(points: Points | None) -> Iterator[None]:
    if points is None:
        yield
        return
    try:
        lock = FolderLock(points.folder)
    except OSError as error:
        raise SimexploreError(f"{points.folder}: the results can't be kept there: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def _read(file: Path) -> Point:
    try:
        told: Point = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SimexploreError(f"{file}: expected a result, found: {' '.join(str(error).split())}") from None
    return told
