"""What the parts of a training step take, and what they make together as stages of a pipeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.training.pipeline import Played, play_pipeline
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import AllGather
from simexplore.workloads.training.options import TrainOptions
from simexplore.workloads.training.pipeline import Pipeline
from simexplore.workloads.training.tape import BACKWARD, FORWARD, UPDATE

EMBEDDING, HEAD = "embedding", "head"
"""Groups of a decoder's training step beside its layers."""


def timed_model(model: Decoder) -> tuple[Decoder, tuple[str, ...]]:
    """A model with a layer of each kind, and the group that stands for each layer of the whole one.

    Its first layer is before these, for what is before a layer's norm differs there; a model of one layer has no other.
    """
    if len(model.layers) == 1:
        return model, ("layer0",)
    kinds = tuple(dict.fromkeys(model.layers))
    groups = {kind: f"layer{index + 1}" for index, kind in enumerate(kinds)}
    return replace(model, layers=(model.layers[0], *kinds)), tuple(groups[layer] for layer in model.layers)


def seconds_by_group(graph: Graph, machine: Gpu | System) -> dict[str, float]:
    """Time of the nodes of each group of a graph, in closed form [s]."""
    groups = {node.name: node.group for node in graph.nodes}
    took: dict[str, float] = defaultdict(float)
    for op in estimate_graph(graph, machine).ops:
        took[groups[op.name]] += op.time_s
    return took


def sent_bytes(model: Decoder, options: TrainOptions) -> float:
    """What a GPU sends of a micro-batch's activations to the next stage [B]: of GPUs that share a layer its part."""
    elements = options.batch * options.tokens * model.hidden
    return bytes_of(options.dtype) * elements / options.tensor_parallel


def gather_seconds(model: Decoder, options: TrainOptions, machine: Gpu | System) -> float:
    """Time in which the GPUs of a stage gather the parts that came, where they hold whole activations [s].

    Source: Narayanan et al., arXiv:2104.04473, section 4.1.
    """
    if options.tensor_parallel == 1 or options.sequence == "parallel":
        return 0.0
    gather = AllGather(options.batch * options.tokens * model.hidden, options.tensor_parallel, options.dtype)
    return estimate_graph(Graph("gather", (Node.of("gather", gather),)), machine).time_s


@dataclass(frozen=True, slots=True)
class PipelinedStep:
    """A training step of a model whose layers are divided among stages."""

    passes: Played
    """Forward and backward passes of all micro-batches."""
    update_s: float
    """The optimizer's step of the stage that takes longest [s]."""

    @property
    def time_s(self) -> float:
        """The step [s]."""
        return self.passes.time_s + self.update_s


def chunks_of(layers: Sequence[str], pipeline: Pipeline) -> list[Sequence[str]]:
    """The layers of each chunk, in the order of the model's layers.

    Raises:
        SimexploreError: the layers do not divide evenly.
    """
    chunks = pipeline.stages * pipeline.chunks
    if len(layers) % chunks:
        raise SimexploreError(f"expected as many layers in each of {chunks} chunks, found {len(layers)} in all")
    each = len(layers) // chunks
    return [layers[index * each : (index + 1) * each] for index in range(chunks)]


def seconds_of_chunks(
    took: Mapping[str, float], layers: Sequence[str], pipeline: Pipeline, phase: str
) -> tuple[float, ...]:
    """Time of a phase of each chunk, the embedding and the head at the ends [s]; raises as `chunks_of` does."""
    ending = f" {phase}"
    parts = {group.removesuffix(ending): time_s for group, time_s in took.items() if group.endswith(ending)}
    return summed_of_chunks(parts, layers, pipeline)


def summed_of_chunks(parts: Mapping[str, float], layers: Sequence[str], pipeline: Pipeline) -> tuple[float, ...]:
    """What the layers of each chunk have in all, the embedding and the head at the ends; raises as `chunks_of` does."""
    inner = [sum(parts[layer] for layer in chunk) for chunk in chunks_of(layers, pipeline)]
    inner[0] += parts.get(EMBEDDING, 0.0)
    inner[-1] += parts.get(HEAD, 0.0)
    return tuple(inner)


def pipelined_step(
    took: Mapping[str, float], layers: Sequence[str], pipeline: Pipeline, transfer_s: float
) -> PipelinedStep:
    """A step from the times of a micro-batch's parts.

    Args:
        took: time by group of a step of `timed_model` [s] (`seconds_by_group`).
        layers: the group that stands for each layer of the whole model.
        pipeline: how they are divided; every chunk has as many layers.
        transfer_s: time that what leaves a chunk takes to the next one [s].

    Raises:
        SimexploreError: the layers do not divide evenly.
    """
    forward, backward = (seconds_of_chunks(took, layers, pipeline, phase) for phase in (FORWARD, BACKWARD))
    updates = seconds_of_chunks(took, layers, pipeline, UPDATE)
    update_s = max(sum(updates[stage :: pipeline.stages]) for stage in range(pipeline.stages))
    return PipelinedStep(play_pipeline(pipeline, forward, backward, transfer_s), update_s)
