"""`NAME@facts` and `NAME@family`: a machine without what measurements taught, or without what its own ones did.

A file with a `calibration:` was fitted to measured rows, and `calibration.of` names the machines that they are of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from simexplore.archs.merge import Layer
from simexplore.archs.names import arch_path, real_path, shipped_name
from simexplore.archs.units import nearest, show
from simexplore.errors import SimexploreError

VARIANTS = ("facts", "family")
WIDTHS = {"spread"}
"""What of a calibration tells only how far off others' lessons are: it moves no prediction, so it is of no machine."""
LeftOut = Callable[[Layer, Path], bool]
"""Whether a file, by its data and its path, is left out."""


def split_variant(name_or_path: str | Path) -> tuple[str | Path, str]:
    """A machine's name or path, and the variant asked for; empty where none is.

    Raises:
        SimexploreError: there is no such variant.
    """
    name, at_sign, variant = str(name_or_path).partition("@")
    if not at_sign:
        return name_or_path, ""
    if variant not in VARIANTS:
        known = " or ".join(f"{name}@{known}" for known in VARIANTS)
        hint = nearest(variant, list(VARIANTS)) if variant else ""
        raise SimexploreError(f"expected a machine such as {name}, {known}, found {show(str(name_or_path))}{hint}")
    return name, variant


def files_left_out(variant: str, asked: Layer, path: Path) -> LeftOut:
    """Which files a variant of the machine in `path` does without.

    `facts`: all that were fitted. `family`: those that were fitted to the machine itself, which is its file and, where
    that was fitted too, what it was fitted to; and those that do not say to what.
    """
    if variant == "facts":
        return lambda layer, _: any(True for _ in calibrations(layer))
    if variant == "family":
        itself = {real_path(path), *(_fitted_to(asked, path) or ())}
        return lambda layer, file: _taught_by_itself(layer, file, itself)
    return lambda _layer, _file: False


def _taught_by_itself(layer: Layer, file: Path, itself: set[Path]) -> bool:
    teachers = _fitted_to(layer, file)
    if teachers is None:
        return False
    return not teachers or bool(teachers & itself)


def _fitted_to(layer: Layer, path: Path) -> set[Path] | None:
    """The files of the machines whose rows a file was fitted to; none where it does not say, None where to no rows."""
    found: set[Path] | None = None
    for calibration in calibrations(layer):
        if isinstance(calibration, dict) and set(calibration) <= WIDTHS:
            continue
        named = calibration.get("of", ()) if isinstance(calibration, dict) else ()
        found = (found or set()) | {_machine(name, path) for name in ([named] if isinstance(named, str) else named)}
    return found


def _machine(name: Any, path: Path) -> Path:
    try:
        return real_path(arch_path(str(name), beside=path.parent))
    except SimexploreError as error:
        raise SimexploreError(f"{path}: calibration.of: {error}") from None


def fitted_machines(asked: Layer, path: Path) -> list[str]:
    """What a fit that begins with the machine in `path` is a fit of, as names or absolute files.

    That is what its own file says that it was fitted to, else the machine itself.
    """
    own = _fitted_to(asked, path) or {real_path(path)}
    return sorted(shipped_name(file) or str(file) for file in own)


def calibrations(layer: Layer) -> Iterator[Any]:
    """What a file says of measurements: of the machine's own kernels, and of other engines'."""
    data = layer.data if isinstance(layer.data, dict) else {}
    engines = data.get("engines")
    for holder in (data, *(engines.values() if isinstance(engines, dict) else ())):
        if isinstance(holder, dict) and "calibration" in holder:
            yield holder["calibration"]
