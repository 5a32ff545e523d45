"""Energies of a machine from measured watts, at the measured time: no time is asked to tell an energy.

With f the SM clock over boost, x `power.clock_exponent`, v `power.voltage_floor` over boost and c
`power.clocked_share`, a kernel of time t draws

    P = idle (1 - c + c f s) + (E_clock s + E_fixed) / t        s = max(f, v)^(x-1)

as in `sim.hardware.power`. What each component has of E_clock and E_fixed is in proportion to its energy per unit of
work, so P is a sum of the components' shares; idle power, the energy of DRAM and those of the units that the rows use
are moved within bounds until the logarithms of both sides meet. L2 and shared memory keep their sources, for streams
read each byte of DRAM through them: what is fitted as DRAM's is the whole path less theirs.

Types of equal width share an energy of the tensor cores. A type that no row uses takes the ratio of its operands' bits
to the nearest measured one's. How far watts are off (`energy.spread`) is told where rows used the tensor cores: loops
of multiply-adds alone say nothing of what a GEMM's error is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from simexplore.archs.fields import field_of, with_columns
from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.fingerprints import Fingerprints, fingerprints
from simexplore.kernels.measurement import CLOCK, POWER, TIME, Measurements
from simexplore.kernels.records import OperatorColumn, operator_columns
from simexplore.sim.compare.comparison import conditions_in
from simexplore.sim.compare.devices import measured_here
from simexplore.sim.compare.watts import LONG_US
from simexplore.sim.estimate.correction import NORMAL_80
from simexplore.sim.estimate.operators import at_boost
from simexplore.sim.hardware.power import COMPONENTS, FIXED, least_scale, scale_of
from simexplore.sim.learn.physics import LOSS_SCALE, PULL, can_predict, require_scipy
from simexplore.sim.learn.spread import log_sizes, spread_rows
from simexplore.workloads.dtypes import bytes_of

Floats = npt.NDArray[np.float64]

AT_THE_LIMIT = 0.97
"""Share of the power limit from which a row's clock may be held back: without a clock it tells no energy."""
HELD_BACK = 0.98
"""Clock over boost under which rows tell what follows it."""
FEWEST = 12
"""Rows from which watts are fitted."""
MOST_SHARE = 0.5
"""Of the different rows, the most that are fitted: the others tell the error."""
HALVINGS = 30
"""Of an interval of clocks; a sensor tells steps of 15 MHz."""
LEAST_SPREAD = 0.01
"""Of watts: sensors are not better."""
SEEN = 0.25
"""Relative standard error from which on a component keeps its source."""
AT_BOUND = 1e-2
"""Distance of a logarithm from its bound within which the rows ask for more than is physical."""
BOUNDS: Mapping[str, tuple[float, float]] = {
    "power.idle": (0.3, 4.0),
    "power.clocked_share": (0.04, 4.0),
    "energy.dram": (0.3, 3.0),
    "energy.fma": (0.5, 2.0),
    "energy.tensor": (0.3, 3.0),
}
"""Least and greatest factor on the sourced value; readings of idle boards differ by their clocks, so they are wide."""


@dataclass(frozen=True)
class EnergyFit:
    """What watts tell of a machine."""

    gpu: Gpu
    values: Mapping[str, float]
    """Fitted values [SI] by dotted path; what the rows cannot see is left out."""
    uncertainty: Mapping[str, float | None]
    """Relative standard error by path; None: not seen, or at its bound."""
    by_width: Mapping[str, str]
    """Path of a type that was not measured -> the measured one whose energy it takes by width."""
    fitted: Fingerprints
    rows: int
    """Rows that were fitted."""
    sources: tuple[str, ...]
    """Data sets that they are of."""
    held_out: int
    """Rows like them that were not."""
    mape: float
    """Mean absolute error of watts on those."""
    coverage: float
    """Share of those within the 80 % interval of `spread`."""
    spread: float
    """Of the logarithm of their watts: the 80 % quantile of its size over 1.28."""


