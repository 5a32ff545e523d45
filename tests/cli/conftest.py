"""The command, called as a user calls it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from simexplore.cli.main import main

Command = Callable[..., Result]


@pytest.fixture
def command() -> Command:
    """Runs `simexplore` with the arguments given; a bug fails the test (`tests/support/tracebacks.py`)."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def fails(command: Command) -> Callable[..., str]:
    """Runs the command, which must end with code 2 and one line on stderr; returns that line."""

    def run(*arguments: object) -> str:
        result = command(*arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.startswith("simexplore: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    return run
