"""A traceback of the command is a bug, whatever a test looks at: in this process and in those that it starts."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from click.testing import CliRunner, Result

_MARK = "Traceback (most recent call last)"


def forbid(patch: pytest.MonkeyPatch) -> None:
    """Make every test fail whose command ends with a bug's exception or prints a traceback."""
    invoke, communicate = CliRunner.invoke, subprocess.Popen.communicate

    def checked_invoke(self: CliRunner, *arguments: Any, **extra: Any) -> Result:
        result = invoke(self, *arguments, **extra)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise AssertionError(f"the command ended with {result.exception!r}") from result.exception
        check(result.output)
        return result

    def checked_communicate(self: subprocess.Popen[Any], *arguments: Any, **extra: Any) -> Any:
        streams = communicate(self, *arguments, **extra)
        if "simexplore" in _text(self.args):
            for stream in streams:
                check(_text(stream))
        return streams

    patch.setattr(CliRunner, "invoke", checked_invoke)
    patch.setattr(subprocess.Popen, "communicate", checked_communicate)


def check(output: str) -> None:
    """Raises AssertionError where an output has a traceback."""
    if _MARK in output:
        raise AssertionError(f"a traceback was printed:\n{output[-4000:]}")


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
