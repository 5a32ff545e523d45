"""`simexplore run`: a workload or one operator on a machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

import simexplore
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System, system_of
from simexplore.cli.completion import work as complete_work
from simexplore.cli.machines import Loaded, load_any
from simexplore.cli.model.repetition import Repetition, repetition_options
from simexplore.cli.model.run_table import Told
from simexplore.cli.options import archs_option, engine_option, json_option, param_option, set_option
from simexplore.cli.output import note, percent, print_answer, print_json, progress
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, WARM, CacheState, Conditions, Launch
from simexplore.sim.estimate.graphs import Estimate, paused_w
from simexplore.sim.estimate.intervals.rows import standings_of
from simexplore.sim.estimate.offload import gpus_of
from simexplore.sim.learn.applied import Learned, learned_of
from simexplore.sim.play.memory.timeline import MemoryTimeline
from simexplore.sim.play.probes import Activity, Probe
from simexplore.sim.play.result import Run
from simexplore.sim.play.trace import Trace
from simexplore.workloads.compilers import COMPILERS
from simexplore.workloads.graph import Graph

CACHES = {"cold": COLD, "warm": WARM}


@click.command(
    epilog="Example: simexplore run llm/llama-3-8b/decode --arch nvidia/h200-sxm --param batch=8 --trace decode.json; "
    "or for ever: simexplore run 'gemm(m=8192,n=8192,k=8192)' --arch nvidia/h200-sxm --repeat 2000; or a frame every "
    "33 ms, most left out: simexplore run ngp/nvr/hashgrid --arch nvidia/rtx-3090 --every 33.3ms --skip 0.6"
)
@click.argument("work", metavar="WORKLOAD|OPERATOR|FILE|hf:CONFIG", shell_complete=complete_work)
@archs_option()
@engine_option()
@set_option()
@param_option()
@click.option("--trace", "trace_file", type=click.Path(path_type=Path), help="Write a trace for ui.perfetto.dev.")
@click.option(
    "--memory",
    "memory_file",
    type=click.Path(path_type=Path),
    help="Write a page that draws memory over time, by place.",
)
@click.option(
    "--launch", type=click.Choice(["graph", "stream"]), default="graph", show_default=True, help="How kernels start."
)
@click.option(
    "--cache",
    type=click.Choice(list(CACHES)),
    help="What every kernel finds in L2. By default: what the operators before it have written.",
)
@click.option(
    "--compiler",
    type=click.Choice(list(COMPILERS)),
    help="Merge kernels as it does, launched its way. eager: the host calls each operator (in closed form).",
)
@repetition_options()
@click.option(
    "--estimate", "in_closed_form", is_flag=True, help="Closed form instead of events: no contention, no memory."
)
@click.option("--physics-only", is_flag=True, help="Leave out the learned correction of a calibrated machine.")
@click.option("--allow-overflow", is_flag=True, help="Let the work hold more than the machine's memory.")
@json_option()
def run(
    work: str,
    archs: tuple[str, ...],
    engine: str | None,
    overrides: dict[str, str],
    params: dict[str, str],
    trace_file: Path | None,
    memory_file: Path | None,
    launch: Launch,
    cache: str | None,
    compiler: str | None,
    repetition: Repetition,
    in_closed_form: bool,
    physics_only: bool,
    allow_overflow: bool,
    as_json: bool,
) -> None:
    """Predict the time, energy and memory of WORK: a workload's name, an operator, or a YAML list of operators.

    hf:path/to/config.json/decode (or /prefill) is a language model by the file that Hugging Face has for it.

    The machine has been serving this work for a while, unless --burst, --sustained or --every say otherwise.
    """
    chosen = None if compiler is None else COMPILERS[compiler]
    called = chosen is not None and chosen.called
    if (in_closed_form or called) and (trace_file or memory_file) is not None:
        option = "--trace" if trace_file is not None else "--memory"
        raise click.UsageError(f"{option} needs events: leave out {'--compiler eager' if called else '--estimate'}")
    if len(archs) > 1 and (trace_file or memory_file) is not None:
        option = "--trace" if trace_file is not None else "--memory"
        raise click.UsageError(f"{option} is of one machine: leave it out, or all --arch but one")
    machines = [load_any(arch, overrides, engine) for arch in archs]
    graph = simexplore.load_workload(work, params)
    if chosen is not None:
        graph, launch = chosen.compiled(graph), chosen.launch
    state = None if cache is None else CACHES[cache]
    files = (trace_file, memory_file)
    asked = _Asked(graph, state, launch, repetition, in_closed_form, called, physics_only, allow_overflow, *files)
    every = [_told(machine, asked) for machine in machines]
    if len(every) > 1:
        _compared(graph, every, machines, as_json)
    elif as_json:
        print_json({**every[0].to_json(), "warnings": machines[0].warnings})
    else:
        every[0].show()


def _compared(graph: Graph, every: list[Told], machines: list[Loaded], as_json: bool) -> None:
    """The work on several machines, beside the first."""
    from simexplore.cli.model.beside import print_beside
    from simexplore.sim.explain.machines import beside

    compared = beside([(told.machine.name, told.result) for told in every])
    if as_json:
        found = [{**told.to_json(), "warnings": each.warnings} for told, each in zip(every, machines, strict=True)]
        print_answer({"machines": found, "compared": [row.to_json() for row in compared]}, None, graph.name)
    else:
        print_beside(graph.name, compared)


@dataclass(frozen=True)
class _Asked:
    """What is run, and how."""

    graph: Graph
    state: CacheState | None
    launch: Launch
    repetition: Repetition
    in_closed_form: bool
    called: bool
    """Whether the host calls each operator."""
    physics_only: bool
    allow_overflow: bool
    trace_file: Path | None
    memory_file: Path | None


def _told(machine: Loaded, asked: _Asked) -> Told:
    """The work on one machine, with what belongs beside the result."""
    graph, state, launch, repetition = asked.graph, asked.state, asked.launch, asked.repetition
    gpu = machine.without_correction() if asked.physics_only else machine.machine
    result: Run | Estimate
    if asked.in_closed_form or asked.called:
        call_s = machine.gpu.launch.eager_s if asked.called else 0.0
        result = simexplore.estimate(
            graph, gpu, cache=state, launch=launch, power=repetition.power, repeat=repetition.runs, call_s=call_s
        )
    else:
        result = _played(graph, gpu, state, launch, repetition, asked)
    cycle = repetition.cycle(result, paused_w(graph, gpu))
    learned = _learned(graph, gpu, machine, state, launch, asked.physics_only)
    conditions = None if state is None else Conditions(cache=state, launch=launch)
    standings = standings_of(graph, gpu, conditions, launch)
    return Told(result, graph, gpu, learned, gpus_of(graph), repetition.runs, cycle, standings)


def _played(
    graph: Graph,
    gpu: Gpu | System,
    cache: CacheState | None,
    launch: Launch,
    repetition: Repetition,
    asked: _Asked,
) -> Run:
    """The work as events, with a bar, and a trace and a page of its memory where there are files for them."""
    trace_file, memory_file = asked.trace_file, asked.memory_file
    about = {"version": simexplore.__version__, "workload": graph.name}
    trace, timeline = Trace(gpu.name, system_of(gpu).first_gpu, about), MemoryTimeline()
    watched = [probe for probe, file in ((trace, trace_file), (timeline, memory_file)) if file is not None]
    with progress("running") as advance:
        watching = _Progress(advance, repetition.runs * len(graph.nodes))
        result = simexplore.simulate(
            graph,
            gpu,
            cache=cache,
            launch=launch,
            probes=[watching, *watched],
            allow_overflow=asked.allow_overflow,
            power=repetition.power,
            repeat=repetition.runs,
        )
    if trace_file is not None:
        _write(trace, trace_file)
    if memory_file is not None:
        from simexplore.cli.pages import now, write_page
        from simexplore.sim.report.runs.memory import memory_html  # only a page waits for pandas

        write_page(memory_file, memory_html(graph.name, gpu.name, timeline, result.memory, now()))
    return result


def _learned(
    graph: Graph, gpu: Gpu | System, machine: Loaded, cache: CacheState | None, launch: Launch, physics_only: bool
) -> Learned:
    """What learned corrections do for the work; where they fade because of what was changed, a note."""
    conditions = None if cache is None else Conditions(cache=cache, launch=launch)
    why = "--physics-only" if physics_only else machine.why_uncorrected
    learned = learned_of(graph, gpu, conditions, launch, why)
    if why in learned.left_out and not physics_only:
        note(f"the learned correction is left out, since {why}")
    elif machine.own and learned.lenders:
        note(
            f"the learned correction of {' and '.join(learned.lenders)} fades by {percent(learned.faded)}, since {why}"
        )
    return learned


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
