"""What is known of a sweep before its first point: kept as JSON, and held against that of another run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.sim.explore.storage.database import DamageError
from simexplore.sim.explore.table import Column

LAYOUT = 2
"""Of the store's tables."""
_ELSEWHERE = ("arch", "workload", "workloads", "serve")
"""Keys of a sweep's file that name what `metadata` has the contents of."""


@dataclass(frozen=True)
class Header:
    """A sweep's file, its columns, and the contents of all that it reads."""

    spec: Mapping[str, Any]
    """The sweep as it runs: the file's data with the command's options laid over."""
    spec_text: str
    """The file as it was written."""
    columns: tuple[Column, ...]
    planned: int
    """Points that the sampler gives at most."""
    metadata: Mapping[str, Any]
    """`versions`, `name`, `seed`, `sampler`, `fidelity`, `arch` (name, where from, resolved data, calibration),
    `workloads` (of a file its contents)."""

    @property
    def decisive(self) -> Mapping[str, Any]:
        """What must not change between two runs in one folder: contents, not the names and places of files."""
        known = {key: value for key, value in self.spec.items() if key not in _ELSEWHERE}
        known |= {key: value for key, value in self.metadata.items() if key != "name"}
        if isinstance(arch := known.get("arch"), dict):
            known["arch"] = {key: value for key, value in arch.items() if key not in ("name", "from", "source")}
        if isinstance(workloads := known.get("workloads"), dict):
            known["workloads"] = {name: _without_place(work) for name, work in workloads.items()}
        return known

    @property
    def digest(self) -> str:
        """The same for runs that give the same points and results."""
        known = [self.decisive, self.planned, [column.to_json() for column in self.columns]]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def rows(self) -> dict[str, str]:
        """Key and JSON of each part."""
        return {
            "schema": json.dumps(LAYOUT),
            "spec": json.dumps(self.spec),
            "spec_text": json.dumps(self.spec_text),
            "columns": json.dumps([column.to_json() for column in self.columns]),
            "planned": json.dumps(self.planned),
            "metadata": json.dumps(self.metadata),
            "digest": json.dumps(self.digest),
        }

    @classmethod
    def from_rows(cls, rows: Mapping[str, str]) -> Header:
        """What `rows` has written. Raises DamageError."""
        try:
            data = {key: json.loads(value) for key, value in rows.items()}
            columns = tuple(Column.from_json(column) for column in data["columns"])
            header = cls(data["spec"], data["spec_text"], columns, data["planned"], data["metadata"])
            known = data["digest"] == header.digest and isinstance(header.planned, int)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DamageError(f"{type(error).__name__} in what it says of its sweep") from None
        if not known:
            raise DamageError("what it says of its sweep does not match its digest")
        return header


def check_layout(found: object) -> None:
    """Refuse the stores of another version.

    Raises:
        SimexploreError: in one line, without the place.
    """
    if found != LAYOUT:
        raise SimexploreError(
            f"expected a store of layout {LAYOUT}, found {found}: read it with the simexplore that wrote it"
        )


def difference(found: Header, wanted: Header) -> str:
    """The first thing that is not the same, in a few words."""
    before, now = found.decisive, wanted.decisive
    for key in sorted({*before, *now}):
        if before.get(key) == now.get(key):
            continue
        if key == "versions":
            return _version_difference(before.get(key, {}), now.get(key, {}))
        return f"its {key} was another" if key[-1:] != "s" else f"its {key} were others"
    return "its points were others" if found.planned != wanted.planned else "its columns were others"


def _version_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    name = next(name for name in sorted({*before, *now}) if before.get(name) != now.get(name))
    if name == "code":
        return "simexplore's own code was another"
    return f"its version of {name} was {before.get(name, 'unknown')}, and is {now.get(name, 'unknown')} now"


def _without_place(work: Any) -> Any:
    """A workload without the name of its file."""
    if not isinstance(work, dict) or "data" not in work:
        return work
    return {key: value for key, value in work.items() if key != "source"}
