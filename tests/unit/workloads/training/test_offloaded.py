"""Offloaded training steps: bytes that every schedule moves, by hand, and the order in which things must happen."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import pytest
from round_host import round_system

from simexplore.errors import SimexploreError
from simexplore.sim.estimate.host.limits import limits, planned
from simexplore.sim.play.execute import execute
from simexplore.workloads import catalog
from simexplore.workloads.families.offloaded.gpt import BY_BENEFIT, INPUT, WIDTHS, Model, backward_parts, forward_parts
from simexplore.workloads.families.offloaded.schedule import FUYOU, SCHEDULES, ZERO_INFINITY, ZERO_OFFLOAD, step
from simexplore.workloads.graph import Graph
from simexplore.workloads.graph_data import from_data, to_data
from simexplore.workloads.ops import Gemm

SMALL = Model(layers=3, hidden=256, heads=4, batch=2, seq=128, vocabulary=1000)
WEIGHTS = 3 * 12 * 256**2 + (1000 + 128) * 256
UNIT = 2 * 2 * 128 * 256
"""Bytes of one value a token and unit of the hidden size."""


QUICK = {"bandwidth": "1000 GB/s", "latency": "0 s"}
FAST = round_system(drive={"read": QUICK, "write": QUICK}, links={"pcie": QUICK, "array": QUICK})
"""A system whose links and drives are no limit."""


def moved(graph: Graph) -> Counter[str]:
    """Bytes of all transfers by path."""
    found: Counter[str] = Counter()
    for node in graph.nodes:
        if node.op.op == "transfer":
            found[node.place or ""] += int(node.op.output_bytes)
    return found


def test_parameters_are_counted_as_the_model_has_them() -> None:
    assert SMALL.parameters == WEIGHTS
    assert Model().parameters == 40 * 12 * 5120**2 + (50257 + 1024) * 5120
    assert SMALL.nominal_flops == 6 * WEIGHTS * 256


def test_fuyou_moves_weights_twice_states_once_and_what_is_kept() -> None:
    kept = 10 * UNIT  # x and the four products: 1 + 3 + 1 + 4 + 1
    embedding = (1000 + 128) * 256
    found = moved(step(SMALL, FUYOU))
    assert found == {
        "ssd->cpu": (2 + 12) * WEIGHTS + 2 * (WEIGHTS - embedding),
        "cpu->ssd": 14 * WEIGHTS,
        "cpu->gpu": 2 * WEIGHTS + 2 * (WEIGHTS - embedding) + 3 * kept,
        "gpu->cpu": 2 * WEIGHTS + 3 * kept,
    }


def test_zero_infinity_keeps_inputs_alone_and_its_gradients_on_drives() -> None:
    embedding = (1000 + 128) * 256
    found = moved(step(replace(SMALL, swapped=0), ZERO_INFINITY))
    assert found["ssd->cpu"] == (2 + 16) * WEIGHTS + 2 * (WEIGHTS - embedding)
    assert found["cpu->ssd"] == (4 + 14) * WEIGHTS
    assert found["gpu->cpu"] == 2 * WEIGHTS + 3 * UNIT


def test_zero_offload_has_weights_on_the_gpu_and_states_in_the_host() -> None:
    graph = step(replace(SMALL, swapped=0), ZERO_OFFLOAD)
    assert moved(graph) == {"gpu->cpu": 2 * WEIGHTS, "cpu->gpu": 2 * WEIGHTS}
    assert graph.resident_bytes == {"weights": 2.0 * WEIGHTS}
    assert graph.resident_elsewhere == {"cpu": {"states": 12.0 * WEIGHTS}}


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_attention_backward_has_five_products_where_forward_has_two(batch: int) -> None:
    model = replace(SMALL, batch=batch)
    parts = {part.name: part.op for part in (*forward_parts(model), *backward_parts(model))}
    assert parts["attend.dx"].flops == 2.5 * parts["attend"].flops


@pytest.mark.parametrize(("swapped", "again"), [(4, 0), (3, 8), (2, 14), (1, 16), (0, 24)])
def test_what_is_not_kept_is_computed_again(swapped: int, again: int) -> None:
    """In units of h² a token and layer: products are 6, 2, 8 and 8 of them, and the forward pass 24."""
    graph = step(replace(SMALL, swapped=swapped), FUYOU)
    flops = [node.op.flops for node in graph.nodes if node.name.endswith(".again") and isinstance(node.op, Gemm)]
    assert sum(flops) == 3 * again * 256 * 256**2
    assert {*BY_BENEFIT, INPUT} == set(WIDTHS)


def test_products_are_all_there_forward_and_backward() -> None:
    for parts, count in ((forward_parts(SMALL), 24), (backward_parts(SMALL), 48)):
        assert sum(part.op.flops for part in parts if isinstance(part.op, Gemm)) == count * 256 * 256**2


@pytest.mark.parametrize("name", SCHEDULES)
def test_nothing_is_used_before_it_is_there(name: str) -> None:
    graph = step(replace(SMALL, swapped=4 if name == "fuyou" else 0), SCHEDULES[name])
    run = execute(graph, FAST, allow_overflow=True)
    begins = {op.name: op.start_s + 1e-12 for op in run.ops}  # sums of seconds are rounded
    ends = {op.name: op.start_s + op.time_s for op in run.ops}
    for layer in range(3):
        assert begins[f"{layer}/adam"] >= ends[f"{layer}/gradient"]
        assert begins[f"{layer}/gradient"] >= max(ends[f"{layer}/{part}.dw"] for part in WIDTHS if part != INPUT)
        if name != "zero-offload":
            assert begins[f"{layer}/qkv"] >= ends[f"{layer}/up"]
            assert begins[f"{layer}/write"] >= ends[f"{layer}/adam"] >= ends[f"{layer}/states"]
    last = ends["embed.dw"]
    beside = [layer for layer in range(3) if begins[f"{layer}/adam"] < last]
    assert (beside != []) == (name == "fuyou")


def test_spilled_activations_go_on_to_drives_and_come_back() -> None:
    none, two = (moved(step(replace(SMALL, spilled=count), FUYOU)) for count in (0, 2))
    more = {place: two[place] - none[place] for place in two}
    assert more == {"ssd->cpu": 20 * UNIT, "cpu->ssd": 20 * UNIT, "cpu->gpu": 0, "gpu->cpu": 0}


def test_limits_are_a_lower_bound_and_name_what_is_slowest() -> None:
    slow = round_system(links={"array": {"bandwidth": "0.1 GB/s"}})
    for system, slowest in ((slow, "array"), (round_system(links={"pcie": {"bandwidth": "0.02 GB/s"}}), "gpu_pcie")):
        told = limits(step(SMALL, FUYOU), system)
        assert told.slowest["backward"].startswith(slowest.removeprefix("gpu_"))
        assert told.time_s <= execute(step(SMALL, FUYOU), system).time_s
        assert set(told.phases) == {"forward", "backward"}


def test_more_is_kept_where_links_are_fast_and_nothing_where_they_are_slow() -> None:
    slow = round_system(links={"pcie": {"bandwidth": "0.001 GB/s"}})
    large = replace(SMALL, batch=16)
    assert planned(large, FUYOU, slow).swapped == 0
    assert planned(large, FUYOU, FAST).swapped > 0


def test_what_host_memory_lacks_is_spilled() -> None:
    buffers = 3 * 16 * SMALL.layer_parameters
    capacities: dict[int, int] = defaultdict(int)
    for layers in (3, 2, 1, 0):
        room = (buffers + layers * UNIT * 1 + UNIT / 2) / 0.9
        cpu = round_system().devices["cpu"].arch
        memory = cpu.memory.model_copy(update={"capacity_bytes": room})  # type: ignore[union-attr]
        system = round_system(
            devices={"cpu": {"arch": cpu.model_copy(update={"memory": memory})}},
            links={"pcie": {"bandwidth": "1 MB/s"}},
        )
        capacities[layers] = planned(SMALL, FUYOU, system).spilled
    assert list(capacities.values()) == sorted(capacities.values())
    assert capacities[3] == 0
    assert capacities[0] == 3


def test_the_catalogue_has_them() -> None:
    graph = catalog.build("offload/fuyou", {"layers": 2, "hidden": 256, "heads": 4, "batch": 2, "seq": 128})
    assert {node.place for node in graph.nodes} == {None, "cpu", "ssd->cpu", "cpu->ssd", "cpu->gpu", "gpu->cpu"}
    assert "0/qkv.down" not in {node.name for node in catalog.build("offload/zero-infinity", {"layers": 1}).nodes}
    with pytest.raises(SimexploreError, match="heads: expected a number that divides hidden = 5120, found 3"):
        catalog.build("offload/fuyou", {"heads": 3})
    with pytest.raises(SimexploreError, match="swapped: expected 0 to 4, found 5"):
        catalog.build("offload/fuyou", {"swapped": 5})


def test_a_step_is_plain_data_and_back() -> None:
    graph = step(SMALL, FUYOU)
    assert from_data(to_data(graph)) == graph


def test_what_only_waits_keeps_nothing_in_memory_also_where_operators_repeat() -> None:
    copy = {"op": "transfer(bytes=10,dtype=fp16)", "place": "ssd->cpu"}
    waits = {"name": "b", **copy, "after": ["a"], "unread": ["a"], "repeat": 2, "kind": "weights"}
    data = {
        "operators": [{"name": "a", **copy, "after": [], "repeat": 2}, waits],
        "resident_elsewhere": {"cpu": {"x": 1}},
    }
    graph = from_data(data)
    assert [(node.name, node.after, node.unread) for node in graph.nodes if node.name.startswith("b")] == [
        ("b.0", ("a.1",), ("a.1",)),
        ("b.1", ("b.0",), ()),
    ]
    assert {node.kind for node in graph.nodes} == {"activations", "weights"}
    assert graph.resident_elsewhere == {"cpu": {"x": 1.0}}
    with pytest.raises(SimexploreError, match=r"operators.1.unread: expected a list of names in 'after' \(a\), found"):
        from_data({"operators": [data["operators"][0], {**waits, "unread": ["c"]}]})  # type: ignore[index]
