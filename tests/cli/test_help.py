"""Help: complete, with an example everywhere; how fast it comes is in tests/bench."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from simexplore.cli.main import main


def every_command() -> list[tuple[str, ...]]:
    paths: list[tuple[str, ...]] = [()]
    for name in main.list_commands(click.Context(main)):
        paths.append((name,))
        command = main.get_command(click.Context(main), name)
        if isinstance(command, click.Group):
            paths += [(name, sub) for sub in command.commands]
    return paths


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_help_ends_with_an_example(command: Callable[..., Result], path: tuple[str, ...]) -> None:
    result = command(*path, "--help")
    assert result.exit_code == 0
    assert f"Example: simexplore {' '.join(path)}".rstrip() in " ".join(result.stdout.split())
    assert "TODO" not in result.stdout


def test_help_lists_what_there_is(command: Callable[..., Result]) -> None:
    listed = command("--help").stdout
    assert all(name in listed for name in main.list_commands(click.Context(main)))


def test_version(command: Callable[..., Result]) -> None:
    assert "version 0." in command("--version").stdout


def test_usage_errors_end_with_code_2(command: Callable[..., Result]) -> None:
    for arguments in (("bogus",), ("run",), ("compare", "--arch", "x"), ("arch", "show"), ("--bogus",)):
        result = command(*arguments)
        assert result.exit_code == 2
        assert "Usage:" in result.stderr


@pytest.fixture(scope="module")
def script() -> Path:
    """The installed entry point."""
    path = Path(sys.executable).with_name("simexplore")
    if not path.exists():
        pytest.skip("the package is not installed beside this interpreter")
    return path


def test_the_installed_command_answers_help(script: Path) -> None:
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: simexplore" in done.stdout


def test_the_installed_command_fails_in_one_line(script: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("kind: [gpu\n", encoding="utf-8")
    done = subprocess.run([script, "arch", "validate", broken], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"simexplore: {broken}:")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_stops_early_is_no_error(script: Path) -> None:
    done = subprocess.run(f"{script} arch schema | head -n 1", shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
