"""Measure a suite into a file: what `simexplore measure` does."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Report
from simexplore.kernels.backend.registry import backend_of
from simexplore.kernels.backend.session import Backend, Session
from simexplore.kernels.measurement import TIME
from simexplore.kernels.pace import DRIFT
from simexplore.kernels.recorder import Recorder
from simexplore.kernels.runner import REFERENCE, ROUNDS, SLOWEST, Effort, Known, Outcome, Progress, measure
from simexplore.kernels.suites import cases_of

SOURCE_PREFIX = "simexplore/"
"""Beginning of the `source` column of our own measurements; the backend's name follows."""
_PACKAGES = ("simexplore", "numpy", "vulkan", "torch", "cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12")


def measure_suite(
    backend: str | Backend,
    suite: str,
    output: str | Path,
    device: int = 0,
    seed: int = 0,
    budget_s: float = float("inf"),
    effort: Effort | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Measure a suite on a device, check every kernel against numpy, and write the rows into a file.

    Args:
        backend: its name, or one that was made.
        suite: a suite of that backend.
        output: a `.csv` file; one that holds rows of the same suite, device and seed is completed.
        device: number of the device, as `simexplore devices` shows it.
        seed: of shapes and inputs.
        budget_s: wall time after which no further case is begun; a later call goes on from there.
        effort: spent on each case.
        progress: told how many cases are done, and of how many.

    Raises:
        SimexploreError: unknown backend, suite or device, a file of something else, or a kernel that computes wrong.
    """
    runtime = backend_of(backend) if isinstance(backend, str) else backend
    with runtime.open(device) as session:
        cases, unable = cases_of(suite, session.device, seed)
        recorder = Recorder(Path(output), _about(session, suite, seed))
        source = f"{SOURCE_PREFIX}{session.device.backend}"
        outcome = measure(
            session,
            cases,
            lambda measured: recorder.add(measured.row(source, session.device.name)),
            {key: _known(row) for key, row in recorder.rows.items()},
            seed,
            effort,
            budget_s,
            progress,
        )
    outcome.left_out.update(_why_unable(case, session) for case in unable)
    recorder.finish(
        measured=outcome.measured,
        left_out=dict(outcome.left_out),
        noisy=list(outcome.noisy),
        effort=asdict(effort or Effort()),
        pace=dict(outcome.pace),
        load_after=_load(),
    )
    return outcome


def reference_s(table: Path) -> float | None:
    """What the reference kernel took at best while a table was measured [s]; None where nothing tells it."""
    try:
        runs = json.loads(table.with_name(table.name + ".json").read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError):
        return None
    told = [run["pace"]["best_us"] * 1e-6 for run in runs if run.get("pace")]
    return min(told) if told else None


def out_of_step(table: Path) -> dict[str, float]:
    """Tables beside this one, of the same device, that the machine was measured for at another pace.

    Returns:
        Name of the other table → how many times longer the reference kernel took here. Empty where all agree.
    """
    here, found = reference_s(table), dict[str, float]()
    if here is None:
        return found
    about = _identity(table)
    for other in sorted(table.parent.glob("*.csv")):
        there = reference_s(other)
        if other != table and there and _identity(other) == about and not 1.0 / DRIFT <= here / there <= DRIFT:
            found[other.name] = here / there
    return found


def _identity(table: Path) -> tuple[Any, ...]:
    """Backend, device and reference kernel of a measured table."""
    about = json.loads(table.with_name(table.name + ".json").read_text(encoding="utf-8"))
    references = {run["pace"]["reference"] for run in about["runs"] if run.get("pace")}
    return about["backend"], about["device"], *sorted(references)


def reports() -> list[Report]:
    """What every backend finds here."""
    from simexplore.kernels.backend.registry import BACKENDS

    return [backend_of(name).report() for name in BACKENDS]


def _known(row: Mapping[str, str]) -> Known:
    """What a row of an earlier run says of its rounds; one that says nothing has had all of them."""
    microseconds = {name: float(row.get(name) or 0.0) for name in (TIME, SLOWEST, REFERENCE)}
    rounds = int(float(row.get(ROUNDS) or 1 << 30))
    seconds = {name: value * 1e-6 for name, value in microseconds.items()}
    return Known(seconds[TIME], seconds[SLOWEST] or seconds[TIME], rounds, seconds[REFERENCE])


def _why_unable(case: Case, session: Session) -> str:
    return f"{session.device.name} has no {', '.join(sorted(case.requires - session.device.features))}"


def _about(session: Session, suite: str, seed: int) -> dict[str, Any]:
    """The sidecar: device, driver, clocks, versions, seed, and date and command of this run."""
    device = session.device
    return {
        "backend": device.backend,
        "device": device.name,
        "suite": suite,
        "seed": seed,
        "description": session.describe(),
        "host": {
            "system": platform.platform(),
            "processor": _processor("model name"),
            "mhz": _processor("cpu MHz"),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "versions": {name: _version(name) for name in _PACKAGES if _version(name)},
        "run": {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": " ".join(sys.argv),
            "load_before": _load(),
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _load() -> float | None:
    """Processes that wanted to run, on average over the last minute; None where the system does not tell it."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def _processor(what: str) -> str:
    """What the system tells of the first CPU: its `model name`, or its clock now in `cpu MHz`."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(what)), "unknown")
