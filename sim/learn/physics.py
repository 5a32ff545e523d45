"""Fitting the physics: a few bounded parameters of a machine, moved until its predictions meet measured rows.

A parameter's value is its sourced value times exp(x); x is held within the parameter's bounds and drawn towards 0, so
one that the rows cannot see keeps its sourced value, as does one that they drive to a bound. The loss is a soft
absolute error of log time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from simexplore.archs.fields import Field, field_of, with_columns
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import TIME, Measurements
from simexplore.kernels.records import OperatorColumn, operator_columns
from simexplore.sim.compare.comparison import conditions_in
from simexplore.sim.estimate.operators import physics
from simexplore.sim.learn.groups import groups_of
from simexplore.sim.learn.parameters import Group, Parameter
from simexplore.sim.learn.spread import log_sizes, spread_rows
from simexplore.workloads.dtypes import SCALED, bytes_of
from simexplore.workloads.operators.parameters import parameters_of

Floats = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]
"""Called with the operator family, the steps done and the steps in all."""

LOSS_SCALE = 0.05
"""Log error at which the loss turns from square to absolute: about the noise of measurements."""
PULL = 0.03
"""Weight of x as if it were a log error of one row in a hundred, where there are enough rows."""
ENOUGH = 18.0
"""Rows for each parameter from which on they are enough. Fewer draw more strongly to the start: they tell less of what
moves them than of chance."""
FEW_POWER = 1.5
"""How fast the pull grows as rows become fewer: of 30, 100 and 360 GEMMs of an H100, 20 parameters fitted from those of
an H200, other rows err least with about 0.7, 0.2 and 0.06."""
STEPS = (0.05, 0.02, 0.01)
"""Finite differences, coarse to fine: tile choice makes the predictions steppy."""
EVALUATIONS = 15
"""Most Jacobians of each stage."""
FOLDS = 3
"""Parts that few rows are left out in, to see whether a fit of the others brings them nearer."""
REFITS = 3
"""Most times that a fit is repeated without the parameters that the rows do not tell."""
AT_BOUND = 2e-3
"""Distance in log from a bound at which a parameter counts as being there."""
SHARES = (0.0, 0.5, 1.0)
"""Of the way from the start to a fit of few rows: how far to go is chosen on left-out rows."""
FEWEST_OF_COLUMN = 30
"""Rows that each source and set of dtypes has in a fit: enough to see its pace."""


@dataclass(frozen=True)
class PhysicsFit:
    """A machine with fitted parameters, and how well the rows determine them."""

    gpu: Gpu
    values: dict[str, float]
    """Fitted values [SI] by dotted path; parameters that the rows cannot see or drive to a bound are left out."""
    uncertainty: dict[str, float | None]
    """Relative standard error of each parameter; None where the rows cannot see it or drive it to a bound."""
    fitted_rows: npt.NDArray[np.intp]
    """Positions in the table of the rows that were used."""
    families: tuple[str, ...]
    """Operator families that were fitted."""
    optimism: Mapping[str, float] = field(default_factory=dict)
    """By family of few rows: its error on rows that a fit left out, over that on the rows that it was fitted on."""


def fit_physics(
    gpu: Gpu,
    measurements: Measurements,
    rows: int = 400,
    seed: int = 0,
    progress: Progress | None = None,
    settled: frozenset[str] = frozenset(),
) -> PhysicsFit:
    """Fit each operator family's parameters to at most `rows` rows of it, spread over its sizes.

    Families are fitted in the order of `groups_of`; what an earlier one fixed, later ones take as given. None are
    where no row can be predicted or no family has parameters. Few rows (`ENOUGH`) move nothing unless that brings rows
    nearer that a fit left out, and nothing in families that are `settled`: those have a correction, which belongs to
    the values that they have.
    """
    columns, _ = operator_columns(measurements)
    times_s = measured_s(measurements)
    values: dict[str, float] = {}
    uncertainty: dict[str, float | None] = {}
    used: list[npt.NDArray[np.intp]] = []
    families: list[str] = []
    optimism: dict[str, float] = {}
    for group in groups_of(gpu):
        mine = columns_of(columns, group, gpu)
        if not mine:
            continue
        member = Member(gpu, sample_of(mine, round(rows * group.share), np.random.default_rng(seed)), times_s)
        fit = Fit([member], parameters_of_group(group, mine, gpu))
        if not fit.paths:
            continue
        if fit.is_of_few and settled & set(group.ops):
            uncertainty.update({path: None for path in fit.paths if path not in values})
            used += [column.rows for column in member.sample]
            families += sorted({column.record.op for column in mine} - set(families))
            continue
        found, errors = fit.run(progress, group.ops[0])
        if fit.is_of_few:
            share, left_out = fit.share_borne()
            found, errors = share * found, errors if share else [None] * len(errors)
            optimism |= {op: max(optimism.get(op, 1.0), left_out / fit.error(found)) for op in group.ops}
        gpu = fit.machine(found)
        known = zip(fit.paths, errors, strict=True)
        uncertainty.update({path: error for path, error in known if error is not None or path not in values})
        values.update(fit.values(found, errors))
        used += [column.rows for column in member.sample]
        families += sorted({column.record.op for column in mine} - set(families))
    rows_used = np.unique(np.concatenate([np.zeros(0, dtype=np.intp), *used]))
    return PhysicsFit(gpu, values, uncertainty, rows_used, tuple(families), optimism)


def measured_s(measurements: Measurements) -> Floats:
    """Measured times of all rows [s]."""
    times: Floats = measurements.frame[TIME].to_numpy(dtype=np.float64) * 1e-6
    return times


def columns_of(columns: Sequence[OperatorColumn], group: Group, gpu: Gpu) -> list[OperatorColumn]:
    """The columns that a group is fitted on and the machine runs."""
    return [column for column in columns if _belongs(column, group) and can_predict(column, gpu)]


def parameters_of_group(group: Group, columns: Sequence[OperatorColumn], gpu: Gpu) -> list[Parameter]:
    """The group's parameters that such rows can tell of: a profiler's durations hold no start of a kernel.

    Rows of another engine than the machine's first move what is that engine's alone.
    """
    profiled = all(column.conditions.launch == "profiled" for column in columns)
    told = [parameter for parameter in group.parameters if not (profiled and parameter.starting)]
    return [parameter for parameter in told if not gpu.is_of_other_engine or parameter.path.startswith("library.")]


def _belongs(column: OperatorColumn, group: Group) -> bool:
    record = column.record
    if record.op not in group.ops or group.dtype != (record.dtype if record.dtype in SCALED else None):
        return False
    kinds = [name for name, (_, parameter) in parameters_of(record).items() if parameter.kind == "dtype"]
    narrow = any(bytes_of(getattr(record, name) or "fp32") < 2 for name in kinds)
    return group.narrow is None or narrow == group.narrow


def can_predict(column: OperatorColumn, gpu: Gpu) -> bool:
    """Whether the machine runs the operator of a column."""
    try:
        physics(column.part(0, 1).record, gpu, conditions_in(column.part(0, 1), gpu))
    except SimexploreError:
        return False
    return True


def sample_of(columns: Sequence[OperatorColumn], rows: int, random: np.random.Generator) -> list[OperatorColumn]:
    """At most `rows` rows: of each column (one a source and set of dtypes) its share, spread over its sizes."""
    sample: list[OperatorColumn] = []
    left, rest = rows, sum(len(column.rows) for column in columns)
    for column in sorted(columns, key=lambda column: len(column.rows)):
        share = min(len(column.rows), max(round(left * len(column.rows) / rest), min(FEWEST_OF_COLUMN, left)))
        sample.append(column.take(spread_rows(log_sizes(column.record, len(column.rows)), share, random)))
        left -= share
        rest -= len(column.rows)
    return [column for column in sample if len(column.rows)]


@dataclass(frozen=True)
class Member:
    """A machine that is fitted, and its rows."""

    gpu: Gpu
    sample: Sequence[OperatorColumn]
    times_s: Floats
    """Measured times of all rows of its table [s]."""

    def log_times(self, gpu: Gpu) -> Floats:
        """Logs of the predicted times of the sample on a variant of the machine."""
        parts = [physics(column.record, gpu, conditions_in(column, self.gpu)).time_s for column in self.sample]
        return np.asarray(np.log(np.concatenate([np.zeros(0), *parts])))

    def measured(self) -> Floats:
        """Logs of the measured times of the sample."""
        times_s = [self.times_s[column.rows] for column in self.sample]
        return np.asarray(np.log(np.concatenate([np.zeros(0), *times_s])))


class Fit:
    """One group's least squares over x, the logs of the factors on its parameters' sourced values.

    Several members share x: each has its own sourced values, and the factors are those of their kernels.
    """

    def __init__(self, members: Sequence[Member], parameters: Sequence[Parameter]) -> None:
        known = [(parameter, field_of(parameter.path, members[0].gpu)) for parameter in parameters]
        # A factor moves no value that is 0: its source says that there is no such cost.
        known = [(parameter, field) for parameter, field in known if all(_moves(field, m.gpu) for m in members)]
        self._members = members
        self._fields = [field for _, field in known]
        self._bases = [self._read(member.gpu) for member in members]
        self._lower = np.max([_logs(known, base, "lower", "least") for base in self._bases], axis=0)
        self._upper = np.min([_logs(known, base, "upper", "most") for base in self._bases], axis=0)
        self._seen = np.array([parameter.seen for parameter, _ in known])
        measured = [member.measured() for member in members]
        self._measured, self._ends = np.concatenate(measured), np.cumsum([len(part) for part in measured])[:-1]
        self._parameters = parameters
        self._pull = pull(len(self._measured), len(known))

    @property
    def is_of_few(self) -> bool:
        """Whether there are so few rows that what they move may be chance."""
        return len(self._measured) < ENOUGH * len(self._fields)

    def share_borne(self) -> tuple[float, float]:
        """How much of a fit brings rows nearer that it left out, and the mean absolute log error of those with it.

        Fits on the other folds go that share of the way from the start; where none is better than the start it is 0.
        """
        off: list[Floats] = []
        for fold in range(FOLDS):
            others, rest = (self._on(fold, mine) for mine in (False, True))
            if len(rest._measured) and len(others._measured):
                found, _ = others.run(None, "")
                off.append(np.array([rest._off(share * found) for share in SHARES]))
        if not off:
            return 0.0, self.error(np.zeros(len(self._fields)))
        errors = np.concatenate(off, axis=1).mean(axis=1)
        best = int(np.argmin(errors))
        return SHARES[best], float(errors[best])

    def error(self, x: Floats) -> float:
        """Mean absolute log error of the fitted rows, at least a tiny one."""
        return max(float(np.mean(self._off(x))), 1e-9)

    def _on(self, fold: int, mine: bool) -> Fit:
        members = [replace(member, sample=_of_fold(member.sample, fold, mine)) for member in self._members]
        return Fit(members, self._parameters)

    def _off(self, x: Floats) -> Floats:
        return np.asarray(np.abs(self.errors_of_rows(x)))

    @property
    def paths(self) -> list[str]:
        return [field.path for field in self._fields]

    def _read(self, gpu: Gpu) -> Floats:
        return np.array([float(field.read(gpu)) for field in self._fields])

    def machine(self, x: Floats, gpu: Gpu | None = None) -> Gpu:
        """A machine, the first member unless told, with its own values times exp(x)."""
        gpu = self._members[0].gpu if gpu is None else gpu
        values = [float(value) for value in self._read(gpu) * np.exp(x)]
        changed = with_columns(gpu, dict(zip(self._fields, values, strict=True)))
        assert isinstance(changed, Gpu)
        return changed

    def logs_of(self, gpu: Gpu, base: Gpu) -> Floats:
        """x of a machine whose values are those of `base` times exp(x)."""
        return np.asarray(np.log(self._read(gpu) / self._read(base)))

    def within(self, x: Floats) -> Floats:
        """x, each within the bounds of its parameter."""
        return np.asarray(np.clip(x, self._lower, self._upper))

    def values(self, x: Floats, errors: Sequence[float | None], gpu: Gpu | None = None) -> dict[str, float]:
        """Fitted values of the parameters that the rows tell, for the first member or another machine."""
        base = self._read(self._members[0].gpu if gpu is None else gpu)
        fitted = zip(self.paths, base * np.exp(x), errors, strict=True)
        return {path: float(value) for path, value, error in fitted if error is not None}

    def run(self, progress: Progress | None, family: str) -> tuple[Floats, list[float | None]]:
        """The best x, and the relative standard error of each parameter (None: not told, x put back to 0).

        What the rows cannot see, or drive to a bound, keeps its sourced value, and the others are fitted anew.
        """
        told = np.ones(len(self._lower), dtype=bool)
        x, jacobian = self._descend(told, progress, family)
        for _ in range(REFITS):
            if np.all(self._tells(x, jacobian)[told]):
                break
            told = told & self._tells(x, jacobian)
            x, jacobian = self._descend(told, progress, family, start=np.where(told, x, 0.0))
        told = told & self._tells(x, jacobian)
        x = np.where(told, x, 0.0)
        errors = np.where(told, self._errors(x, jacobian), np.inf)
        return x, [float(error) if known else None for error, known in zip(errors, told, strict=True)]

    def _tells(self, x: Floats, jacobian: Floats) -> npt.NDArray[np.bool_]:
        """Which parameters the rows tell: known better than by their source, and at no bound, the least or most."""
        at_bound = (x - self._lower < AT_BOUND) | (self._upper - x < AT_BOUND)
        return np.asarray((self._errors(x, jacobian) < self._seen) & ~at_bound)

    def _descend(
        self, free: npt.NDArray[np.bool_], progress: Progress | None, family: str, start: Floats | None = None
    ) -> tuple[Floats, Floats]:
        least_squares = require_scipy()
        inside = (np.maximum(self._lower + 1e-3, -2.0), np.minimum(self._upper - 1e-3, 2.0))
        x = np.clip(np.zeros(len(self._lower)) if start is None else start, *inside)
        stages = STEPS if start is None else STEPS[1:]
        jacobian = np.zeros((len(self._measured), len(x)))
        for done, step in enumerate(stages):
            if progress is not None:
                progress(family, done, len(stages))

            def residuals(part: Floats, base: Floats = x) -> Floats:
                return self._residuals(_with(base, free, part))

            solution = least_squares(
                residuals,
                np.clip(x, *inside)[free],
                bounds=(self._lower[free], self._upper[free]),
                loss="soft_l1",
                f_scale=LOSS_SCALE,
                diff_step=step,
                max_nfev=EVALUATIONS,
            )
            x = _with(x, free, solution.x)
            jacobian[:, free] = solution.jac[: len(self._measured)]
        return x, jacobian

    def _residuals(self, x: Floats) -> Floats:
        return np.concatenate([self._at_one_pace(self.errors_of_rows(x)), self._pull * x])

    def _at_one_pace(self, errors: Floats) -> Floats:
        """Errors less what a member's differ on average from the others': its board's pace, not its kernels'."""
        parts = [part for part in np.split(errors, self._ends) if len(part)]
        common = float(np.mean([np.mean(part) for part in parts]))
        centred: Floats = np.concatenate([part - np.mean(part) + common for part in parts])
        return centred if len(parts) > 1 else errors

    def errors_of_rows(self, x: Floats) -> Floats:
        """Log of predicted over measured time of each row at x."""
        predicted = [member.log_times(self.machine(x, member.gpu)) for member in self._members]
        return np.asarray(np.concatenate(predicted) - self._measured)

    def _errors(self, x: Floats, jacobian: Floats) -> Floats:
        """Standard errors of x from the curvature of the loss, the spread of the residuals taken robustly."""
        spread = 1.4826 * float(np.median(np.abs(self._residuals(x)[: len(self._measured)])))
        curvature = jacobian.T @ jacobian / spread**2
        curvature[np.diag_indices(len(x))] += (self._pull / LOSS_SCALE) ** 2
        return np.sqrt(np.diag(np.linalg.pinv(curvature)))


def _of_fold(sample: Sequence[OperatorColumn], fold: int, mine: bool) -> list[OperatorColumn]:
    """Every `FOLDS`-th row, counted over all columns, or all the others."""
    parts: list[OperatorColumn] = []
    first = 0
    for column in sample:
        at = first + np.arange(len(column.rows))
        parts.append(column.take(np.flatnonzero((at % FOLDS == fold) == mine)))
        first += len(at)
    return [part for part in parts if len(part.rows)]


def pull(rows: int, parameters: int) -> float:
    """How strongly a fit is drawn to its start: the weight of each parameter's x among the rows' log errors."""
    few = ENOUGH * max(parameters, 1) / max(rows, 1)
    return float(PULL * np.sqrt(rows / 100.0) * max(few, 1.0) ** FEW_POWER)


def _moves(field: Field, gpu: Gpu) -> bool:
    return isinstance(value := field.read(gpu), int | float) and bool(value)


def _logs(known: Sequence[tuple[Parameter, Field]], base: Floats, factor: str, value: str) -> Floats:
    """Logs of the bounds on one side: of the factor, and of the value over the sourced one."""
    nearer = np.maximum if factor == "lower" else np.minimum
    factors = np.array([getattr(parameter, factor) for parameter, _ in known])
    values = np.array([getattr(parameter, value) for parameter, _ in known])
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(nearer(factors, values / base))
    return logs


def require_scipy() -> Callable[..., Any]:
    """scipy's least squares. Raises SimexploreError where scipy is not installed."""
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise SimexploreError(
            "calibrate fits physics with scipy: pip install 'simexplore[calibrate]', or give --rows 0"
        ) from None
    found: Callable[..., Any] = least_squares
    return found


def _with(base: Floats, free: npt.NDArray[np.bool_], part: Floats) -> Floats:
    full = base.copy()
    full[free] = part
    return full
