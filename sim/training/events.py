"""A pipeline of stages as events: passes on the GPUs of their stages, activations and gradients sent over links.

A stage is one of its GPUs, which are all alike; each sends its own part over a link of its own. A pass takes what its
kernels take alone, one after the other. What a forward pass keeps lies in its stage's memory until its backward pass
has ended, so activations of all passes in flight are what the run's memory says.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from simexplore.archs.schema.board import Link
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import ARROW, Device, Place, System, SystemLink
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.alone import Alone, Phase, alone
from simexplore.sim.estimate.placed import Ready
from simexplore.sim.play.execute import execute
from simexplore.sim.play.probes import Probe
from simexplore.sim.play.result import Run
from simexplore.sim.training.pipeline import Played, in_order
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Transfer
from simexplore.workloads.training.pipeline import Job, Pipeline

LinkOf = Callable[[int, int], Link]
"""The link that a GPU of one stage has to one of another."""


@dataclass(frozen=True)
class PassDemand:
    """A forward or backward pass of a micro-batch through a chunk, whose kernels have been timed."""

    kernel: str
    run_s: float
    """Of all its kernels, one after the other, within the board's power [s]."""


@alone.register
def _pass(demand: PassDemand, place: Place, conditions: Conditions) -> Alone:  # noqa: ARG001 - it has been timed
    """Nothing on the GPU runs beside it, so it shares nothing."""
    return Alone((Phase(0.0, demand.run_s, pace=(0.0, demand.run_s, 1.0)),), "latency")


@dataclass(frozen=True)
class Passes:
    """What passes take, send and keep; of each chunk, in the order of the model's layers."""

    forward_s: Sequence[float]
    backward_s: Sequence[float]
    sent_bytes: float = 0.0
    """Activations, or their gradients, that a GPU sends to the next chunk [B]; 0: links are free."""
    arrival_s: float = 0.0
    """What a stage does with what has come before a pass: its GPUs gather their parts [s]."""
    kept_bytes: Sequence[float] | None = None
    """What a forward pass keeps for its backward pass [B]; None: it is not told."""


def play_stages(
    pipeline: Pipeline,
    passes: Passes,
    gpu: Gpu,
    link_of: LinkOf,
    *,
    waits: bool = False,
    probes: Sequence[Probe] = (),
) -> tuple[Played, Run]:
    """The passes of all micro-batches as events.

    Args:
        pipeline: stages, chunks and micro-batches.
        passes: what each takes, sends and keeps.
        gpu: what a stage runs on.
        link_of: what stages send over.
        waits: a stage that is free takes what the next pass needs and does nothing meanwhile, as schedules do that
            overlap nothing; else transfers begin when there is something to send, beside the passes.
        probes: what watches the run.
    """
    graph = _graph(pipeline, passes, waits=waits)
    run = execute(graph, _system(gpu, pipeline, link_of), allow_overflow=True, probes=probes)
    stage_of = {node.name: _stage_at(node) for node in graph.nodes}
    busy: dict[int, float] = defaultdict(float)
    for op in run.ops:
        # A transfer is the time of the stage that waits for it.
        if waits or ARROW not in op.name:
            busy[stage_of[op.name]] += op.time_s
    return Played(run.time_s, tuple(busy[stage] for stage in range(pipeline.stages))), run


def _stage_at(node: Node) -> int:
    assert node.place is not None
    return int(node.place.rpartition(ARROW)[2].removeprefix(STAGE))


STAGE = "stage"
"""What the name of a stage's device begins with."""


def _system(gpu: Gpu, pipeline: Pipeline, link_of: LinkOf) -> System:
    """A device a stage, and a link between each two that send to one another, round to the first where chunks do."""
    count = pipeline.stages
    devices = {f"{STAGE}{index}": Device.model_construct(arch=gpu, count=1, beside=None) for index in range(count)}
    pairs = {(index, (index + 1) % count) for index in range(count if pipeline.chunks > 1 else count - 1)}
    links = {}
    for one, other in sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}):
        link, between = link_of(one, other), (f"{STAGE}{one}", f"{STAGE}{other}")
        # The figures have been checked where they were read.
        links[f"{between[0]}-{between[1]}"] = SystemLink.model_construct(
            between=between,
            bandwidth_bytes_per_s=link.bandwidth_bytes_per_s,
            latency_s=link.latency_s,
            duplex="full",
            pageable_bandwidth_bytes_per_s=None,
            port=None,
        )
    return System(name=f"{count} stages of {gpu.name}", devices=devices, links=links)


def _graph(pipeline: Pipeline, passes: Passes, *, waits: bool) -> Graph:
    nodes: list[Node] = []
    names: dict[tuple[int, Job], str] = {}
    last: dict[int, str] = {}
    sent: dict[tuple[int, int], str] = {}
    for stage, job, before in in_order(pipeline):
        place, chunk = f"{STAGE}{stage}", job.chunk * pipeline.stages + stage
        name = f"{place}.{'forward' if job.forward else 'backward'}{job.chunk}.{job.micro_batch}"
        took_s = (passes.forward_s if job.forward else passes.backward_s)[chunk]
        reads = [] if before is None else [names[before]]
        previous = [last[stage]] if stage in last else []
        if before is not None and before[0] != stage and passes.sent_bytes:
            took_s += passes.arrival_s
            way = before[0], stage
            free = [*(previous if waits else ()), *((sent[way],) if way in sent else ())]
            sent[way] = _add_transfer(nodes, names[before], way, passes, free)
            reads = [sent[way]]
        if not job.forward:
            reads.append(names[stage, job._replace(forward=True)])
        after = tuple(dict.fromkeys((*reads, *previous)))
        unread = tuple(each for each in previous if each not in reads)
        demand = PassDemand(f"{'forward' if job.forward else 'backward'} pass", took_s)
        kept = passes.kept_bytes[chunk] if job.forward and passes.kept_bytes is not None else 0.0
        nodes.append(Node(name, Ready(demand, demand.kernel), after, kept, place, place, unread=unread))
        names[stage, job] = last[stage] = name
    return Graph("pipeline", tuple(nodes))


def _add_transfer(nodes: list[Node], source: str, way: tuple[int, int], passes: Passes, after: Sequence[str]) -> str:
    """What a pass sends to the stage of the next, after what was sent that way before, and what else it waits for."""
    sender, receiver = way
    name, place = f"{source}{ARROW}{STAGE}{receiver}", f"{STAGE}{sender}{ARROW}{STAGE}{receiver}"
    unread = tuple(each for each in dict.fromkeys(after) if each != source)
    op = Transfer(max(round(passes.sent_bytes), 1))
    nodes.append(Node(name, op, (source, *unread), 0.0, place, place, unread=unread))
    return name


def same_link(link: Link) -> LinkOf:
    """Stages that all have the same link to one another."""
    return lambda one, other: link  # noqa: ARG005 - whichever they are


def activations_held(run: Run) -> Mapping[str, float]:
    """The most that each stage held of its passes at once [B]."""
    return {name: place.peak_bytes for name, place in run.memory.items()}
