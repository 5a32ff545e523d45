"""The machine of a sweep, read once: what is read later from the same files may be another."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simexplore.archs.load import machine_of, resolve
from simexplore.archs.merge import Layer
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.archs.views.machines import is_system, system_of_layer


@dataclass(frozen=True)
class ReadMachine:
    """A machine as its files, their parents and its learned correction were at one moment."""

    written: str
    """As the sweep's file names it."""
    source: str
    """Its name, or the absolute path of its file."""
    machine: Gpu | System
    layer: Layer
    """Its data, all files merged, without the learned correction and its kin's: those are in `lenders`."""

    @property
    def lenders(self) -> tuple[Gpu, ...]:
        """The machines whose learned corrections serve its variants; a system's devices have their own."""
        return self.machine.lenders if isinstance(self.machine, Gpu) else ()

    def told(self) -> Mapping[str, Any]:
        """What a sweep's store keeps: the data itself, and of the learned correction its check sum."""
        data = copy.deepcopy(self.layer.data)
        gpu = self.machine
        if isinstance(gpu, Gpu) and (told := _check_sum(gpu)):
            data["calibration"]["residual"] = told
        if isinstance(gpu, Gpu) and gpu.kin is not None:
            data["kin"] = " ".join([gpu.kin, *(_check_sum(kin) for kin in gpu.lenders[1:])])
        fitted = {key: source for key, source in data.get("sources", {}).items() if "calibrated" in str(source)}
        name = data.get("name", self.written)
        return {"name": name, "from": self.written, "source": self.source, "data": data, "calibration": fitted}


def _check_sum(gpu: Gpu) -> str:
    """Of a machine's learned correction; nothing where it has none."""
    residual = gpu.calibration.residual if gpu.calibration is not None else None
    return "" if residual is None else f"sha256:{residual.digest}"


def read_machine(written: str, source: str, engine: str | None = None) -> ReadMachine:
    """The GPU or system of a name or file, with the kernels of an engine or those of its first.

    Raises:
        SimexploreError: as `load_machine`.
    """
    layer = resolve(source)
    if is_system(layer):
        return ReadMachine(written, source, system_of_layer(layer, engine), layer)
    layer = resolve(source, engine=engine)
    gpu = machine_of(layer)
    data = copy.deepcopy(layer.data)
    if isinstance(calibration := data.get("calibration"), dict):
        calibration.pop("residual", None)
    data.pop("kin", None)
    return ReadMachine(written, source, gpu, Layer(data, layer.places))


def made_of(layer: Layer, lenders: tuple[Gpu, ...]) -> Gpu | System:
    """The machine that merged plain data describes, served by the learned corrections of others.

    A system's devices are read from their own files.

    Raises:
        SimexploreError: as `machine_of` and `system_of_layer`.
    """
    return system_of_layer(layer) if is_system(layer) else machine_of(layer).lent_by(*lenders)
