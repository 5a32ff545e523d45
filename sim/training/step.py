"""A training step over many GPUs: tensor parallel within a layer, stages of a pipeline, copies of the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.sim.training.events import Passes, activations_held, play_stages
from simexplore.sim.training.parts import (
    PipelinedStep,
    chunks_of,
    gather_seconds,
    pipelined_step,
    seconds_by_group,
    seconds_of_chunks,
    sent_bytes,
    summed_of_chunks,
    timed_model,
)
from simexplore.sim.training.reach import reach_of
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.graph import Graph
from simexplore.workloads.training.kept import kept_bytes
from simexplore.workloads.training.options import TrainOptions, build_train, planned
from simexplore.workloads.training.pipeline import Pipeline
from simexplore.workloads.training.plan import Held
from simexplore.workloads.training.segments import LAYER
from simexplore.workloads.training.step import resident_bytes
from simexplore.workloads.training.tape import BACKWARD, FORWARD, UPDATE


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """A step of all GPUs together."""

    step: PipelinedStep
    exchange_s: float
    """Time for which the update waits for gradients of other copies [s]."""
    tokens: int
    """Of the whole batch."""
    flops: float
    """Of all GPUs in their passes, what is done again among them."""
    gpus: int
    held_bytes: Mapping[str, float]
    """What a GPU of the first stage holds at most by kind: weights, gradients, states, activations [B]."""
    activation_bytes: Mapping[str, float] | None = None
    """The most activations of passes in flight on a GPU of each stage, as played [B]; None: in closed form."""

    @property
    def time_s(self) -> float:
        """From the first pass to the end of the update [s]."""
        return self.step.time_s + self.exchange_s

    def to_json(self) -> dict[str, Any]:
        """Plain data, SI units in the keys."""
        return {
            "time_s": self.time_s,
            "passes_s": self.step.passes.time_s,
            "bubble": self.step.passes.bubble,
            "exchange_s": self.exchange_s,
            "update_s": self.step.update_s,
            "tokens": self.tokens,
            "tokens_per_s": self.tokens / self.time_s,
            "flops": self.flops,
            "flops_per_s_and_gpu": self.flops / self.time_s / self.gpus,
            "gpus": self.gpus,
            "held_bytes": dict(self.held_bytes),
            "activation_bytes_by_stage": None if self.activation_bytes is None else dict(self.activation_bytes),
        }


def step_on(
    model: Decoder,
    name: str,
    options: TrainOptions,
    pipeline: Pipeline,
    machine: Gpu | System,
    network_bytes_per_s: float | None = None,
    *,
    events: bool = False,
) -> TrainingStep:
    """A step of a model, in closed form, or with its passes as events.

    Copies add up their gradients round a ring, 2 (n - 1) / n of a GPU's gradients over its link, while the backward
    pass of the last micro-batch goes on; the update waits for what that does not hide.

    Args:
        model: all its layers.
        name: for messages.
        options: of a micro-batch on one GPU; `data_parallel` copies. Its `micro_batches` and `layers` are left out.
        pipeline: stages, chunks and micro-batches of each copy.
        machine: one GPU, or a system whose domains its GPUs are in.
        network_bytes_per_s: of one GPU, its own link to others, which stages and copies exchange over [B/s].
        events: passes are played on their stages, and transfers beside them; else a stage waits for each transfer.

    Raises:
        SimexploreError: what `reach_of`, `build_train` and `pipelined_step` raise.
    """
    reach = reach_of(machine, name, options, pipeline, network_bytes_per_s)
    few, layers = timed_model(model)
    timed = _pass_of(few, name, options)
    took, kept = seconds_by_group(timed, machine), kept_bytes(timed)
    sent, gather_s = sent_bytes(model, options), gather_seconds(model, options, machine)
    step = pipelined_step(took, layers, pipeline, reach.slowest(pipeline, sent) + gather_s)
    stages = None
    if events:
        forward, backward = (seconds_of_chunks(took, layers, pipeline, phase) for phase in (FORWARD, BACKWARD))
        passes = Passes(forward, backward, sent, gather_s, summed_of_chunks(kept, layers, pipeline))
        played, run = play_stages(pipeline, passes, reach.gpu, reach.stage_link)
        step, stages = replace(step, passes=played), activations_held(run)
    held = _held(model, name, options, pipeline, kept)
    copies = options.data_parallel
    exchanged_s = 2.0 * (copies - 1) / copies * held["gradients"] / reach.copies_bytes_per_s
    hidden_s = sum(took[f"{layer} {BACKWARD}"] for layer in _of_first_stage(layers, pipeline))
    flops = pipeline.micro_batches * copies * options.tensor_parallel * _flops_of_passes(timed, layers)
    return TrainingStep(
        step=step,
        exchange_s=max(exchanged_s - hidden_s, 0.0),
        tokens=options.batch * options.tokens * pipeline.micro_batches * copies,
        flops=flops,
        gpus=options.tensor_parallel * pipeline.stages * copies,
        held_bytes=held,
        activation_bytes=stages,
    )


def _pass_of(few: Decoder, name: str, options: TrainOptions) -> Graph:
    """A step of one micro-batch through a model with a layer of each kind (`timed_model`)."""
    return build_train(few, name, replace(options, micro_batches=1, data_parallel=1, layers=0))


def _of_first_stage(layers: Sequence[Any], pipeline: Pipeline) -> list[Any]:
    """Of what stands for each layer, that of the first stage's layers."""
    return [each for chunk in chunks_of(layers, pipeline)[:: pipeline.stages] for each in chunk]


def _flops_of_passes(timed: Graph, layers: Sequence[str]) -> float:
    """Of a micro-batch through all layers, from a step of one of each kind."""
    of_group: dict[str, float] = defaultdict(float)
    for node in timed.nodes:
        group, _, phase = node.group.partition(" ")
        if phase != UPDATE:
            of_group[group] += node.flops
    ends = sum(flops for group, flops in of_group.items() if not group.startswith(LAYER))
    return ends + sum(of_group[layer] for layer in layers)


def held_on_first_stage(model: Decoder, name: str, options: TrainOptions, pipeline: Pipeline) -> dict[str, float]:
    """What a GPU of the first stage holds [B]: its layers, the embedding, and activations of all passes in flight.

    A stage of the pipeline keeps a chunk's activations from a forward pass to its backward pass; the first stage has
    the most of them. Results that live for less than a pass are not counted.
    """
    return _held(model, name, options, pipeline, kept_bytes(_pass_of(timed_model(model)[0], name, options)))


def _held(
    model: Decoder, name: str, options: TrainOptions, pipeline: Pipeline, kept: Mapping[str, float]
) -> dict[str, float]:
    """`held_on_first_stage` from what each part of the model keeps."""
    own = replace(model, layers=tuple(_of_first_stage(model.layers, pipeline)))
    _, held, plan = planned(own, name, replace(options, layers=0))
    first: Held = {
        node: weights
        for node, weights in held.items()
        if pipeline.stages == 1 or node.startswith(("embedding", "position_embedding", "layer"))
    }
    _, layers = timed_model(model)
    of_layers = sum(kept[layer] for layer in _of_first_stage(layers, pipeline))
    ends = kept["embedding"] + (kept["head"] if pipeline.stages == 1 else 0.0)
    kinds = {"gradients": 0.0, **resident_bytes(first, plan)}
    return {**kinds, "activations": pipeline.in_flight(0) * of_layers / pipeline.chunks + ends}
