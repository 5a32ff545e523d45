"""Small sweeps for tests, and the command in processes that are killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simexplore.errors import SimexploreError
from simexplore.sim.explore.store import Store

SMALL = """\
name: small
arch: nvidia/h200-sxm
workloads:
  decode: {name: llm/llama-3-8b/decode, weight: 2, parameters: {batch: 8, layers: 2}}
  multiply: {name: 'gemm(m=512,n=1024,k=4096)'}
parameters:
  dram.bandwidth: {from: 2.4 TB/s, to: 9.6 TB/s, steps: 4, scale: log}
  sm.count: [96, 120, 132]
  decode.context: [1024, 4096]
  l2.bandwidth: 38 B/clk * sm.count
define:
  area_mm2: 294 mm2 + 2.5 mm2 * sm.count + 20 mm2 * dram.bandwidth / 0.8 TB/s
objectives: [time_s, area_mm2]
constraints:
  - area_mm2 <= 800 mm2
"""
"""24 points in three axes and an expression, two workloads, a definition and a constraint."""

GEMM = """\
arch: nvidia/h200-sxm
workload: gemm(m=1024,n=4096,k=4096)
parameters:
  dram.bandwidth: {{from: 2.4 TB/s, to: 9.6 TB/s, steps: {steps}}}
  sm.count: {{from: 60, to: 190, step: 10}}
  l2.capacity: {{from: 25 MiB, to: 200 MiB, steps: {steps}, scale: log}}
objectives: [time_s, energy_j]
"""
"""14 steps^2 points over one GEMM."""


NEEDS = {"sobol": "scipy", "saltelli": "scipy", "tpe": "optuna", "nsga2": "optuna"}
"""Libraries that samplers need beyond what the tests do."""


def need(sampler: str) -> None:
    """Skip the test where a sampler's library is not installed."""
    if sampler in NEEDS:
        pytest.importorskip(NEEDS[sampler])


def write(folder: Path, text: str = SMALL, *replacements: tuple[str, str]) -> Path:
    """A sweep's file in a folder, with parts of its text replaced; each must be there once."""
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def start(path: Path, out: Path, jobs: int = 1) -> subprocess.Popen[str]:
    """The command in a process of its own, with its children in a group that can be killed with it."""
    call = "from simexplore.cli.main import main; main()"
    arguments = [sys.executable, "-c", call, "sweep", str(path), "-o", str(out), "--jobs", str(jobs)]
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )


def heed_ctrl_c() -> None:
    """A shell's background job ignores Ctrl-C, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stored(out: Path) -> int:
    """Points in the store so far; 0 while there is none."""
    if not (out / "sweep.sqlite").exists():
        return 0
    try:
        with Store.open(out) as store:
            return store.count()
    except SimexploreError:  # it is just being made
        return 0


def wait_for(out: Path, points: int, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 60.0
    while stored(out) < points and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)


def killed_again_and_again(path: Path, out: Path, planned: int, kills: int, seed: int) -> int:
    """Run a sweep, killing it at random moments; returns how often it was killed before its end."""
    chance = random.Random(seed)
    died = 0
    for _ in range(kills):
        process = start(path, out)
        # From before the store is made to just before the end.
        wait_for(out, stored(out) + chance.randint(0, planned // kills // 2), process)
        time.sleep(chance.random() * 0.05)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        died += process.wait() == -signal.SIGKILL
        process.communicate()
    last = start(path, out)
    _, said = last.communicate()
    assert last.returncode == 0, said
    return died


def race(path: Path, out: Path, seed: int, longest_s: float) -> list[int]:
    """Two commands started on one folder, none, one or both killed; then a third that ends it. Returns exit codes.

    Each must end well, be killed, or say in one line that another is writing.
    """
    chance = random.Random(seed)
    pair = []
    for _ in range(2):
        pair.append(start(path, out, jobs=chance.choice([1, 2])))
        time.sleep(chance.choice([0.0, chance.random() * longest_s / 2]))
    for victim in chance.choice([(), (0,), (1,), (0, 1), (1, 0)]):
        time.sleep(chance.random() * longest_s)
        if pair[victim].poll() is None:
            os.killpg(pair[victim].pid, signal.SIGKILL)
    codes = [_ended(process) for process in pair]
    codes.append(_ended(start(path, out)))
    assert codes[-1] == 0, "nobody is there to hold it up"
    return codes


def _ended(process: subprocess.Popen[str]) -> int:
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said, said
    if process.returncode == 2:
        assert said.count("\n") == 1, said
        assert "is writing to this folder" in said
    else:
        assert process.returncode in (0, -signal.SIGKILL), said
    return process.returncode
