"""Calibration in its two steps: fit the physics, then learn a correction of what remains; and say how far off both are.

Rows are drawn at random, those of the first step spread over their sizes. What either step used is remembered by
fingerprint, and every error here is of other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from simexplore.archs.fields import field_of
from simexplore.archs.load import load_arch
from simexplore.archs.schema.calibration import HeldOut
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.residual import Correction
from simexplore.errors import SimexploreError
from simexplore.kernels.fingerprints import Fingerprints, fingerprints
from simexplore.kernels.measurement import TIME, Measurements
from simexplore.kernels.records import OperatorColumn, operator_columns
from simexplore.sim.compare.comparison import conditions_in
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.correction import (
    NORMAL_80,
    by_thirds,
    corrected,
    feature_columns,
    group_of,
    size_names,
)
from simexplore.sim.estimate.operators import as_timed, at_boost
from simexplore.sim.learn.correction import Before, TrainingRows, fit_correction
from simexplore.sim.learn.energy import EnergyFit, fit_energy
from simexplore.sim.learn.leaving.kinds import KindErrors, axes_of
from simexplore.sim.learn.leaving.known import known_before, lent, staying
from simexplore.sim.learn.leaving.quantiles import covering, drawn_to
from simexplore.sim.learn.physics import fit_physics
from simexplore.sim.learn.spread import rows_of_engine

Progress = Callable[[int, int], None]
Positions = npt.NDArray[np.intp]

DIGITS = 4
"""Significant digits of fitted values: more than measurements determine, few enough to read."""
MOST_SHARE = 0.8
"""Of a group's rows, the most that training may use: the others tell the error."""
MOST_OF_COLUMN = 6000
"""Rows of a source and set of dtypes that are looked at beside those that the physics was fitted on, drawn at random:
5,000 of them tell a mean error of 5 % to a tenth of a point. `compare` looks at all."""
FEWEST_FOR_SPREAD = 20
_NO_ROWS = "no measured row of a family that has parameters, nor any whose watts tell energies"


@dataclass(frozen=True)
class GroupResult:
    """What was learned of one group of rows."""

    op: str
    rows: int
    """Rows that anything was fitted on."""
    sigma_log: float | None
    """Spread of the log error of the physics on them; None where they are too few to tell."""
    correction: Correction | None
    held_out: HeldOut | None
    """Errors on the other rows; None where there are none."""


@dataclass(frozen=True)
class Calibrated:
    """A calibrated machine: what an overlay says."""

    gpu: Gpu
    """The machine with the fitted values."""
    values: Mapping[str, str]
    """Fitted values as in YAML, by dotted path."""
    uncertainty: Mapping[str, float | None]
    """Relative standard error by path; None: the rows cannot see it, it keeps its sourced value."""
    groups: Mapping[str, GroupResult]
    pace: Mapping[str, Mapping[str, float]]
    """Time of each source's runs over that of all sources', by group."""
    fitted: Fingerprints
    refused: Mapping[str, int]
    """Rows that cannot be predicted, by the reason why."""
    watts: EnergyFit | None = None
    """What was fitted to watts; None where the table has none that tell energies."""
    stayed: Mapping[str, Correction] = field(default_factory=dict)
    """Corrections of groups that the rows are not of, which the machine had and whose physics did not move."""


