"""`simexplore run` again and again: where the joules go, --repeat, --burst, --sustained, --every and --skip."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import simexplore
from simexplore.sim.play.result import DutyCycle

HUNGRY = ("gemm(m=8192,n=8192,k=8192,dtype=bf16)", "--arch", "nvidia/h200-sxm")
DECODE = ("llm/llama-3-8b/decode", "--arch", "nvidia/h200-sxm", "--param", "layers=2")
PREFIXES = {"k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9, "p": 1e-12}


@pytest.fixture
def told(command: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    def run(*arguments: object) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(command("run", *arguments, "--json").stdout)
        return data

    return run


def joules(cell: str) -> float:
    found = re.fullmatch(r"([\d.]+) ([kmµnp]?)J", cell)
    assert found is not None, cell
    return float(found[1]) * PREFIXES[found[2]]


def energies_j(shown: str, first: str, column: int) -> list[float]:
    """A column of energies, whose heading has the unit of all of them."""
    heading = next(line for line in shown.splitlines() if line.startswith(first))
    (prefix,) = re.findall(r"energy \[([kmµnp]?)J\]", heading)
    cells = [row[column] for row in table(shown, first)]
    return [0.0 if cell.startswith("<") else float(cell) * PREFIXES[prefix] for cell in cells]


def table(shown: str, first: str) -> list[list[str]]:
    """Cells of the lines below the heading that begins with `first`, up to an empty line."""
    lines = shown.splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith(first))
    end = lines.index("", begin) if "" in lines[begin:] else len(lines)
    return [re.split(r"\s{2,}", line.strip()) for line in lines[begin + 1 : end]]


@pytest.mark.parametrize("more", [(), ("--estimate",), ("--repeat", "3")], ids=lambda more: " ".join(more))
def test_operators_and_idle_sum_to_the_energy_and_so_do_components(
    command: Callable[..., Result], more: tuple[str, ...]
) -> None:
    shown = command("run", *DECODE, *more).stdout
    (energy,) = (joules(row[1]) for row in table(shown, "in all") if row[0] == "energy")
    by_op, by_component = (table(shown, first) for first in ("name", "energy of"))
    assert by_op[-1][0] == by_component[-1][0] == "idle"
    each, parts = energies_j(shown, "name", -1), energies_j(shown, "energy of", 1)
    assert each[-1] == pytest.approx(parts[-1], rel=2e-3)
    assert sum(each) == pytest.approx(energy, rel=2e-3)  # the largest to four digits
    assert sum(parts) == pytest.approx(energy, rel=2e-3)
    assert sum(float(row[2].split()[0]) for row in by_component) == pytest.approx(100.0, abs=0.5)
    assert {"dram", "l2", "tensor"} <= {row[0] for row in by_component}


def test_operators_that_are_not_shown_have_their_energy_too(command: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    ops = "\n".join(f"- {{name: a{2**size}x, op: 'gelu(elements={2**size})', after: []}}" for size in range(24))
    path.write_text(f"operators:\n{ops}\n", encoding="utf-8")
    shown = command("run", path, "--arch", "nvidia/t4", "--sustained").stdout
    by_op = table(shown, "name")
    assert by_op[-2][:2] == ["others", "4"]
    rounding_j = len(by_op) * 0.5 * 0.01e-3  # each to a hundredth of a millijoule
    (energy,) = (joules(row[1]) for row in table(shown, "in all") if row[0] == "energy")
    assert sum(energies_j(shown, "name", -1)) == pytest.approx(energy, abs=rounding_j)


def test_energy_has_an_interval_and_power_a_limit_beside_it(command: Callable[..., Result]) -> None:
    rows = table(command("run", *HUNGRY).stdout, "in all")
    names = [row[0] for row in rows]
    low, high = rows[names.index("energy") + 1][1].split(" – ")
    assert rows[names.index("energy") + 1][0] == "80 % interval"
    assert joules(low) < joules(rows[names.index("energy")][1]) < joules(high)
    assert rows[names.index("mean power") + 1] == ["power limit", "700 W"]
    assert re.search(r"^[\d.]+ GHz, [\d.]+ % of boost: the power limit holds it$", rows[names.index("clock")][1])


def test_of_a_clock_that_nothing_holds_not_a_word_is_said(
    command: Callable[..., Result], told: Callable[..., dict[str, Any]]
) -> None:
    small = ("gemm(m=64,n=64,k=64,dtype=bf16)", "--arch", "nvidia/h200-sxm")
    assert "of boost" not in command("run", *small).stdout
    assert told(*small)["clock_over_boost"] == 1.0
    assert told(*HUNGRY)["clock_over_boost"] < 0.95


def test_a_machine_that_has_served_is_slower_than_an_idle_one(told: Callable[..., dict[str, Any]]) -> None:
    serving, sustained, burst = (told(*HUNGRY, *more) for more in ((), ("--sustained",), ("--burst",)))
    assert burst["time_s"] < 0.95 * serving["time_s"]
    assert serving["time_s"] <= sustained["time_s"]
    assert sustained["mean_power_w"] <= serving["mean_power_w"] <= 700.0 < burst["mean_power_w"]
    for more, events in (((), serving), (("--sustained",), sustained), (("--burst",), burst)):
        closed = told(*HUNGRY, "--estimate", *more)
        assert closed["time_s"] == pytest.approx(events["time_s"], rel=0.01)
        assert closed["clock_over_boost"] == pytest.approx(events["clock_over_boost"], rel=0.01)


def test_work_that_is_repeated_is_that_of_one_run_so_often(told: Callable[..., dict[str, Any]]) -> None:
    once, often = told(*DECODE), told(*DECODE, "--repeat", 3)
    assert often["runs"] == 3
    assert often["time_per_run_s"] * 3 == pytest.approx(often["time_s"])
    assert often["energy_per_run_j"] * 3 == pytest.approx(often["energy_j"])
    assert often["time_per_run_s"] == pytest.approx(once["time_s"], rel=1e-6)
    assert often["energy_per_run_j"] == pytest.approx(once["energy_j"], rel=1e-6)
    assert often["peak_memory_bytes"] == once["peak_memory_bytes"]
    assert (once["runs"], once["time_per_run_s"], once["energy_per_run_j"]) == (1, once["time_s"], once["energy_j"])
    assert [op["name"] for op in often["ops"]][:2] == [f"run0/{op['name']}" for op in once["ops"]][:2]
    closed = told(*DECODE, "--repeat", 3, "--estimate")
    assert closed["time_s"] == pytest.approx(often["time_s"], rel=0.01)


def test_a_burst_is_spent_by_and_by(told: Callable[..., dict[str, Any]]) -> None:
    powers = [told(*HUNGRY, "--burst", "--repeat", runs)["mean_power_w"] for runs in (1, 4, 40)]
    assert powers == sorted(powers, reverse=True)
    assert powers[0] > 1.05 * powers[2]


def test_a_repeated_run_tells_of_one_run_in_its_table(command: Callable[..., Result]) -> None:
    shown = command("run", *DECODE, "--repeat", 2).stdout
    assert shown.startswith("llm/llama-3-8b/decode, 2 times on ")
    rows = {row[0]: row[1] for row in table(shown, "in all")}
    assert joules(rows["energy of one run"]) * 2 == pytest.approx(joules(rows["energy"]), rel=1e-3)
    assert "run*/layer*.qkv" in shown
    once = {row[0]: row[1] for row in table(command("run", *DECODE).stdout, "in all")}
    assert rows["tokens"] == once["tokens"]
    assert rows["work"] == once["work"]


def test_frames_of_a_cluster_are_repeated_on_it(told: Callable[..., dict[str, Any]]) -> None:
    frames = told("ngp/gia/hashgrid", "--arch", "ngpc/rtx-3090-ngpc-8", "--repeat", 2)
    assert {op["name"] for op in frames["ops"]} == {
        f"run{run}/{name}" for run in (0, 1) for name in ("rest", "encode and mlp")
    }
    assert frames["energies_j"]["cluster"] > 0.0


def test_work_once_a_period(told: Callable[..., dict[str, Any]]) -> None:
    idle_w = simexplore.load_arch("nvidia/h200-sxm").power.idle_w
    run = told(*HUNGRY, "--every", "20 ms", "--skip", 0.75)
    duty = run["duty"]
    period_j = 0.25 * (run["energy_j"] + idle_w * (0.02 - run["time_s"])) + 0.75 * 0.02 * idle_w
    assert duty == {
        "period_s": 0.02,
        "skip": 0.75,
        "busy_share": pytest.approx(0.25 * run["time_s"] / 0.02),
        "pause_power_w": idle_w,
        "energy_per_period_j": pytest.approx(period_j),
        "energy_per_work_j": pytest.approx(4.0 * period_j),
        "mean_power_w": pytest.approx(period_j / 0.02),
    }
    assert run["time_s"] == pytest.approx(told(*HUNGRY, "--burst")["time_s"], rel=1e-6)  # 78 ms fill the budget
    tight = told(*HUNGRY, "--every", "1.8 ms")
    assert run["time_s"] < tight["time_s"] <= told(*HUNGRY)["time_s"]
    assert told(*HUNGRY)["duty"] is None


def test_a_period_is_told_in_a_table_too(command: Callable[..., Result]) -> None:
    rows = table(command("run", *HUNGRY, "--every", "10ms", "--skip", "0.6", "--estimate").stdout, "once every 10 ms")
    assert [row[0] for row in rows] == [
        *("periods with work", "time at work", "power in pauses", "mean power"),
        *("energy a period", "energy for each time it is done"),
    ]
    assert rows[0][1] == "40.0 %"


def test_a_period_from_python() -> None:
    work, gpu = HUNGRY[0], simexplore.load_arch("nvidia/h200-sxm")
    told = simexplore.duty_cycle(work, gpu, period_s=0.02, skip=0.5, repeat=2)
    assert isinstance(told, DutyCycle)
    assert len(told.work.ops) == 2
    assert told.idle_w == gpu.power.idle_w
    assert told.mean_power_w < told.work.mean_power_w
    assert told.energy_per_work_j == 2 * told.energy_per_period_j
    assert repr(told).startswith("<DutyCycle ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--burst", "--sustained"), "expected one of --burst, --sustained, --every, found --burst and --sustained"),
        (("--burst", "--every", "9 ms"), "found --burst and --every"),
        (("--skip", "0.5"), "--skip is a share of the periods of --every"),
        (("--every", "33"), "--every: expected a time such as '1.26 us', found '33' (no unit)"),
        (("--every", "0 s"), "expected a period above zero seconds"),
        (("--every", "9 ms", "--skip", "1"), "from 0 to below 1, found 1"),
        (("--every", "1 ms"), "expected work that fits into its period of 0.001 s, found 0.001"),
        (("--every", "1 ms", "--estimate"), "expected work that fits into its period of 0.001 s, found 0.001"),
    ],
)
def test_mistakes_are_one_line(fails: Callable[..., str], options: tuple[str, ...], said: str) -> None:
    assert said in fails("run", *HUNGRY, *options)
