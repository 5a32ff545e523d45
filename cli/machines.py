"""The machine that a command is asked for, with what its user should know of it on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simexplore.archs.load import machine_of, resolve
from simexplore.archs.provenance import own_keys, warnings
from simexplore.archs.schema.gpu import Gpu
from simexplore.cli.output import note


@dataclass(frozen=True)
class Loaded:
    """A machine, and what of it is its user's own."""

    gpu: Gpu
    warnings: tuple[str, ...]
    """What depends on values of the user's own and was not changed with them, a line each."""
    own: tuple[str, ...]
    """Dotted keys of those values."""

    @property
    def why_uncorrected(self) -> str:
        """Why a learned correction fades or is left out; nothing where no value was changed."""
        changed = ", ".join(self.own[:3]) + (f" and {len(self.own) - 3} more" if len(self.own) > 3 else "")
        return f"the machine is not the one that it was learned on: {changed}" if self.own else ""


def load(arch: str, overrides: Mapping[str, str], engine: str | None = None) -> Loaded:
    """A machine by name or file with overrides and an engine's kernels; its warnings are printed.

    Raises:
        SimexploreError: as `archs.load.load_arch`.
    """
    layer = resolve(arch, overrides, engine)
    gpu = machine_of(layer)
    own = own_keys(layer)
    loaded = Loaded(gpu, tuple(warnings(layer, own)), tuple(own))
    for line in loaded.warnings:
        note(f"warning: {line}")
    return loaded
