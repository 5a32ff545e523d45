"""What the public face does beyond the rooms' own functions: it takes names and files where they take objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.archs.units import show
from simexplore.archs.views.machines import load_machine
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.measurement import Measurements, join
from simexplore.kernels.measuring import measure_suite
from simexplore.sim.compare import comparison as comparing
from simexplore.sim.compare.machines import WithEngine
from simexplore.sim.conditions import CacheState, Conditions, Launch, PowerState
from simexplore.sim.estimate.graphs import Estimate, called_by_host, estimate_graph, paused_w
from simexplore.sim.hardware.duty import Period
from simexplore.sim.play.execute import execute
from simexplore.sim.play.probes import Probe
from simexplore.sim.play.result import DutyCycle, Run
from simexplore.workloads import catalog
from simexplore.workloads.graph import Graph, single
from simexplore.workloads.graph_data import GraphDataError, from_data
from simexplore.workloads.importers import huggingface
from simexplore.workloads.ops import FAMILIES, Operator, parse_operator

if TYPE_CHECKING:
    from simexplore.sim.learn.calibration import Calibrated

AnyArch = Gpu | str | Path
AnyMachine = AnyArch | System
"""A GPU or a system; a name or a file may be of either."""
AnyWork = Graph | Operator | str | Path
AnyMeasured = Measurements | str | Path


def load_workload(work: AnyWork, params: Mapping[str, object] | None = None) -> Graph:
    """The graph of a workload by name, of a model's `config.json`, of a YAML file, or of one operator.

    Args:
        work: `llm/llama-3-8b/decode`, `hf:path/to/config.json/decode`, `mine.yaml`, `gemm(m=16,n=4096,k=4096)`, or a
            graph or operator as it is.
        params: parameters of a workload by name or of a model; nothing else takes any.

    Raises:
        SimexploreError: unknown name or parameter, or a fault in the file, named by file, line and key.
    """
    if isinstance(work, Graph):
        return work
    if isinstance(work, Operator):
        return single(work)
    text = str(work)
    if isinstance(work, str) and text.startswith(huggingface.PREFIX):
        return huggingface.build(text, params or {})
    is_file = isinstance(work, Path) or work.endswith((".yaml", ".yml"))
    if not is_file and "(" not in text and text not in FAMILIES:
        _refuse_loose_operator(text)
        return catalog.build(text, params)
    if params:
        raise SimexploreError(
            f"{text}: expected no parameters, they belong to workloads by name; found {', '.join(params)}"
        )
    return _read_graph(Path(work)) if is_file else single(parse_operator(text))


def _refuse_loose_operator(text: str) -> None:
    """Raise for `gemm m=4096,n=4096`, which names a family and then forgets the brackets."""
    family, _, rest = text.strip().replace(":", " ", 1).partition(" ")
    if family.lower() in FAMILIES and (rest or family != text):
        values = ",".join(part for part in re.split(r"[,\s]+", rest) if part)
        raise SimexploreError(
            f"expected an operator as {family.lower()}({values or '…'}), for example "
            f"{FAMILIES[family.lower()].example}; found {show(text)}"
        )


def _read_graph(path: Path) -> Graph:
    document = read_document(path)
    try:
        return from_data(document.data, name=path.stem)
    except GraphDataError as error:
        raise SimexploreError(f"{path}:{document.line(error.key_path)}: {error}") from None


def simulate(
    work: AnyWork,
    arch: AnyMachine,
    params: Mapping[str, object] | None = None,
    *,
    cache: CacheState | None = None,
    launch: Launch = "graph",
    probes: Sequence[Probe] = (),
    allow_overflow: bool = False,
    power: PowerState | Period = "serving",
    repeat: int = 1,
) -> Run:
    """Play a workload on a machine as events.

    Args:
        work: what `load_workload` takes.
        arch: a GPU or a system of devices and links, its name or its file.
        params: parameters of a workload by name.
        cache: what every kernel finds in L2, `COLD` or `WARM` of `sim.conditions`; by default what nodes before wrote.
        launch: kernels launched by a `graph` or one by one on a `stream`.
        probes: what watches the run, such as `sim.play.trace.Trace`.
        allow_overflow: let the run hold more than the machine's memory.
        power: what of the boards' energy budgets is there when the work begins. `serving`: what the same work leaves
            there, done for a while; `sustained`: nothing; `burst`: all of it, the machine was idle; a `Period` of
            `sim.hardware.duty`: what the work leaves there that is done once in it.
        repeat: how often the work is done, one run after the other; the result is of all of them.

    Raises:
        SimexploreError: see `load_workload` and `load_arch`; the machine can't run an operator or hold the workload,
            or has no such place as a node asks for.
    """
    graph = load_workload(work, params)
    return execute(graph, _system(arch), _conditions(cache, launch), launch, probes, allow_overflow, power, repeat)


def estimate(
    work: AnyWork,
    arch: AnyMachine,
    params: Mapping[str, object] | None = None,
    *,
    cache: CacheState | None = None,
    launch: Launch = "graph",
    power: PowerState | Period = "serving",
    repeat: int = 1,
    call_s: float = 0.0,
) -> Estimate:
    """A workload in closed form: faster than `simulate`, without contention or memory. Arguments as there.

    `call_s` is what a host takes to hand over each operator while the machine runs, one stream for all of them [s].
    """
    graph = load_workload(work, params)
    machine = _system(arch)
    told = estimate_graph(graph, machine, _conditions(cache, launch), launch, power, repeat)
    return called_by_host(told, call_s, paused_w(graph, machine)) if call_s else told


def duty_cycle(
    work: AnyWork,
    arch: AnyMachine,
    params: Mapping[str, object] | None = None,
    *,
    period_s: float,
    skip: float = 0.0,
    cache: CacheState | None = None,
    launch: Launch = "graph",
    probes: Sequence[Probe] = (),
    allow_overflow: bool = False,
    repeat: int = 1,
) -> DutyCycle:
    """Mean power of work that is done once a period, the machine idle for the rest of it.

    Args:
        work: what `load_workload` takes.
        arch: see `simulate`.
        params: parameters of a workload by name.
        period_s: from the beginning of one period to that of the next [s].
        skip: share of periods in which the work is not done (0 to below 1).
        cache: see `simulate`.
        launch: see `simulate`.
        probes: see `simulate`.
        allow_overflow: see `simulate`.
        repeat: how often the work is done in a period that is not skipped.

    Raises:
        SimexploreError: see `simulate`; the work takes longer than the period.
    """
    graph, machine, period = load_workload(work, params), _system(arch), Period(period_s, skip)
    done = simulate(
        graph, machine, cache=cache, launch=launch, probes=probes, allow_overflow=allow_overflow, power=period,
        repeat=repeat,
    )  # fmt: skip
    return DutyCycle(done, period, paused_w(graph, machine))


def _conditions(cache: CacheState | None, launch: Launch) -> Conditions | None:
    return None if cache is None else Conditions(cache=cache, launch=launch)


def compare(
    arch: AnyArch,
    measured: AnyMeasured | Iterable[AnyMeasured],
    op: str | None = None,
    dtype: str | None = None,
    progress: comparing.Progress | None = None,
    predictor: str = "full",
    held_out_seed: int | None = None,
    with_engine: WithEngine | None = None,
) -> comparing.Comparison:
    """Predictions of a machine against measurements, one table or several; see `sim.compare.compare`.

    Args:
        arch: a machine, its name or its file.
        measured: tables, files, or names such as `aiconfigurator:h200_sxm/gemm/trtllm`.
        op: only this operator family.
        dtype: only this value of the `dtype` column.
        progress: told how many rows are done.
        predictor: `full`, `physics`, `roofline` or `random-forest`.
        held_out_seed: compare only the rows that a random forest of this seed is not fitted on.
        with_engine: gives the machine with an engine's kernels, for rows of that engine. By default a name or a file
            does; with a machine as it is, all rows are predicted with the kernels that it has.
    """
    several = [measured] if isinstance(measured, Measurements | str | Path) else measured
    tables = [table if isinstance(table, Measurements) else read_measurements(table) for table in several]
    if with_engine is None and not isinstance(arch, Gpu):
        with_engine = partial(load_arch, arch, None)
    return comparing.compare(_machine(arch), join(tables), op, dtype, progress, predictor, held_out_seed, with_engine)


def calibrate(
    arch: str,
    measured: AnyMeasured | Iterable[AnyMeasured],
    output: str | Path,
    *,
    rows: int = 400,
    residual_rows: int = 1000,
    seed: int = 0,
    date: str = "",
    family: bool = False,
    progress: comparing.Progress | None = None,
    engine: str | None = None,
) -> Calibrated:
    """Fit a machine to measurements and write it as an overlay, its learned correction beside it.

    Args:
        arch: name or file of the machine to begin with.
        measured: as in `compare`.
        output: the overlay, a .yaml file that extends `arch`.
        rows: most rows of an operator family that the physics is fitted on; 0 leaves the physics as it is.
        residual_rows: most rows of a family and dtype that the correction is learned from; 0: no correction.
        seed: chooses the rows.
        date: of today, for the sources of the fitted values.
        family: write what the machine's generation shares instead, for machines that were never measured.
        progress: told how much is done.
        engine: whose kernels are fitted, on its rows alone; by default the machine's first.

    Raises:
        SimexploreError: no row can be predicted, a package is missing, the files cannot be written, or what would be
            extended is no file of its own (`NAME@facts`).
    """
    from simexplore.sim.learn.calibration import calibrate as fit
    from simexplore.sim.learn.overlay import Provenance, check_target, write_family, write_overlay

    check_target(Path(output), arch, family=family)
    several = [measured] if isinstance(measured, Measurements | str | Path) else list(measured)
    tables = [table if isinstance(table, Measurements) else read_measurements(table) for table in several]
    table = join(tables)
    data = tuple(dict.fromkeys(str(source) for source in table.frame["source"]))
    result = fit(arch, table, rows, 0 if family else residual_rows, seed, progress, engine)
    write = write_family if family else write_overlay
    write(Path(output), result, Provenance(arch, data, rows, seed, date, engine))
    return result


measure = measure_suite


def _machine(arch: AnyArch) -> Gpu:
    return arch if isinstance(arch, Gpu) else load_arch(arch)


def _system(arch: AnyMachine) -> Gpu | System:
    return arch if isinstance(arch, Gpu | System) else load_machine(arch)
