"""Dotted paths of a machine's file as fields: their type, their unit, and how a value is put there."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from simexplore.archs import units
from simexplore.archs.renamed import NEW_KEYS, expected_name, told
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.ports import Port
from simexplore.archs.schema.quantities import Quantity, has
from simexplore.archs.schema.system import Device, Domain, SystemLink
from simexplore.archs.units import Dimension, nearest, show
from simexplore.errors import SimexploreError

NAMED_BY_FILES = (Device, SystemLink, Domain, Port)
"""Records of a system that its file gives names to."""
Machine = BaseModel
"""What an arch file describes: a GPU, or any other record of quantities."""

_NOT_COLUMNS = ("library", "sm.warp_size", "sm.max_warps", "sm.schedulers", "power.clock_exponent")
"""Where the physics wants one number for all rows, or fields bound each other in other ways than by order."""


@dataclass(frozen=True)
class Field:
    """One value of a machine."""

    path: str
    """As in the file: `l2.capacity`."""
    steps: tuple[str, ...]
    """Attributes and dictionary keys that lead there: `('l2', 'capacity_bytes')`."""
    kind: Literal["float", "int", "text", "bool"]
    dimension: Dimension | None
    columnar: bool
    """Whether many machines that differ in this value can be timed in one call."""

    @property
    def unit(self) -> str:
        """SI unit, `1` for counts and shares, `text`."""
        if self.dimension is not None:
            return self.dimension.si
        return "text" if self.kind in ("text", "bool") else "1"

    def read(self, machine: Machine) -> Any:
        """The machine's own value; None where it has none."""
        value: Any = machine
        for step in self.steps:
            if value is None:
                return None
            value = _below(value, step)
        return value

    def write(self, value: Any) -> str:
        """The value as an arch file has it, quantities with their unit."""
        if self.dimension is not None:
            return units.format(float(value), self.dimension)
        return str(round(value)) if self.kind == "int" else str(value)


def field_of(path: str, machine: Machine) -> Field:
    """The field at a dotted path.

    Raises:
        SimexploreError: the machine's schema has none there; `expected …, found …`, with the nearest keys.
    """
    former = expected_name(path) or (told(NEW_KEYS[path]) if path in NEW_KEYS else None)
    if former is not None:
        raise SimexploreError(f"expected {former}, found {show(path)}")
    current: Any = type(machine)
    holder: Any = machine
    steps: list[str] = []
    metadata: tuple[Any, ...] = ()
    for key in path.split("."):
        known = _keys(current, holder)
        if key not in known:
            raise SimexploreError(_unknown(path, key, known))
        name, current, metadata = known[key]
        if isinstance(holder, Device) and name not in type(holder).model_fields:
            steps.append("arch")  # what a system's file changes of it stands beside the device's own keys
            holder = holder.arch
        holder = None if holder is None else _below(holder, name)
        steps.append(name)
    if _keys(current) or get_origin(current) not in (None, Literal):
        raise SimexploreError(f"expected the path of one value, found {show(path)}, which holds {_listed(current)}")
    quantity = next((extra for extra in metadata if isinstance(extra, Quantity)), None)
    kind = _kind(current)
    field = Field(path, tuple(steps), kind, quantity.dimension if quantity else None, columnar=False)
    number = isinstance(field.read(machine), int | float) and kind in ("float", "int")
    fixed = any(path == fixed or path.startswith(f"{fixed}.") for fixed in _NOT_COLUMNS)
    return Field(path, field.steps, kind, field.dimension, isinstance(machine, Gpu) and number and not fixed)


def leaf_fields(machine: Machine) -> dict[str, Field]:
    """Every number that a machine has, by its path."""
    found: dict[str, Field] = {}
    for path in _leaf_paths(type(machine), machine, ""):
        field = field_of(path, machine)
        if isinstance(field.read(machine), int | float) and field.kind in ("float", "int"):
            found[path] = field
    return found


def _leaf_paths(annotation: Any, value: Any, prefix: str) -> Iterator[str]:
    for key, (name, inner, _) in _keys(annotation, value).items():
        of_arch = isinstance(value, Device) and name not in type(value).model_fields
        below = _below(value.arch if of_arch else value, name)
        if below is None:
            continue
        if _keys(inner, below):
            yield from _leaf_paths(inner, below, f"{prefix}{key}.")
        elif get_origin(inner) is None:
            yield f"{prefix}{key}"


def _below(holder: Any, name: str) -> Any:
    """An entry of a dictionary or a record; None where it is missing, or a section that the machine lacks."""
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name) if has(holder, name) else None


def with_columns(machine: Machine, columns: Mapping[Field, Any]) -> Machine:
    """The machine with other values: numbers, or arrays of shape (rows, 1) while candidates are chosen, (rows,) after.

    Nothing is validated.
    """
    tree: dict[str, Any] = {}
    for field, values in columns.items():
        branch = tree
        for step in field.steps[:-1]:
            branch = branch.setdefault(step, {})
        branch[field.steps[-1]] = values
    placed: Machine = _placed(machine, tree)
    return placed


def _placed(holder: Any, tree: Mapping[str, Any]) -> Any:
    if isinstance(holder, Mapping):
        return {**holder, **{key: _leaf(holder.get(key), value) for key, value in tree.items()}}
    return holder.model_copy(update={key: _leaf(getattr(holder, key), value) for key, value in tree.items()})


def _leaf(old: Any, new: Any) -> Any:
    return _placed(old, new) if isinstance(new, dict) else new


def _keys(annotation: Any, holder: Any = None) -> dict[str, tuple[str, Any, tuple[Any, ...]]]:
    """YAML key -> (attribute, type, metadata) of what lies below a record or a dictionary of quantities.

    Of a device, also what lies below its arch; of a dictionary whose names are the file's own, those of `holder`.
    """
    if isinstance(holder, Device):
        own = {key: found for key, found in _keys(Device).items() if key != "arch"}
        return {"arch": ("arch", str, ()), **_keys(type(holder.arch)), **own}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {
            info.alias or name: (name, *_bare(info.annotation, tuple(info.metadata)))
            for name, info in annotation.model_fields.items()
        }
    if get_origin(annotation) is dict:
        words, value = get_args(annotation)
        known = get_args(words) or (holder if value in NAMED_BY_FILES and isinstance(holder, Mapping) else ())
        return {word: (word, *_bare(value, ())) for word in known}
    return {}


def _bare(annotation: Any, metadata: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """A type without `Annotated` and `| None`, and the annotations that were taken off."""
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        return _bare(inner, (*metadata, *extra))
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _bare(parts[0], metadata)
    return annotation, metadata


def _kind(annotation: Any) -> Literal["float", "int", "text", "bool"]:
    kinds: dict[Any, Literal["float", "int", "bool"]] = {float: "float", int: "int", bool: "bool"}
    return kinds.get(annotation, "text")


def _unknown(path: str, key: str, known: Mapping[str, Any]) -> str:
    if not known:
        return f"expected the path of a value of the machine, found {show(path)}, which goes beyond one"
    return f"expected one of the machine's keys {', '.join(sorted(known))}, found {show(key)}{nearest(key, [*known])}"


def _listed(annotation: Any) -> str:
    return ", ".join(sorted(_keys(annotation))) or "a list"
