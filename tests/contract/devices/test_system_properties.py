"""What holds on any system for any graph: bytes are conserved, memory is told rightly, a faster link is no slower."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from round_host import round_system

from simexplore.archs.schema.system import Path, System
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.hardware.host.drive import BOTH, READS, WRITES
from simexplore.sim.play.execute import execute
from simexplore.sim.play.memory.timeline import MemoryTimeline
from simexplore.sim.play.probes import Activity, Probe
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import HostWork, Transfer

PLACES = ("cpu->gpu", "gpu->cpu", "ssd->cpu", "cpu->ssd", "ssd->gpu", "gpu->ssd", "cpu")
CASES = settings(max_examples=25, deadline=None)
"""Systems and graphs drawn of each property."""


@st.composite
def systems(draw: st.DrawFn) -> dict[str, Any]:
    """What is changed of the round system: short to show."""

    def link() -> dict[str, Any]:
        return {"bandwidth": f"{draw(st.integers(1, 50))} GB/s", "duplex": draw(st.sampled_from(["full", "half"]))}

    links = {"pcie": link(), "array": link()}
    ports = {}
    if draw(st.booleans()):
        ports = {"root": {"bandwidth": f"{draw(st.integers(1, 50))} GB/s"}}
        links["pcie"]["port"] = links["array"]["port"] = "root"
    return {"drive": {"duplex": draw(st.sampled_from(["full", "half"]))}, "links": links, "ports": ports}


@st.composite
def graphs(draw: st.DrawFn, chain: bool = False) -> Graph:
    nodes: list[Node] = []
    for index in range(draw(st.integers(1, 8))):
        place = draw(st.sampled_from(PLACES))
        size = draw(st.integers(1, 2 * 10**9))
        op = HostWork(size, size, draw(st.sampled_from([None, 1, 4]))) if place == "cpu" else Transfer(size)
        known = [node.name for node in nodes]
        after = (
            known[-1:] if chain else draw(st.lists(st.sampled_from(known), unique=True, max_size=3)) if known else []
        )
        unread = tuple(name for name in after if draw(st.booleans()))
        nodes.append(Node(str(index), op, tuple(after), float(size), place=place, unread=unread))
    return Graph("drawn", tuple(nodes))


def asked(graph: Graph, system: System) -> dict[str, float]:
    """Seconds of the whole of every link, port and drive that the graph's bytes take."""
    found: dict[str, float] = defaultdict(float)
    for node in graph.nodes:
        path = system.place(node.place).arch
        if not isinstance(path, Path):
            continue
        moved = float(node.op.output_bytes)
        for hop in path.hops:
            for name, rate in hop.rates.items():
                found[name] += moved / rate
        drive = system.place("ssd").arch
        for stop, name, way in ((path.stops[0], READS, "read"), (path.stops[-1], WRITES, "write")):
            if stop.name == "ssd":
                resource = f"ssd.{name if drive.duplex == 'full' else BOTH}"  # type: ignore[union-attr]
                found[resource] += moved / getattr(drive, way).bandwidth_bytes_per_s / drive.efficiency  # type: ignore[union-attr]
    return found


@CASES
@given(systems(), graphs())
def test_every_link_port_and_drive_moves_the_bytes_that_are_asked_of_it(changes: dict[str, Any], graph: Graph) -> None:
    system = round_system(**changes)
    run = execute(graph, system, allow_overflow=True)
    for name, busy_s in asked(graph, system).items():
        assert abs(run.utilization[name] * run.time_s - busy_s) <= 1e-9 * busy_s + 1e-14 * len(graph.nodes), name
    assert run.time_s >= max(asked(graph, system).values(), default=0.0) * (1.0 - 1e-9)


