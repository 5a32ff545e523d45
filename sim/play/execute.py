"""Play a graph of operators on a GPU as events: streams, launches, contention, memory and energy over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from math import inf
from typing import Any

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, SERVING, Conditions, Launch
from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate.op_run import OpRun
from simexplore.sim.play.engine import Clock, Event, seconds
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.memory import Memory
from simexplore.sim.play.meters import LoadMeter, MemoryMeter
from simexplore.sim.play.ngpc.frame import plan_frame, play_frame
from simexplore.sim.play.plan import GpuKernel, LinkTransfer, Plan, Planner, Step
from simexplore.sim.play.probes import Activity, Probe, Probes
from simexplore.sim.play.result import Run
from simexplore.sim.play.sm_array import SmArray
from simexplore.sim.play.transfer import Transfer
from simexplore.workloads.graph import Graph, Node

Playing = Generator[Event, Any, float]


def execute(
    graph: Graph,
    gpu: Gpu,
    conditions: Conditions | None = None,
    launch: Launch = "graph",
    probes: Sequence[Probe] = (),
    allow_overflow: bool = False,
) -> Run:
    """Play a graph on a GPU.

    Nodes run as soon as what they need has ended, on the graph's own streams; streams share the machine. A frame of
    neural graphics on a GPU with a cluster for it (`ngpc`) runs as `field_run` says.

    Args:
        graph: the work; fields of its operators are numbers.
        gpu: the machine.
        conditions: how every kernel is run. By default, what a node reads from nodes before it is warm in L2, and
            all else is cold.
        launch: how kernels are launched, where `conditions` is not given.
        probes: what watches the run besides the result's own meters.
        allow_overflow: let the run hold more than the GPU's memory.

    Raises:
        SimexploreError: the GPU cannot run an operator, or the graph does not fit into its memory.
    """
    plan = plan_frame(graph, gpu, launch)
    if plan is not None:
        return play_frame(plan, gpu, graph, probes)
    return _Playback(graph, gpu, conditions, launch, probes, allow_overflow).run()


class _Playback:
    """The state of one run."""

    def __init__(
        self,
        graph: Graph,
        gpu: Gpu,
        conditions: Conditions | None,
        launch: Launch,
        probes: Sequence[Probe],
        allow_overflow: bool,
    ) -> None:
        self._graph = graph
        self._gpu = gpu
        self._conditions = conditions
        self._launch: Launch = launch
        self._loads, self._peak = LoadMeter(), MemoryMeter()
        self._probes = Probes([self._loads, self._peak, *probes])
        self._clock = Clock()
        self._network = FlowNetwork(self._clock, _capacities(gpu), self._on_rates, self._probes.watch_waves)
        self._array = SmArray(self._clock, self._network, gpu.sm.count, gpu.sm.max_ctas, self._probes)
        self._memory = Memory(graph, gpu.name, inf if allow_overflow else gpu.dram.capacity_bytes)
        self._planner = Planner(gpu)
        self._ended = {node.name: self._clock.event() for node in graph.nodes}
        self._ops: list[OpRun] = []
        self._end_fs = 0

    def run(self) -> Run:
        streams: dict[int, list[Node]] = defaultdict(list)
        stream_of = self._graph.streams()
        for node in self._graph.nodes:
            streams[stream_of[node.name]].append(node)
        self._probes.on_memory(0, self._memory.held_bytes)
        for stream, nodes in streams.items():
            self._clock.process(self._play_stream(stream, nodes))
        self._clock.run()
        return Run(
            time_s=seconds(self._end_fs),
            energy_j=self._loads.dynamic_energy_j(self._end_fs) + self._gpu.power.idle_w * seconds(self._end_fs),
            peak_memory_bytes=self._peak.peak_bytes,
            utilization=self._loads.utilization(self._end_fs),
            ops=tuple(sorted(self._ops, key=lambda op: op.start_s)),
        )

    def _play_stream(self, stream: int, nodes: list[Node]) -> Generator[Event, Any, None]:
        for node in nodes:
            waiting = [ended for name in node.after if not (ended := self._ended[name]).triggered]
            if waiting:
                yield self._clock.all_of(waiting)
            yield from self._play_node(node, stream)

    def _play_node(self, node: Node, stream: int) -> Generator[Event, Any, None]:
        start_fs = self._clock.now_fs
        plan = self._plan(node)
        self._memory.begin(node)
        self._probes.on_memory(start_fs, self._memory.held_bytes)
        text = node.op.describe()
        energy_j = 0.0
        for step in plan.steps:
            details = {"op": text, "bound": plan.bound, **step.details}
            energy_j += yield from self._play_step(step, Activity(node.name, stream, step.kernel, details))
        self._end_fs = self._clock.now_fs
        self._memory.end(node)
        self._probes.on_memory(self._end_fs, self._memory.held_bytes)
        time_s = seconds(self._end_fs - start_fs)
        self._ops.append(
            OpRun(node.name, text, seconds(start_fs), time_s, plan.bound, energy_j, plan.kernel, plan.interval_ratio)
        )
        self._ended[node.name].succeed()

    def _play_step(self, step: Step, activity: Activity) -> Playing:
        """Play one kernel or transfer; returns its dynamic energy [J]."""
        if isinstance(step, GpuKernel):
            yield self._clock.sleep(step.launch_s)
            taken = yield self._array.launch(step, activity)
            return float(taken["power"])
        yield self._send(step, activity)
        return 0.0

    def _send(self, transfer: LinkTransfer, activity: Activity) -> Event:
        message = Transfer(self._clock, self._network, self._probes, activity)
        return message.start(transfer.link, transfer.latency_s, transfer.transfer_s)

    def _plan(self, node: Node) -> Plan:
        conditions = self._conditions
        if conditions is None:
            conditions = Conditions(cache=SERVING if node.after else COLD, launch=self._launch)
        try:
            return self._planner.plan(node.op, conditions)
        except SimexploreError as error:
            raise SimexploreError(f"{node.name}: {error}") from None

    def _on_rates(self, loads: Mapping[str, float]) -> None:
        self._probes.on_rates(self._clock.now_fs, loads)


def _capacities(gpu: Gpu) -> dict[str, float]:
    """What is shared on a GPU: 1 is the whole machine's resource. Power is metered [W]."""
    links = ["pcie"] if gpu.links.nvlink is None else ["nvlink", "pcie"]
    return {**dict.fromkeys((*RESOURCES, *links), 1.0), "power": inf}
