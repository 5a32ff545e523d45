"""What each mechanism of the GEMM model is worth: switch it off, fit the rest anew, and see the held-out error grow.

Usage: python tools/ablation.py DIRECTORY-OF-MEASUREMENTS [MACHINE …]      prints a table for docs/lab/notebook.md
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.measurement import Measurements
from simexplore.sim.compare.comparison import compare
from simexplore.sim.learn import parameters
from simexplore.sim.learn import physics as calibrate

TABLES = {
    "nvidia/h200-sxm": "aic_h200_sxm_gemm.csv",
    "nvidia/a100-sxm-80gb": "aic_a100_sxm_gemm.csv",
    "nvidia/l40s": "aic_l40s_gemm.csv",
}
HELD_OUT = 3000

OFF: dict[str, Mapping[str, Any]] = {
    "all mechanisms": {},
    "split-K": {"library.gemm.split.counts": (1,)},
    "rules for splitting": {
        "library.gemm.split.min_products": 1,
        "library.gemm.split.always_depth": 1,
        "library.gemm.split.reluctance_cycles": 0.0,
    },
    "two-stage kernels": {"library.gemm.two_stage.sizes": ()},
    "modest tiles": {"library.gemm.tensor.modest_tiles": ()},
    "DRAM's own overlap": {"library.gemm.tensor.dram_overlap_exponent": 4.0},
    "bandwidth alone in Ada's choice": {"library.gemm.reckoned_latency_share": 1.0},
    "DRAM's ramp": {"library.gemm.memory.cold_round_trips": 1e-3},
    "results' own share of L2": {"library.gemm.memory.dirty_share": 0.9},
    "narrow tiles (one 128-column menu)": {"library.gemm.tensor.tiles": "128"},
    "L2 residency between runs and waves": {"library.gemm.memory.l2_share": 0.01},
    "power-limited clock": {"power.tdp_w": 1e6},
    "headroom of short kernels": {"power.burst_headroom": 0.0},
    "multicast and coalesced L2 reads": {"library.gemm.memory.l2_rate": 1.0, "library.gemm.memory.multicast": 1},
    "smooth maximum (hard instead)": {"library.gemm.tensor.overlap_exponent": 16.0},
    "exposed epilogue and pipeline fill": {"library.gemm.wave_exposure": 1e-3, "library.gemm.epilogue_efficiency": 1.0},
    "set-up of a kernel (launch only)": {"library.gemm.setup_round_trips": 0.01},
    "latency of a k-step": {"sm.latency.tensor_cycles": 0.1, "library.gemm.pipeline.flight_share": 1.0},
}


def main(directory: str, *machines: str) -> None:
    names = machines or tuple(TABLES)
    print("| switched off | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    tables = {name: _rows(Path(directory) / TABLES[name]) for name in names}
    whole: dict[str, float] = {}
    for mechanism, changes in OFF.items():
        cells = []
        for name in names:
            begun = load_arch(name).model_copy(update={"calibration": None})  # facts hold no rules read off rows
            error = _held_out(_changed(begun, changes), tables[name], set(changes))
            cells.append(f"{100 * (error - whole[name]):+.1f}" if name in whole else f"{100 * error:.1f} %")
            whole.setdefault(name, error)
        print(f"| {mechanism} | " + " | ".join(cells) + " |", flush=True)


def _rows(path: Path) -> Measurements:
    table = read_measurements(path)
    frame = table.frame[table.frame["dtype"] == "bf16"].sample(HELD_OUT + 400, random_state=0)
    return replace(table, frame=frame.reset_index(drop=True))


def _held_out(gpu: Gpu, table: Measurements, frozen: set[str]) -> float:
    """Error on rows that the fit of all parameters but the frozen ones has not seen."""
    fixed = {path.removesuffix("_cycles") for path in frozen}
    gemm = parameters.GEMM
    kept = tuple(parameter for parameter in gemm.parameters if parameter.path not in fixed)
    groups_of, calibrate.groups_of = calibrate.groups_of, lambda _: (replace(gemm, parameters=kept),)
    try:
        fit = calibrate.fit_physics(gpu, table)
    finally:
        calibrate.groups_of = groups_of
    held = table.frame.drop(index=fit.fitted_rows).reset_index(drop=True)
    return compare(fit.gpu, replace(table, frame=held)).total.mape


def _changed(gpu: Gpu, changes: Mapping[str, Any]) -> Gpu:
    for path, value in changes.items():
        gpu = _with(gpu, path.split("."), value)
    return gpu


def _with(record: Any, steps: list[str], value: Any) -> Any:
    if not steps:
        return tuple(tile for tile in record if tile.n == int(value)) if isinstance(value, str) else value
    return record.model_copy(update={steps[0]: _with(getattr(record, steps[0]), steps[1:], value)})


if __name__ == "__main__":
    main(*sys.argv[1:])
