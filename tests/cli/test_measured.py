"""`simexplore measured`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from simexplore.kernels.datasets import aiconfigurator


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tables of one system, one of which holds an operator that is not modelled."""
    pytest.importorskip("pyarrow")
    for where, columns in {
        "x1/gemm/trtllm/1.0/gemm": {"gemm_dtype": ["nvfp4"] * 3, "m": [1] * 3, "n": [32] * 3, "k": [64] * 3},
        "x1/mhc/vllm/2.0/mhc_module": {"num_tokens": [1]},
    }.items():
        path = tmp_path / f"{where}_perf.parquet"
        path.parent.mkdir(parents=True)
        frame = pd.DataFrame({**columns, "device": "NVIDIA X1"})
        frame.assign(latency=[0.5] * len(frame)).to_parquet(path)
    monkeypatch.setattr(aiconfigurator, "data_folder", lambda: tmp_path)


@pytest.mark.usefixtures("package")
def test_a_table_of_kinds_and_what_is_refused(command: Callable[..., Result]) -> None:
    lines = command("measured", "aiconfigurator:").stdout.splitlines()
    assert ["gemm/gemm", "trtllm", "1", "3", "3"] in [line.split() for line in lines]
    assert "mhc_module (hyper-connections, as a module) is not modelled     1" in lines
    assert lines[-1] == "3 of 4 rows can be predicted; 25.0 % are refused"


@pytest.mark.usefixtures("package")
def test_json(command: Callable[..., Result]) -> None:
    data = json.loads(command("measured", "aiconfigurator:x1", "--json").stdout)
    assert (data["rows"], data["readable"]) == (4, 3)
    assert data["refused"] == {"mhc_module (hyper-connections, as a module) is not modelled": 1}
    assert data["tables"][0] == {
        "system": "x1",
        "operator": "gemm",
        "table": "gemm",
        "engine": "trtllm",
        "version": "1.0",
        "rows": 3,
        "refused": {},
        "readable": 3,
    }


@pytest.mark.parametrize("name", ["gpperf:", "aiconfigurator", "mine.csv"])
def test_another_data_set_is_a_mistake(command: Callable[..., Result], name: str) -> None:
    result = command("measured", name)
    assert result.exit_code == 2
    assert f"expected aiconfigurator: or aiconfigurator:SYSTEM, found '{name}'" in result.stderr
