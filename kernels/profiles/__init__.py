"""Profiles that users already have, as measurements: `import_profile("nsys", path)`.

A reader is one module with one line in `READERS`. Kernels become rows where the profile says what they computed; all
others are listed with their count, their time and the reason why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles.tally import Imported, Tally
from simexplore.workloads.hints import did_you_mean

READERS: Mapping[str, str] = MappingProxyType(
    {
        "ncu": "simexplore.kernels.profiles.ncu:read",
        "nsys": "simexplore.kernels.profiles.nsys:read",
        "kineto": "simexplore.kernels.profiles.kineto.reader:read",
    }
)
"""Kind of profile → `module:function` that tallies a file."""


def import_profile(
    kind: str, path: Path, device: str | None = None, taken: Mapping[str, str] | None = None
) -> Imported:
    """The rows of a profile, one for each distinct operator, and what could not be matched.

    Args:
        kind: one of `READERS`.
        path: the exported profile.
        device: name for the `device` column where the profile's own is not wanted.
        taken: how kernels were run where that was not the profiler's default: words of `measurement.TAKEN` by column.

    Raises:
        SimexploreError: an unknown kind, no such file, or a file that is not such a profile.
    """
    if kind not in READERS:
        raise SimexploreError(
            f"import: expected one of {', '.join(READERS)}, found {kind!r}{did_you_mean(kind, READERS)}"
        )
    if not path.is_file():
        raise SimexploreError(f"{path}: expected a file, found {'a directory' if path.is_dir() else 'nothing'}")
    module, _, function = READERS[kind].partition(":")
    read: Callable[[Path, Tally], None] = getattr(import_module(module), function)
    tally = Tally(kind, device)
    read(path, tally)
    tally.taken = {**tally.taken, **(taken or {})}
    return tally.imported()
