"""The command, and a graph that was written to a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import simexplore
from simexplore.cli.main import main
from simexplore.workloads.graph import Graph


@pytest.fixture
def command() -> Callable[..., Result]:
    """Runs `simexplore` with the arguments given."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def same() -> Callable[[Path], Graph]:
    """Reads a graph as `run` does."""

    def read(file: Path) -> Graph:
        return simexplore.load_workload(file)

    return read
