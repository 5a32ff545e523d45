"""The command, called as a user calls it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from simexplore.cli.main import main

Command = Callable[..., Result]


@pytest.fixture
def command() -> Command:
    """Runs `simexplore` with the arguments given; a bug is the exception itself, not an exit code."""

    def run(*arguments: object) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

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
