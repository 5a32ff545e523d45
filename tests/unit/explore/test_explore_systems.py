"""Sweeps over systems: what a system's file holds are axes, and each point is played on its own machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from simexplore.archs.fields import field_of, leaf_fields
from simexplore.archs.views.machines import load_machine
from simexplore.errors import SimexploreError
from simexplore.sim.explore.store import Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.play.execute import execute
from simexplore.workloads.catalog import build

SPEC = """
arch: systems/rtx-4090-fuyou
workload: {name: offload/fuyou, parameters: {layers: 2, hidden: 512, heads: 4, batch: 4, seq: 128, vocabulary: 1000}}
fidelity: FIDELITY
parameters:
  devices.ssd.count: [1, 12]
  links.gpu_pcie.bandwidth: 2 GB/s * devices.ssd.count + 11 GB/s
  devices.cpu.memory.capacity: [1 MB, 64 GB]
  devices.gpu.arch: [nvidia/rtx-4090, nvidia/rtx-3090]
define: {drives: devices.ssd.price * devices.ssd.count}
objectives: {time_s: min, price: min}
constraints: [price <= 5600 USD]
"""
PARAMS = {"layers": 2, "hidden": 512, "heads": 4, "batch": 4, "seq": 128, "vocabulary": 1000}


@pytest.mark.parametrize("fidelity", ["execute", "estimate"])
def test_each_point_is_played_on_its_own_machine(tmp_path: Path, fidelity: str) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(SPEC.replace("FIDELITY", fidelity), encoding="utf-8")
    Sweep.from_yaml(file).run(folder=tmp_path / "out")
    found = Store.open(tmp_path / "out")
    results, failures = found.results(), found.failures()
    if fidelity == "execute":
        assert len(results) == len(failures) == 4
        assert failures["error"].str.contains("of memory at cpu").all()
        assert (failures["devices.cpu.memory.capacity"] == 1e6).all()
    else:
        assert len(results) == 8, "no memory is counted in closed form"
    rows = results[results["devices.cpu.memory.capacity"] == 64e9]
    by_place = rows.set_index(["devices.ssd.count", "devices.gpu.arch"])["time_s"]
    for count, gigabytes, gpu in ((1, 13, "nvidia/rtx-4090"), (12, 35, "nvidia/rtx-3090")):
        changes = {
            "devices.ssd.count": str(count),
            "links.gpu_pcie.bandwidth": f"{gigabytes} GB/s",
            "devices.gpu.arch": gpu,
        }
        if fidelity == "execute":
            run = execute(build("offload/fuyou", PARAMS), load_machine("systems/rtx-4090-fuyou", changes))
            assert by_place[count, gpu] == pytest.approx(run.time_s, rel=1e-9)
    assert set(rows["price"]) == {1599 + 2 * 1555 + 400 * count for count in (1, 12)}
    assert (rows["drives"] == 400 * rows["devices.ssd.count"]).all()
    assert (rows["feasible"] == (rows["devices.ssd.count"] == 1)).all()


def test_fields_of_a_system_lead_to_its_devices_own_values() -> None:
    system = load_machine("systems/rtx-4090-fuyou")
    for path, value, unit in (
        ("devices.ssd.count", 12, "1"),
        ("devices.ssd.read.bandwidth", 6.5e9, "B/s"),
        ("devices.cpu.memory.capacity", 384e9, "B"),
        ("devices.gpu.sm.count", 128, "1"),
        ("links.array.bandwidth", 27.2e9, "B/s"),
        ("devices.gpu.price", 1599.0, "USD"),
    ):
        field = field_of(path, system)
        assert (field.read(system), field.unit, field.columnar) == (value, unit, False), path
        assert leaf_fields(system)[path] == field
    assert field_of("devices.gpu.arch", system).kind == "text"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("devices.sdd.count", "expected one of the machine's keys cpu, gpu, ssd, found 'sdd'"),
        ("devices.ssd.reed.bandwidth", r"did you mean 'read'"),
        ("links.array", "which holds bandwidth, between"),
    ],
)
def test_a_path_that_is_none_names_what_there_is(path: str, said: str) -> None:
    with pytest.raises(SimexploreError, match=said):
        field_of(path, load_machine("systems/rtx-4090-fuyou"))
