"""`simexplore explain`: why work takes as long as it does, and what would help."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

import simexplore
from simexplore.archs.load import machine_of, overridden, resolve
from simexplore.archs.schema.gpu import Gpu
from simexplore.cli.console import say
from simexplore.cli.machines import load_any
from simexplore.cli.model.run import CACHES
from simexplore.cli.options import archs_option, engine_option, json_option, param_option, set_option
from simexplore.cli.output import about, print_json, print_table, progress
from simexplore.cli.pages import now, write_page
from simexplore.sim.conditions import Conditions, Launch
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.explain.machines import beside
from simexplore.sim.explain.tables import Table, beside_table, tables_of
from simexplore.sim.explain.what_if import what_ifs
from simexplore.sim.explain.whole import Explanation
from simexplore.sim.explain.whole import explain as explained
from simexplore.workloads.graph import Graph


@click.command(
    epilog="Example: simexplore explain 'gemm(m=4096,n=4096,k=4096)' --arch nvidia/h200-sxm; or a workload on two "
    "machines: simexplore explain llm/llama-3-8b/decode --arch nvidia/h200-sxm --arch nvidia/h100-sxm"
)
@click.argument("work", metavar="WORKLOAD|OPERATOR|FILE|hf:CONFIG")
@archs_option()
@engine_option()
@set_option()
@param_option()
@click.option(
    "--launch", type=click.Choice(["graph", "stream"]), default="graph", show_default=True, help="How kernels start."
)
@click.option("--cache", type=click.Choice(list(CACHES)), help="What every kernel finds in L2, as in run.")
@click.option("--physics-only", is_flag=True, help="Leave out the learned correction of a calibrated machine.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page.")
@json_option()
def explain(
    work: str,
    archs: tuple[str, ...],
    engine: str | None,
    overrides: dict[str, str],
    params: dict[str, str],
    launch: Launch,
    cache: str | None,
    physics_only: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Why WORK takes as long as it does: where its time goes, what limits it, what would help.

    It takes the closed form apart (`run --estimate`): the parts add up to the time, and each "what if" is that form
    again on the changed machine. Several --arch are one table beside each other.
    """
    graph = simexplore.load_workload(work, params)
    conditions = None if cache is None else Conditions(cache=CACHES[cache], launch=launch)
    every = [
        _explained(graph, arch, overrides, engine, physics_only, conditions, launch, alone=len(archs) == 1)
        for arch in archs
    ]
    if as_json:
        found = [{**about(told.machine, told.work), **told.to_json()} for told in every]
        compared = [row.to_json() for row in beside([(told.machine, told.estimate) for told in every])]
        several = {**about(None, graph.name), "machines": found, "compared": compared}
        print_json(found[0] if len(found) == 1 else several)
    else:
        _print(graph.name, every)
    if report is not None:
        from simexplore.sim.report.answers.explained import explained_html

        write_page(report, explained_html(every, now()))


def _explained(
    graph: Graph,
    arch: str,
    overrides: Mapping[str, str],
    engine: str | None,
    physics_only: bool,
    conditions: Conditions | None,
    launch: Launch,
    alone: bool,
) -> Explanation:
    """One machine's explanation; what would help only where there is no other machine to look at."""
    loaded = load_any(arch, overrides, engine)
    told = explained(graph, loaded.without_correction() if physics_only else loaded.machine, conditions, launch)
    if not alone or not isinstance(loaded.machine, Gpu):  # of a system no number is tried: its devices have many
        return told
    layer = resolve(arch, overrides, engine)

    def machine(changes: Mapping[str, str]) -> Gpu:
        gpu = machine_of(overridden(layer, changes))
        return gpu.physics_only() if physics_only else gpu

    def time_on(gpu: Gpu) -> float:
        return estimate_graph(graph, gpu, conditions, launch, "serving").time_s

    with progress("asking what would help") as advance:
        return told.with_what_ifs(what_ifs(loaded.machine, told.time_s, machine, time_on, advance))


def _print(work: str, every: list[Explanation]) -> None:
    names = every[0].machine if len(every) == 1 else f"{len(every)} machines"
    say(f"{work} on {names}")
    tables = tables_of(every[0]) if len(every) == 1 else [beside_table(every)]
    for table in tables:
        say()
        _print_table(table)
    if any(cell.startswith("~") for table in tables[:1] for row in table.rows for cell in row):
        say(f"~ the 80 % intervals can't tell it from {every[0].machine}'s")


def _print_table(table: Table) -> None:
    if table.headers[0] != table.title and table.title != "machines":
        say(f"{table.title}:")
    print_table(table.headers, table.rows, left=table.left)
