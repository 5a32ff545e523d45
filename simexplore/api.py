"""What the public face predicts: it takes names and files where the rooms' own functions take objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from simexplore.archs.load import SUFFIXES, load_arch, read_document, shipped_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.archs.units import show
from simexplore.archs.views.machines import load_machine
from simexplore.errors import SimexploreError
from simexplore.remembered import Remembered
from simexplore.sim.conditions import COLD, CacheState, Conditions, Launch, PowerState
from simexplore.sim.estimate.compiled.single import estimate_alone
from simexplore.sim.estimate.graphs import Estimate, called_by_host, estimate_graph, paused_w
from simexplore.sim.estimate.operators import predict_in_state
from simexplore.sim.hardware.duty import Period
from simexplore.sim.play.execute import execute
from simexplore.sim.play.probes import Probe
from simexplore.sim.play.result import DutyCycle, Run
from simexplore.table import Operators, columns_of, frame_of
from simexplore.workloads.graph import Graph, single
from simexplore.workloads.graph_data import GraphDataError, from_data
from simexplore.workloads.hints import did_you_mean
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import FAMILIES, Operator, parse_operator

if TYPE_CHECKING:
    import pandas as pd

HUGGING_FACE = "hf:"
"""Beginning of a model of one's own, by its `config.json`."""
AnyArch = Gpu | str | Path
AnyMachine = AnyArch | System
"""A GPU or a system; a name or a file may be of either."""
AnyWork = Graph | Operator | str | Path


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
        return single(_one(work))
    text = str(work)
    if isinstance(work, str) and text.startswith(HUGGING_FACE):
        from simexplore.workloads.importers import huggingface

        return huggingface.build(text, params or {})
    is_file = isinstance(work, Path) or work.endswith((".yaml", ".yml"))
    if not is_file and "(" not in text and text not in FAMILIES:
        _refuse_loose_operator(text)
        from simexplore.workloads import catalog  # an operator needs none of the models' families

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
    _checked(launch, power, cache)
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
    machine = _system(arch)
    alone = _asked_for(work, params, repeat, call_s)
    if alone is not None and isinstance(machine, Gpu):
        question = (alone, cache, launch, power)
        try:
            known = _TOLD.find(question, machine)
        except TypeError:  # columns of operators have no hash, nor have lists in place of words
            _checked(launch, power, cache)
            load_workload(work)
            raise
        return known or _TOLD.keep(question, machine, _of_one(alone, machine, cache, launch, power))
    graph = load_workload(work, params)
    _checked(launch, power, cache)
    told = estimate_graph(graph, machine, _conditions(cache, launch), launch, power, repeat)
    return called_by_host(told, call_s, paused_w(graph, machine)) if call_s else told


_TOLD: Remembered[Estimate] = Remembered()


def _asked_for(work: AnyWork, params: Any, repeat: int, call_s: float) -> Operator | str | None:
    """An operator alone, which is told once."""
    if params or repeat != 1 or call_s:
        return None
    is_text = isinstance(work, str) and "(" in work and not work.startswith(HUGGING_FACE)
    return work if is_text or isinstance(work, Operator) else None  # type: ignore[return-value]


def _one(op: Operator) -> Operator:
    """An operator of numbers, and none of columns."""
    if any(isinstance(getattr(op, name), np.ndarray) for name in parameters_of(op)):
        raise SimexploreError(f"expected one {op.op}, found columns of them: predict(operators, arch) takes those")
    return op


def _of_one(
    work: Operator | str, gpu: Gpu, cache: CacheState | None, launch: Launch, power: PowerState | Period
) -> Estimate:
    """`estimate` of an operator, in the shortest way that there is."""
    _checked(launch, power, cache)
    op = parse_operator(work) if isinstance(work, str) else work
    given = Conditions(cache=COLD if cache is None else cache, launch=launch)
    told = estimate_alone(op, gpu, given, power) if isinstance(power, str) else None
    return told or estimate_graph(single(op), gpu, _conditions(cache, launch), launch, power)


def predict(
    operators: Operators,
    arch: AnyArch,
    *,
    cache: CacheState | None = None,
    launch: Launch = "graph",
    power: PowerState = "serving",
) -> pd.DataFrame:
    """Many operators at once, each alone on the machine: a table with a row for each, as `estimate` has it.

    Args:
        operators: a DataFrame, or columns by name, with a column `op` and one for each parameter; a record such as
            `Gemm(m=array, n=array, k=array)`; or operators one by one, as text or records.
        arch: a machine, its name or its file.
        cache: what every kernel finds in L2; by default nothing.
        launch: kernels launched by a `graph` or one by one on a `stream`.
        power: what of the board's energy budget is there, as in `simulate`.

    Returns:
        Columns `time_s`, `energy_j`, their 80 % intervals `time_low_s`, `time_high_s`, `energy_low_j`, `energy_high_j`,
        `mean_power_w`, the learned `correction` in the time, and what takes the largest part of it, `bound`.

    Raises:
        SimexploreError: an operator that the machine cannot run, or a table with something wrong in it.
    """
    _checked(launch, power, cache)
    gpu, columns = machine(arch), columns_of(operators)
    conditions = Conditions(cache=COLD if cache is None else cache, launch=launch)
    return frame_of(columns, [predict_in_state(part.record, gpu, conditions, power) for part in columns.parts])


def list_workloads() -> list[str]:
    """The names of the workloads that come with simexplore, sorted."""
    from simexplore.workloads.catalog import list_workloads

    return list_workloads()


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


def machine(arch: AnyArch) -> Gpu:
    """A machine as it is, by its name or from its file."""
    if isinstance(arch, Gpu):
        return arch
    if not isinstance(arch, str | Path):
        raise SimexploreError(f"expected a machine, its name or its file, found {type(arch).__name__}")
    is_file = isinstance(arch, Path) or arch.endswith(SUFFIXES)
    return load_arch(arch) if is_file else shipped_arch(arch)


def _checked(launch: str, power: object, cache: object) -> None:
    """Refuse words that are none of those that there are."""
    one_of("launch", launch, get_args(Launch))
    if not isinstance(power, Period):
        one_of("power", power, get_args(PowerState))
    if cache is not None and not isinstance(cache, CacheState):
        raise SimexploreError(f"cache: expected COLD or WARM of simexplore, or a CacheState, found {cache!r}")


def one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Refuse a word that is not among those that are known.

    Raises:
        SimexploreError: names the words, and the nearest.
    """
    words = list(known)
    if value not in words:
        hint = did_you_mean(value, words) if isinstance(value, str) else ""
        raise SimexploreError(f"{name}: expected one of {', '.join(words)}, found {value!r}{hint}")


def _system(arch: AnyMachine) -> Gpu | System:
    """As `machine`; a system is read anew each time."""
    if isinstance(arch, System):
        return arch
    if isinstance(arch, Path) or (isinstance(arch, str) and (arch.startswith("systems/") or arch.endswith(SUFFIXES))):
        return load_machine(arch)
    return machine(arch)