@dataclass(frozen=True)
class Watts:
    """Rows with watts; arrays of shape (rows,)."""

    power_w: Floats
    seconds: Floats
    clock: Floats
    """Over boost."""
    shares: Mapping[str, tuple[Floats, Floats]]
    """Dynamic energy at boost [J] of what is moved, by path: what follows the clock, and what does not."""
    rest: tuple[Floats, Floats]
    """The same of all others."""
    prints: Fingerprints
    sources: npt.NDArray[np.str_]
    spread_by: Floats
    """Shape (rows, sizes): logs of the operators' sizes."""

    def take(self, rows: npt.NDArray[np.bool_]) -> Watts:
        """Some of the rows."""
        return Watts(
            self.power_w[rows],
            self.seconds[rows],
            self.clock[rows],
            {path: (on[rows], off[rows]) for path, (on, off) in self.shares.items()},
            (self.rest[0][rows], self.rest[1][rows]),
            self.prints[rows],
            self.sources[rows],
            self.spread_by[rows],
        )


def fit_energy(gpu: Gpu, measurements: Measurements, rows: int = 400, seed: int = 0) -> EnergyFit | None:
    """Fit idle power and energies to at most `rows` measured watts; None where the table has too few.

    Used are rows of this machine of 100 µs and more, below the power limit or with a clock. Half of the different ones
    at most are fitted, spread over their sizes; boards that ran the same row count as one.

    Raises SimexploreError where scipy is missing.
    """
    table = watts_of(gpu, measurements)
    if table is None or len(table.power_w) < FEWEST:
        return None
    fitted = np.isin(table.prints, _chosen(table, rows, np.random.default_rng(seed)))
    found, errors = _fit(gpu, table.take(fitted))
    values, known, by_width = _written(gpu, found, errors)
    machine = _with(gpu, values)
    other = table.take(~fitted)
    error = np.log(modelled_w(gpu, other, found) / other.power_w) if len(other.power_w) else np.zeros(1)
    size = np.abs(error)
    spread = max(float(np.quantile(size, 0.8)) / NORMAL_80, LEAST_SPREAD)
    if len(other.power_w) >= FEWEST and any(path.startswith("energy.tensor.") for path in found):
        values, known = {**values, "energy.spread": spread}, {**known, "energy.spread": 1.0 / len(other.power_w) ** 0.5}
    return EnergyFit(
        gpu=machine,
        values=values,
        uncertainty=known,
        by_width=by_width,
        fitted=np.unique(table.prints[fitted]),
        rows=int(fitted.sum()),
        sources=tuple(dict.fromkeys(table.sources[fitted].tolist())),
        held_out=len(other.power_w),
        mape=float(np.mean(np.abs(np.expm1(error)))),
        coverage=float(np.mean(size <= NORMAL_80 * spread)),
        spread=spread,
    )


def watts_of(gpu: Gpu, measurements: Measurements) -> Watts | None:
    """The rows of a table whose watts tell energies, with each component's part in them; None where there are none."""
    frame = measurements.frame
    if POWER not in frame:
        return None
    power, time = (frame[name].to_numpy(dtype=np.float64) for name in (POWER, TIME))
    clock = frame[CLOCK].to_numpy(dtype=np.float64) * 1e6 if CLOCK in frame else np.full(len(frame), np.nan)
    with np.errstate(invalid="ignore"):
        free = (power < AT_THE_LIMIT * gpu.power.tdp_w) | ~np.isnan(clock)
        usable = (power > 0.0) & (time >= LONG_US) & free & measured_here(gpu, frame)
    over_boost = np.where(np.isnan(clock), gpu.clock.top_hz, clock) / gpu.clock.top_hz
    columns = [column.take(np.flatnonzero(usable[column.rows])) for column in operator_columns(measurements)[0]]
    columns = [column for column in columns if len(column.rows) and can_predict(column, gpu)]
    if not columns:
        return None
    shares = _shares(gpu, columns)
    rows = np.concatenate([column.rows for column in columns])
    total = _energies(gpu, columns)
    moved = [sum((share[which] for share in shares.values()), start=np.zeros(len(rows))) for which in (0, 1)]
    return Watts(
        power_w=power[rows],
        seconds=time[rows] * 1e-6,
        clock=over_boost[rows],
        shares=shares,
        rest=(total[0] - moved[0], total[1] - moved[1]),
        prints=np.concatenate([fingerprints(column, measurements) for column in columns]),
        sources=frame["source"].to_numpy(dtype=str)[rows],
        spread_by=_sizes(columns),
    )


