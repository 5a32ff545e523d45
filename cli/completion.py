"""What a shell may go on with behind a half-written name."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def machines(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:  # noqa: ARG001 - click's
    """Machines that come along, and files."""
    from simexplore.archs.names import list_archs

    return _items(list_archs(), begun)


def work(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:  # noqa: ARG001
    """Workloads by name, families of operators, and files."""
    from simexplore.workloads.catalog import list_workloads
    from simexplore.workloads.ops import FAMILIES

    return _items([*list_workloads(), *(f"{family}(" for family in FAMILIES)], begun)


def _items(names: list[str], begun: str) -> list[CompletionItem]:
    """Names that begin so; a path where none does."""
    found = [CompletionItem(name) for name in names if name.startswith(begun)]
    return found or [CompletionItem(begun, type="file")]
