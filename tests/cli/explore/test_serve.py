"""`simexplore serve`, called as a user calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Command = Callable[..., Result]
WORK = ("serve", "llm/llama-3-8b", "--arch", "nvidia/h100-sxm", "--param", "layers=1", "--duration", "3s")
SHORT = ("--input", "20:60", "--output", "3:6")


def test_a_curve_is_kept_and_goes_on_where_it_stopped(command: Command, tmp_path: Path) -> None:
    call = (*WORK, *SHORT, "--rate", "4,8", "--ttft", "50ms", "-o", tmp_path)
    first = command(*call, "--json")
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert [point["rate_per_s"] for point in told["points"]] == [4.0, 8.0]
    assert told["points"][0]["held_share"] == 1.0
    assert told["knee_per_s"] == {"llama-3-8b": 8.0}
    kept = tmp_path / "points" / "00001.json"
    changed = {**json.loads(kept.read_text()), "gpus": 77}
    kept.write_text(json.dumps(changed))
    assert json.loads(command(*call, "--json").stdout)["points"][1]["gpus"] == 77
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    table = command(*call)
    assert "llama-3-8b: keeps up to 8 requests/s" in table.stdout


def test_the_same_seed_gives_the_same_bytes(command: Command) -> None:
    call = (*WORK, *SHORT, "--rate", "9", "--json")
    same, again, other = command(*call), command(*call), command(*call, "--seed", "1")
    assert same.stdout == again.stdout != other.stdout


def test_the_highest_rate_is_searched(command: Command) -> None:
    work = [each.replace("layers=1", "layers=32") for each in WORK]
    small = ("--setting", "max_sequences=1", "--setting", "max_tokens=64")
    result = command(*work, *SHORT, *small, "--rate", "8", "--ttft", "80ms", "--param", "dtype=bf16,fp8", "--find-rate")
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["deployment", "dtype=bf16", "dtype=fp8"]


def test_users_and_traces(command: Command, tmp_path: Path) -> None:
    users = json.loads(command(*WORK, *SHORT, "--users", "3", "--requests", "9", "--json").stdout)["points"][0]
    assert (users["users"], users["requests"]) == (3, 9)
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,30,4\n1,30,4\n")
    told = json.loads(command(*WORK, "--trace", trace, "--prefill-replicas", "1", "--json").stdout)["points"][0]
    assert (told["requests"], told["gpus"]) == (2, 2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "expected one of --rate, --trace and --users, found none"),
        (("--rate", "1", "--param", "tensor_parallel=64"), "has 8 GPUs in an NVLink domain"),
        (("--rate", "1", "--setting", "pages=3"), "expected one of the settings"),
        (("--rate", "1,2", "--ttft", "1s", "--find-rate"), "expected one --rate to begin"),
        (("--users", "2", "--prefill-replicas", "1"), "expected one pool"),
    ],
)
def test_mistakes_are_told_in_a_line(fails: Callable[..., str], more: tuple[str, ...], words: str) -> None:
    assert words in fails(*WORK, *more)
