"""Watts of FP32 loops of rising intensity (gpu-benches), by energies fitted on some of a device's rows or on none.

A device's machine starts from its facts. All watts are at the loops' own rates and clocks.

- `own`: half of its intensities are fitted, the others tell the error.
- `left_out`: nothing of the device is. Idle power over TDP and the energy of a byte of DRAM are the mean of the other
  devices' with the same kind of memory, the energy of a multiply-add that of those of the nearest node. Idle power and
  multiply-adds are taken as linear in feature size; DRAM is no part of the die.
- `shipped`: the machine as it comes.
- `clock`: at which the power limit would be drawn, beside the clock of rows that the limit holds back.

An A40's own fit is made here alone: it goes into no machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import simexplore.workloads
from simexplore.archs.fields import field_of, with_columns
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.measurement import Measurements
from simexplore.sim.learn.energy import AT_THE_LIMIT, EnergyFit, Watts, fit_energy, held_clock, modelled_w, watts_of

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "watts.yaml"
TABLE = "gpubenches_roofline_power.csv"
RATES = "watts at the rates and clocks that the loops were measured at"
HELD_BACK = 0.995
"""Clock over boost under which the limit held a row back: less than a step of 15 MHz."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Device:
    """A device of the table."""

    told: Mapping[str, Any]
    """What the published file says of it."""
    gpu: Gpu
    """The machine by its facts."""
    measurements: Measurements
    fit: EnergyFit

    def held_out(self, gpu: Gpu) -> Watts:
        """The rows that were not fitted, as a machine sees them."""
        rows = watts_of(gpu, self.measurements)
        assert rows is not None  # a fit was made on them
        return rows.take(~np.isin(rows.prints, self.fit.fitted))

    @property
    def constant_w(self) -> float:
        """Mean power of the rows that were fitted [W]."""
        rows = watts_of(self.gpu, self.measurements)
        assert rows is not None  # a fit was made on them
        return float(np.mean(rows.power_w[np.isin(rows.prints, self.fit.fitted)]))


class Figure(NamedTuple):
    """One figure of a device."""

    device: str
    kind: str
    """`own`, `left_out`, `shipped`, `power` or `clock`."""
    what: str
    unit: str
    published: float
    simulated: float
    error: float
    """Mean absolute error [%] of what it tells of."""
    most: float
    """Largest error that it may have [%]."""


def study(measured: Path) -> list[dict[str, Any]]:
    """The records; `measured` is the folder with the table. Raises SimexploreError for a bad one."""
    return [
        {
            "paper": read_document(PUBLISHED).data["paper"],
            "quantity": f"{figure.device}: {figure.what}",
            "unit": figure.unit,
            "published": figure.published,
            "simulated": figure.simulated,
            "ratio": figure.simulated / figure.published,
            "status": "enforced",
            "source": RATES,
        }
        for figure in figures(measured)
    ]


def figures(measured: Path) -> list[Figure]:
    """What the study finds; argument and errors as of `study`."""
    devices = [device_of(entry, measured / TABLE) for entry in read_document(PUBLISHED).data["devices"]]
    return [figure for device in devices for figure in _of_device(device, devices)]


def device_of(told: Mapping[str, Any], table: Path) -> Device:
    """A device of the table with its fit. Raises SimexploreError where the table has too few rows of it."""
    gpu = load_arch(f"{told['arch']}@facts", told.get("set", {})).physics_only()
    measurements = read_measurements(f"gpubenches:{table}:{told['table']}")
    fit = fit_energy(gpu, measurements)
    if fit is None or not fit.held_out:
        raise SimexploreError(f"watts: expected rows of {told['table']} with power_w in {table}, found too few")
    return Device(told, gpu, measurements, fit)


def without(device: Device, devices: Sequence[Device]) -> Gpu:
    """The device's machine by its facts and what the other devices teach."""
    others = [other for other in devices if other is not device]
    alike = [other for other in others if _memory(other.gpu) == _memory(device.gpu)]
    if not alike:
        raise SimexploreError(f"watts: expected another device with {_memory(device.gpu)}, found none")
    taught = {
        "power.idle": device.gpu.power.tdp_w
        * np.mean([_shrunk(device, other) * other.fit.gpu.power.idle_w / other.gpu.power.tdp_w for other in alike]),
        "energy.dram": np.mean([other.fit.gpu.energy.dram_j_per_byte for other in alike]),
        "energy.fma.fp32": np.mean(
            [_shrunk(device, other) * other.fit.gpu.energy.fma_j_per_op["fp32"] for other in _nearest(device, others)]
        ),
    }
    changed = with_columns(device.gpu, {field_of(path, device.gpu): float(value) for path, value in taught.items()})
    assert isinstance(changed, Gpu)
    return changed


def _shrunk(device: Device, other: Device) -> float:
    """Feature size of a device over another's."""
    return float(device.told["node_nm"]) / float(other.told["node_nm"])


def _nearest(device: Device, others: Sequence[Device]) -> list[Device]:
    """Those whose feature size is nearest to the device's."""
    distance = {id(other): abs(np.log(_shrunk(device, other))) for other in others}
    return [other for other in others if distance[id(other)] <= min(distance.values())]


def _memory(gpu: Gpu) -> str:
    """Stacks on an interposer, or packages on the board."""
    return "HBM" if gpu.dram.technology.startswith("HBM") else "GDDR"


def _of_device(device: Device, devices: Sequence[Device]) -> Iterator[Figure]:
    told = device.told
    machines = {
        "own": (device.fit.gpu, "half of its intensities fitted"),
        "left_out": (without(device, devices), "nothing of it fitted"),
        "shipped": (load_arch(told["arch"]).physics_only(), "as it ships"),
    }
    for kind, (gpu, how) in machines.items():
        if kind not in told["most"]:
            continue
        rows = device.held_out(gpu)
        watts = modelled_w(gpu, rows)
        error = _mean_error(watts, rows.power_w)
        constant = _mean_error(device.constant_w, rows.power_w)
        yield _figure(device, kind, f"mean error of watts, {how}", "%", constant, error, error)
        if kind == "own":
            means = float(np.mean(rows.power_w)), float(np.mean(watts))
            yield _figure(device, "power", "mean power, rows not fitted", "W", *means, error, most="own")
            if "clock" in told["most"]:
                yield _clock(device, gpu, rows)


def _clock(device: Device, gpu: Gpu, rows: Watts) -> Figure:
    """The clock of rows that the power limit holds back."""
    held = rows.take((rows.power_w >= AT_THE_LIMIT * gpu.power.tdp_w) & (rows.clock < HELD_BACK))
    found = held_clock(gpu, held)
    error = _mean_error(found, held.clock)
    mhz = gpu.clock.top_hz * 1e-6
    what = f"mean clock at the power limit, rows not fitted (mean error {error:.2g} %)"
    return _figure(device, "clock", what, "MHz", mhz * float(held.clock.mean()), mhz * float(found.mean()), error)


def _figure(
    device: Device, kind: str, what: str, unit: str, published: float, simulated: float, error: float, most: str = ""
) -> Figure:
    return Figure(
        device.told["key"], kind, what, unit, published, simulated, error, float(device.told["most"][most or kind])
    )


def _mean_error(found: Any, read: Floats) -> float:
    """[%]."""
    return 100.0 * float(np.mean(np.abs(found / read - 1.0)))
