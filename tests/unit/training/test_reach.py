"""Training steps on systems of nodes: which links stages and copies exchange over, and what is refused."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest

from simexplore.archs.schema.system import System
from simexplore.archs.views.machines import load_machine
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.nodes.collectives import cluster_demand
from simexplore.sim.training.parts import gather_seconds
from simexplore.sim.training.reach import Reach, reach_of
from simexplore.sim.training.step import TrainingStep, step_on
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.ops import AllGather
from simexplore.workloads.training.options import TrainOptions
from simexplore.workloads.training.pipeline import Pipeline

NVLINK, ADAPTER = 450e9, 50e9
FOUR = "systems/dgx-h100-x4"


@cache
def nodes() -> System:
    found = load_machine(FOUR)
    assert isinstance(found, System)
    return found


def reach(stages: int = 1, chunks: int = 1, **options: int) -> Reach:
    return reach_of(nodes(), "a model", TrainOptions(**options), Pipeline(stages, chunks, 2 * stages), None)  # type: ignore[arg-type]


def step(
    machine: str = "systems/dgx-h100-x4", *, events: bool = False, stages: int = 2, **options: Any
) -> TrainingStep:
    asked = TrainOptions(**{"tokens": 512, "tensor_parallel": 8, **options})
    return step_on(MODELS["llama-3-8b"], "a model", asked, Pipeline(stages, 1, 4), load_machine(machine), events=events)


@pytest.mark.parametrize(
    ("gpus_of_a_layer", "copies", "one", "other", "rate"),
    [(4, 1, 0, 1, NVLINK), (4, 1, 1, 2, ADAPTER), (8, 1, 0, 1, ADAPTER), (4, 2, 0, 1, ADAPTER), (2, 1, 2, 3, NVLINK)],
)
def test_neighbouring_stages_are_in_one_node_or_not(
    gpus_of_a_layer: int, copies: int, one: int, other: int, rate: float
) -> None:
    found = reach(4, tensor_parallel=gpus_of_a_layer, data_parallel=copies).stage_link(one, other)
    assert found.bandwidth_bytes_per_s == rate


@pytest.mark.parametrize(
    ("gpus_of_a_layer", "copies", "rate"),
    [(2, 4, NVLINK), (8, 2, ADAPTER), (4, 4, 2 * ADAPTER), (1, 16, 8 * ADAPTER), (1, 1, NVLINK)],
)
def test_copies_exchange_over_nvlink_or_all_adapters_of_a_node(gpus_of_a_layer: int, copies: int, rate: float) -> None:
    assert reach(tensor_parallel=gpus_of_a_layer, data_parallel=copies).copies_bytes_per_s == rate


def test_the_slowest_link_on_the_way_is_what_a_closed_form_waits_for() -> None:
    size = 5e6
    assert reach(4, tensor_parallel=4).slowest(Pipeline(4, 1, 4), size) == 2e-6 + size / ADAPTER
    assert reach(2, tensor_parallel=4).slowest(Pipeline(2, 1, 4), size) == 0.6e-6 + size / NVLINK
    # Round from the last chunk of the last stage to the first stage, which is in another node.
    assert reach(3, 2, tensor_parallel=4).slowest(Pipeline(3, 2, 3), size) == 2e-6 + size / ADAPTER
    assert reach().slowest(Pipeline(1, 1, 1), size) == 0.0


def test_a_step_over_nodes_goes_over_adapters() -> None:
    told, exchanging = step(), step(stages=1, data_parallel=4)
    assert (told.gpus, exchanging.gpus) == (16, 32)
    slower = load_machine(FOUR, {"links.network.bandwidth": "5 GB/s"})
    asked = TrainOptions(tokens=512, tensor_parallel=8)
    assert step_on(MODELS["llama-3-8b"], "a model", asked, Pipeline(2, 1, 4), slower).time_s > told.time_s
    gradients = 2.0 * 3 / 4 * exchanging.held_bytes["gradients"] / ADAPTER
    assert 0.5 * gradients < exchanging.exchange_s < gradients, "a short backward pass hides little"


def test_parts_are_gathered_over_nodes_where_a_layer_is() -> None:
    model, asked = MODELS["llama-3-8b"], TrainOptions(tokens=512, tensor_parallel=16)
    gpu = nodes().place().gpu
    over = cluster_demand(AllGather(512 * model.hidden, 16, "bf16"), gpu, 8, nodes().links["network"])
    assert gather_seconds(model, asked, nodes()) == pytest.approx(gpu.launch.graph_s + over.waits_s + over.run_s)
    with pytest.raises(SimexploreError, match="at most 8 GPUs to work together"):
        gather_seconds(model, asked, gpu)


def test_as_events_a_step_is_no_slower_and_tells_what_stages_hold() -> None:
    closed, played = step(), step(events=True)
    assert closed.activation_bytes is None
    assert closed.step.passes.time_s * 0.9 < played.step.passes.time_s <= closed.step.passes.time_s
    assert played.activation_bytes is not None
    held = played.activation_bytes
    assert held["stage0"] == pytest.approx(played.held_bytes["activations"], rel=0.05)
    assert held["stage0"] > held["stage1"]


@pytest.mark.parametrize(
    ("options", "network", "message"),
    [
        ({"tensor_parallel": 8, "data_parallel": 8}, None, "at most 32 GPUs, those of Four DGX H100, found 64"),
        ({}, 1e9, "Four DGX H100 has links of its own: leave out the network"),
    ],
)
def test_what_cannot_be_is_one_line(options: dict[str, int], network: float | None, message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        reach_of(nodes(), "a model", TrainOptions(**options), Pipeline(1, 1, 1), network)  # type: ignore[arg-type]


def test_one_node_has_no_gpus_beyond_it() -> None:
    with pytest.raises(SimexploreError, match="at most 8 GPUs, those of DGX H100, found 16"):
        step("systems/dgx-h100")


def test_layers_of_every_kind_are_timed() -> None:
    """Of DeepSeek-V2 Lite's 27 layers the first has no experts: six flops a parameter that a token goes through."""
    model = MODELS["deepseek-v2-lite"]
    told = step_on(model, "a model", TrainOptions(tokens=256), Pipeline(1, 1, 1), load_machine("nvidia/h100-sxm"))
    passes = 2 * 3 * (model.active_parameters - model.vocabulary * model.hidden) * 256
    assert told.flops == pytest.approx(passes, rel=0.05)
    halves = step_on(
        model, "a model", TrainOptions(tokens=256), Pipeline(3, 1, 3), load_machine("nvidia/h100-sxm"), 1e12
    )
    assert halves.flops == 3 * told.flops
