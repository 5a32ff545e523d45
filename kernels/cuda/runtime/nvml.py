"""Clock and power of a GPU while it works, by NVML (the package nvidia-ml-py); nothing where that is not here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


class Monitor:
    """Reads one GPU. NVML numbers GPUs as the bus does, CUDA may not: the GPU is found by its bus id."""

    def __init__(self, bus_id: str) -> None:
        self._nvml: ModuleType | None = None
        try:
            nvml = import_module("pynvml")
        except ImportError:
            return
        try:
            nvml.nvmlInit()
            self._handle = nvml.nvmlDeviceGetHandleByPciBusId(bus_id.encode())
        except nvml.NVMLError:  # the driver has no NVML, or does not let this user read it
            return
        self._nvml = nvml

    def read(self) -> dict[str, float]:
        """`sm_mhz`, `memory_mhz` [MHz] and `power_w` [W], as far as the GPU tells them."""
        nvml = self._nvml
        if nvml is None:
            return {}
        readers: dict[str, Callable[[], Any]] = {
            "sm_mhz": lambda: nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_SM),
            "memory_mhz": lambda: nvml.nvmlDeviceGetClockInfo(self._handle, nvml.NVML_CLOCK_MEM),
            "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3,
        }
        found = {}
        for name, reader in readers.items():
            try:
                found[name] = float(reader())
            except nvml.NVMLError:
                continue
        return found

    def close(self) -> None:
        if self._nvml is not None:
            self._nvml.nvmlShutdown()
            self._nvml = None
