"""Fitting the physics: a few bounded parameters of a machine, moved until its predictions meet measured rows.

A parameter's value is its sourced value times exp(x); x is held within the parameter's bounds and drawn towards 0, so
one that the rows cannot see keeps its sourced value. The loss is a soft absolute error of log time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simexplore.archs.fields import field_of, with_columns
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
"""Weight of x as if it were a log error of one row in a hundred."""
STEPS = (0.05, 0.02, 0.01)
"""Finite differences, coarse to fine: tile choice makes the predictions steppy."""
EVALUATIONS = 15
"""Most Jacobians of each stage."""
FEWEST_OF_COLUMN = 30
"""Rows that each source and set of dtypes has in a fit: enough to see its pace."""


@dataclass(frozen=True)
class PhysicsFit:
    """A machine with fitted parameters, and how well the rows determine them."""

    gpu: Gpu
    values: dict[str, float]
    """Fitted values [SI] by dotted path; parameters that the rows cannot see are left out."""
    uncertainty: dict[str, float | None]
    """Relative standard error of each parameter; None where the rows cannot see it."""
    fitted_rows: npt.NDArray[np.intp]
    """Positions in the table of the rows that were used."""
    families: tuple[str, ...]
    """Operator families that were fitted."""


def fit_physics(
    gpu: Gpu, measurements: Measurements, rows: int = 400, seed: int = 0, progress: Progress | None = None
) -> PhysicsFit:
    """Fit each operator family's parameters to at most `rows` rows of it, spread over its sizes.

    Families are fitted in the order of `groups_of`; what an earlier one fixed, later ones take as given. None are
    where no row can be predicted or no family has parameters.
    """
    columns, _ = operator_columns(measurements)
    values: dict[str, float] = {}
    uncertainty: dict[str, float | None] = {}
    used: list[npt.NDArray[np.intp]] = []
    families: list[str] = []
    for group in groups_of(gpu):
        mine = [column for column in columns if _belongs(column, group) and can_predict(column, gpu)]
        if not mine:
            continue
        sample = _sample(mine, round(rows * group.share), np.random.default_rng(seed))
        profiled = all(column.conditions.launch == "profiled" for column in mine)
        parameters = [parameter for parameter in group.parameters if not (profiled and parameter.starting)]
        if gpu.is_of_other_engine:  # what is not the engine's own, its rows shall not move
            parameters = [parameter for parameter in parameters if parameter.path.startswith("library.")]
        fit = _Fit(gpu, parameters, sample, measurements.frame[TIME].to_numpy(dtype=np.float64) * 1e-6)
        if not fit.paths:
            continue
        found, errors = fit.run(progress, group.ops[0])
        gpu = fit.machine(found)
        known = zip(fit.paths, errors, strict=True)
        uncertainty.update({path: error for path, error in known if error is not None or path not in values})
        values.update(fit.values(found, errors))
        used += [column.rows for column in sample]
        families += sorted({column.record.op for column in mine} - set(families))
    rows_used = np.unique(np.concatenate([np.zeros(0, dtype=np.intp), *used]))
    return PhysicsFit(gpu, values, uncertainty, rows_used, tuple(families))


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


def _sample(columns: Sequence[OperatorColumn], rows: int, random: np.random.Generator) -> list[OperatorColumn]:
    """At most `rows` rows: of each column (one a source and set of dtypes) its share, spread over its sizes."""
    sample: list[OperatorColumn] = []
    left, rest = rows, sum(len(column.rows) for column in columns)
    for column in sorted(columns, key=lambda column: len(column.rows)):
        share = min(len(column.rows), max(round(left * len(column.rows) / rest), min(FEWEST_OF_COLUMN, left)))
        sample.append(column.take(spread_rows(log_sizes(column.record, len(column.rows)), share, random)))
        left -= share
        rest -= len(column.rows)
    return [column for column in sample if len(column.rows)]


class _Fit:
    """One group's least squares over x, the logs of the factors on its parameters' sourced values."""

    def __init__(
        self, gpu: Gpu, parameters: Sequence[Parameter], sample: Sequence[OperatorColumn], times_s: Floats
    ) -> None:
        fields = [field_of(parameter.path, gpu) for parameter in parameters]
        # A factor moves no value that is 0: its source says that there is no such cost.
        present = [i for i, field in enumerate(fields) if isinstance(value := field.read(gpu), int | float) and value]
        self._gpu, self._sample = gpu, sample
        self._fields = [fields[i] for i in present]
        self._base = np.array([float(field.read(gpu)) for field in self._fields])
        least = np.array([parameters[i].least for i in present])
        self._lower = np.log(np.maximum([parameters[i].lower for i in present], least / self._base))
        most = np.array([parameters[i].most for i in present])
        self._upper = np.log(np.minimum([parameters[i].upper for i in present], most / self._base))
        self._seen = np.array([parameters[i].seen for i in present])
        self._measured = np.log(np.concatenate([times_s[column.rows] for column in sample]))

    @property
    def paths(self) -> list[str]:
        return [field.path for field in self._fields]

    def machine(self, x: Floats) -> Gpu:
        """The machine with the parameters at x."""
        values = [float(value) for value in self._base * np.exp(x)]
        changed = with_columns(self._gpu, dict(zip(self._fields, values, strict=True)))
        assert isinstance(changed, Gpu)
        return changed

    def values(self, x: Floats, errors: Sequence[float | None]) -> dict[str, float]:
        """Fitted values of the parameters that the rows can see."""
        fitted = zip(self.paths, self._base * np.exp(x), errors, strict=True)
        return {path: float(value) for path, value, error in fitted if error is not None}

    def run(self, progress: Progress | None, family: str) -> tuple[Floats, list[float | None]]:
        """The best x, and the relative standard error of each parameter (None: not seen, x put back to 0)."""
        x, jacobian = self._descend(np.ones(len(self._base), dtype=bool), progress, family)
        errors = self._errors(x, jacobian)
        seen = errors < self._seen
        x, jacobian = self._descend(seen, progress, family, start=np.where(seen, x, 0.0))
        errors = np.where(seen, self._errors(x, jacobian), np.inf)
        return x, [float(error) if known else None for error, known in zip(errors, seen, strict=True)]

    def _descend(
        self, free: npt.NDArray[np.bool_], progress: Progress | None, family: str, start: Floats | None = None
    ) -> tuple[Floats, Floats]:
        least_squares = require_scipy()
        inside = (np.maximum(self._lower + 1e-3, -2.0), np.minimum(self._upper - 1e-3, 2.0))
        x = np.clip(np.zeros(len(self._base)) if start is None else start, *inside)
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
        pull = PULL * np.sqrt(len(self._measured) / 100.0)
        return np.concatenate([self._log_times(self.machine(x)) - self._measured, pull * x])

    def _log_times(self, gpu: Gpu) -> Floats:
        parts = [physics(column.record, gpu, conditions_in(column, self._gpu)).time_s for column in self._sample]
        return np.log(np.concatenate(parts))

    def _errors(self, x: Floats, jacobian: Floats) -> Floats:
        """Standard errors of x from the curvature of the loss, the spread of the residuals taken robustly."""
        spread = 1.4826 * float(np.median(np.abs(self._residuals(x)[: len(self._measured)])))
        curvature = jacobian.T @ jacobian / spread**2
        curvature[np.diag_indices(len(x))] += len(self._measured) / 100.0 * (PULL / LOSS_SCALE) ** 2
        return np.sqrt(np.diag(np.linalg.pinv(curvature)))


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
