"""Which operators have been recorded and compiled on which machines, and what they cost by that.

Recording and compiling take a quarter of a second. They are worth it where many rows of one kind are asked for on one
machine, so it is counted how many were, and until then, or without a compiler, the physics is computed by numpy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.compiled.build import Rows, address, available, compiled
from simexplore.sim.estimate.compiled.recorded import UnrecordableError
from simexplore.sim.estimate.compiled.source import source
from simexplore.sim.estimate.compiled.steps import BUSY, COST, ENERGIES, recipe, sizes_of
from simexplore.sim.estimate.cost import Cost
from simexplore.sim.estimate.row_costs import KERNEL
from simexplore.sim.estimate.traits import NAMES
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import Bmm, Gemm, Operator

FAMILIES: tuple[type[Operator], ...] = (Gemm, Bmm)
"""Operators whose kernels come with many candidates, where there is much to gain."""
WORTH = 4000.0
"""Rows for which compiling is worth its time."""
ALONE = 100.0
"""Rows of a column that take numpy as long as one operator alone."""
MOST_PROGRAMS = 8
"""Kinds of rows of one operator, by the steps that the physics takes for them."""
MOST_KNOWN = 64
"""Operators and machines that are remembered."""
AT = {name: place for place, name in enumerate(COST)}


class _Program(NamedTuple):
    function: Rows
    constants: NDArray[np.float64]
    work: int
    """Numbers that it needs room for."""
    features: tuple[str, ...]

    def run(self, sizes: NDArray[np.int64]) -> tuple[FloatArray, NDArray[np.bool_]]:
        """`COST` and features of rows of counts, and of which rows they hold. Calls share nothing but the constants."""
        rows, work = np.ascontiguousarray(sizes), np.empty(self.work)
        told, holds = np.empty((len(rows), len(COST) + len(self.features))), np.empty(len(rows), dtype=np.bool_)
        arrays = (rows, self.constants, work, told, holds)
        self.function(len(rows), *(address(array) for array in arrays))
        return told, holds


class _Desk:
    """Room for one row of a program, laid out once: most of a single call's time would go to making arrays."""

    def __init__(self, program: _Program, counts: int) -> None:
        self.sizes = np.empty((1, counts), dtype=np.int64)
        self.told, self.holds = np.empty((1, len(COST) + len(program.features))), np.empty(1, dtype=np.bool_)
        self._work = np.empty(program.work)
        arrays = (self.sizes, program.constants, self._work, self.told, self.holds)
        self._call = partial(program.function, 1, *(address(array) for array in arrays))

    def row(self, counts: Sequence[int]) -> FloatArray | None:
        """What is told of a row; None where it does not hold of it."""
        self.sizes[0] = counts
        self._call()
        return self.told[0].copy() if self.holds[0] else None


@dataclass
class Programs:
    """The compiled physics of operators of one kind on one machine, in one set of conditions."""

    op: Operator
    gpu: Gpu
    conditions: Conditions
    copies: tuple[str, ...] = ()
    """Fields of the cache's state that rows have of their own."""
    asked: float = 0.0
    """Rows so far."""
    refused: bool = False
    """Whether the physics takes steps that cannot be compiled."""
    known: list[_Program] = field(default_factory=list)
    names: tuple[str, ...] = ()
    """Of the counts that are inputs."""
    more: object = None
    """What others remember with it."""
    desks: list[_Desk] = field(default_factory=list)
    """Of the first programs, as many as have been needed for single rows."""
    lock: Lock = field(default_factory=Lock)
    """Threads take turns at the desks."""

    def __post_init__(self) -> None:
        self.names = sizes_of(self.op)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what is told after `COST`."""
        return self.known[0].features if self.known else ()

    def tell(self, sizes: NDArray[np.int64]) -> FloatArray | None:
        """`COST` and features of each row, shape (rows, outputs); None where they cannot be told so.

        Args:
            sizes: the counts of each row, then its copies' bits, shape (rows, counts and copies).
        """
        if self.refused:
            return None
        told: FloatArray | None = None
        left = np.arange(len(sizes))
        for attempt in range(MOST_PROGRAMS):
            if attempt == len(self.known) and not self._record(sizes[left[0]]):
                return None
            part, holds = self.known[attempt].run(sizes[left])
            if told is None:
                told = part if len(part) == len(sizes) else np.empty((len(sizes), part.shape[1]))
            told[left[holds]] = part[holds]
            left = left[~holds]
            if not len(left):
                return told
        return None

    def tell_one(self, counts: Sequence[int]) -> FloatArray | None:
        """`tell` of one row, shape (outputs,)."""
        with self.lock:
            for desk in self.desks:
                told = desk.row(counts)
                if told is not None:
                    return told
        told = self.tell(np.array([counts], dtype=np.int64))
        with self.lock:
            new = self.known[len(self.desks) :]
            self.desks += [_Desk(program, len(self.names)) for program in new]
        return None if told is None else told[0]

    def _record(self, example: NDArray[np.int64]) -> bool:
        counts = {name: int(size) for name, size in zip(self.names, example, strict=False)}
        copies = dict(zip(self.copies, example[len(counts) :].view(np.float64).tolist(), strict=True))
        try:
            recorded = recipe(_with(self.op, counts), self.gpu, self.conditions, copies)
            text = source(recorded.recording, recorded.outputs, len(example))
        except (UnrecordableError, SimexploreError):
            self.refused = True
            return False
        constants = np.array(recorded.recording.constants)
        self.known.append(_Program(compiled(text.text, "rows"), constants, text.work, recorded.features))
        return True


class Memory:
    """Programs by operator, machine and conditions; the least recently used are forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[Any, ...], Programs] = OrderedDict()
        self._lock = Lock()

    def of(self, op: Operator, gpu: Gpu, conditions: Conditions) -> Programs | None:
        """What is known of an operator's kind, if it may be compiled at all."""
        if type(op) not in FAMILIES:
            return None
        copies = _copies(conditions)
        if copies:
            conditions = replace(conditions, cache=replace(conditions.cache, **dict.fromkeys(copies, 0.0)))
        key = (type(op), _kind(op), id(gpu), conditions, copies)
        with self._lock:
            found = self._known.get(key)
            if found is None or found.gpu is not gpu:
                found = self._known[key] = Programs(op, gpu, conditions, copies)
                if len(self._known) > MOST_KNOWN:
                    self._known.popitem(last=False)
            else:
                self._known.move_to_end(key)
            return found


