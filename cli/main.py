"""The command `simexplore`: a group whose commands are imported when they are run, so that `--help` is instant."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from keyword import iskeyword
from typing import IO, Any

import click

from simexplore.cli.output import plain
from simexplore.errors import SimexploreError

COMMANDS = {
    "model.arch": "Machines: list, show, validate, schema, import.",
    "model.workload": "Work: list, show.",
    "model.run": "Run a workload or one operator on a machine.",
    "measured.devices": "What kernels can be measured on here, and what is missing.",
    "measured.measure": "Run real kernels and write their times.",
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


INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class Failure(click.ClickException):
    """A user's mistake: one line on stderr, exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"simexplore: {plain(' '.join(self.message.split()))}", file=file, err=file is None)


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

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command: what it can't print is replaced, and Ctrl-C ends it in one line at any moment."""
        try:
            _prepare_output()
            return super().main(*arguments, **options)
        except KeyboardInterrupt:
            click.echo("simexplore: stopped", err=True)
            sys.exit(INTERRUPTED)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except SimexploreError as error:
            raise Failure(str(error)) from error
        except KeyboardInterrupt:
            click.echo("simexplore: stopped", err=True)
            sys.exit(INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE:  # who reads has had enough
                raise
            if error.filename is None and error.errno in (errno.ENOSPC, errno.EBADF, errno.EIO):
                _give_up_output()
                raise Failure(f"the output can't be written: {error.strerror}") from error
            raise
        return result


def _prepare_output() -> None:
    """Print what the terminal's encoding lacks as `?`, and nothing where a stream was closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _give_up_output() -> None:
    """Forget what stdout still holds, so that Python does not try to write it at its end."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: simexplore run 'gemm(m=4096,n=4096,k=4096)' --arch nvidia/h200-sxm",
)
@click.version_option(package_name="simexplore")
def main() -> None:
    """Predict how long work takes on a machine described in YAML, and check it against measured runs."""
