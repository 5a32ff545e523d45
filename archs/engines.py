"""A machine with the kernels of another engine: `engines.NAME` of its file laid over `library` and `calibration`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from simexplore.archs.merge import KeyPath, Layer, leaf_paths, overlay
from simexplore.archs.units import nearest, show
from simexplore.errors import SimexploreError

SECTIONS = ("library", "calibration")


def engines_of(layer: Layer) -> tuple[str, ...]:
    """The engines of a machine: the one that `library` tells of, then the others."""
    own = layer.data.get("engine")
    others = layer.data.get("engines")
    return (*([own] if own else []), *(others if isinstance(others, dict) else ()))


def of_engine(layer: Layer, engine: str) -> Layer:
    """The machine's plain data as it is with an engine's kernels, `sources` included.

    What was learned of the kernels in `library` is left out with them: `calibration` is the engine's own.

    Raises:
        SimexploreError: the machine runs no such engine; names those that it does.
    """
    if engine == layer.data.get("engine"):
        return layer
    others = layer.data.get("engines")
    if not isinstance(others, dict) or engine not in others:
        known = engines_of(layer)
        listed = f"one of its engines {', '.join(known)}" if known else "none: its file lists no engines"
        raise SimexploreError(
            f"{layer.data.get('name', 'the machine')}: expected as engine {listed}, found {show(engine)}"
            f"{nearest(engine, list(known))}"
        )
    base = {key: value for key, value in layer.data.items() if key != "calibration"}
    return overlay(Layer(base, layer.places, layer.files), _own_part(layer, engine))


def _own_part(layer: Layer, engine: str) -> Layer:
    """What a file says of one engine, as if it said it of the machine."""
    above: KeyPath = ("engines", engine)
    written = layer.data["engines"][engine]
    part = written if isinstance(written, dict) else {}
    data: dict[str, Any] = {"engine": engine, **{key: part[key] for key in SECTIONS if key in part}}
    places = {path[2:]: place for path, place in layer.places.items() if path[:2] == above and len(path) > 2}
    places |= {(): layer.place(()), ("engine",): layer.place(above)}
    sources = layer.data.get("sources")
    cited = dict(_cited(sources if isinstance(sources, dict) else {}, f"engines.{engine}", data))
    if cited:
        data["sources"] = {key: sources[of] for key, of in cited.items()}
        places[("sources",)] = layer.place(("sources",))
        places |= {("sources", key): layer.place(("sources", of)) for key, of in cited.items()}
    return Layer(data, places)


def _cited(sources: Mapping[str, Any], section: str, data: Any) -> Iterator[tuple[str, str]]:
    """Keys of the machine that a source of an engine speaks for, each with that source's own key.

    One of the whole engine speaks for what the engine changes, not for what it leaves as it is.
    """
    if section in sources:
        for leaf in leaf_paths(data):
            yield ".".join(str(step) for step in leaf if not isinstance(step, int)), section
    for key in sources:
        if str(key).startswith(f"{section}."):
            yield key.removeprefix(f"{section}."), key
