"""`simexplore arch`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from simexplore.archs.load import list_archs, load_arch
from simexplore.archs.views.machines import list_systems
from simexplore.sim.hardware.die.area import gpu_area
from simexplore.sim.hardware.die.price import gpu_price

MINE = "extends: nvidia/h200-sxm\nname: Mine\nl2: {capacity: 60 MiB}\nsources: {l2.capacity: my own measurement}\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE, encoding="utf-8")
    return path


def test_list_names_every_machine(command: Callable[..., Result]) -> None:
    lines = command("arch", "list").stdout.splitlines()
    blank = lines.index("")
    assert [line.split()[0] for line in lines[1:blank]] == list_archs()
    assert [line.split()[0] for line in lines[blank + 2 :]] == list_systems()


def test_show_has_values_peaks_and_sources(command: Callable[..., Result], mine: Path) -> None:
    shown = command("arch", "show", mine).stdout
    lines = {line.split()[0]: line for line in shown.splitlines() if line}
    assert "60 MiB" in lines["l2.capacity"]
    assert "my own measurement" in lines["l2.capacity"]
    assert "989.4 Top/s" in lines["tensor_bf16_ops_per_s"]
    assert lines["sm.warp_size" if "sm.warp_size" in lines else "sm.count"]


def test_show_marks_what_was_set(command: Callable[..., Result]) -> None:
    shown = command("arch", "show", "nvidia/rtx-4090", "--set", "l2.capacity=36 MiB").stdout
    (line,) = (line for line in shown.splitlines() if line.startswith("l2.capacity"))
    assert line.split() == ["l2.capacity", "36", "MiB", "--set"]


def test_show_json_is_si(command: Callable[..., Result], mine: Path) -> None:
    data = json.loads(command("arch", "show", mine, "--json").stdout)
    assert data["l2"]["capacity_bytes"] == 60 * 1024**2
    assert data["derived"]["tensor_bf16_ops_per_s"] == load_arch(mine).tensor_peak_ops_per_s("bf16")


def test_show_has_area_and_cost(command: Callable[..., Result]) -> None:
    derived = json.loads(command("arch", "show", "nvidia/h100-sxm", "--json").stdout)["derived"]
    gpu = load_arch("nvidia/h100-sxm")
    area, price = gpu_area(gpu), gpu_price(gpu)
    assert derived["area_mm2"] == pytest.approx(1e6 * area.total_m2)
    assert derived["area_l2_mm2"] == pytest.approx(1e6 * area.l2_m2)
    parts = {key: value for key, value in derived.items() if key.startswith("area_") and key != "area_mm2"}
    assert sum(parts.values()) == pytest.approx(derived["area_mm2"])
    assert derived["cost_usd"] == pytest.approx(price.total_usd)
    costs = [derived[f"cost_{part}_usd"] for part in ("die", "memory", "package")]
    assert sum(costs) == pytest.approx(derived["cost_usd"])
    assert derived["good_dies"] == price.good_share
    shown = command("arch", "show", "nvidia/h100-sxm").stdout.split("\n\n")[1]
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    assert lines["cost_usd"] == [f"{price.total_usd:.0f}", "USD"]
    assert lines["good_dies"][1] == "%"
    assert "area_mm2" not in json.loads(command("arch", "show", "nvidia/b200", "--json").stdout)["derived"]


def test_validate_says_so(command: Callable[..., Result], mine: Path) -> None:
    assert command("arch", "validate", mine).stdout == f"{mine}: valid (Mine)\n"


def test_schema_accepts_what_validate_accepts(command: Callable[..., Result]) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(command("arch", "schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    mine = {"extends": "nvidia/h200-sxm", "name": "Mine", "l2": {"capacity": "60 MiB"}}
    jsonschema.validate(mine, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**mine, "l2": {"capacitee": "60 MiB"}}, schema)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, ""),
        ("extends: nvidia/h200-sxm\nl2:\n  capacity: 60\n", 3, "l2.capacity: expected a size"),
        ("extends: nvidia/h200-sxm\nl2:\n  capacity: 60 GHz\n", 3, "l2.capacity: expected a size"),
        ("extends: nvidia/h200-sxm\nl2:\n  capacitee: 60 MiB\n", 3, "did you mean 'capacity'"),
        ("extends: nvidia/h201-sxm\n", 1, "did you mean 'nvidia/h200-sxm'"),
        ("extends: nvidia/h200-sxm\nname: a\nname: b\n", 3, "again"),
        ("extends: nvidia/h200-sxm\nsm: {count: -3}\n", 2, "sm.count"),
    ],
)
def test_a_broken_file_is_one_line_with_its_place(
    fails: Callable[..., str], tmp_path: Path, text: str, line: int, said: str
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    told = fails("arch", "validate", path)
    assert f"{path}:{line}: " in told
    assert "expected" in told
    assert said in told


def test_unknown_names_and_overrides(fails: Callable[..., str]) -> None:
    assert "did you mean 'nvidia/h200-sxm'" in fails("arch", "show", "nvidia/h200-smx")
    assert "expected key=value, found 'l2.capacity'" in fails("arch", "show", "nvidia/t4", "--set", "l2.capacity")
    assert "expected each key once" in fails("arch", "show", "nvidia/t4", "--set", "a=1", "--set", "a=2")
    assert "--set l2.capacity: expected a size" in fails("arch", "show", "nvidia/t4", "--set", "l2.capacity=36")
    assert "absent.yaml" in fails("arch", "show", "absent.yaml")
