"""Every answer in JSON says which version gave it, of which machine, and of which workload."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
from click.testing import Result
from made_up_rows import gemms
from sweeps import write

import simexplore
from simexplore.archs.load import load_arch
from simexplore.cli.main import main
from simexplore.kernels.datasets import aiconfigurator
from simexplore.sim.learn import correction
from simexplore.sim.serve.campaign import Campaign

Command = Callable[..., Result]
GEMM = "gemm(m=512,n=512,k=512,dtype=bf16)"
H200, H100 = ("--arch", "nvidia/h200-sxm"), ("--arch", "nvidia/h100-sxm")
TRACE = Path(__file__).resolve().parents[1] / "data" / "kineto-cpu.json"
SERVED = ("llm/llama-3-8b", *H100, "--param", "layers=1", "--duration", "1s", "--input", "20", "--output", "3")
TOLD = {"arch show": "a file's contents", "devices": "what is plugged in"}
"""Commands that compute nothing: what they print is that of no question."""
H200_NAME, H100_NAME = "NVIDIA H200 SXM 141 GB", "NVIDIA H100 SXM5 80 GB"
CONFIG = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4,
    "intermediate_size": 96, "vocab_size": 100, "hidden_act": "silu",
}  # fmt: skip

CASES: dict[str, tuple[tuple[object, ...], str | None, str | None]] = {
    "run": ((GEMM, *H200), H200_NAME, GEMM),
    "run, several machines": ((GEMM, *H200, *H100), None, GEMM),
    "explain": ((GEMM, *H200), H200_NAME, GEMM),
    "explain, several machines": ((GEMM, *H200, *H100), None, GEMM),
    "train": (("llama-3-8b", *H100), H100_NAME, "llama-3-8b"),
    "serve": ((*SERVED, "--rate", "4"), H100_NAME, "llm/llama-3-8b"),
    "serve, the highest rate": ((*SERVED, "--rate", "4", "--ttft", "9s", "--find-rate"), H100_NAME, "llm/llama-3-8b"),
    "compare": ((*H200, "--measured", "{rows}"), H200_NAME, None),
    "calibrate": (
        ("nvidia/h200-sxm", "--measured", "{rows}", "--rows", "0", "--residual-rows", "20", "-o", "{folder}/mine.yaml"),
        H200_NAME, None,
    ),
    "measure": (
        ("--backend", "null", "--suite", "micro", "-o", "{folder}/here.csv"), "null device: made-up times", "micro",
    ),
    "measured": (("aiconfigurator:x1",), None, None),
    "import": (("kineto", TRACE, "-o", "{folder}/rows.csv", "--device", "my CPU"), "my CPU", None),
    "workload import": (("hf", "{folder}/tiny/config.json/decode", "-o", "{folder}/g.yaml"), None, "hf/tiny/decode"),
    "sweep, forecast": (("{sweep}", "--dry-run"), H200_NAME, "decode and multiply"),
    "sweep": (("{sweep}", "-o", "{folder}/new", "--jobs", "1"), H200_NAME, "decode and multiply"),
    "pareto": (("{folder}/out",), H200_NAME, "decode and multiply"),
    "reproduce": (("galore",), None, None),
}  # fmt: skip


@pytest.fixture
def places(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the commands read, by the names that stand for it."""
    monkeypatch.setattr(correction, "SETTINGS", (correction.Setting(2, 10, 0.2),))
    monkeypatch.setattr(aiconfigurator, "data_folder", lambda: tmp_path)
    monkeypatch.setattr(Campaign, "highest_rates", lambda self, tried: [])  # a search of minutes
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return {"folder": tmp_path, "rows": tmp_path / "rows-measured.csv", "sweep": tmp_path / "sweep.yaml"}


def prepared(name: str, command: Command, places: dict[str, object], folder: Path) -> None:
    """Make what only some commands read."""
    if name in ("compare", "calibrate"):
        if name == "calibrate":
            pytest.importorskip("sklearn", reason="the extra [calibrate] is not installed")
        gemms(load_arch("nvidia/h200-sxm").physics_only(), 30).frame.to_csv(str(places["rows"]), index=False)
    if name == "measured":
        pytest.importorskip("pyarrow", reason="the extra [measured] is not installed")
        table = folder / "x1/gemm/trtllm/1.0/gemm_perf.parquet"
        table.parent.mkdir(parents=True)
        pd.DataFrame({"gemm_dtype": ["nvfp4"], "m": [1], "n": [32], "k": [64], "latency": [0.5]}).to_parquet(table)
    if name.startswith(("sweep", "pareto")):
        places["sweep"] = write(folder)
    if name == "pareto":
        assert command("sweep", places["sweep"], "-o", folder / "out", "--jobs", "1", "--json").exit_code == 0


@pytest.mark.parametrize("name", CASES)
def test_an_answer_says_what_it_is_an_answer_to(
    name: str, command: Command, places: dict[str, object], tmp_path: Path
) -> None:
    prepared(name, command, places, tmp_path)
    arguments, machine, workload = CASES[name]
    filled = [str(part).format(**places) if isinstance(part, str) else part for part in arguments]
    result = command(*name.partition(",")[0].split(), *filled, "--json")
    assert result.exit_code == 0, result.output
    for answer in answers(name, result.stdout):
        assert list(answer)[:3] == ["version", "machine", "workload"]
        assert (answer["version"], answer["machine"], answer["workload"]) == (simexplore.__version__, machine, workload)
        assert len(answer) > 3


def answers(name: str, text: str) -> list[dict[str, Any]]:
    """What was printed; the last line of a sweep, each record of reproduce, and of several machines each as well."""
    if name == "sweep":
        return [json.loads(text.splitlines()[-1])]
    told = json.loads(text)
    if isinstance(told, list):
        assert told
        return told
    for each, arch in zip(told.get("machines", ()), (H200_NAME, H100_NAME), strict=False):
        assert (each["version"], each["machine"], each["workload"]) == (simexplore.__version__, arch, GEMM)
    return [told]


def test_no_command_with_json_is_forgotten() -> None:
    tried = {name.partition(",")[0] for name in CASES}
    assert {name for name, _ in with_json(main, ())} == tried | set(TOLD)
    assert tried.isdisjoint(TOLD)


def with_json(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, click.Command]]:
    """Commands that have --json, by what a user types."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from with_json(command, (*path, name))
        elif any("--json" in parameter.opts for parameter in command.params):
            yield " ".join((*path, name)), command
