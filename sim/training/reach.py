"""Where the GPUs of a training step are, and which links its stages and its copies exchange over."""

from __future__ import annotations

from dataclasses import dataclass

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.errors import SimexploreError
from simexplore.sim.training.events import LinkOf, same_link
from simexplore.workloads.training.options import TrainOptions
from simexplore.workloads.training.pipeline import Pipeline


@dataclass(frozen=True)
class Reach:
    """What a step's GPUs reach each other over."""

    gpu: Gpu
    stage_link: LinkOf
    """Of a GPU to one of another stage."""
    copies_bytes_per_s: float
    """What a GPU has for its gradients towards the next copy of the model [B/s]."""

    def slowest(self, pipeline: Pipeline, size_bytes: float) -> float:
        """Time that so many bytes take between two neighbouring stages that take longest [s]."""
        ends = [(stage, stage + 1) for stage in range(pipeline.stages - 1)]
        if pipeline.chunks > 1 and pipeline.stages > 1:
            ends.append((0, pipeline.stages - 1))
        links = [self.stage_link(*pair) for pair in ends]
        return max((link.latency_s + size_bytes / link.bandwidth_bytes_per_s for link in links), default=0.0)


def reach_of(
    machine: Gpu | System, name: str, options: TrainOptions, pipeline: Pipeline, network_bytes_per_s: float | None
) -> Reach:
    """What the GPUs of a step reach each other over.

    GPUs are numbered as Megatron-LM does: those that share a layer are neighbours, then come copies, then stages.

    Args:
        machine: one GPU, or a system whose domains say what is within and between nodes.
        name: for messages.
        options: how many GPUs share a layer, and how many copies there are.
        pipeline: how many stages.
        network_bytes_per_s: of one GPU, its own link to all others [B/s].

    Raises:
        SimexploreError: stages or copies of one GPU without a link, a link beside those that a system has, or more
            GPUs than the system has.
    """
    of_stage = options.tensor_parallel * options.data_parallel
    if isinstance(machine, System):
        if network_bytes_per_s is not None:
            raise SimexploreError(f"{name}: {machine.name} has links of its own: leave out the network")
        return _of_system(machine, name, options, of_stage * pipeline.stages)
    if network_bytes_per_s is None and (pipeline.stages > 1 or options.data_parallel > 1):
        raise SimexploreError(f"{name}: stages and copies exchange over a network: give the bandwidth of a GPU's link")
    rate = network_bytes_per_s or float("inf")
    link = Link.model_construct(bandwidth_bytes_per_s=rate, latency_s=0.0)
    return Reach(machine, same_link(link), rate)


def _of_system(system: System, name: str, options: TrainOptions, gpus: int) -> Reach:
    most = system.reaches[-1][0] if system.reaches else 1
    if gpus > most:
        raise SimexploreError(f"{name}: expected at most {most} GPUs, those of {system.name}, found {gpus}")
    of_layer, copies = options.tensor_parallel, options.data_parallel
    of_stage = of_layer * copies
    link = system.link_of_gpus(0, of_stage - 1)
    node = system.reaches[0][0] if system.reaches else 1
    # Copies within a node hand on over NVLink, and each of their adapters takes a part of what leaves the node.
    beside = max(min(node // of_layer, copies), 1) if of_stage > node else 1
    return Reach(
        system.place().gpu,
        lambda one, other: system.link_of_gpus(one * of_stage, other * of_stage),
        beside * link.bandwidth_bytes_per_s,
    )
