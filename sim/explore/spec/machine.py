"""The machine of a sweep, read once: what is read later from the same files may be another."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simexplore.archs.load import machine_of, resolve
from simexplore.archs.merge import Layer
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.units import show
from simexplore.errors import SimexploreError


@dataclass(frozen=True)
class ReadMachine:
    """A machine as its files, their parents and its learned correction were at one moment."""

    written: str
    """As the sweep's file names it."""
    source: str
    """Its name, or the absolute path of its file."""
    gpu: Gpu
    layer: Layer
    """Its data, all files merged, without the learned correction, which no variant keeps."""

    def told(self) -> Mapping[str, Any]:
        """What a sweep's store keeps: the data itself, and of the learned correction its check sum."""
        data = copy.deepcopy(self.layer.data)
        calibration = self.gpu.calibration
        if calibration is not None and calibration.residual is not None:
            data["calibration"]["residual"] = f"sha256:{calibration.residual.digest}"
        fitted = {key: source for key, source in data.get("sources", {}).items() if "calibrated" in str(source)}
        return {"name": data.get("name", self.written), "from": self.written, "data": data, "calibration": fitted}


def read_machine(written: str, source: str, engine: str | None = None) -> ReadMachine:
    """The machine of a name or file, with the kernels of an engine or those of its first.

    Raises:
        SimexploreError: as `load_arch`; it is no GPU.
    """
    layer = resolve(source, engine=engine)
    gpu = machine_of(layer)
    if not isinstance(gpu, Gpu):
        raise SimexploreError(f"expected a GPU, found {show(written)}, which describes something else")
    data = copy.deepcopy(layer.data)
    if isinstance(calibration := data.get("calibration"), dict):
        calibration.pop("residual", None)
    return ReadMachine(written, source, gpu, Layer(data, layer.places))
