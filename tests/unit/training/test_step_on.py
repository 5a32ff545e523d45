"""A step over many GPUs: what it is put together of, what a GPU holds, and what the command prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import simexplore
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.cli.main import main
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.estimate.operators import predict
from simexplore.sim.training.parts import gather_seconds, sent_bytes
from simexplore.sim.training.step import TrainingStep, held_on_first_stage, step_on
from simexplore.workloads import catalog
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.ops import AllGather
from simexplore.workloads.training.options import TrainOptions
from simexplore.workloads.training.pipeline import Pipeline

MODEL = MODELS["smollm2-135m"]
OPTIONS = TrainOptions(tokens=512, batch=2)


@cache
def machine() -> Gpu:
    return load_arch("nvidia/a100-sxm-80gb")


def step(stages: int = 1, micro_batches: int = 1, network: float | None = 25e9, **changes: Any) -> TrainingStep:
    pipeline = Pipeline(stages, 1, micro_batches)
    return step_on(MODEL, "a model", replace(OPTIONS, **changes), pipeline, machine(), network)


def test_on_one_gpu_it_is_the_graphs_step() -> None:
    graph = catalog.build("llm/smollm2-135m/train", {"tokens": 512, "batch": 2})
    told = step(network=None)
    assert told.time_s == pytest.approx(estimate_graph(graph, machine()).time_s, rel=0.01)
    passes = sum(node.flops for node in graph.nodes if not node.group.endswith("update"))
    assert told.flops == pytest.approx(passes, rel=1e-4)
    held = dict(told.held_bytes)
    assert held.pop("activations") > 0
    assert held == graph.resident_bytes
    assert (told.tokens, told.gpus, told.exchange_s) == (1024, 1, 0.0)


def test_stages_divide_layers_and_fill_up() -> None:
    alone, divided = step(micro_batches=8), step(stages=5, micro_batches=8)
    assert divided.gpus == 5
    assert divided.tokens == alone.tokens == 8 * 1024
    assert divided.flops == alone.flops
    assert alone.time_s / 5 < divided.time_s < alone.time_s
    assert divided.step.passes.bubble > 4 / 12  # of equal stages; the head makes the last one longer
    layers, ends = MODEL.layer_parameters, MODEL.hidden * MODEL.vocabulary
    assert alone.held_bytes["weights"] == 2 * MODEL.parameters
    assert divided.held_bytes["weights"] == 2 * (layers / 5 + ends)


@pytest.mark.parametrize(("chunks", "layers_in_flight"), [(1, 4 * 6), (2, (2 * 4 - 1 + 4) * 6 // 2)])
def test_activations_of_passes_in_flight(chunks: int, layers_in_flight: int) -> None:
    """Of 4 stages of 6 layers each: 4 passes of all of them, or 11 of halves (Korthikanti et al., 4.2.3)."""
    model = replace(MODEL, layers=MODEL.layers[:24])
    held = held_on_first_stage(model, "a model", OPTIONS, Pipeline(4, chunks, 8))["activations"]
    one, two = (
        held_on_first_stage(replace(MODEL, layers=MODEL.layers[:count]), "a model", OPTIONS, Pipeline(1, 1, 1))
        for count in (2, 3)
    )
    of_layer = two["activations"] - one["activations"]
    assert held == pytest.approx(layers_in_flight * of_layer, rel=0.01)


def test_copies_exchange_what_the_backward_pass_does_not_hide() -> None:
    quick, slow = step(data_parallel=4, network=450e9), step(data_parallel=4, network=1e9)
    assert quick.tokens == 4 * 1024
    assert quick.exchange_s == 0.0
    gradients = 2 * MODEL.parameters
    hidden_s = 2 * 3 / 4 * gradients / 1e9 - slow.exchange_s
    assert slow.exchange_s > 0.1
    assert 0.0 < hidden_s < slow.step.passes.time_s
    assert slow.time_s == pytest.approx(quick.time_s + slow.exchange_s)


def test_stages_and_copies_need_a_network() -> None:
    for changes in ({"stages": 2}, {"data_parallel": 2}):
        with pytest.raises(SimexploreError, match="give the bandwidth of a GPU's link"):
            step(network=None, **changes)  # type: ignore[arg-type]  # stages or an option


@pytest.fixture
def command() -> Callable[..., Result]:
    return lambda *args: CliRunner().invoke(main, ["train", *args])


def test_the_command_prints_what_is_put_together(command: Callable[..., Result]) -> None:
    asked = ["smollm2-135m", "--arch", "nvidia/a100-sxm-80gb", "--param", "tokens=512", "--stages", "2"]
    asked += ["--micro-batches", "4", "--network", "25 GB/s"]
    told = json.loads(command(*asked, "--json").stdout)
    assert told["time_s"] == pytest.approx(told["passes_s"] + told["exchange_s"] + told["update_s"])
    assert told["tokens_per_s"] == pytest.approx(4 * 512 / told["time_s"])
    assert told["gpus"] == 2
    assert set(told["held_bytes"]) == {"weights", "gradients", "states", "activations"}
    shown = command(*asked).stdout
    assert "of which a stage idles" in shown
    assert "fits 85.9 GB" in shown


def test_the_command_plays_passes_on_the_nodes_of_a_system(command: Callable[..., Result]) -> None:
    asked = ["smollm2-135m", "--arch", "systems/dgx-h100-x4", "--param", "tokens=512", "--stages", "2"]
    asked += ["--micro-batches", "4", "--events"]
    told = json.loads(command(*asked, "--json").stdout)
    assert told["machine"] == "Four DGX H100"
    assert set(told["activation_bytes_by_stage"]) == {"stage0", "stage1"}
    assert "activations of passes in flight" in command(*asked).stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["llama-2-7"], "unknown model 'llama-2-7'; did you mean 'llama-2-7b'"),
        (["smollm2-135m", "--stages", "2"], "give the bandwidth of a GPU's link"),
        (["smollm2-135m", "--stages", "4", "--network", "1 GB/s"], "as many layers in each of 4 chunks, found 30"),
        (["smollm2-135m", "--param", "token=4"], "did you mean 'tokens'"),
        (["mixtral-8x7b", "--param", "optimizer=lora"], "adapters beside moe are not known"),
        (["hf:nowhere.json"], "download the model's config.json first"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(args: list[str], message: str, command: Callable[..., Result]) -> None:
    done = command(*args, "--arch", "nvidia/a100-sxm-80gb")
    assert done.exit_code == 2
    assert message in done.output


def test_a_models_own_file_is_taken(command: Callable[..., Result], tmp_path: Path) -> None:
    config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 256, "hidden_act": "silu"}
    (tmp_path / "mine.json").write_text(json.dumps(config))
    done = command(f"hf:{tmp_path / 'mine.json'}", "--arch", "nvidia/a100-sxm-80gb", "--json")
    told = json.loads(done.stdout)
    assert told["held_bytes"]["weights"] == 2 * (4 * 64 * 64 + 3 * 64 * 128 + 3 * 64 + 2 * 256 * 64)
    graph = simexplore.load_workload(f"hf:{tmp_path / 'mine.json'}/train")
    assert told["time_s"] == pytest.approx(estimate_graph(graph, machine()).time_s, rel=1e-6)


def test_a_transfer_is_a_gpus_part_of_a_micro_batch_and_is_gathered() -> None:
    elements, shared = 2 * 512 * MODEL.hidden, replace(OPTIONS, tensor_parallel=4)
    assert sent_bytes(MODEL, OPTIONS) == 2 * elements
    assert sent_bytes(MODEL, shared) == 2 * elements / 4
    gathered = float(predict(AllGather(elements, 4, "bf16"), machine()).time_s[0])
    assert gather_seconds(MODEL, shared, machine()) == pytest.approx(gathered)
    for whole in (OPTIONS, replace(shared, sequence="parallel")):
        assert gather_seconds(MODEL, whole, machine()) == 0.0