class Alive(Probe):
    """Which tensors are somewhere, and which results were missing when a node that reads them was at work."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = {node.name: node for node in graph.nodes}
        self._alive: set[str] = set()
        self.missing: list[tuple[str, str]] = []

    def on_tensor(self, now_fs: int, place: str, name: str, kind: str, size: float) -> None:
        (self._alive.add if size > 0.0 else self._alive.discard)(name)

    def look(self, activity: Activity) -> None:
        node = self._nodes[activity.node]
        used = (name for name in (node.name, *node.reads) if self._nodes[name].output_bytes)
        self.missing += [(node.name, name) for name in used if name not in self._alive]

    def on_kernel_start(self, now_fs: int, activity: Activity) -> None:
        self.look(activity)

    def on_kernel_end(self, now_fs: int, activity: Activity) -> None:
        self.look(activity)


@CASES
@given(systems(), graphs())
def test_no_tensor_is_used_before_its_birth_or_after_its_death(changes: dict[str, Any], graph: Graph) -> None:
    system = round_system(**changes)
    alive, timeline = Alive(graph), MemoryTimeline()
    run = execute(graph, system, probes=[alive, timeline], allow_overflow=True)
    assert alive.missing == []
    ends = {op.name: op.start_s + op.time_s for op in run.ops}
    seen = {tensor.name: tensor for place in timeline.places for tensor in timeline.tensors(place)}
    assert set(seen) == {node.name for node in graph.nodes}
    for node in graph.nodes:
        readers = [reader.name for reader in graph.nodes if node.name in reader.reads]
        died_s = seen[node.name].died_s
        assert died_s is not None
        assert abs(died_s - max(ends[name] for name in (node.name, *readers))) < 1e-12 + 1e-12 * run.time_s
        assert seen[node.name].place == system.place(node.place).holds


@CASES
@given(systems(), graphs())
def test_the_peak_of_a_place_is_above_every_instant_and_reached_at_one(changes: dict[str, Any], graph: Graph) -> None:
    system = round_system(**changes)
    timeline = MemoryTimeline()
    run = execute(graph, system, probes=[timeline], allow_overflow=True)
    for place in timeline.places:
        peak, tensors = run.memory[place].peak_bytes, timeline.tensors(place)
        for instant in [tensor.born_s for tensor in tensors]:
            held = sum(t.bytes for t in tensors if t.born_s <= instant and (t.died_s is None or t.died_s > instant))
            assert held <= peak * (1 + 1e-12)
        assert max(sum(step.by_kind.values()) for step in timeline.steps(place)) <= peak * (1 + 1e-12)
        assert peak <= sum(tensor.bytes for tensor in tensors) * (1 + 1e-12)
        assert sum(run.memory[place].by_kind.values()) == peak
        assert timeline.steps(place)[-1].by_kind == {}


@CASES
@given(systems(), graphs(chain=True), st.sampled_from(["pcie", "array"]), st.floats(1.0, 8.0))
def test_a_faster_link_never_makes_work_slower(changes: dict[str, Any], graph: Graph, name: str, factor: float) -> None:
    """In events of work that waits for one another; in closed form of any. Beside each other, work that begins earlier
    may delay work that matters more (R. Graham, Bounds on multiprocessing timing anomalies, 1969)."""
    system = round_system(**changes)
    link = system.links[name]
    faster = link.model_copy(update={"bandwidth_bytes_per_s": factor * link.bandwidth_bytes_per_s})
    better = system.model_copy(update={"links": {**system.links, name: faster}})
    before, after = (execute(graph, each, allow_overflow=True).time_s for each in (system, better))
    assert after <= before + 1e-14 * len(graph.nodes)


@CASES
@given(systems(), graphs(), st.sampled_from(["pcie", "array"]), st.floats(1.0, 8.0))
def test_a_faster_link_never_makes_the_closed_form_slower(
    changes: dict[str, Any], graph: Graph, name: str, factor: float
) -> None:
    system = round_system(**changes)
    link = system.links[name]
    faster = link.model_copy(update={"bandwidth_bytes_per_s": factor * link.bandwidth_bytes_per_s})
    better = system.model_copy(update={"links": {**system.links, name: faster}})
    assert estimate_graph(graph, better).time_s <= estimate_graph(graph, system).time_s * (1 + 1e-12)
    assert execute(graph, system, allow_overflow=True).time_s >= estimate_graph(graph, system).time_s * (1 - 1e-9)
