"""The machine that a command is asked for, with what its user should know of it on stderr."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simexplore.archs.engines import of_engine
from simexplore.archs.load import machine_of, overridden, resolve
from simexplore.archs.merge import Layer
from simexplore.archs.provenance import own_keys, warnings
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.archs.views.machines import is_system, system_of_layer
from simexplore.cli.output import note


@dataclass(frozen=True)
class Loaded:
    """A machine, and what of it is its user's own."""

    machine: Gpu | System
    warnings: tuple[str, ...]
    """What depends on values of the user's own and was not changed with them, a line each."""
    own: tuple[str, ...]
    """Dotted keys of those values."""

    @property
    def gpu(self) -> Gpu:
        """The machine itself, or the first GPU of a system."""
        return self.machine if isinstance(self.machine, Gpu) else self.machine.place().gpu

    def without_correction(self) -> Gpu | System:
        """The machine by its physics alone."""
        if isinstance(self.machine, Gpu):
            return self.machine.physics_only()
        devices = {
            name: device.model_copy(update={"arch": device.arch.physics_only()})
            if isinstance(device.arch, Gpu)
            else device
            for name, device in self.machine.devices.items()
        }
        return self.machine.model_copy(update={"devices": devices})

    @property
    def why_uncorrected(self) -> str:
        """Why a learned correction fades or is left out; nothing where no value was changed."""
        changed = ", ".join(self.own[:3]) + (f" and {len(self.own) - 3} more" if len(self.own) > 3 else "")
        return f"the machine is not the one that it was learned on: {changed}" if self.own else ""


def load(arch: str, overrides: Mapping[str, str], engine: str | None = None) -> Loaded:
    """A GPU by name or file with overrides and an engine's kernels; its warnings are printed.

    Raises:
        SimexploreError: as `archs.load.load_arch`.
    """
    return _of_gpu(resolve(arch, overrides, engine))


def _of_gpu(layer: Layer) -> Loaded:
    gpu = machine_of(layer)
    own = own_keys(layer)
    loaded = Loaded(gpu, tuple(warnings(layer, own)), tuple(own))
    for line in loaded.warnings:
        note(f"warning: {line}")
    return loaded


def load_any(arch: str, overrides: Mapping[str, str], engine: str | None = None) -> Loaded:
    """A GPU, or a system of devices and links, by name or file.

    Raises:
        SimexploreError: as `archs.views.machines.load_machine`.
    """
    layer = resolve(arch)
    if not is_system(layer):  # whose files have been read
        return _of_gpu(overridden(layer if engine is None else of_engine(layer, engine), overrides))
    return Loaded(system_of_layer(overridden(layer, overrides), engine), (), tuple(overrides))