def calibrate(
    arch: str,
    measurements: Measurements,
    rows: int = 400,
    residual_rows: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
    engine: str | None = None,
) -> Calibrated:
    """Fit a machine to measured rows.

    Args:
        arch: name or file of the machine to begin with.
        measurements: the rows.
        rows: most rows of an operator family that the physics is fitted on; 0 leaves the physics as it is.
        residual_rows: most rows of a group (family, dtypes and conditions) that the correction is learned from, those
            of the physics among them; 0: no correction.
        seed: chooses the rows.
        progress: told the thousandths of the work that are done.
        engine: whose kernels are fitted; by default the machine's first.

    Raises:
        SimexploreError: no row can be predicted, or scikit-learn or scipy is not installed.
    """
    steps = _Steps(progress)
    whole = load_arch(arch, engine=engine)
    base, lessons = whole.physics_only(), lent(whole)
    measurements, of_others = rows_of_engine(measurements, base)
    values: dict[str, str] = {}
    uncertainty: dict[str, float | None] = {}
    optimism: Mapping[str, float] = {}
    used: Positions = np.zeros(0, dtype=np.intp)
    watts = fit_energy(base, measurements, rows, seed) if rows else None
    if watts is not None:
        values, uncertainty = in_yaml(watts.values, base), dict(watts.uncertainty)
    if rows:
        # The clock that the power limit allows follows from the energies: watts come first.
        now = load_arch(arch, values, engine).physics_only()
        settled = frozenset(name.split(" ", 1)[0] for name in lessons)
        fit = fit_physics(
            now, measurements, rows, seed, lambda _family, done, total: steps.tell(0.5, done, total), settled
        )
        if not len(fit.fitted_rows) and watts is None:
            raise SimexploreError(f"nothing to calibrate {base.name} on: {_NO_ROWS}")
        values |= in_yaml(fit.values, base)
        uncertainty, used, optimism = {**uncertainty, **fit.uncertainty}, fit.fitted_rows, fit.optimism
    steps.next(0.5)
    gpu = load_arch(arch, values, engine).physics_only()
    groups, refused = _groups(gpu, measurements, used, np.random.default_rng(seed))
    if not groups and watts is None:
        raise SimexploreError(f"nothing to calibrate {gpu.name} on: none of the measured rows can be predicted")
    pace = {name: _paces(group, used, gpu) for name, group in groups.items()}
    at_pace = {name: group.at(pace[name], gpu) for name, group in groups.items()}
    results, prints = _learn_all(at_pace, base, lessons, used, optimism, (residual_rows, seed), steps)
    if watts is not None:
        prints = np.concatenate([prints, watts.fitted])
    of_sources = {name: paces for name, paces in pace.items() if paces}
    refused |= of_others
    stayed = staying(whole, gpu, results)
    return Calibrated(gpu, values, uncertainty, results, of_sources, np.unique(prints), refused, watts, stayed)


def _learn_all(
    groups: Mapping[str, _Group],
    base: Gpu,
    lessons: Mapping[str, Correction],
    used: Positions,
    optimism: Mapping[str, float],
    chosen: tuple[int, int],
    steps: _Steps,
) -> tuple[dict[str, GroupResult], Fingerprints]:
    """What each group's rows teach, and the fingerprints of the rows that anything was fitted on.

    `chosen` is the most rows of a group and the seed that chooses them.
    """
    residual_rows, seed = chosen
    random, before = np.random.default_rng(seed), _fitted_before(base)
    results, fitted = {}, [before]
    for name, group in groups.items():
        training = _chosen(group, used, residual_rows, random)
        told = ~np.isin(group.prints, np.concatenate([before, group.prints[training]]))
        corrected_before = None if np.any(np.isin(group.prints[training], before)) else lessons.get(name)
        known = known_before(name, axes_of(group.columns), base, optimism.get(group.op, 1.0), corrected_before)
        share = 0.5 / len(groups)
        results[name] = _learn(group, training, told, seed if residual_rows else None, steps.within(share), known)
        fitted.append(group.prints[training])
        steps.next(share)
    return results, np.concatenate(fitted)


def in_yaml(values: Mapping[str, float], gpu: Gpu) -> dict[str, str]:
    """Values as an arch file has them, by dotted path."""
    return {path: field_of(path, gpu).write(_rounded(value)) for path, value in values.items()}