def modelled_w(gpu: Gpu, rows: Watts, factors: Mapping[str, float] = MappingProxyType({})) -> Floats:
    """Watts of rows at their measured times and clocks, components being `factors` of what the machine has."""
    power, clock = gpu.power, rows.clock
    scale = scale_of(clock, power.clock_exponent, least_scale(gpu))
    idle = power.idle_w * factors.get("power.idle", 1.0)
    share = power.clocked_share * factors.get("power.clocked_share", 1.0)
    on, off = rows.rest
    for path, (of_clock, fixed) in rows.shares.items():
        on, off = on + factors.get(path, 1.0) * of_clock, off + factors.get(path, 1.0) * fixed
    watts: Floats = idle * (1.0 - share + share * clock * scale) + (on * scale + off) / rows.seconds
    return watts


def held_clock(gpu: Gpu, rows: Watts) -> Floats:
    """Clock over boost at which rows would draw the power limit at their measured times; 1 where boost draws less."""
    low, high = np.zeros(len(rows.power_w)), np.ones(len(rows.power_w))
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        over = modelled_w(gpu, replace(rows, clock=middle)) > gpu.power.tdp_w
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return high


def _energies(gpu: Gpu, columns: Sequence[OperatorColumn]) -> tuple[Floats, Floats]:
    """Dynamic energy at boost of all rows [J]: what follows the core's voltage, and what does not."""
    parts = [at_boost(column.record, gpu, conditions_in(column, gpu)).energies_j for column in columns]
    joules = np.concatenate(
        [
            np.broadcast_to(part, (len(COMPONENTS), len(column.rows)))
            for part, column in zip(parts, columns, strict=True)
        ],
        axis=1,
    )
    fixed = np.array([name in FIXED for name in COMPONENTS])
    return np.sum(joules[~fixed], axis=0), np.sum(joules[fixed], axis=0)


def _shares(gpu: Gpu, columns: Sequence[OperatorColumn]) -> dict[str, tuple[Floats, Floats]]:
    """What each component that can be moved has in the rows' energy: what doubling its energy adds."""
    on, off = _energies(gpu, columns)
    shares = {}
    for paths in _components(gpu):
        doubled = _with(gpu, {path: 2.0 * field_of(path, gpu).read(gpu) for path in paths})
        more_on, more_off = _energies(doubled, columns)
        if np.any(more_on > on) or np.any(more_off > off):
            shares[paths[0]] = (more_on - on, more_off - off)
    return shares


def _components(gpu: Gpu) -> Iterator[tuple[str, ...]]:
    """Energies that rows may move; those of tensor types of equal width are one."""
    yield ("energy.dram",)
    yield from ((f"energy.fma.{dtype}",) for dtype in sorted(gpu.energy.fma_j_per_op))
    for width in sorted({bytes_of(dtype) for dtype in gpu.energy.tensor_j_per_op}):
        yield tuple(f"energy.tensor.{dtype}" for dtype in _of_width(gpu, width))


def _of_width(gpu: Gpu, width: float) -> list[str]:
    """Types of the tensor cores by the bytes of their operands, floating-point ones first."""
    types = [dtype for dtype in gpu.energy.tensor_j_per_op if bytes_of(dtype) == width]
    return sorted(types, key=lambda dtype: (dtype.startswith("int"), dtype))


def _sizes(columns: Sequence[OperatorColumn]) -> Floats:
    """Logs of sizes of all rows; families have as many as the one with most."""
    parts = [log_sizes(column.record, len(column.rows)) for column in columns]
    most = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, most - part.shape[1]))) for part in parts])


