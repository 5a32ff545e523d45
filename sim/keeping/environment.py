"""What evaluates points: versions that decide results, the same wherever chunks of one sweep are evaluated."""

from __future__ import annotations

import hashlib
import platform
import socket
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from simexplore.errors import SimexploreError

_ROOMS = ("archs", "workloads", "sim")
_ASIDE = ("compare", "learn", "report", "studies")
"""Folders of `sim` that no point's result depends on."""


class UnfitError(SimexploreError):
    """A worker that would give other results than the process that sends the points, or none."""


@lru_cache(maxsize=1)
def here() -> Mapping[str, str]:
    """Versions of this process: of simexplore and its code, Python and numpy."""
    return {
        "simexplore": _version("simexplore"),
        "code": code_digest(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": _version("numpy"),
    }


def check_same(wanted: Mapping[str, str]) -> None:
    """Hold this process against the one that sends points.

    Raises:
        UnfitError: it has other versions.
    """
    for name, value in wanted.items():
        found = here().get(name, "unknown")
        if found != value:
            raise UnfitError(
                f"the worker on {socket.gethostname()} has {name} {found}, and this command has {value}: "
                "install the same on both"
            )


def versions(libraries: tuple[str, ...]) -> dict[str, str]:
    """What a sweep's results depend on, with the libraries that its sampler needs, as far as they are installed."""
    return {**here(), "python": platform.python_version(), **{name: _version(name) for name in libraries}}


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Of the source of all that a point's result may depend on, and of the data that lies beside it."""
    digest = hashlib.sha256()
    for room in _ROOMS:
        home = Path(import_module(f"simexplore.{room}").__file__ or "").parent
        for file in sorted([*home.rglob("*.py"), *home.rglob("*.json")]):
            if file.relative_to(home).parts[0] in _ASIDE:
                continue
            digest.update(file.relative_to(home).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