MEMORY = Memory()
"""Nothing that is computed depends on it, but how soon it is there."""


def programs_of(op: Operator, gpu: Gpu, conditions: Conditions, rows: int) -> Programs | None:
    """The programs for so many more rows, once they are worth compiling; None until then."""
    found = MEMORY.of(op, gpu, conditions)
    if found is None or found.refused:
        return None
    found.asked += rows if rows > 1 else ALONE
    return found if found.asked >= WORTH and available() else None


def compiled_cost(op: Operator, gpu: Gpu, conditions: Conditions, with_traits: bool) -> Cost | None:
    """`operators.at_boost`, compiled; None where it is not."""
    names = sizes_of(op)
    values = [getattr(op, name) for name in names]
    rows = max((len(value) for value in values if isinstance(value, np.ndarray)), default=1)
    programs = programs_of(op, gpu, conditions, rows) if rows else None
    if programs is None:
        return None
    sizes = np.empty((rows, len(names) + len(programs.copies)), dtype=np.int64)
    for place, value in enumerate(values):
        sizes[:, place] = value
    for place, name in enumerate(programs.copies, start=len(names)):
        sizes.view(np.float64)[:, place] = getattr(conditions.cache, name)
    told = programs.tell(sizes)
    return None if told is None else _cost(told, programs.features, with_traits)


def _cost(told: FloatArray, features: tuple[str, ...], with_traits: bool) -> Cost:
    by_name = np.ascontiguousarray(told.T)

    def part(names: tuple[str, ...]) -> FloatArray:
        return by_name[AT[names[0]] : AT[names[-1]] + 1]

    traits = [len(COST) + features.index(f"physics {name}") for name in NAMES] if with_traits else []
    return Cost(
        time_s=times(by_name[AT["time"]], by_name[AT["runs"]]),
        kernels=part(KERNEL)[None],
        energies_j=part(ENERGIES),
        bound_code=by_name[AT["bound"]].astype(np.int64),
        busy_s=part(BUSY),
        traits=by_name[traits].T if with_traits else None,
    )


def times(time_s: FloatArray, runs: FloatArray) -> FloatArray:
    """Times of rows as `row_costs` has them: infinite where nothing can compute them, no number where that is none."""
    finite = np.where(np.isfinite(time_s), time_s, np.nan)
    told: FloatArray = np.where(runs > 0.0, finite, np.inf)
    return told


def _kind(op: Operator) -> tuple[Any, ...]:
    """What is not a count of an operator: its types."""
    return tuple([getattr(op, name) for name in _types(type(op))])


def _copies(conditions: Conditions) -> tuple[str, ...]:
    """Fields of the cache's state that are columns."""
    state = conditions.cache
    if not any(isinstance(each, np.ndarray) for each in vars(state).values()):
        return ()
    return tuple(name for name, value in vars(state).items() if isinstance(value, np.ndarray))


@cache
def _types(family: type[Operator]) -> tuple[str, ...]:
    return tuple(name for name, (_, parameter) in parameters_of(family).items() if parameter.kind != "count")


def _with(op: Operator, counts: dict[str, int]) -> Operator:
    return replace(op, **counts)  # type: ignore[type-var]  # every concrete family is a dataclass
