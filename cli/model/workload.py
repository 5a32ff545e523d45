"""`simexplore workload`: the work that can be run."""

from __future__ import annotations

from collections import Counter

import click

from simexplore.cli.console import say
from simexplore.cli.model.workload_import import import_
from simexplore.cli.options import param_option
from simexplore.cli.output import print_table, quantity
from simexplore.workloads import catalog, ops
from simexplore.workloads.operators.parameters import signature


@click.group(epilog="Example: simexplore workload show llm/llama-3-8b/decode")
def workload() -> None:
    """Workloads: networks by name, models of your own, and the operators that they are made of."""


workload.add_command(import_)


@workload.command("list", epilog="Example: simexplore workload list")
def list_() -> None:
    """The workloads, and the operators that `run` takes alone or in a YAML list."""
    print_table(
        ["workload", "description"], [[name, catalog.find(name).description] for name in catalog.list_workloads()], 2
    )
    say()
    print_table(["operator", "parameters"], [[op, signature(family)] for op, family in ops.FAMILIES.items()], 2)


@workload.command(epilog="Example: simexplore workload show llm/llama-3-8b/decode --param batch=8")
@click.argument("name")
@param_option()
def show(name: str, params: dict[str, str]) -> None:
    """A workload's parameters, and what it amounts to."""
    graph = catalog.build(name, params)
    say(catalog.find(name).description)
    say()
    rows = [[p.name, params.get(p.name, p.default), p.default, p.description] for p in catalog.parameters(name)]
    print_table(["parameter", "value", "default", "meaning"], rows, left=4)
    say()
    families = Counter(node.op.op for node in graph.nodes)
    rows = []
    for op, count in families.most_common():
        same = [node.op for node in graph.nodes if node.op.op == op]
        flops, moved = sum(float(one.flops) for one in same), sum(float(one.min_bytes) for one in same)
        rows.append([op, str(count), quantity(flops, "flop"), quantity(moved, "B")])
    print_table(["operator", "count", "flops", "least traffic"], rows)
    say()
    held = [[what, quantity(size, "B")] for what, size in graph.resident_bytes.items()]
    print_table(["held in memory", "size"], held)
