"""Plain data from several places laid over each other, remembering where each key came from. No file is read here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from simexplore.archs.units import nearest, one_line, show
from simexplore.errors import SimexploreError

KeyPath = tuple[str | int, ...]
_HOLDERS = (dict, list)


@dataclass(frozen=True)
class Layer:
    """Plain data (dict, list, str, int, float, bool, None) and the place that each key was written, as `file:line`."""

    data: Any
    places: Mapping[KeyPath, str]
    files: tuple[str, ...] = ()
    """Those that were laid over each other, the oldest first."""

    def place(self, path: KeyPath) -> str:
        """Where a key was written; where it is not, the nearest key around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path, "")


def dotted(path: KeyPath) -> str:
    """`('sm', 'tensor', 'bf16')` as `sm.tensor.bf16`; what is not a short plain word is quoted, on one line."""
    return ".".join(str(key) if _is_plain(key) else show(key) for key in path) or "top level"


def _is_plain(key: str | int) -> bool:
    return isinstance(key, int) or (len(key) <= 60 and key.replace("-", "_").isidentifier())


def overlay(base: Layer, *overs: Layer) -> Layer:
    """Deep merge, each over those before: mappings by key, anything else replaced; null takes away a key that is there.

    What is returned shares nothing with the layers.
    """
    data, places, files = _copied(base.data), dict(base.places), base.files
    for over in overs:
        data = _merged(data, over.data, (), places, over.places)
        files = (*(file for file in files if file not in over.files), *over.files)
    return Layer(data, places, files)


def _copied(data: Any) -> Any:
    """Plain data once more; `copy.deepcopy` takes four times as long, for it looks for what is there twice."""
    if isinstance(data, dict):
        return {key: _copied(value) for key, value in data.items()}
    return [_copied(value) for value in data] if isinstance(data, list) else data


def _merged(base: Any, over: Any, path: KeyPath, places: dict[KeyPath, str], over_places: Mapping[KeyPath, str]) -> Any:
    if not isinstance(base, _HOLDERS) and not isinstance(over, _HOLDERS):  # most are single values
        places.pop(path, None)
        if path in over_places:
            places[path] = over_places[path]
        return over
    if not (isinstance(base, dict) and isinstance(over, dict)):
        for key in _paths(base, path):
            places.pop(key, None)
        places.update({key: over_places[key] for key in _paths(over, path) if key in over_places})
        return _copied(over)
    places[path] = over_places[path]
    for key, value in over.items():
        below = (*path, key)
        if value is None and key in base:
            del base[key]
            places[below] = over_places[below]
        else:
            base[key] = _merged(base.get(key), value, below, places, over_places)
    return base


def _paths(value: Any, path: KeyPath) -> Iterator[KeyPath]:
    """The path of a value and those of everything below it."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _paths(inner, (*path, position))


def as_text(value: object, key: str) -> str:
    """A value of Python as it would stand in a file.

    Raises:
        SimexploreError: it is neither a text nor a number.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    raise SimexploreError(f"--set {key}: expected a number, or a text such as '36 MiB', found {show(value)}")


def override(base: Layer, key: str, value: Any) -> Layer:
    """One `--set key=value` laid over a machine; dictionary keys are made, list positions must exist."""
    place = f"--set {one_line(key)}"
    path = tuple(key.split("."))
    if not all(path):
        raise SimexploreError(f"{place}: expected a dotted path such as 'l2.capacity', found {show(key)}")
    data = _copied(base.data)
    places = dict(base.places)
    holder: Any = data
    walked: KeyPath = ()
    for step in path[:-1]:
        holder = _enter(holder, step, walked, place)
        walked = (*walked, step)
    _assign(holder, path[-1], value, walked, place)
    real = _real_path(data, path)
    for below in [old for old in places if old[: len(real)] == real]:
        del places[below]
    for length in range(1, len(real)):
        places.setdefault(real[:length], place)
    places[real] = place
    return Layer(data, places, base.files)


def _enter(holder: Any, step: str, walked: KeyPath, place: str) -> Any:
    """The mapping or list under `step`, made when the mapping has none yet."""
    if isinstance(holder, list):
        return holder[_position(holder, step, walked, place)]
    if not isinstance(holder, dict):
        raise SimexploreError(f"{place}: expected a path to a value, found that {dotted(walked)} is {show(holder)}")
    if holder.get(step) is None:
        holder[step] = {}
    return holder[step]


def _assign(holder: Any, step: str, value: Any, walked: KeyPath, place: str) -> None:
    if isinstance(holder, list):
        holder[_position(holder, step, walked, place)] = value
    elif not isinstance(holder, dict):
        raise SimexploreError(f"{place}: expected a path to a value, found that {dotted(walked)} is {show(holder)}")
    elif value is None:
        holder.pop(step, None)
    else:
        holder[step] = value


def _position(holder: list[Any], step: str, walked: KeyPath, place: str) -> int:
    if not step.isdecimal() or len(step) > 9 or int(step) >= len(holder):
        raise SimexploreError(
            f"{place}: expected a position from 0 to {len(holder) - 1} in {dotted(walked)}, found {show(step)}"
        )
    return int(step)


def _real_path(data: Any, path: tuple[str, ...]) -> KeyPath:
    """The path with positions in lists as integers, as validation errors name them."""
    real: list[str | int] = []
    for step in path:
        is_list = isinstance(data, list)
        real.append(int(step) if is_list else step)
        data = data[real[-1]] if is_list or (isinstance(data, dict) and step in data) else None
    return tuple(real)


def leaf_paths(data: Any, path: KeyPath = ()) -> list[KeyPath]:
    """Paths of everything that is neither mapping nor list, and of empty lists, which say that there is none."""
    if isinstance(data, dict):
        return [leaf for key, value in data.items() for leaf in leaf_paths(value, (*path, key))]
    if isinstance(data, list) and data:
        return [leaf for index, value in enumerate(data) for leaf in leaf_paths(value, (*path, index))]
    return [path]


def nearest_path(path: KeyPath, data: Any) -> str:
    """` (did you mean 'l2.capacity'?)` for a path that is near a written one, or ends with the same key."""
    written = [dotted(leaf) for leaf in leaf_paths(data) if leaf[: len(path)] != path and leaf[0] != "sources"]
    suggestion = nearest(dotted(path), written)
    same_end = [name for name in written if name.split(".")[-1] == str(path[-1])]
    return suggestion or (f" (did you mean {same_end[0]!r}?)" if same_end else "")
