"""The command `simexplore`: a group whose commands are imported when they are run, so that `--help` is instant."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from keyword import iskeyword
from typing import IO, Any

import click

from simexplore.cli.console import INTERRUPTED, escaped, prepare
from simexplore.errors import SimexploreError

os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # finding them reads all packages' metadata

COMMANDS = {
    "model.arch": "Machines: list, show, validate, schema, import, from-point.",
    "model.workload": "Work: list, show, import.",
    "model.run": "Run a workload or one operator on a machine.",
    "model.explain": "Why work takes as long as it does, and what would help.",
    "model.train": "A training step over many GPUs: pipelines, copies, memory.",
    "explore.serve": "Serve a language model to many users: latency, throughput, energy by load.",
    "measured.devices": "What kernels can be measured on here, and what is missing.",
    "measured.measure": "Run real kernels and write their times.",
    "measured.measured": "Which rows of a public data set can be predicted, and which are refused and why.",
    "measured.import": "Turn a profile of Nsight or PyTorch into measurements.",
    "explore.sweep": "Evaluate many machines and workloads; continues where it stopped.",
    "explore.pareto": "The Pareto front of a sweep.",
    "explore.report": "A sweep as one HTML page: trade-offs, sensitivity, bottlenecks, every point.",
    "measured.calibrate": "Fit a machine to measured kernels, and say how far off it still is.",
    "measured.compare": "Hold a machine's predictions against measured kernels.",
    "model.reproduce": "Published results beside simulated ones.",
}
"""By module; each is the function of the same name in it (`import_` where Python keeps the word)."""

_MODULES = {module.rpartition(".")[2]: module for module in COMMANDS}


class Failure(click.ClickException):
    """A user's mistake: one line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"simexplore: {escaped(' '.join(self.message.split()))}", file=file, err=file is None)


class Interrupted(Failure):
    """Ctrl-C: one line, and the code that shells give a command that it ended."""

    exit_code = INTERRUPTED

    def __init__(self) -> None:
        super().__init__("interrupted")


class LazyGroup(click.Group):
    """Imports a command's module when the command is asked for, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _MODULES:
            return None
        ending = "_" if iskeyword(cmd_name) else ""
        module = importlib.import_module(f"simexplore.cli.{_MODULES[cmd_name]}{ending}")
        command: click.Command = getattr(module, f"{cmd_name}{ending}")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[module]) for name, module in _MODULES.items()])

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """As click's, but a Ctrl-C is no "Aborted!" with code 1, and a full disk no traceback."""
        prepare()
        begin: Callable[..., Any] = super().main
        if not standalone_mode:
            return begin(*args, standalone_mode=False, **extra)
        try:
            code = begin(*args, standalone_mode=False, **extra)
        except (click.Abort, KeyboardInterrupt):
            code = _told(Interrupted())
        except RuntimeError as error:  # as Python 3.11 has a Ctrl-C that comes while a class gets its attributes
            if not isinstance(error.__cause__, KeyboardInterrupt):
                raise
            code = _told(Interrupted())
        except click.ClickException as error:
            code = _told(error)
        except OSError as error:
            code = _told(Failure(_of_the_system(error)))
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()  # a full disk is told here, not by Python at its end
            return result
        except SimexploreError as error:
            raise Failure(str(error)) from error
        except KeyboardInterrupt:  # where click would first end the line
            raise Interrupted from None


def _of_the_system(error: OSError) -> str:
    """What a disk, a terminal or a network said; after it nothing more is written to what may be a full disk."""
    if error.filename is None:
        sys.stdout = None
    place = "" if error.filename is None else f"{error.filename}: "
    return f"{place}expected to read or write, found: {error.strerror or error}"


def _told(error: click.ClickException) -> int:
    error.show()
    return error.exit_code


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: simexplore run 'gemm(m=4096,n=4096,k=4096)' --arch nvidia/h200-sxm",
)
@click.version_option(package_name="simexplore")
def main() -> None:
    """Predict how long work takes on a machine described in YAML, and check it against measured runs."""
