"""Arch files as text: values under their dotted keys, each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """`{'l2.capacity': x}` as `{'l2': {'capacity': x}}`."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, last = key.split(".")
        below = tree
        for section in sections:
            below = below.setdefault(section, {})
        below[last] = value
    return tree


def sections(tree: Mapping[str, Any], sources: Mapping[str, str]) -> list[str]:
    """Lines of a file's sections, an empty one before each, and last `sources:`."""
    lines = [line for section, values in tree.items() for line in ("", f"{section}:", *_indented(values, 1))]
    return [*lines, "", "sources:", *(f"  {key}: {quoted(source)}" for key, source in sources.items())]


def _indented(values: Mapping[str, Any], depth: int) -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += [f"{'  ' * depth}{key}:", *_indented(value, depth + 1)]
        else:
            lines.append(f"{'  ' * depth}{key}: {'null' if value is None else value}")
    return lines


def quoted(text: str) -> str:
    """Text as YAML reads it back, whatever is in it; on one line."""
    return "'" + text.replace("'", "''") + "'"
