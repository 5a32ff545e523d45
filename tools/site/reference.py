"""Reference pages that are written from the code: the public functions, the keys of an arch file, the operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import simexplore
from simexplore.archs.json_schema import json_schema
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import FAMILIES


def pages() -> dict[str, str]:
    """Each page's text by its file in the site."""
    return {
        "reference/python.md": python(),
        "reference/keys.md": keys(),
        "reference/operators.md": operators(),
    }


def python() -> str:
    """What `import simexplore` offers, each by the docstring of its home."""
    homes = [(name, getattr(simexplore, name)) for name in simexplore.__all__ if not name.startswith("_")]
    named = [f"::: {found.__module__}.{found.__qualname__}" for _, found in homes if hasattr(found, "__qualname__")]
    return "\n\n".join(["# Python", "What `import simexplore` offers.", *named]) + "\n"


def keys() -> str:
    """A table a section of the schema: key, unit, meaning."""
    schema = json_schema()
    lines = [
        "# Keys of an arch file",
        "Every key, with the unit of its value and what it means. A file that `extends` another states what differs.",
    ]
    for title, properties in _sections(schema):
        rows = [f"| `{key}` | {_unit(value)} | {_cell(value)} |" for key, value in properties.items()]
        lines.append("\n".join([f"## {title}", "", "| key | unit | meaning |", "|---|---|---|", *rows]))
    return "\n\n".join(lines) + "\n"


def _sections(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The top level, then every record of the schema, by the path of its first use."""
    known = schema["$defs"]
    waiting: list[tuple[str, Mapping[str, Any]]] = [("Top level", schema["properties"])]
    seen: set[str] = set()
    while waiting:
        path, properties = waiting.pop(0)
        yield path, properties
        for key, value in properties.items():
            for name in _records(value):
                if name not in seen and "properties" in known.get(name, {}):
                    seen.add(name)
                    below = key if path == "Top level" else f"{path}.{key}"
                    waiting.append((below, known[name]["properties"]))


def _records(value: Any) -> Iterator[str]:
    """Names of the records that a value may be."""
    if isinstance(value, Mapping):
        if isinstance(reference := value.get("$ref"), str):
            yield reference.rpartition("/")[2]
        for inner in value.values():
            yield from _records(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _records(inner)


def _unit(value: Mapping[str, Any]) -> str:
    unit = value.get("unit", "")
    return "" if unit in ("1", "text", "mapping") else str(unit)


def _cell(value: Mapping[str, Any]) -> str:
    return " ".join(str(value.get("description", "")).split()).replace("|", "\\|")


def operators() -> str:
    """A section a family: what it is, its parameters, an example."""
    lines = ["# Operators", "Families of operators by the name that they have everywhere, with their parameters."]
    for name, family in sorted(FAMILIES.items()):
        rows = [
            f"| `{parameter}` | {meaning.expected} | {meaning.description} |"
            for parameter, (_, meaning) in parameters_of(family).items()
        ]
        about = (family.__doc__ or "").strip().partition("\n\n")[0]
        table = ["| parameter | takes | meaning |", "|---|---|---|", *rows]
        lines.append("\n".join([f"## {name}", "", " ".join(about.split()), "", f"`{family.example}`", "", *table]))
    return "\n\n".join(lines) + "\n"
