"""CPUs, drives and copies over paths of links, by hand on a system of round numbers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from round_host import CPU, round_system

from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.system import Path, System
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.play.execute import execute
from simexplore.sim.play.result import Run
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Gemm, HostWork, Operator, Transfer

GB = 10**9


def played(system: System, *nodes: tuple[str, Operator, str | None]) -> Run:
    """Nodes that wait for nothing, on a system."""
    graph = Graph("test", tuple(Node.of(name, op, place=place) for name, op, place in nodes))
    return execute(graph, system, allow_overflow=True)


def times(run: Run) -> dict[str, float]:
    return {op.name: op.time_s for op in run.ops}


@pytest.mark.parametrize(
    ("place", "op", "latency_s", "run_s", "bound"),
    [
        ("cpu->gpu", Transfer(GB), 1e-6, 0.1, "link"),  # 10 GB/s of the link; the CPU's memory has 40
        ("gpu->cpu", Transfer(GB), 1e-6, 0.1, "link"),
        ("ssd->cpu", Transfer(GB), 2e-6 + 100e-6, 1 / 3, "link"),  # drives 4 GB/s, link 3
        ("cpu->ssd", Transfer(GB), 2e-6 + 20e-6, 0.5, "drive"),  # drives 2 GB/s
        ("ssd->gpu", Transfer(GB), 3e-6 + 100e-6, 1 / 3, "link"),
        # One request of 100 kB at a time over both drives: 100 us and 100 kB at 8 GB/s for each.
        ("ssd->cpu", Transfer(GB, block=10**5, queue=1), 102e-6, 10_000 * (100e-6 + 1e5 / 8e9), "drive"),
        ("ssd->cpu", Transfer(GB, block=10**6, queue=1000), 102e-6, 1 / 3, "link"),
        # 10 Gop at 100 Gop/s; 20 GB at 40 GB/s; one core has a tenth of the rate and 10 GB/s.
        ("cpu", HostWork(10 * GB, GB), 100e-9, 0.1, "cores"),
        ("cpu", HostWork(GB, 20 * GB), 100e-9, 0.5, "memory"),
        ("cpu", HostWork(GB, 20 * GB, cores=1), 100e-9, 2.0, "memory"),
        ("cpu", HostWork(4 * GB, 0, cores=2), 0.0, 0.2, "cores"),
        ("cpu", HostWork(4 * GB, 0, cores=99), 0.0, 0.04, "cores"),
    ],
)  # fmt: skip
def test_alone_it_takes_as_long_as_the_slowest_on_its_way(
    place: str, op: Operator, latency_s: float, run_s: float, bound: str
) -> None:
    run = played(round_system(), ("one", op, place))
    assert run.time_s == pytest.approx(latency_s + run_s, rel=1e-9)
    graph = Graph("one", (Node.of("one", op, place=place),))
    assert estimate_graph(graph, round_system()).time_s == pytest.approx(run.time_s, rel=1e-9)
    assert run.ops[0].bound == bound


def test_pageable_memory_is_staged_and_leaves_the_link_to_others() -> None:
    system = round_system(links={"pcie": {"pageable_bandwidth": "2.5 GB/s"}})
    alone = played(system, ("slow", Transfer(GB, memory="pageable"), "cpu->gpu"))
    assert alone.time_s == pytest.approx(1e-6 + 0.4)
    assert alone.utilization["pcie.back"] == pytest.approx(0.25, rel=1e-4)
    both = times(
        played(system, ("slow", Transfer(GB, memory="pageable"), "cpu->gpu"), ("fast", Transfer(GB), "cpu->gpu"))
    )
    assert both["slow"] < 0.6, "at a quarter of the link each could go on as alone"


@pytest.mark.parametrize(("duplex", "slower"), [("full", 1.0), ("half", 2.0)])
def test_ways_of_a_link_share_what_it_has_where_it_is_half_duplex(duplex: str, slower: float) -> None:
    system = round_system(links={"pcie": {"duplex": duplex}})
    both = times(played(system, ("up", Transfer(GB), "cpu->gpu"), ("down", Transfer(GB), "gpu->cpu")))
    assert both == {"up": pytest.approx(1e-6 + slower * 0.1), "down": pytest.approx(1e-6 + slower * 0.1)}


@pytest.mark.parametrize(("duplex", "read_s", "write_s"), [("full", 0.25, 0.5), ("half", 0.5, 0.75)])
def test_drives_that_take_turns_share_their_time(duplex: str, read_s: float, write_s: float) -> None:
    system = round_system(drive={"duplex": duplex}, links={"array": {"bandwidth": "100 GB/s"}})
    both = times(played(system, ("read", Transfer(GB), "ssd->cpu"), ("write", Transfer(GB), "cpu->ssd")))
    assert both == {"read": pytest.approx(read_s, rel=1e-3), "write": pytest.approx(write_s, rel=1e-3)}


def test_links_behind_one_port_share_it_by_direction() -> None:
    link = {"between": ["ssd", "cpu"], "bandwidth": "10 GB/s", "latency": "0 s", "port": "root"}
    fast = {"read": {"bandwidth": "100 GB/s", "latency": "0 s"}, "write": {"bandwidth": "100 GB/s", "latency": "0 s"}}
    system = round_system(
        drive=fast,
        links={"pcie": {"port": "root", "latency": "0 s"}, "array": link},
        ports={"root": {"bandwidth": "12 GB/s"}},
    )
    same = times(played(system, ("a", Transfer(GB), "gpu->cpu"), ("b", Transfer(GB), "ssd->cpu")))
    assert same == {"a": pytest.approx(1 / 6), "b": pytest.approx(1 / 6)}
    apart = times(played(system, ("a", Transfer(GB), "gpu->cpu"), ("b", Transfer(GB), "cpu->ssd")))
    assert apart == {"a": pytest.approx(0.1), "b": pytest.approx(0.1)}


def test_work_on_some_cores_leaves_the_others_and_shares_memory() -> None:
    half = HostWork(5 * GB, 0, cores=5)
    assert times(played(round_system(), ("a", half, "cpu"), ("b", half, "cpu"))) == {"a": 0.1, "b": 0.1}
    hungry = HostWork(0, 4 * GB, cores=4)  # all of the memory's 40 GB/s
    both = times(played(round_system(), ("a", hungry, "cpu"), ("b", hungry, "cpu")))
    assert both == {"a": pytest.approx(0.2), "b": pytest.approx(0.2)}


def test_copies_and_cores_share_the_memory_of_the_host() -> None:
    system = round_system(links={"pcie": {"bandwidth": "40 GB/s", "latency": "0 s"}})
    both = times(played(system, ("work", HostWork(0, 4 * GB), "cpu"), ("copy", Transfer(4 * GB), "cpu->gpu")))
    assert both["work"] == pytest.approx(0.2)
    through = played(round_system(), ("one", Transfer(3 * GB), "ssd->gpu"))
    assert through.utilization["cpu.memory"] == pytest.approx(2 * 3 / 40 / through.time_s), "put down and taken up"


def test_energy_goes_with_busy_cores_and_drives() -> None:
    run = played(round_system(), ("one", HostWork(0, 4 * GB, cores=5), "cpu"))
    assert run.energies_j["host"] == pytest.approx(100 * 0.5 * 0.1)
    write = played(round_system(), ("one", Transfer(GB), "cpu->ssd"))
    assert write.energies_j["host"] == pytest.approx(2 * (9 - 1) * 0.5)
    gpu_idle_w = round_system().place().gpu.power.idle_w
    assert write.energies_j["idle"] == pytest.approx((gpu_idle_w + 10 + 2) * write.time_s)


def test_a_cpu_on_the_memory_of_a_gpu_shares_it() -> None:
    beside = {"cpu": {"arch": Cpu.model_validate(CPU), "beside": "gpu"}}
    system = round_system(devices=beside)
    run = played(system, ("one", HostWork(0, 4 * GB), "cpu"))
    dram = system.place().gpu.dram
    reached = dram.bandwidth_bytes_per_s * dram.efficiency
    assert run.utilization["dram"] == pytest.approx(4 * GB / reached / run.time_s)
    assert "cores" in run.utilization
    assert system.place("cpu").holds == "gpu"


def test_sockets_and_striped_drives_are_one_place() -> None:
    arch = Cpu.model_validate(CPU)
    system = round_system(devices={"cpu": {"arch": arch, "count": 2}, "ssd": {**ssd(), "count": 3}})
    assert played(system, ("one", HostWork(10 * GB, 0), "cpu")).time_s == pytest.approx(0.05)
    assert system.place("cpu").capacity_bytes == 200e9
    assert system.place("ssd").capacity_bytes == 3e12
    assert round_system(devices={"ssd": {**ssd(), "raid": None}}).place("ssd").capacity_bytes == 1e12


def ssd() -> dict[str, Any]:
    return {"arch": round_system().devices["ssd"].arch, "count": 2, "raid": 0}


def test_a_path_takes_as_few_links_as_there_are() -> None:
    direct = {"between": ["gpu", "ssd"], "bandwidth": "1 GB/s", "latency": "5 us"}
    path = round_system(links={"direct": direct}).place("ssd->gpu").arch
    assert isinstance(path, Path)
    assert [(hop.name, hop.forward) for hop in path.hops] == [("direct", False)]
    path = round_system().place("ssd->gpu").arch
    assert isinstance(path, Path)
    assert [(hop.name, hop.forward) for hop in path.hops] == [("array", True), ("pcie", False)]


@pytest.mark.parametrize(
    ("op", "place", "said"),
    [
        (Transfer(1), "cpu", "expected a path such as 'cpu->gpu' for a transfer"),
        (Gemm(1, 1, 1), "cpu->gpu", "expected a transfer to go over cpu->gpu, found gemm"),
        (HostWork(1, 1), None, "no mapping for operator host_work"),
        (Transfer(1), "cpu->cpu", r"expected a place of round \(gpu, cpu, ssd, pcie, array\), found 'cpu->cpu'"),
        (Transfer(1), "cpu->disk", "expected a place of round"),
    ],
)
def test_what_a_place_cannot_do_is_one_line(op: Operator, place: str | None, said: str) -> None:
    with pytest.raises(SimexploreError, match=said):
        played(round_system(), ("one", op, place))


def test_no_way_is_one_line() -> None:
    with pytest.raises(SimexploreError, match="expected links from cpu to lonely, found none"):
        round_system(devices={"lonely": ssd()}).place("cpu->lonely")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"links": {"pcie": {"port": "root"}}}, "the name of a port"),
        ({"ports": {"pcie": {"bandwidth": "1 GB/s"}}}, "a name that no link and no device has"),
    ],
)
def test_ports_are_names_of_their_own(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        round_system(**change)
