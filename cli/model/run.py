"""`simexplore run`: a workload or one operator on a machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import click

import simexplore
from simexplore.archs.schema.gpu import Gpu
from simexplore.cli.console import say
from simexplore.cli.options import arch_option, json_option, param_option, set_option
from simexplore.cli.output import note, percent, print_json, print_table, progress, quantity
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, WARM, Launch
from simexplore.sim.estimate.graphs import Estimate
from simexplore.sim.estimate.op_run import OpRun, time_interval
from simexplore.sim.play.probes import Activity, Probe
from simexplore.sim.play.result import Run
from simexplore.sim.play.trace import Trace
from simexplore.workloads.graph import Graph
from simexplore.workloads.ops import Embedding

CACHES = {"cold": COLD, "warm": WARM}
SHOWN_OPS = 20


@click.command(
    epilog="Example: simexplore run llm/llama-3-8b/decode --arch nvidia/h200-sxm --param batch=8 --trace decode.json"
)
@click.argument("work", metavar="WORKLOAD|OPERATOR|FILE")
@arch_option()
@set_option()
@param_option()
@click.option("--trace", "trace_file", type=click.Path(path_type=Path), help="Write a trace for ui.perfetto.dev.")
@click.option(
    "--launch", type=click.Choice(["graph", "stream"]), default="graph", show_default=True, help="How kernels start."
)
@click.option(
    "--cache",
    type=click.Choice(list(CACHES)),
    help="What every kernel finds in L2. By default: what the operators before it have written.",
)
@click.option(
    "--estimate", "in_closed_form", is_flag=True, help="Closed form instead of events: no contention, no memory."
)
@click.option("--allow-overflow", is_flag=True, help="Let the work hold more than the machine's memory.")
@json_option()
def run(
    work: str,
    arch: str,
    overrides: dict[str, str],
    params: dict[str, str],
    trace_file: Path | None,
    launch: Launch,
    cache: str | None,
    in_closed_form: bool,
    allow_overflow: bool,
    as_json: bool,
) -> None:
    """Predict the time, energy and memory of WORK: a workload's name, an operator, or a YAML list of operators."""
    if in_closed_form and trace_file is not None:
        raise click.UsageError("--trace needs events: leave out --estimate")
    gpu = simexplore.load_arch(arch, overrides)
    graph = simexplore.load_workload(work, params)
    state = None if cache is None else CACHES[cache]
    result: Run | Estimate
    if in_closed_form:
        result = simexplore.estimate(graph, gpu, cache=state, launch=launch)
    else:
        trace = Trace(gpu.name, gpu.power.idle_w)
        with progress("running") as advance:
            watching = _Progress(advance, len(graph.nodes))
            probes: list[Probe] = [watching, trace] if trace_file is not None else [watching]
            result = simexplore.simulate(
                graph, gpu, cache=state, launch=launch, probes=probes, allow_overflow=allow_overflow
            )
        if trace_file is not None:
            _write(trace, trace_file)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result, graph, gpu)


class _Progress(Probe):
    """Counts the nodes that have run a kernel."""

    def __init__(self, advance: Callable[[int, int], None], nodes: int) -> None:
        self._advance = advance
        self._nodes = nodes
        self._seen: set[str] = set()

    def on_kernel_end(self, now_fs: int, activity: Activity) -> None:  # noqa: ARG002 - the probe's signature
        self._seen.add(activity.node)
        self._advance(len(self._seen), self._nodes)


def _write(trace: Trace, file: Path) -> None:
    try:
        trace.write(file)
    except OSError as error:
        raise SimexploreError(f"{file}: the trace can't be written: {error.strerror}") from None
    note(f"trace written to {file}: open it in ui.perfetto.dev")


def _print(result: Run | Estimate, graph: Graph, gpu: Gpu) -> None:
    say(f"{graph.name} on {gpu.name}")
    say()
    _print_ops(result)
    say()
    low_s, high_s = time_interval(result.time_s, result.ops)
    rows = [["time", quantity(result.time_s, "s")]]
    rows.append(["80 % interval", f"{quantity(low_s, 's')} – {quantity(high_s, 's')}"])
    tokens = sum(float(node.op.tokens) for node in graph.nodes if isinstance(node.op, Embedding))
    if tokens and result.time_s:
        rows.append(["tokens", f"{tokens / result.time_s:,.0f} /s"])
    if result.time_s:
        rows.append(["work", quantity(graph.flops / result.time_s, "flop/s")])
    rows.append(["energy", quantity(result.energy_j, "J")])
    if isinstance(result, Run):
        rows.append(["mean power", quantity(result.mean_power_w, "W")])
        rows.append(["peak memory", quantity(result.peak_memory_bytes, "B")])
        rows += [[f"{name} in use", percent(share)] for name, share in result.utilization.items() if share > 0]
    print_table(["in all", ""], rows)


def _print_ops(result: Run | Estimate) -> None:
    """The operators that take longest; those that differ only by a number in their name are one line."""
    groups: dict[tuple[str, str, str], list[OpRun]] = {}
    for op in result.ops:
        groups.setdefault((re.sub(r"\d+", "*", op.name), op.op, op.bound), []).append(op)
    longest = sorted(groups.items(), key=lambda item: -sum(op.time_s for op in item[1]))
    busy_s = sum(op.time_s for op in result.ops) or 1.0
    rows = []
    for (name, text, bound), ops in longest[:SHOWN_OPS]:
        time_s, energy_j = sum(op.time_s for op in ops), sum(op.energy_j for op in ops)
        shown = name if len(ops) > 1 else ops[0].name
        figures = [str(len(ops)), quantity(time_s, "s"), percent(time_s / busy_s), quantity(energy_j, "J")]
        rows.append([shown, text, bound, *figures])
    if len(longest) > SHOWN_OPS:
        rest_s = sum(op.time_s for _, ops in longest[SHOWN_OPS:] for op in ops)
        count = sum(len(ops) for _, ops in longest[SHOWN_OPS:])
        rows.append(["others", "", "", str(count), quantity(rest_s, "s"), percent(rest_s / busy_s), ""])
    print_table(["name", "operator", "bound", "count", "time", "share", "energy"], rows, left=3)
