"""What the command owes a terminal: one line for a Ctrl-C, a full disk or a closed end, and no escape of a name's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
import tracebacks
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from sweeps import heed_ctrl_c

from simexplore.cli.console import escaped
from simexplore.cli.main import main

CALL = [sys.executable, "-c", "from simexplore.cli.start import start; start()"]
ONE = ("run", "gelu(elements=4)", "--arch", "nvidia/t4")


def begun(*arguments: str, **extra: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([*CALL, *arguments], text=True, stderr=subprocess.PIPE, **extra)


def test_a_command_does_not_look_for_garbage_at_its_end() -> None:
    """What was registered before the command began is called after what it registers."""
    told = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 10_000)); "
    done = subprocess.run([*CALL[:2], told + CALL[2], "--version"], text=True, capture_output=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_ctrl_c_is_one_line_and_130_whenever_it_comes() -> None:
    """From while the command line is being imported to while the work runs; before that there is only Python."""
    codes = set()
    for twentieth in range(3, 23, 2):
        process = begun("run", "llm/llama-3-70b/prefill", "--arch", "nvidia/h200-sxm", "--allow-overflow",
                        stdout=subprocess.PIPE,
                        preexec_fn=heed_ctrl_c)  # fmt: skip
        time.sleep(twentieth / 20)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
        codes.add(process.returncode)
        assert (process.returncode, told) in ((130, "simexplore: interrupted\n"), (0, ""), (-signal.SIGINT, told))
    assert 130 in codes


def test_a_ctrl_c_within_a_command(command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("simexplore.load_workload", interrupted, raising=False)
    result = command(*ONE)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "simexplore: interrupted\n")


def test_a_ctrl_c_that_python_wraps(command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python 3.11 does where it comes while a class gets its attributes."""

    def wrapped(*_: object, **__: object) -> None:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setattr("simexplore.load_workload", wrapped, raising=False)
    result = command(*ONE)
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "simexplore: interrupted\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize(
    "arguments",
    [ONE, (*ONE, "--json"), ("arch", "list"), ("--help",), ("run", "--help"), ("workload", "list")],
    ids=" ".join,
)
def test_a_full_disk_is_one_line(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        process = begun(*arguments, stdout=full)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert told.endswith("No space left on device\n")
    assert told.count("\n") == 1


@pytest.mark.parametrize("arguments", [ONE, (*ONE, "--json"), ("arch", "list")], ids=" ".join)
@pytest.mark.skipif(sys.platform == "win32", reason="closes a file descriptor")
def test_closed_ends_are_no_error(arguments: tuple[str, ...]) -> None:
    for end in (1, 2):
        process = begun(*arguments, stdout=subprocess.PIPE, preexec_fn=lambda end=end: os.close(end))
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.mark.parametrize("encoding", ["latin-1", "cp437", "ascii", "utf-8"])
@pytest.mark.parametrize("arguments", [ONE, (*ONE, "--json"), ("arch", "show", "nvidia/t4")], ids=" ".join)
def test_any_encoding_takes_what_is_printed(arguments: tuple[str, ...], encoding: str) -> None:
    process = begun(*arguments, stdout=subprocess.PIPE, encoding=encoding.replace("ascii", "utf-8"),
                    env={**os.environ, "PYTHONIOENCODING": encoding})  # fmt: skip
    shown, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, "")
    assert "?" not in shown
    if "--json" in arguments:
        assert json.loads(shown)["time_s"] > 0


NAMES = st.text(
    st.one_of(st.sampled_from("\x1b\x07\x9b\r\t\u202e\ud800]m[2J0;"), st.characters()), min_size=1, max_size=30
)


@given(NAMES)
def test_what_is_escaped_is_one_line_that_moves_nothing(name: str) -> None:
    told = escaped(name)
    assert told.isprintable()
    assert escaped(told) == told
    assert told == name or not name.isprintable()


@settings(max_examples=25)
@given(NAMES.filter(lambda name: name.isprintable() or "\n" not in name))
def test_names_out_of_files_are_printed_harmlessly(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Of machines, sources, graphs and nodes, in a table or an error."""
    arch = tmp_path_factory.mktemp("names") / "mine.yaml"
    graph = arch.with_name("graph.yaml")
    told = {"extends": "nvidia/t4", "name": name, "description": name, "sources": {"dram": name}}
    arch.write_text(yaml.safe_dump(told, allow_unicode=False), encoding="utf-8")
    node = {"name": name, "op": "gelu(elements=4)"}
    graph.write_text(yaml.safe_dump({"name": name, "operators": [node]}, allow_unicode=False), encoding="utf-8")
    for arguments in (("run", graph, "--arch", arch), ("arch", "show", arch), ("arch", "validate", arch)):
        result = CliRunner().invoke(main, [*map(str, arguments)])
        assert result.exit_code in (0, 2)
        assert all(line.isprintable() for line in result.output.split("\n"))
    result = CliRunner().invoke(main, ["run", str(graph), "--arch", str(arch), "--json"])
    assert all(line.isprintable() for line in result.output.split("\n"))


def test_tracebacks_are_seen() -> None:
    """The guard over all tests does what it says, in this process and in others."""
    with pytest.raises(AssertionError, match="traceback"):
        subprocess.run([sys.executable, "-c", "'simexplore'; 1 / 0"], capture_output=True, check=False)
    with pytest.raises(AssertionError, match="traceback"):
        tracebacks.check("Traceback (most recent call last):\n")


def test_exceptions_of_commands_are_seen(command: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("simexplore.load_workload", bug, raising=False)
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        command(*ONE)


def test_a_terminal_is_not_a_closed_stream(capsys: pytest.CaptureFixture[str]) -> None:
    from simexplore.cli.console import is_terminal

    stream: IO[str] = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - closed here, which is the point
    stream.close()
    assert not is_terminal(stream)
    assert not is_terminal(None)
