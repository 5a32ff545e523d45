"""What SQL finds in a trace: the same queries of Perfetto's own trace processor, where it is, and of SQLite, always."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import perfetto_ui
import pytest
from trace_tables import Tables

from simexplore.archs.load import load_arch
from simexplore.archs.schema.system import system_of
from simexplore.archs.views.machines import load_machine
from simexplore.sim.play.execute import execute
from simexplore.sim.play.result import Run
from simexplore.sim.play.trace import Trace
from simexplore.workloads import catalog
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Gemm, RmsNorm, parse_operator

NS_S = 1e-9
PAGE = Path(__file__).parents[3] / "docs" / "using" / "traces.md"


class Asked(Protocol):
    def rows(self, sql: str) -> list[tuple[Any, ...]]: ...


@dataclass(frozen=True)
class Recorded:
    graph: Graph
    run: Run
    trace: Trace


@cache
def layered() -> Recorded:
    """Two layers of a language model on one stream."""
    graph = catalog.build("llm/llama-3-8b/decode", {"layers": 2, "batch": 8})
    return recorded(graph, load_arch("nvidia/h200-sxm"))


@cache
def branched() -> Recorded:
    """Two GEMMs side by side that do not both fit, and an all-reduce, twice one after the other."""
    norm, gemm = RmsNorm(rows=64, cols=4096), Gemm(m=4096, n=4096, k=4096)
    nodes = (
        Node.of("norm", norm, group="in"),
        Node.of("gate", gemm, ["norm"], group="mlp"),
        Node.of("up", gemm, ["norm"], group="mlp"),
        Node.of("reduce", parse_operator("all_reduce(elements=16777216,num_gpus=8,dtype=bf16)"), ["norm"]),
        Node.of("join", norm, ["gate", "up", "reduce"], group="out"),
    )
    return recorded(Graph("branched", nodes, {"weights": 1e9}), load_arch("nvidia/h200-sxm"))


@cache
def offloaded() -> Recorded:
    """A training step over a GPU, host memory and drives."""
    params = {"layers": 2, "hidden": 1024, "heads": 8, "batch": 2, "seq": 128, "vocabulary": 1000}
    return recorded(catalog.build("offload/fuyou", params), load_machine("systems/rtx-4090-fuyou"))


def recorded(graph: Graph, machine: Any) -> Recorded:
    trace = Trace(machine.name, system_of(machine).first_gpu)
    return Recorded(graph, execute(graph, machine, probes=[trace]), trace)


RUNS = {"layered": layered, "branched": branched, "offloaded": offloaded}


@pytest.fixture(scope="module", params=RUNS)
def made(request: pytest.FixtureRequest) -> Recorded:
    return RUNS[request.param]()


@pytest.fixture(scope="module", params=["sqlite", "perfetto"])
def asked(request: pytest.FixtureRequest, made: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """The trace of a run, to be asked in SQL."""
    if request.param == "sqlite":
        yield Tables(made.trace.to_json())
        return
    path: Path = tmp_path_factory.mktemp("traces") / "trace.json"
    made.trace.write(path)
    with perfetto_ui.opened(path) as processor:
        yield processor


def test_perfetto_finds_no_fault_in_the_file(made: Recorded, tmp_path: Path) -> None:
    path = tmp_path / "trace.json"
    made.trace.write(path)
    with perfetto_ui.opened(path) as processor:
        faults = "SELECT name, value FROM stats WHERE severity IN ('error', 'data_loss') AND value > 0"
        assert processor.rows(faults) == []


def test_times_of_operators_are_those_of_the_run(made: Recorded, asked: Asked) -> None:
    found = {name: (ts, dur) for name, ts, dur in asked.rows("SELECT name, ts, dur FROM slice WHERE category = 'op'")}
    assert found.keys() == {op.name for op in made.run.ops}
    for op in made.run.ops:
        begin_ns, dur_ns = found[op.name]
        assert begin_ns == pytest.approx(op.start_s / NS_S, abs=1.0)
        assert dur_ns == pytest.approx(op.time_s / NS_S, abs=1.001)
    ((last_ns,),) = asked.rows("SELECT max(ts + dur) FROM slice")
    assert last_ns == pytest.approx(made.run.time_s / NS_S, abs=1.0)


def test_kernels_fill_operators_and_phases_fill_kernels(made: Recorded, asked: Asked) -> None:
    parents = asked.rows(
        "SELECT parent.name, parent.dur, sum(part.dur), min(part.ts) - parent.ts FROM slice AS part "
        "JOIN slice AS parent ON part.parent_id = parent.id "
        "WHERE parent.category IN ('op', 'kernel') GROUP BY parent.id"
    )
    assert len(parents) >= 2 * len(made.run.ops)
    assert [row for row in parents if row[1] != row[2] or row[3] != 0] == []


def test_nothing_overlaps_on_a_thread(asked: Asked) -> None:
    overlapping = asked.rows(
        "SELECT name FROM (SELECT name, ts, lag(ts + dur) OVER (PARTITION BY track_id, depth ORDER BY ts, id) AS until "
        "FROM slice) WHERE ts < until"
    )
    assert overlapping == []


def test_arrows_go_from_each_operator_to_those_that_wait_for_it(made: Recorded, asked: Asked) -> None:
    found = asked.rows(
        "SELECT a.name AS before, b.name AS after, a.ts + a.dur <= b.ts FROM flow "
        "JOIN slice AS a ON flow.slice_out = a.id JOIN slice AS b ON flow.slice_in = b.id"
    )
    edges = sorted((name, node.name, 1) for node in made.graph.nodes for name in node.after)
    assert sorted(found) == edges
    assert edges


def test_the_area_under_all_powers_is_the_energy(made: Recorded, asked: Asked) -> None:
    ((energy_j,),) = asked.rows(
        "SELECT sum(value * (until - ts)) / 1e9 FROM (SELECT value, ts, "
        "lead(ts) OVER (PARTITION BY track_id ORDER BY ts, counter.id) AS until FROM counter "
        "JOIN process_counter_track AS track ON counter.track_id = track.id WHERE track.name = 'power W')"
    )
    assert energy_j == pytest.approx(made.run.energy_j, rel=1e-3)


def test_the_most_memory_held_is_the_peak_of_each_place(made: Recorded, asked: Asked) -> None:
    peaks = asked.rows(
        "SELECT process.name, max(value) FROM counter JOIN process_counter_track AS track ON track_id = track.id "
        "JOIN process USING (upid) WHERE track.name = 'memory held bytes' GROUP BY process.name"
    )
    of_places = {place: memory.peak_bytes for place, memory in made.run.memory.items()}
    if len(of_places) == 1:  # its one process has the machine's name
        assert [peak for _, peak in peaks] == pytest.approx(list(of_places.values()))
    else:
        assert dict(peaks) == pytest.approx(of_places)


@pytest.mark.parametrize("asked", ["sqlite", "perfetto"], indirect=True)
@pytest.mark.parametrize("made", ["layered"], indirect=True)
def test_a_layer_takes_as_long_as_its_operators(made: Recorded, asked: Asked) -> None:
    layers = asked.rows(
        "SELECT layer.name, layer.dur, count(*), sum(op.dur) FROM slice AS layer "
        "JOIN slice AS op ON op.parent_id = layer.id WHERE layer.category = 'layer' GROUP BY layer.id ORDER BY layer.ts"
    )
    groups = [node.group for node in made.graph.nodes]
    assert [(name, count) for name, _, count, _ in layers] == [
        (name, groups.count(name)) for name in dict.fromkeys(groups)
    ]
    assert all(dur == of_ops for _, dur, _, of_ops in layers)
    assert len(layers) >= 4


@pytest.mark.parametrize("made", ["layered"], indirect=True)
def test_what_a_slice_tells_is_at_hand_in_sql(made: Recorded, asked: Asked) -> None:
    ((op, bound, flops),) = asked.rows(
        "SELECT extract_arg(arg_set_id, 'args.op'), extract_arg(arg_set_id, 'args.bound'), "
        "extract_arg(arg_set_id, 'args.flops') FROM slice WHERE category = 'op' AND name = 'layer0.qkv'"
    )
    told = next(each for each in made.run.ops if each.name == "layer0.qkv")
    assert (op, bound) == (told.op, told.bound)
    assert flops == 2.0 * 8 * 6144 * 4096
    ((ctas, per_sm, waves, engine, dram),) = asked.rows(
        "SELECT extract_arg(arg_set_id, 'args.ctas'), extract_arg(arg_set_id, 'args.ctas_per_sm'), "
        "extract_arg(arg_set_id, 'args.waves'), extract_arg(arg_set_id, 'args.engine'), "
        "extract_arg(arg_set_id, 'args.dram_bytes') FROM slice WHERE category = 'kernel' AND name = 'gemm' "
        "AND extract_arg(arg_set_id, 'args.node') = 'layer0.qkv'"
    )
    assert waves == pytest.approx(ctas / (per_sm * 132))
    assert engine == "trtllm"
    assert dram > 2.0 * 6144 * 4096  # its weights come from DRAM


@pytest.mark.parametrize("made", ["branched"], indirect=True)
def test_one_that_waits_for_sms_is_seen_to_queue(asked: Asked) -> None:
    phases = asked.rows("SELECT extract_arg(arg_set_id, 'args.node') AS node, name FROM slice WHERE category = 'phase'")
    assert ("up", "queue") in phases
    assert ("gate", "queue") not in phases
    assert {name for node, name in phases if node == "reduce"} == {"latency", "work"}
    assert [name for node, name in phases if node == "gate"] == ["launch", "set-up", "waves", "tail"]


@pytest.mark.parametrize("made", ["offloaded"], indirect=True)
def test_each_place_has_tracks_of_its_own(made: Recorded, asked: Asked) -> None:
    found = asked.rows(
        "SELECT process.name, count(*) FROM slice JOIN thread_track ON track_id = thread_track.id "
        "JOIN thread USING (utid) JOIN process USING (upid) WHERE category = 'op' GROUP BY process.name"
    )
    places = [node.place or "gpu" for node in made.graph.nodes]
    assert dict(found) == {place: places.count(place) for place in places}
    assert {"gpu", "cpu", "cpu->gpu", "gpu->cpu", "ssd->cpu", "cpu->ssd"} == set(places)
    counters = set(asked.rows("SELECT process.name, t.name FROM process_counter_track AS t JOIN process USING (upid)"))
    assert {("ssd", "reads share"), ("cpu", "cores share"), ("cpu", "power W"), ("gpu", "gpu_pcie share")} <= counters


@pytest.mark.parametrize("made", ["layered"], indirect=True)
def test_the_queries_of_the_page_find_something(asked: Asked) -> None:
    queries = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    layers, phases, waits, energy, kernels = (asked.rows(query) for query in queries)
    assert [name for name, _, _ in layers] == ["embedding", "layer0", "layer1", "head"]
    assert {name for name, _ in phases} == {"launch", "set-up", "waves", "tail"}
    assert len(waits) == 10
    assert len(energy) == 1
    assert kernels[0][:2] == ("gemm", "lm_head")
