"""A point of a sweep as an arch file: the sweep's machine, with the values that the point has instead of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from simexplore.archs.fields import Field, field_of
from simexplore.archs.imports.yaml_text import nested, quoted, sections
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.units import one_line
from simexplore.errors import SimexploreError
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.table import POINT, Column


def point_text(store: Store, point: int) -> str:
    """The arch file of a point, which extends the sweep's machine.

    Only what the sweep varies is written, as the point has it, and `sources:` say that a sweep has chosen it. Values of
    axes that change the work are no part of a machine; `work_of` tells them.

    Raises:
        SimexploreError: the sweep has no such point, changes no machine, or its machine is not there any more.
    """
    row = _row(store, point)
    base = _base(store)
    machine = load_arch(base)
    changed = {column.name: _written(field, row[column.name], column) for column, field in _fields(store, machine)}
    if not changed:
        raise SimexploreError(f"{_place(store)}: expected a sweep that varies a machine, found axes of its work alone")
    source = _source(store, point)
    lines = [
        f"extends: {quoted(base)}",
        f"name: {quoted(one_line(f'{machine.name}, point {point}'))}",
        f"description: {quoted(source)}",
    ]
    return "\n".join([*lines, *sections(nested(changed), dict.fromkeys(changed, source))]) + "\n"


def work_of(store: Store, point: int) -> dict[str, str]:
    """What the point does: the values of the axes that change the work, and the engine whose kernels run.

    Raises:
        SimexploreError: the sweep has no such point.
    """
    row, machine = _row(store, point), load_arch(_base(store))
    of_machine = {column.name for column, _ in _fields(store, machine)}
    work = {name: str(row[name]) for name in (column.name for column in store.axes) if name not in of_machine}
    engine = store.spec.get("engine")
    return work if engine is None else {**work, "engine": str(engine)}


def _place(store: Store) -> str:
    return one_line(str(store.path.parent))


def _row(store: Store, point: int) -> pd.Series[Any]:
    """A point's columns; of one that failed its axes."""
    for table in (store.results(), store.failures()):
        found = table[table[POINT] == point]
        if len(found):
            return found.iloc[0]
    raise SimexploreError(f"{_place(store)}: expected a point from 0 to {store.count() - 1}, found {point}")


def _base(store: Store) -> str:
    """The name of the sweep's machine, or the path of its file."""
    arch: Mapping[str, Any] = store.metadata["arch"]
    return str(arch.get("source", arch["from"]))


def _fields(store: Store, machine: Gpu) -> list[tuple[Column, Field]]:
    """The columns that are values of the machine."""
    found = []
    for column in store.columns:
        if column.role in ("axis", "derived"):
            try:
                found.append((column, field_of(column.name, machine)))
            except SimexploreError:
                continue  # of a workload, whose parameters have names of their own
    return found


def _written(field: Field, value: Any, column: Column) -> str:
    return quoted(str(value)) if column.words and field.kind == "text" else field.write(value)


def _source(store: Store, point: int) -> str:
    """What stands under `sources:`."""
    known = store.metadata
    sweep = f"point {point} of the sweep {known['name']!r} ({known['sampler']}, seed {known['seed']})"
    return one_line(f"{sweep}: a design on paper, chosen by a search and measured by nobody")
