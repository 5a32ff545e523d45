"""Neural graphics from the command line: a frame on a GPU and with a cluster, a sweep of its scale, mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

GPU = "nvidia/rtx-3090@facts"
CLUSTER = "ngpc/rtx-3090-ngpc-8@facts"
SWEEP = """
workload: ngp/gia/hashgrid
arch: {arch}
parameters:
  ngpc.nfps: [8, 32]
objectives: [time_s, energy_j]
fidelity: {fidelity}
"""


def run(command: Callable[..., Result], arch: str, *more: str) -> float:
    told = json.loads(command("run", "ngp/gia/hashgrid", "--arch", arch, "--json", *more).stdout)
    assert told["time_low_s"] < told["time_s"] < told["time_high_s"]
    return float(told["time_s"])


def test_a_frame_is_faster_with_a_cluster(command: Callable[..., Result], tmp_path: Path) -> None:
    trace = tmp_path / "trace.json"
    assert run(command, GPU) > 4.0 * run(command, CLUSTER, "--trace", str(trace))
    told = json.loads(trace.read_text())["traceEvents"]
    names = {event["name"].split()[0] for event in told if event.get("cat") == "op"}
    assert names == {"rest", "encode"}


def test_the_table_names_both_sides_and_what_is_in_use(command: Callable[..., Result]) -> None:
    shown = command("run", "ngp/nvr/densegrid", "--arch", CLUSTER).stdout
    assert all(word in shown for word in ("rest", "encode and mlp", "ngpc in use", "ngpc_mlp in use"))


@pytest.mark.parametrize("fidelity", ["estimate", "execute"])
def test_a_sweep_of_the_scale_is_what_single_runs_give(
    command: Callable[..., Result], tmp_path: Path, fidelity: str
) -> None:
    spec = tmp_path / "sweep.yaml"
    spec.write_text(SWEEP.format(arch=CLUSTER, fidelity=fidelity), encoding="utf-8")
    shown = command("sweep", spec, "-o", tmp_path / "out", "--jobs", "1", "--json").stdout
    told = map(json.loads, shown.splitlines())  # points, and last the verdict
    points = {point["ngpc.nfps"]: point for point in told if "ngpc.nfps" in point}
    more = ("--estimate",) if fidelity == "estimate" else ()
    for nfps in (8, 32):
        alone = run(command, CLUSTER, "--set", f"ngpc.nfps={nfps}", *more)
        assert points[nfps]["time_s"] == pytest.approx(alone)
        assert points[nfps]["time_low_s"] < points[nfps]["time_s"] < points[nfps]["time_high_s"]
        assert points[nfps]["bound"] in ("mlp", "encode", "l2", "fma", "dram")


def test_mistakes(fails: Callable[..., str]) -> None:
    told = fails("run", "ngp/gia/hashgrid", "--arch", CLUSTER, "--set", "ngpc.encoding.overflow=drop")
    assert "expected 'assume_fits', 'narrow' or 'spill', found 'drop'" in told
    assert "did you mean 'ngp/nerf/hashgrid'" in fails("run", "ngp/nerf/hashgird", "--arch", GPU)
