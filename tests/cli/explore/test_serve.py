"""`simexplore serve`, called as a user calls it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Command = Callable[..., Result]
MODEL = ("serve", "llm/llama-3-8b", "--arch", "nvidia/h100-sxm", "--param", "layers=1")
WORK = (*MODEL, "--duration", "3s")
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


def test_a_folder_knows_the_machine_as_it_was(command: Command, tmp_path: Path) -> None:
    machine = tmp_path / "mine.yaml"
    machine.write_text("extends: nvidia/h100-sxm\nname: mine\n")
    call = ["serve", "llm/llama-3-8b", "--arch", machine, *WORK[4:], *SHORT, "--rate", "4", "-o", tmp_path / "out"]
    assert command(*call).exit_code == 0
    machine.write_text("extends: nvidia/h100-sxm\nname: mine\nsm: {count: 66}\n")
    edited = command(*call)
    assert edited.exit_code == 2
    assert "expected results of the same question" in edited.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a system with signals")
def test_a_command_that_was_killed_goes_on(command: Command, tmp_path: Path) -> None:
    call = [*WORK, *SHORT, "--rate", "1:200:1", "--json"]
    main = "from simexplore.cli.main import main; main()"
    killed = subprocess.Popen(
        [sys.executable, "-c", main, *call, "-o", tmp_path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 60.0
    while not list(tmp_path.glob("points/*[0-9].json")) and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    kept = {file: file.stat().st_mtime_ns for file in tmp_path.glob("points/*[0-9].json")}
    assert 0 < len(kept) < 200
    assert command(*call, "-o", tmp_path).stdout == command(*call).stdout
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


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
    users = json.loads(command(*MODEL, *SHORT, "--users", "3", "--requests", "9", "--json").stdout)["points"][0]
    assert (users["users"], users["requests"]) == (3, 9)
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,30,4\n1,30,4\n")
    told = json.loads(command(*MODEL, "--trace", trace, "--prefill-replicas", "1", "--json").stdout)["points"][0]
    assert (told["requests"], told["gpus"]) == (2, 2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ((), "expected one of --rate, --trace and --users, found none"),
        (("--rate", "1", "--param", "tensor_parallel=64"), "has 8 GPUs in an NVLink domain"),
        (("--rate", "1", "--setting", "pages=3"), "expected one of the settings"),
        (("--rate", "1,2", "--ttft", "1s", "--find-rate"), "expected one --rate to begin"),
        (("--rate", "1", "--ttft", "1s", "--find-rate", "-o", "out"), "leave out -o"),
        (("--rate", "1", "--requests", "9"), "--duration says how many come"),
        (("--users", "2"), "--duration: expected beside --rate only, found it beside --users"),
        (("--rate", "1", "--share", "0.9"), "--share: expected beside --find-rate only"),
    ],
)
def test_mistakes_are_told_in_a_line(fails: Callable[..., str], more: tuple[str, ...], words: str) -> None:
    assert words in fails(*WORK, *more)


def test_a_static_batch_has_one_pool(fails: Callable[..., str]) -> None:
    more = ("--rate", "1", "--prefill-replicas", "1", "--setting", "batching=static")
    assert "batching=static: expected without prefill replicas" in fails(*WORK, *more)


def test_systems_are_machines_too(command: Command, fails: Callable[..., str]) -> None:
    call = ("serve", "llm/llama-3-70b", "--arch", "systems/dgx-h100", "--param", "layers=1", "--duration", "2s", *SHORT)
    told = json.loads(command(*call, "--rate", "4", "--param", "tensor_parallel=8", "--json").stdout)["points"][0]
    assert told["gpus"] == 8
    assert "has 8 GPUs in an NVLink domain" in fails(*call, "--rate", "4", "--param", "tensor_parallel=16")
