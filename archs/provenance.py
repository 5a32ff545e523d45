"""Whose number a number is: a citation speaks only for values as old as itself, or older.

A file that extends another and changes a value takes it from under the other's citation. What no citation covers any
more is the author's own, and where something else depends on it, that may have to change too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from simexplore.archs.merge import KeyPath, Layer, leaf_paths

WORDS = frozenset(
    (
        "kind",
        "abstract",
        "name",
        "description",
        "vendor",
        "generation",
        "chip",
        "kin",
        "compute_capability",
        "kin",
        "engine",
        "sources",
    )
)
"""Keys that need no source: they name things."""

DEPENDENTS: Mapping[str, tuple[str, ...]] = {
    "dram.technology": ("energy.dram", "dram.latency", "dram.efficiency"),
    "clock.boost": ("clock.max", "l2.bandwidth"),
    "sm.count": ("l2.bandwidth", "power.tdp"),
    "l2.capacity": ("l2.near_latency", "l2.far_latency"),
    "l2.partitions": ("l2.far_latency",),
    "sm.shared_memory": ("sm.latency.shared",),
}
"""What follows from a value in silicon, though the file states it apart: a memory's energy from its technology, a
latency in SM clocks from the clock, the slices of an L2 and the power limit from how many SMs draw on them."""


def told(layer: Layer) -> dict[str, str]:
    """`sources` of merged data, with entries for values that would otherwise be taken for somebody else's.

    An entry is the citation that holds for the value, or `own value, file:line`, or `--set`.
    """
    written = _sources(layer)
    found = dict(written)
    for key, (citation, place) in _covered(layer, written).items():
        if citation is None:
            found[key] = _own(place)
        elif citation != _longest(key, written):
            found[key] = written[citation]
    return found


def own_keys(layer: Layer) -> dict[str, str]:
    """Dotted keys of the values that no source covers, and where each was written."""
    covered = _covered(layer, _sources(layer))
    return {key: place for key, (citation, place) in covered.items() if citation is None}


def warnings(layer: Layer, own: Iterable[str] | None = None) -> list[str]:
    """A line for each value of one's own on which others depend that are still those of the file it extends.

    Args:
        layer: the machine's data.
        own: its `own_keys`, where they are known.
    """
    places = {_key(path): layer.place(path) for path in leaf_paths(layer.data)}
    position = {file: age for age, file in enumerate(layer.files)}
    lines = []
    for key in own_keys(layer) if own is None else own:
        age = _age(places[key], position)
        older = [other for other in DEPENDENTS.get(key, ()) if other in places and _age(places[other], position) < age]
        if older:
            files = " and ".join(dict.fromkeys(_short(places[other]).rpartition(":")[0] for other in older))
            lines.append(f"{key} is your own, and what depends on it is as in {files}: {', '.join(older)}")
    return lines


def _covered(layer: Layer, sources: Mapping[str, str]) -> dict[str, tuple[str | None, str]]:
    """Key -> the longest key of `sources` that speaks for it, if any, and the place of its value."""
    position = {file: age for age, file in enumerate(layer.files)}
    ages = {key: _age(layer.place(("sources", key)), position) for key in sources}
    found: dict[str, tuple[str | None, str]] = {}
    for path in leaf_paths(layer.data):
        if path and path[0] not in WORDS and (key := _key(path)) not in found:
            place = layer.place(path)
            age = _age(place, position)
            citation = next((prefix for prefix in _prefixes(key) if ages.get(prefix, -1) >= age), None)
            found[key] = (citation, place)
    return found


def _longest(key: str, sources: Mapping[str, str]) -> str | None:
    return next((prefix for prefix in _prefixes(key) if prefix in sources), None)


def _prefixes(key: str) -> Iterator[str]:
    """The key and all keys around it, longest first."""
    parts = key.split(".")
    return (".".join(parts[:length]) for length in range(len(parts), 0, -1))


def _key(path: KeyPath) -> str:
    """Dotted key of a value; entries of a list go by the list's."""
    words = []
    for step in path:
        if isinstance(step, int):
            break
        words.append(step)
    return ".".join(words)


def _sources(layer: Layer) -> dict[str, Any]:
    sources = layer.data.get("sources")
    return sources if isinstance(sources, dict) else {}


def _age(place: str, position: Mapping[str, int]) -> int:
    """Position of a place's file from the oldest; what was set on the command line is younger than any."""
    file = place.rpartition(":")[0]
    return position.get(file, len(position))


def _own(place: str) -> str:
    return f"own value, {_short(place)}" if ":" in place else "--set"


def _short(place: str) -> str:
    file, colon, line = place.rpartition(":")
    return f"{Path(file).name}{colon}{line}" if colon else place
