"""`run --compiler`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from simexplore.archs.load import load_arch
from simexplore.cli.main import main

GRAPH = """
operators:
  - {name: a, op: 'gemm(m=64,n=64,k=64,dtype=fp16)'}
  - {name: b, op: 'relu(elements=4096,dtype=fp16)'}
  - {name: c, op: 'relu(elements=4096,dtype=fp16)'}
"""


@pytest.mark.parametrize(("compiler", "kernels"), [("eager", 3), ("inductor", 2), ("tensorrt", 1)])
def test_kernels_are_merged(compiler: str, kernels: int, tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text(GRAPH, encoding="utf-8")
    done = CliRunner().invoke(main, ["run", str(file), "--arch", "nvidia/rtx-4090", "--compiler", compiler, "--json"])
    told = json.loads(done.stdout)
    assert len(told["ops"]) == kernels
    least = 3 * load_arch("nvidia/rtx-4090").launch.eager_s
    assert (told["time_s"] > least) == (compiler == "eager")


def test_eager_tells_no_trace(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text(GRAPH, encoding="utf-8")
    trace = ["--trace", str(tmp_path / "t.json")]
    done = CliRunner().invoke(main, ["run", str(file), "--arch", "nvidia/rtx-4090", "--compiler", "eager", *trace])
    assert done.exit_code == 2
    assert "leave out --compiler eager" in done.output
