"""`simexplore workload import`: the file that it writes, what it tells, and its mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import simexplore
from simexplore.workloads.importers import import_model

ROOT = Path(__file__).parents[3]
NETS = ROOT / "tests" / "unit" / "workloads" / "importers" / "nets.py"
LLAMA: dict[str, Any] = {
    "model_type": "gemma2",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 96,
    "vocab_size": 100,
    "sliding_window": 32,
}
Command = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA), encoding="utf-8")
    return file


def imported(command: Command, output: Path, *arguments: object) -> dict[str, Any]:
    """What --json tells; the file reads back as the same graph."""
    done = command("workload", "import", *arguments, "-o", output, "--json")
    assert done.exit_code == 0, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_a_config_is_a_file_that_runs_as_itself(command: Command, config: Path, tmp_path: Path) -> None:
    output = tmp_path / "g.yaml"
    told = imported(command, output, "hf", f"{config}/decode", "--param", "batch=3", "--param", "context=100")
    graph = simexplore.load_workload(f"hf:{config}/decode", {"batch": 3, "context": 100})
    assert simexplore.load_workload(output) == graph
    assert (told["operators"], told["flops"], told["unknown"]) == (len(graph.nodes), graph.flops, [])
    runs = [
        json.loads(command("run", *work, "--arch", "nvidia/h100-sxm", "--json").stdout)
        for work in ([output], [f"hf:{config}/decode", "--param", "batch=3", "--param", "context=100"])
    ]
    assert runs[0]["time_s"] == runs[1]["time_s"] > 0


def test_a_module_says_what_it_leaves_out(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    output = tmp_path / "g.yaml"
    done = command("workload", "import", "torch", f"{NETS}:unlike", "-o", output)
    assert done.exit_code == 0, done.output
    assert "left out, as no operator stands for it: " in done.stdout
    assert next(line.split()[1] for line in done.stdout.splitlines() if "aten.linalg_inv_ex" in line) == "1"
    assert simexplore.load_workload(output) == import_model("torch", f"{NETS}:unlike", {}).graph
    assert "#   aten.linalg_inv_ex: 1 calls, " in output.read_text(encoding="utf-8")


def test_an_onnx_file_says_it_in_json(command: Command, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    source = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / "light_shufflenet.onnx"
    output = tmp_path / "g.yaml"
    told = imported(command, output, "onnx", source)
    found = import_model("onnx", str(source), {})
    assert simexplore.load_workload(output) == found.graph
    assert told["unknown"] == []
    assert told["unknown_flops_share"] == found.flops_share(found.unknown) < 0.1


def test_the_example_is_llama_2_7b_as_pytorch_runs_it(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    told = imported(command, tmp_path / "g.yaml", "torch", f"{ROOT / 'examples' / 'models' / 'causal_lm.py'}:build")
    assert told["unknown"] == []
    assert told["repeated"] == [{"pattern": "layers.*", "count": 32, "operators": 13}]
    known = simexplore.load_workload("llm/llama-2-7b/prefill", {"batch": 1, "prompt": 2048})
    assert told["resident_bytes"]["weights"] == known.resident_bytes["weights"]
    head = 2 * 2047 * 4096 * 32000  # the catalogue's prefill has the last token alone go through the head
    assert told["flops"] == pytest.approx(known.flops + head, rel=1e-3)


def test_mistakes(fails: Callable[..., str], config: Path, tmp_path: Path) -> None:
    yaml = tmp_path / "g.yaml"
    assert "expected hf:FILE/decode" in fails("workload", "import", "hf", config, "-o", yaml)
    assert "ends in .yaml" in fails("workload", "import", "hf", f"{config}/decode", "-o", tmp_path / "g.json")
    assert "can be written" in fails("workload", "import", "hf", f"{config}/decode", "-o", tmp_path / "no" / "g.yaml")
    told = fails("workload", "import", "hf", f"{config}/decode", "-o", yaml, "--param", "contxt=3")
    assert "did you mean 'context'" in told
    assert "hidden_size: expected" in fails("run", f"hf:{_damaged(config)}/decode", "--arch", "nvidia/h100-sxm")
    assert not yaml.exists()


def _damaged(config: Path) -> Path:
    config.write_text(json.dumps({**LLAMA, "hidden_size": -1}), encoding="utf-8")
    return config