def _chosen(table: Watts, most: int, random: np.random.Generator) -> Fingerprints:
    """Fingerprints of the rows that are fitted."""
    different, first = np.unique(table.prints, return_index=True)
    wanted = min(most, int(MOST_SHARE * len(different)))
    return different[spread_rows(table.spread_by[first], max(wanted, 1), random)]


def _fit(gpu: Gpu, rows: Watts) -> tuple[dict[str, float], dict[str, float | None]]:
    """Factors on the components that the rows see, and the relative standard error of each (None: not seen)."""
    paths = ["power.idle", *(["power.clocked_share"] if np.any(rows.clock < HELD_BACK) else []), *rows.shares]
    errors: dict[str, float | None] = dict.fromkeys(paths)
    free, x = paths, np.zeros(len(paths))
    while free:
        x, deviations, inside = _descend(gpu, rows, free)
        seen = (deviations < SEEN) & inside
        if np.all(seen):
            errors.update(zip(free, deviations.tolist(), strict=True))
            break
        # The worst is left out first: without it the rows may well tell the others.
        worst = int(np.argmax(np.where(inside, deviations, np.inf)))
        free = free[:worst] + free[worst + 1 :]
        x = np.zeros(len(free))
    return dict(zip(free, np.exp(x).tolist(), strict=True)), errors


def _descend(gpu: Gpu, rows: Watts, paths: Sequence[str]) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Logs of the best factors, their standard errors, and which of them are within their bounds."""
    least_squares = require_scipy()
    bounds = np.log([_bounds(gpu, path) for path in paths])
    pull = PULL * np.sqrt(len(rows.power_w) / 100.0)

    def residuals(x: Floats) -> Floats:
        watts = modelled_w(gpu, rows, dict(zip(paths, np.exp(x).tolist(), strict=True)))
        return np.concatenate([np.log(watts / rows.power_w), pull * x])

    solution = least_squares(
        residuals, np.zeros(len(paths)), bounds=(bounds[:, 0], bounds[:, 1]), loss="soft_l1", f_scale=LOSS_SCALE
    )
    own = np.asarray(residuals(solution.x))[: len(rows.power_w)]
    spread = max(1.4826 * float(np.median(np.abs(own))), 1e-6)
    curvature = solution.jac.T @ solution.jac / spread**2
    deviations = np.sqrt(np.diag(np.linalg.pinv(curvature)))
    inside = np.all(np.abs(solution.x[:, None] - bounds) > AT_BOUND, axis=1)
    return solution.x, deviations, inside


def _bounds(gpu: Gpu, path: str) -> tuple[float, float]:
    least, most = next(bounds for known, bounds in BOUNDS.items() if path.startswith(known))
    if path == "power.clocked_share":
        most = min(most, 1.0 / gpu.power.clocked_share)
    if path == "power.idle":
        most = min(most, gpu.power.tdp_w / gpu.power.idle_w)
    return least, most


def _written(
    gpu: Gpu, factors: Mapping[str, float], errors: Mapping[str, float | None]
) -> tuple[dict[str, float], dict[str, float | None], dict[str, str]]:
    """Values, errors and what was taken by width, of all types of the tensor cores where one was measured."""
    values = {path: factor * float(field_of(path, gpu).read(gpu)) for path, factor in factors.items()}
    known, by_width = dict(errors), {}
    measured = {path: bytes_of(path.rpartition(".")[2]) for path in values if path.startswith("energy.tensor.")}
    for dtype in sorted(gpu.energy.tensor_j_per_op) if measured else ():
        path, width = f"energy.tensor.{dtype}", bytes_of(dtype)
        if path not in measured:
            nearest = min(measured, key=lambda other: abs(np.log(measured[other] / width)))
            values[path] = values[nearest] * width / measured[nearest]
            known[path], by_width[path] = errors[nearest], nearest
    return values, known, by_width


def _with(gpu: Gpu, values: Mapping[str, float]) -> Gpu:
    changed = with_columns(gpu, {field_of(path, gpu): value for path, value in values.items()})
    assert isinstance(changed, Gpu)
    return changed
