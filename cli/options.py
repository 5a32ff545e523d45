"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from simexplore.cli.completion import machines
from simexplore.errors import SimexploreError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _pairs(ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:  # noqa: ARG001
    """`key=value` texts as a dict."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise SimexploreError(f"{parameter.opts[0]}: expected key=value, found {text!r}")
        if key in pairs:
            raise SimexploreError(f"{parameter.opts[0]}: expected each key once, found {key!r} again")
        pairs[key] = value.strip()
    return pairs


def _only(ctx: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> str:  # noqa: ARG001
    """The one value of an option; of two, one would be left out without a word."""
    if len(texts) > 1:
        told = ", ".join(texts)
        raise SimexploreError(f"{parameter.opts[0]}: expected one machine, found {told}: run the command for each")
    return texts[0]


_ARCH = "Machine: a name (arch list) or a file; NAME@family without its own measurements, NAME@facts with none."

_NAMED: dict[str, Any] = {"required": True, "metavar": "NAME|FILE", "shell_complete": machines}


def arch_option() -> Decorator:
    return click.option(
        "--arch", required=True, multiple=True, callback=_only, metavar="NAME|FILE", shell_complete=machines, help=_ARCH
    )


def archs_option() -> Decorator:
    """One machine or several, which are compared."""
    told = f"{_ARCH} Repeatable: several are compared."
    return click.option(
        "--arch", "archs", required=True, multiple=True, metavar="NAME|FILE", shell_complete=machines, help=told
    )


def set_option() -> Decorator:
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        callback=_pairs,
        metavar="PATH=VALUE",
        help="Change the machine, e.g. --set l2.capacity='36 MiB'. Repeatable.",
    )


def engine_option(default: str = "the machine's first") -> Decorator:
    return click.option(
        "--engine",
        metavar="NAME",
        help=f"Engine whose kernels run: trtllm, vllm, sglang, torch as the machine has them. [default: {default}]",
    )


def param_option() -> Decorator:
    return pairs_option(
        "--param", "params", "NAME=VALUE", "Parameter of the workload (workload show NAME). Repeatable."
    )


def pairs_option(option: str, name: str, metavar: str, words: str) -> Decorator:
    """An option that is given once for each key."""
    return click.option(option, name, multiple=True, callback=_pairs, metavar=metavar, help=words)


def json_option() -> Decorator:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON with SI units in its keys.")
