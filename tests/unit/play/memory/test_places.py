"""Memory by place: where results lie, which tensors are alive where it runs out, and the page that draws it."""

from __future__ import annotations

import json
import re

import pytest
from round_host import round_system

from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.play.execute import execute
from simexplore.sim.play.memory.ledger import OutOfMemoryError
from simexplore.sim.play.memory.timeline import MemoryTimeline
from simexplore.sim.report.runs.memory import memory_html, thinned
from simexplore.workloads.graph import Graph, Node, single
from simexplore.workloads.ops import Add, HostWork, Transfer, parse_operator

GB = 10**9


def handed_on() -> Graph:
    """Weights from a drive to the GPU, where an addition reads them; its result goes to the host."""
    return Graph(
        "handed on",
        (
            Node("read", Transfer(GB), (), 1e9, place="ssd->cpu", kind="weights"),
            Node("up", Transfer(GB), ("read",), 1e9, place="cpu->gpu", kind="weights"),
            Node("add", Add(GB // 4, "fp16"), ("up",), 0.5e9),
            Node("down", Transfer(GB // 2), ("add",), 0.5e9, place="gpu->cpu"),
            Node("work", HostWork(1, 1), ("down", "read"), 0.0, place="cpu", unread=("read",)),
        ),
        {"weights": 2e9},
        (),
        {"ssd": {"states": 4e9}, "cpu": {"kv_cache": 1e9}},
    )


def test_each_place_has_what_is_resident_and_what_comes_to_it() -> None:
    timeline = MemoryTimeline()
    run = execute(handed_on(), round_system(), probes=[timeline])
    assert {name: place.peak_bytes for name, place in run.memory.items()} == {"gpu": 3.5e9, "ssd": 4e9, "cpu": 2e9}
    assert run.peak_memory_bytes == 3.5e9
    assert run.memory["gpu"].by_kind == {"weights": 3e9, "activations": 0.5e9}
    assert run.memory["cpu"].by_kind == {"kv_cache": 1e9, "weights": 1e9}
    assert run.memory["cpu"].capacity_bytes == 100e9
    ends = {op.name: op.start_s + op.time_s for op in run.ops}
    stays = {(t.place, t.name): (t.born_s, t.died_s) for place in timeline.places for t in timeline.tensors(place)}
    assert stays["cpu", "read"] == (0.0, pytest.approx(ends["up"])), "a node that only waits for it does not keep it"
    assert stays["gpu", "up"] == (pytest.approx(ends["read"]), pytest.approx(ends["add"]))
    assert stays["ssd", "states"] == (0.0, None)


def test_running_out_names_the_place_the_node_and_the_tensors_alive() -> None:
    parts = tuple(Node(f"part{size}", Transfer(GB), (), size * 1e9, place="ssd->cpu") for size in (30, 10, 50, 20))
    last = Node("last", HostWork(1, 1), tuple(node.name for node in parts), 0.0, place="cpu")
    graph = Graph("too much", (*parts, last), {}, (), {"cpu": {"kv_cache": 5e9}})
    with pytest.raises(OutOfMemoryError, match="too much needs 115 GB of memory at cpu at part20") as told:
        execute(graph, round_system())
    assert "alive: part50 50 GB, part30 30 GB, part20 20 GB, part10 10 GB" in str(told.value)
    assert "Round CPU has 100 GB" in str(told.value)
    assert told.value.place == "cpu"
    assert told.value.needed_bytes == 115e9
    assert [tensor.name for tensor in told.value.alive] == ["part50", "part30", "part20", "part10", "kv_cache"]
    assert execute(graph, round_system(), allow_overflow=True).memory["cpu"].peak_bytes == 115e9


def test_what_is_resident_elsewhere_must_fit_there() -> None:
    graph = Graph("states", (Node("one", Transfer(1), place="ssd->cpu"),), {}, (), {"ssd": {"states": 2.1e12}})
    with pytest.raises(SimexploreError, match=r"needs 2100 GB of memory at ssd \(states 2100 GB\)"):
        execute(graph, round_system())


def test_a_lone_operator_holds_its_inputs() -> None:
    text = "attention_decode(batch=1,heads=32,kv_heads=8,head_dim=128,seq_kv=1000000,dtype=fp16)"
    run = execute(single(parse_operator(text)), load_arch("nvidia/rtx-4090@facts"))
    kv_bytes = 2 * 8 * 128 * 1_000_000 * 2
    assert run.memory["gpu"].by_kind["operands"] == pytest.approx(kv_bytes, rel=1e-4)
    assert run.peak_memory_bytes == run.memory["gpu"].peak_bytes > kv_bytes


def test_the_page_draws_every_place_and_lists_the_tensors_at_its_peak() -> None:
    timeline = MemoryTimeline()
    run = execute(handed_on(), round_system(), probes=[timeline])
    html = memory_html("<work>", "round", timeline, run.memory, "today")
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    figures = json.loads(found.group(1))["figures"]
    assert set(figures) == {"over-time-0", "over-time-1", "over-time-2"}
    levels = [sum(at) for at in zip(*(trace["y"] for trace in figures["over-time-0"]["data"]), strict=True)]
    assert max(levels) == pytest.approx(3.5)
    (drive,) = figures["over-time-1"]["data"]
    assert drive["x"] == [0, pytest.approx(run.time_s, rel=1e-6)], "what stays is drawn to the end"
    assert drive["y"] == [4, 4]
    assert "<work>" not in html
    assert "A caching allocator takes" in html
    assert "The 3 largest of 3 tensors at the peak" in html


def test_thinning_keeps_the_peak() -> None:
    timeline = MemoryTimeline()
    for index, size in enumerate((1.0, 5.0, -2.0, 3.0, -6.0)):
        timeline.on_tensor(index, "gpu", str(abs(size)), "a", size)
    steps = timeline.steps("gpu")
    assert [sum(step.by_kind.values()) for step in thinned(steps, 2)] == [6.0, 7.0]
    assert thinned(steps, 5) == steps
