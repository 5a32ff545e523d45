"""Which rows of a table were measured on a machine of this name."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from simexplore.archs.schema.gpu import Gpu


def device_warnings(gpu: Gpu, frame: pd.DataFrame) -> Iterator[str]:
    """One line for each measured device whose name does not have this machine's model in it (`H200`, `3090`)."""
    for device, count in frame["device"].value_counts().items():
        if not _names(str(device), gpu):
            yield f"{count} rows were measured on {device}, the machine is {gpu.name}"


def _names(device: str, gpu: Gpu) -> bool:
    """Whether a measured device's name has this machine's model in it."""
    model = next((word for word in gpu.name.lower().split() if re.search(r"\d", word)), gpu.name.lower())
    return any(word.endswith(model) for word in re.split(r"[^a-z0-9]+", device.lower()))


def measured_here(gpu: Gpu, frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Which rows are this machine's: those whose device is named after it, or all of the only device there is."""
    devices = frame["device"].unique()
    mine = [device for device in devices if _names(str(device), gpu)]
    return np.asarray(frame["device"].isin(mine if mine or len(devices) > 1 else devices), dtype=np.bool_)
