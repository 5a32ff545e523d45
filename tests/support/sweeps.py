"""Small sweeps for tests."""

from __future__ import annotations

from pathlib import Path

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


def write(folder: Path, text: str = SMALL, *replacements: tuple[str, str]) -> Path:
    """A sweep's file in a folder, with parts of its text replaced; each must be there once."""
    for old, new in replacements:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return path
