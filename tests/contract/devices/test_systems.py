"""What holds for every system that comes along: it loads, each number is cited, and copies reach every device."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import jsonschema
import pytest

from simexplore.archs.json_schema import json_schema
from simexplore.archs.load import HERE, arch_path, load_arch, read_document, resolve
from simexplore.archs.merge import leaf_paths
from simexplore.archs.provenance import WORDS
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.host.drive import Drive
from simexplore.archs.schema.machine import longest_prefix
from simexplore.archs.schema.system import Path as Way
from simexplore.archs.schema.system import System
from simexplore.archs.views.machines import NAMES, device_of, list_systems, load_machine
from simexplore.errors import SimexploreError

SYSTEMS = list_systems()
PARTS = sorted(path for folder in ("cpu", "drives") for path in (HERE / folder).glob("*.yaml"))
DGX = {"dgx-a100": 300e9, "dgx-h100": 450e9, "dgx-h200": 450e9, "hgx-b200": 900e9}
"""NVLink bandwidth of a GPU each way [B/s]."""


def load(name: str) -> System:
    system = load_machine(name)
    assert isinstance(system, System)
    return system


def test_the_systems_of_the_documents_are_there() -> None:
    assert {f"systems/{name}" for name in DGX} < set(SYSTEMS)
    assert {"systems/rtx-4090-fuyou", "systems/rtx-4090-i9", "systems/a100-epyc-7v13", "systems/jetson-agx-orin"} < set(
        SYSTEMS
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_number_of_a_system_has_a_source(name: str) -> None:
    layer = resolve(name)
    written = layer.data.get("sources", {})
    keys = [path for path in leaf_paths(layer.data) if path[0] not in WORDS and path[-1] not in NAMES]
    dotted = [".".join(str(step) for step in path if not isinstance(step, int)) for path in keys]
    named = [key for key in dotted if key.rpartition(".")[2] not in NAMES]
    assert [key for key in named if longest_prefix(key, written) is None] == []
    assert [key for key, source in load(name).sources.items() if source.startswith("own value")] == []


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_every_number_of_a_cpu_and_a_drive_has_a_source(path: Path) -> None:
    device = device_of(resolve(path))
    assert isinstance(device, Cpu | Drive)
    keys = [".".join(map(str, path)) for path in leaf_paths(read_document(path).data) if path[0] not in WORDS]
    assert len(keys) > 8
    assert [key for key in keys if device.source_of(key) is None] == []
    assert arch_path(f"{path.parent.name}/{path.stem}") == path


@pytest.mark.parametrize("name", SYSTEMS)
def test_copies_reach_every_device_with_memory_of_its_own(name: str) -> None:
    system = load(name)
    apart = [device for device in system.devices if system.devices[device].beside is None]
    for start, end in permutations(apart, 2):
        path = system.place(f"{start}->{end}").arch
        assert isinstance(path, Way)
        assert [stop.name for stop in path.stops][:: len(path.stops) - 1] == [start, end]
    assert all(system.place(device).capacity_bytes for device in system.devices)


@pytest.mark.parametrize("name", DGX)
def test_eight_gpus_share_a_domain_at_their_own_nvlink(name: str) -> None:
    system = load(f"systems/{name}")
    arch = system.devices["gpu"].arch
    assert isinstance(arch, Gpu)
    assert arch.links.nvlink is not None
    assert system.gpus_together == 8 == system.devices["gpu"].count
    assert system.links[system.domains["node"].link].bandwidth_bytes_per_s == DGX[name]
    assert arch.links.nvlink.bandwidth_bytes_per_s == DGX[name]


@pytest.mark.parametrize(
    ("name", "gigabits"), [("dgx-a100", 200), ("dgx-h100", 400), ("dgx-h200", 400), ("hgx-b200", 400)]
)
def test_each_gpu_has_an_adapter_to_other_nodes(name: str, gigabits: int) -> None:
    network = load(f"systems/{name}").links["network"]
    assert network.bandwidth_bytes_per_s == gigabits * 1e9 / 8
    assert network.duplex == "full"


def test_nodes_together_are_a_larger_domain() -> None:
    system = load("systems/dgx-h100-x4")
    assert system.gpus_together == 8
    assert [size for size, _ in system.reaches] == [8, 32]
    inside, outside = (system.links[name] for name in ("nvlink", "network"))
    reached = {(one, other): system.link_of_gpus(one, other) for one, other in ((0, 7), (7, 8), (24, 31), (0, 31))}
    assert reached == {(0, 7): inside, (7, 8): outside, (24, 31): inside, (0, 31): outside}
    with pytest.raises(SimexploreError, match="at most 32 GPUs in its domains, found 33"):
        system.link_of_gpus(24, 32)


def test_what_was_fitted_lies_over_data_sheets() -> None:
    facts, fitted = load("systems/rtx-4090-fuyou@facts"), load("systems/rtx-4090-fuyou")
    assert (facts.links["array"].bandwidth_bytes_per_s, facts.links["array"].duplex) == (94.8e9, "full")
    assert (fitted.links["array"].bandwidth_bytes_per_s, fitted.links["array"].duplex) == (27.2e9, "half")
    assert facts.place("ssd").arch.efficiency == 1.0  # type: ignore[union-attr]


def test_changes_of_a_device_are_laid_over_its_own_file() -> None:
    system = load_machine("systems/rtx-4090-fuyou", {"devices.ssd.count": "6", "devices.gpu.dram.capacity": "48 GB"})
    assert isinstance(system, System)
    drives = system.place("ssd").arch
    assert isinstance(drives, Drive)
    assert drives.read.bandwidth_bytes_per_s == 6 * 6.5e9
    assert system.place("gpu").capacity_bytes == 48e9
    assert system.place("cpu").capacity_bytes == 768e9


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("devices.ssd.cuont", "6", r"--set devices.ssd.cuont: .*expected one of the keys .*count|capacity"),
        ("links.array.bandwith", "6", r"--set links.array.bandwith: .*did you mean 'bandwidth'"),
        ("devices.gpu.arch", "nvidia/rtx-4091", r"--set devices.gpu.arch: .*did you mean 'nvidia/rtx-4090'"),
        ("devices.gpu.arch", "3", r"--set devices.gpu.arch: expected the name of a machine, found 3"),
        ("links.array.between", "ssd", "links.array.between: expected"),
        ("devices", "3", "devices: expected devices by name, found 3"),
    ],
)
def test_a_mistake_is_told_with_its_place(key: str, value: str, said: str) -> None:
    with pytest.raises(SimexploreError, match=said):
        load_machine("systems/rtx-4090-fuyou", {key: value})


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("systems/dgx-h100", "dgx-h100.yaml:1: kind: expected a machine of kind gpu, found a system, which run, sweep"),
        ("cpu/xeon-gold-5320", "found a CPU, which a system's devices name"),
        ("drives/d7-p5510", "found a drive, which a system's devices name"),
    ],
)
def test_where_a_gpu_is_meant_another_kind_is_told(name: str, said: str) -> None:
    with pytest.raises(SimexploreError, match=said):
        load_arch(name)


@pytest.mark.parametrize("path", [*PARTS, *sorted((HERE / "systems").glob("*.yaml"))], ids=lambda path: path.stem)
def test_files_follow_the_json_schema_of_their_kind(path: Path) -> None:
    data = read_document(path).data
    validator = jsonschema.Draft202012Validator(json_schema(data.get("kind", "system")))
    validator.validate(data)
    assert not validator.is_valid({**data, "devises": {}})
    assert not validator.is_valid({**data, "capacity": "50 GB/s", "links": {"a": {"bandwidth": "5 GB"}}})


def test_the_schema_of_systems_has_nothing_that_it_does_not_need() -> None:
    found = json_schema("system")["$defs"]
    assert {"SystemLink", "Domain", "Port"} <= set(found)
    assert "Gpu" not in found
