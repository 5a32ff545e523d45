"""`simexplore workload import`: models that users bring, as graphs that `run` takes."""

from __future__ import annotations

from pathlib import Path

import click

from simexplore.cli.console import say
from simexplore.cli.options import json_option, param_option
from simexplore.cli.output import print_answer, print_table, quantity
from simexplore.errors import SimexploreError
from simexplore.workloads.importers import KINDS, import_model
from simexplore.workloads.importers.imported import Imported, to_yaml


@click.command("import", epilog="Example: simexplore workload import hf path/to/config.json/decode -o g.yaml")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("source")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.yaml", help="The graph goes here."
)
@param_option()
@json_option()
def import_(kind: str, source: str, output: Path, params: dict[str, str], as_json: bool) -> None:
    """Turn a model into a graph that run takes.

    SOURCE is, of hf, a config.json or its folder, then /decode or /prefill. What no operator stands for is listed with
    its share of the flops and bytes.
    """
    found = import_model(kind, source, params)
    _write(to_yaml(found, f"{kind} {source}"), output)
    if as_json:
        print_answer(_figures(found, output), None, found.graph.name)
    else:
        _print(found, output)


def _write(text: str, output: Path) -> None:
    if output.suffix not in (".yaml", ".yml"):
        raise SimexploreError(f"{output}: expected a file that ends in .yaml, as run takes no other")
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SimexploreError(f"{output}: expected a place that can be written, found: {error.strerror}") from None


def _figures(found: Imported, output: Path) -> dict[str, object]:
    unknown = [{"name": one.name, "calls": one.calls, "flops": one.flops, "bytes": one.bytes} for one in found.unknown]
    repeated = [{"pattern": one.pattern, "count": one.count, "operators": one.operators} for one in found.repeated]
    return {
        "output": str(output),
        "operators": len(found.graph.nodes),
        "flops": found.graph.flops,
        "min_bytes": found.graph.min_bytes,
        "resident_bytes": dict(found.graph.resident_bytes),
        "unknown": unknown,
        "unknown_flops_share": found.flops_share(found.unknown),
        "unknown_bytes_share": found.bytes_share(found.unknown),
        "notes": list(found.notes),
        "repeated": repeated,
    }


def _print(found: Imported, output: Path) -> None:
    graph = found.graph
    amount = f"{quantity(graph.flops, 'flop')}, at least {quantity(graph.min_bytes, 'B')} of traffic"
    say(f"{output}: {len(graph.nodes)} operators, {amount}")
    for one in found.repeated:
        say(f"{one.pattern}: {one.count} alike, {one.operators} operators each")
    for note in found.notes:
        say(f"note: {note}")
    if found.unknown:
        say()
        flops, moved = found.flops_share(found.unknown), found.bytes_share(found.unknown)
        say(f"left out, as no operator stands for it: {flops:.2%} of the flops, {moved:.2%} of the bytes")
        rows = [
            [one.name, str(one.calls), f"{found.flops_share([one]):.2%}", f"{found.bytes_share([one]):.2%}"]
            for one in found.unknown
        ]
        print_table(["operation", "calls", "flops", "bytes"], rows)
