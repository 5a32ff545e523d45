"""A system of round numbers: a GPU, a CPU of ten cores, and an array of two drives, with links that a test changes."""

from __future__ import annotations

from typing import Any

from round_gpu import round_gpu

from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.host.drive import Drive
from simexplore.archs.schema.system import System

CPU = {
    "kind": "cpu",
    "name": "Round CPU",
    "vendor": "nobody",
    "cores": {"count": 10, "clock": "1 GHz", "fma": "10 op/clk", "bandwidth": "10 GB/s"},
    "memory": {
        "capacity": "100 GB", "channels": 4, "channel_bandwidth": "20 GB/s", "efficiency": 0.5, "latency": "100 ns",
    },
    "power": {"tdp": "110 W", "idle": "10 W"},
}  # fmt: skip
"""100 Gflop/s and 40 GB/s in all; four cores have all the bandwidth; 100 W above idle."""
DRIVE = {
    "kind": "drive",
    "name": "Round drive",
    "vendor": "nobody",
    "capacity": "1 TB",
    "read": {"bandwidth": "4 GB/s", "latency": "100 us"},
    "write": {"bandwidth": "2 GB/s", "latency": "20 us"},
    "duplex": "full",
    "efficiency": 0.5,
    "power": {"active": "9 W", "idle": "1 W"},
}
"""Two of them reach 4 GB/s of reads and 2 GB/s of writes."""
LINKS = {
    "pcie": {"between": ["gpu", "cpu"], "bandwidth": "10 GB/s", "latency": "1 us"},
    "array": {"between": ["ssd", "cpu"], "bandwidth": "3 GB/s", "latency": "2 us"},
}


def round_system(**changes: Any) -> System:
    """The system, with some of `links`, `ports`, `drive` (keys of the drive) and `devices` (entries) changed."""
    drive = Drive.model_validate({**DRIVE, **changes.get("drive", {})})
    given = changes.get("links", {})
    return System.model_validate(
        {
            "kind": "system",
            "name": "round",
            "devices": {
                "gpu": {"arch": round_gpu()},
                "cpu": {"arch": Cpu.model_validate(CPU)},
                "ssd": {"arch": drive, "count": 2, "raid": 0},
                **changes.get("devices", {}),
            },
            "links": {name: {**LINKS.get(name, {}), **given.get(name, {})} for name in {**LINKS, **given}},
            "ports": changes.get("ports", {}),
        }
    )
