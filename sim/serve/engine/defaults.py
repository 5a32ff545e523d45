"""What serving engines do when nobody tells them otherwise: `engines.json`, each value with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple

from simexplore.errors import SimexploreError
from simexplore.sim.serve.engine.machines import SHARES, Where, value_for
from simexplore.sim.serve.engine.settings import HostCosts, Settings
from simexplore.workloads.hints import did_you_mean, found

PLAIN = "vllm"
"""Whose ways an engine has that is not among them."""
CHOICES = {"batching": ("continuous", "static"), "eviction": ("recompute", "swap")}
OF_MEMORY = ("memory_share", "share_of_all", "activations_within")
"""What decides how many pages there are, and is no setting of the engine itself."""
_MADE = ("pages", "swap_s", "host", "graph_sizes", "block_tokens")
"""Settings that follow from the machine or the trace."""


class Room(NamedTuple):
    """What of a GPU's memory an engine uses.

    Args:
        memory_share: of it.
        share_of_all: whether that is of all memory; else of what weights and activations leave.
        activations_within: whether activations are in that share too; else in the rest.
    """

    memory_share: float
    share_of_all: bool = False
    activations_within: bool = True


@cache
def _known() -> Mapping[str, Any]:
    text = (files("simexplore.sim.serve.engine") / "engines.json").read_text(encoding="utf-8")
    known: Mapping[str, Any] = MappingProxyType(json.loads(text))
    return known


def defaults(engine: str, where: Where | None = None) -> dict[str, Any]:
    """Settings and host costs of an engine by name on a machine, those of `PLAIN` where it is not known.

    Without a machine they are those of a GPU of the class of the H100.
    """
    entries = _known().get(engine, _known()[PLAIN])
    values = {name: value_for(entry, where) for name, entry in entries.items()}
    most = values.pop("graph_most", None)
    values["graph_sizes"] = tuple(size for size in values["graph_sizes"] if most is None or size <= most)
    return values


def settings_of(engine: str, given: Mapping[str, str], where: Where | None = None) -> tuple[Settings, Room]:
    """An engine's settings without its pages, and what of the memory it uses.

    Args:
        engine: its name.
        given: what a user says instead of the defaults, as text.
        where: the machine; None: one of the class of the H100.

    Raises:
        SimexploreError: an unknown setting, or a value that it can't have.
    """
    values = {**defaults(engine, where), **{name: _read(name, text) for name, text in given.items()}}
    rule = _known().get(engine, _known()[PLAIN])["memory_share"].get("rule")
    if rule is not None and where is not None and "memory_share" not in given:
        values["memory_share"] = SHARES[rule](where, values["max_tokens"], max(values["graph_sizes"]))
    room = Room(*(values.pop(name) for name in OF_MEMORY))
    if not 0.0 < room.memory_share <= 1.0:
        raise SimexploreError(f"memory_share: expected a share above 0, up to 1, found {room.memory_share:g}")
    if "eviction" in given and values["reserve"] == 1.0:
        raise SimexploreError(
            "eviction: expected where reserve is below 1, found it where it is 1 and nobody is evicted: leave it out, "
            "or set reserve too"
        )
    of_host = {field.name for field in fields(HostCosts)}
    host = HostCosts(**{name: value for name, value in values.items() if name in of_host})
    rest = {name: value for name, value in values.items() if name not in of_host}
    return replace(Settings(host=host), **rest), room


def names() -> dict[str, type]:
    """The settings that a user may give, with their types."""
    told: dict[str, type] = {"memory_share": float, "share_of_all": bool, "activations_within": bool}
    plain, host = Settings(), HostCosts()
    told |= {field.name: type(getattr(plain, field.name)) for field in fields(Settings) if field.name not in _MADE}
    return told | {field.name: type(getattr(host, field.name)) for field in fields(HostCosts)}


def _read(name: str, text: str) -> Any:
    known = names()
    if name not in known:
        raise SimexploreError(
            f"expected one of the settings {', '.join(known)}, found {found(name)}{did_you_mean(name, known)}"
        )
    kind = known[name]
    if kind is str:
        if text not in CHOICES[name]:
            raise SimexploreError(f"{name}: expected {' or '.join(CHOICES[name])}, found {found(text)}")
        return text
    if kind is bool:
        if text not in ("true", "false"):
            raise SimexploreError(f"{name}: expected true or false, found {found(text)}")
        return text == "true"
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1e12:
        raise SimexploreError(
            f"{name}: expected {'an integer' if kind is int else 'a number'} of 0 or more, found {found(text)}"
        )
    return value