@dataclass
class _Steps:
    """Progress of parts that know only their own."""

    progress: Progress | None
    done: float = field(default=0.0)

    def tell(self, share: float, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(round(1000 * (self.done + share * done / max(total, 1))), 1000)

    def within(self, share: float) -> Progress:
        return lambda done, total: self.tell(share, done, total)

    def next(self, share: float) -> None:
        self.done += share
        self.tell(0.0, 0, 1)


@dataclass(frozen=True)
class _Group:
    """All rows of a group as the physics sees them."""

    name: str
    op: str
    sizes: tuple[str, ...]
    positions: Positions
    """In the table."""
    sources: npt.NDArray[np.str_]
    prints: Fingerprints
    columns: Mapping[str, FloatArray]
    measured_s: FloatArray
    log_ratio: FloatArray
    """log(measured / physics)."""

    def at(self, paces: Mapping[str, float], gpu: Gpu) -> _Group:
        """The same rows, each source's predictions at its pace instead of the one that the machine knew."""
        known = _known_paces(gpu, self.name)
        logs = {source: np.log(pace / known.get(source, 1.0)) for source, pace in paces.items()}
        shift = np.array([logs.get(str(source), 0.0) for source in self.sources])
        return replace(self, log_ratio=self.log_ratio - shift)

    def take(self, rows: npt.NDArray[np.bool_]) -> TrainingRows:
        return TrainingRows(
            self.name, {name: column[rows] for name, column in self.columns.items()}, self.sizes, self.log_ratio[rows]
        )


def _groups(
    gpu: Gpu, measurements: Measurements, used: Positions, random: np.random.Generator
) -> tuple[dict[str, _Group], dict[str, int]]:
    columns, refused = operator_columns(measurements)
    parts: dict[str, list[_Group]] = {}
    for column in columns:
        if column.conditions.own_rate:
            continue
        try:
            part = _as_seen(gpu, _enough(column, used, random), measurements)
        except SimexploreError as error:
            refused[str(error)] += len(column.rows)
            continue
        parts.setdefault(part.name, []).append(part)
    return {name: _joined(members) for name, members in parts.items()}, dict(refused)


def _enough(column: OperatorColumn, used: Positions, random: np.random.Generator) -> OperatorColumn:
    """The rows that the physics was fitted on, and of the others as many as tell an error."""
    is_used = np.isin(column.rows, used)
    others = np.flatnonzero(~is_used)
    if len(others) <= MOST_OF_COLUMN:
        return column
    kept = random.permutation(others)[:MOST_OF_COLUMN]
    return column.take(np.sort(np.concatenate([np.flatnonzero(is_used), kept])))


def _as_seen(gpu: Gpu, column: OperatorColumn, measurements: Measurements) -> _Group:
    conditions = conditions_in(column, gpu)
    cost = at_boost(column.record, gpu, conditions, with_traits=True)
    assert cost.traits is not None
    measured_s = measurements.frame[TIME].to_numpy(dtype=np.float64)[column.rows] * 1e-6
    features = feature_columns(column.record, gpu, cost.traits)
    return _Group(
        name=group_of(column.record, conditions),
        op=column.record.op,
        sizes=tuple(size_names(column.record)),
        positions=column.rows,
        sources=np.full(len(column.rows), column.source),
        prints=fingerprints(column, measurements),
        columns={name: np.broadcast_to(values, column.rows.shape) for name, values in features.items()},
        measured_s=measured_s,
        log_ratio=np.log(measured_s / as_timed(cost, column.record, gpu, conditions).time_s),
    )


def _joined(members: list[_Group]) -> _Group:
    first = members[0]
    return _Group(
        first.name,
        first.op,
        first.sizes,
        np.concatenate([part.positions for part in members]),
        np.concatenate([part.sources for part in members]),
        np.concatenate([part.prints for part in members]),
        {name: np.concatenate([part.columns[name] for part in members]) for name in first.columns},
        np.concatenate([part.measured_s for part in members]),
        np.concatenate([part.log_ratio for part in members]),
    )


def _known_paces(gpu: Gpu, group: str) -> Mapping[str, float]:
    return gpu.calibration.pace.get(group, {}) if gpu.calibration is not None else {}


def _paces(group: _Group, used: Positions, gpu: Gpu) -> dict[str, float]:
    """Time of each source's runs over the mean of all sources', from the medians of the rows that were fitted.

    The same kernels take other times on another board, at other clocks; sources with few fitted rows keep what the
    machine knew of them.
    """
    fitted = np.isin(group.positions, used)
    known = _known_paces(gpu, group.name)
    medians = {
        str(source): float(np.median(group.log_ratio[mine])) + np.log(known.get(str(source), 1.0))
        for source in np.unique(group.sources)
        if np.sum(mine := fitted & (group.sources == source)) >= FEWEST_FOR_SPREAD
    }
    if len(medians) < 2:
        return dict(known)
    middle = float(np.mean(list(medians.values())))
    return {**known, **{source: _rounded(float(np.exp(median - middle))) for source, median in medians.items()}}


def _chosen(group: _Group, used: Positions, most: int, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Rows to learn from: those that the physics was fitted on, then others at random.

    Not spread: a left-out row would then lie farther from the others than a new one does, and intervals be too wide.
    """
    training = np.isin(group.positions, used)
    others = np.flatnonzero(~training)
    room = min(most, int(MOST_SHARE * len(training))) - int(training.sum())
    if room > 0:
        training[random.permutation(others)[:room]] = True
    return training


def _learn(
    group: _Group,
    training: npt.NDArray[np.bool_],
    held_out: npt.NDArray[np.bool_],
    seed: int | None,
    progress: Progress,
    before: Before,
) -> GroupResult:
    """What the training rows teach, and the errors on the held-out ones; without a seed there is no correction."""
    rows = group.take(training)
    sigma = None
    if len(rows.log_ratio) >= FEWEST_FOR_SPREAD:
        width = before.optimism * covering(np.abs(rows.log_ratio))
        sigma = drawn_to(width, before.half_width, len(rows.log_ratio)) / NORMAL_80
    learned = fit_correction(rows, seed, progress, before) if seed is not None else None
    correction, kinds = (None, None) if learned is None else (learned.correction, learned.kinds)
    errors = None
    if sigma is not None and held_out.any():
        errors = _errors(group.take(held_out), group.measured_s[held_out], correction, sigma)
        errors = errors.model_copy(update=_of_kinds(kinds))
    return GroupResult(group.op, len(rows.log_ratio), sigma, correction, errors)


def _of_kinds(errors: KindErrors | None) -> dict[str, float | None]:
    return {} if errors is None else {"kind_mape": errors.mape, "kind_coverage": errors.coverage}


def _errors(rows: TrainingRows, measured_s: FloatArray, correction: Correction | None, sigma_log: float) -> HeldOut:
    shift: FloatArray = np.zeros(len(rows.log_ratio))
    width: FloatArray = np.full(len(rows.log_ratio), NORMAL_80 * sigma_log)
    if correction is not None:
        shift, width = corrected(correction, rows.columns, NORMAL_80 * sigma_log)
    inside = np.abs(rows.log_ratio - shift) <= width
    return HeldOut(
        rows=len(rows.log_ratio),
        physics_mape=_mape(-rows.log_ratio),
        full_mape=_mape(shift - rows.log_ratio),
        coverage=float(np.mean(inside)),
        coverage_by_size=by_thirds(inside, measured_s),
    )


def _mape(log_error: FloatArray) -> float:
    return float(np.mean(np.abs(np.expm1(log_error))))


def _fitted_before(gpu: Gpu) -> Fingerprints:
    """Rows that the machine's values come from already."""
    if gpu.calibration is None or gpu.calibration.residual is None:
        return np.zeros(0, dtype=np.uint64)
    return gpu.calibration.residual.fingerprints


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def sigma_by_name(groups: Mapping[str, GroupResult]) -> Iterator[tuple[str, float]]:
    """Spread of each group, and of each family the widest of its groups'."""
    families: dict[str, float] = {}
    for name, group in groups.items():
        if group.sigma_log is not None:
            families[group.op] = max(group.sigma_log, families.get(group.op, 0.0))
            yield name, group.sigma_log
    yield from families.items()
