"""The file that a measurement grows in: one CSV row a case, written at once, and a JSON sidecar that says how.

A run that was killed leaves whole rows and perhaps a torn last line. `Recorder` drops that line, tells which cases are
done, and appends.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simexplore.errors import SimexploreError

CASE = "case"
"""Column that tells cases apart."""
SAME = ("backend", "device", "suite", "seed")
"""What a resumed run must share with the one before it."""


class Recorder:
    """A table on disk that is added to row by row.

    Args:
        path: the `.csv` file; its sidecar is beside it, `.csv.json`.
        about: plain data of the sidecar; must hold `SAME` and `run`, what is particular to this run.

    Raises:
        SimexploreError: another file type, a file that can't be written, or rows of another suite, device or seed.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        if path.suffix.lower() != ".csv":
            raise SimexploreError(f"{path}: expected a file that ends in .csv, found {path.suffix!r}")
        self._path, self._sidecar = path, path.with_name(path.name + ".json")
        self._rows = self._resume(about)
        self._columns = list(dict.fromkeys(column for row in self._rows for column in row))
        runs = self._earlier().get("runs", []) if self._rows else []
        self._about = {**{k: v for k, v in about.items() if k != "run"}, "runs": [*runs, about["run"]]}
        self._write_sidecar()

    @property
    def rows(self) -> Mapping[str, Mapping[str, str]]:
        """The rows by the key of their case, as text."""
        return {row[CASE]: row for row in self._rows}

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row, or replace these columns of the one that the case has; it is on disk when this returns."""
        text = {name: _text(value) for name, value in row.items()}
        earlier = next((known for known in self._rows if known[CASE] == text[CASE]), None)
        if earlier is not None:
            earlier |= text
            self._columns = list(dict.fromkeys([*self._columns, *text]))
            self._rewrite()
            return
        self._rows.append(text)
        new = [name for name in text if name not in self._columns]
        if new or not self._path.exists():
            self._columns += new
            self._rewrite()
            return
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(text)
            file.flush()
            os.fsync(file.fileno())

    def finish(self, **outcome: Any) -> None:
        """Put what came out of the run into its entry of the sidecar."""
        self._about["runs"][-1] |= outcome
        self._write_sidecar()

    def _resume(self, about: Mapping[str, Any]) -> list[dict[str, str]]:
        """The whole rows of an earlier run; a torn last line is cut off the file."""
        if not self._path.exists():
            return []
        text = self._path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]
        if len(whole) < len(text):
            _replace(self._path, whole)
        rows = list(csv.DictReader(whole.splitlines()))
        if any(CASE not in row for row in rows):
            raise SimexploreError(f"{self._path}: holds rows that `measure` has not written; choose another -o")
        if rows:
            self._check_same(about)
        return rows

    def _check_same(self, about: Mapping[str, Any]) -> None:
        earlier = self._earlier()
        for name in SAME:
            if earlier.get(name) != about[name]:
                raise SimexploreError(
                    f"{self._path}: holds rows of {name} {earlier.get(name)!r}, this run is of {about[name]!r}: "
                    "choose another -o, or delete the file"
                )

    def _earlier(self) -> dict[str, Any]:
        try:
            known: dict[str, Any] = json.loads(self._sidecar.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise SimexploreError(
                f"{self._sidecar}: expected the sidecar of {self._path.name}; without it a run can't be resumed: "
                "choose another -o, or delete the file"
            ) from None
        return known

    def _rewrite(self) -> None:
        lines = _Lines()
        writer = csv.DictWriter(lines, self._columns, restval="")
        writer.writeheader()
        writer.writerows(self._rows)
        _replace(self._path, lines.text)

    def _write_sidecar(self) -> None:
        _replace(self._sidecar, json.dumps(self._about, indent=2, ensure_ascii=False) + "\n")


class _Lines:
    """Collects what a csv writer writes."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, line: str) -> int:
        self.text += line
        return len(line)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole: a reader sees the old one or the new one, whenever this is killed."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise SimexploreError(f"{path}: can't be written: {error.strerror}") from None
