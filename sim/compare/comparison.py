"""Predictions beside measurements: how far off, in which direction, for which operators and sizes.

The error of a row is e = (predicted - measured) / measured. mape is the mean of |e|, bias the mean of e.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from simexplore.archs.load import is_as_calibrated
from simexplore.archs.schema.calibration import HeldOut
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels import measurement
from simexplore.kernels.fingerprints import fingerprints
from simexplore.kernels.measurement import TIME, Measurements
from simexplore.kernels.records import OperatorColumn, operator_columns
from simexplore.sim.compare.devices import device_warnings
from simexplore.sim.compare.machines import Machines, WithEngine
from simexplore.sim.compare.possible import warnings_of
from simexplore.sim.compare.predictors import Forecaster, held_out_rows, known, random_forest, roofline
from simexplore.sim.compare.shown import Shown
from simexplore.sim.compare.watts import power_errors, with_watts
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.estimate.correction import group_of
from simexplore.sim.estimate.intervals.rows import standings
from simexplore.sim.estimate.intervals.standing import Standing
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Gemm, Operator

ROWS_AT_ONCE = 4096
"""Rows predicted between two reports of progress."""

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]
"""Called with the rows done and the rows in all."""


@dataclass(frozen=True)
class Errors:
    """Error figures of some rows; shares, not per cent."""

    rows: int
    mape: float
    """Mean absolute error."""
    median_ape: float
    p90_ape: float
    bias: float
    """Mean signed error: above 0, predictions are too slow."""
    interval_coverage: float | None
    """Share of rows within their predicted 80 % interval; None where predictions have none."""
    rows_per_s: float
    """Rows predicted per second of wall time, tile search included, reading the table not."""
    power_rows: int = 0
    """Rows long enough for their watts to count."""
    power_mape: float | None = None
    """Mean absolute error of watts."""
    power_bias: float | None = None
    """Mean signed error of watts: above 0, predictions are too high."""
    power_coverage: float | None = None
    """Share of those rows within the predicted 80 % interval of watts."""


@dataclass(frozen=True)
class SizeTable:
    """Errors of one operator family by two of its sizes. A cell without rows has mape None."""

    op: str
    down: str
    """What grows from one line to the next, e.g. `m`."""
    across: str
    down_labels: tuple[str, ...]
    across_labels: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    mape: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """A machine's predictions against measured rows."""

    arch: str
    total: Errors
    by_op: Mapping[str, Errors]
    by_dtype: Mapping[str, Errors]
    """By operator and dtype, as `gemm bf16`; a cache of another type apart, `attention_decode bf16, fp8 cache`."""
    by_size: tuple[SizeTable, ...]
    refused: Mapping[str, int]
    """Rows that can't be compared, by the reason why."""
    fitted_rows: int
    """Rows left out because the machine was fitted on them: they would tell nothing of its error."""
    warnings: tuple[str, ...]
    table: pd.DataFrame
    """The compared rows, with `predicted_us`, its interval `low_us` to `high_us`, `bound`, `error`, and the watts
    `predicted_w`, `low_w` to `high_w`."""
    by_standing: Mapping[str, Errors]
    """By where rows stand, as `neighbour` or `other_kind` (`sim.estimate.intervals.standing`)."""
    left_out: Mapping[str, HeldOut]
    """By group of these operators: errors that the calibration stored, of rows left out at random and by kind."""
    predictor: str = "full"
    """Who predicted."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data with stable keys: the figures of `total` at the top, then the same by operator and dtype."""
        return {
            "arch": self.arch,
            "predictor": self.predictor,
            **asdict(self.total),
            "by_op": {op: asdict(errors) for op, errors in self.by_op.items()},
            "by_dtype": {name: asdict(errors) for name, errors in self.by_dtype.items()},
            "by_standing": {name: asdict(errors) for name, errors in self.by_standing.items()},
            "left_out": {name: errors.model_dump() for name, errors in self.left_out.items()},
            "by_size": [asdict(table) for table in self.by_size],
            "refused": dict(self.refused),
            "fitted_rows": self.fitted_rows,
            "warnings": list(self.warnings),
        }


def compare(
    gpu: Gpu,
    measurements: Measurements,
    op: str | None = None,
    dtype: str | None = None,
    progress: Progress | None = None,
    predictor: str = "full",
    held_out_seed: int | None = None,
    with_engine: WithEngine | None = None,
) -> Comparison:
    """Predict every measured row under the conditions it was measured in, and tell how far off that is.

    Args:
        gpu: the machine.
        measurements: the rows.
        op: only this operator family.
        dtype: only this value of the `dtype` column.
        progress: told how many rows are done.
        predictor: who predicts, a name in `predictors.PREDICTORS`.
        held_out_seed: compare only the fifth of the rows that a random forest of this seed is not fitted on. The
            forest never predicts others: without a seed it takes 0.
        with_engine: the machine with an engine's kernels, for rows that were timed under one; None: all rows are
            predicted with the kernels that `gpu` has.

    Raises:
        SimexploreError: no row is left after choosing, or none of them can be predicted.
    """
    if known(predictor) == "random-forest" and held_out_seed is None:
        held_out_seed = 0
    chosen, machines = measurements.select(op, dtype), Machines(gpu, with_engine)
    columns, refused = operator_columns(chosen)
    forecast = _forecaster(predictor, machines, columns, chosen.frame, held_out_seed or 0)
    columns, fitted = _not_fitted(columns, chosen, machines)
    if held_out_seed is not None:
        columns = _only(columns, held_out_rows(len(chosen), held_out_seed))
    times, low, high, watts = (np.full(len(chosen), np.nan) for _ in range(4))
    bounds, stands_on = (np.full(len(chosen), "", dtype=object) for _ in range(2))
    seconds = np.zeros(len(chosen))
    done = sum(refused.values()) + fitted
    for part in _parts(columns):
        if progress is not None:
            progress(done, len(chosen))
        done += len(part.rows)
        started = perf_counter()
        try:
            prediction = forecast(part, conditions_in(part, machines.of(part)))
        except SimexploreError as error:
            refused[str(error)] += len(part.rows)
            continue
        seconds[part.rows] = (perf_counter() - started) / len(part.rows)
        times[part.rows], low[part.rows], high[part.rows] = prediction.time_s, prediction.low_s, prediction.high_s
        bounds[part.rows], watts[part.rows] = prediction.bound, prediction.power_w
        stands_on[part.rows] = where(part, machines.of(part))
    if progress is not None:
        progress(len(chosen), len(chosen))
    rows = chosen.frame.assign(
        predicted_us=times * 1e6, low_us=low * 1e6, high_us=high * 1e6, bound=bounds, seconds=seconds
    ).assign(stands_on=stands_on)
    told = _comparison(gpu, with_watts(rows, watts, gpu), refused, fitted, columns)
    return replace(told, predictor=predictor, left_out=_left_out(columns, machines))


def _forecaster(
    predictor: str, machines: Machines, columns: list[OperatorColumn], frame: pd.DataFrame, seed: int
) -> Forecaster:
    """Who predicts; the physics is the machine without its learned correction."""
    if predictor == "roofline":
        return roofline(machines.gpu)
    if predictor == "random-forest":
        return random_forest(columns, frame, seed)
    if predictor == "physics":
        return lambda column, conditions: predict(column.record, machines.of(column).physics_only(), conditions)
    return lambda column, conditions: predict(column.record, machines.of(column), conditions)


def _only(columns: list[OperatorColumn], rows: npt.NDArray[np.bool_]) -> list[OperatorColumn]:
    """The columns' rows that are chosen, by their positions in the table."""
    kept = (column.take(np.flatnonzero(rows[column.rows])) for column in columns)
    return [column for column in kept if len(column.rows)]


def _not_fitted(
    columns: list[OperatorColumn], measurements: Measurements, machines: Machines
) -> tuple[list[OperatorColumn], int]:
    """The rows that the machine was not fitted on, and how many it was."""
    rest, fitted = [], 0
    for column in columns:
        calibration = machines.of(column).calibration
        if calibration is None or calibration.residual is None:
            rest.append(column)
            continue
        free = np.flatnonzero(~np.isin(fingerprints(column, measurements), calibration.residual.fingerprints))
        fitted += len(column.rows) - len(free)
        if len(free):
            rest.append(column if len(free) == len(column.rows) else column.take(free))
    return rest, fitted


def _parts(columns: list[OperatorColumn]) -> Iterator[OperatorColumn]:
    for column in columns:
        for start in range(0, len(column.rows), ROWS_AT_ONCE):
            yield column.part(start, start + ROWS_AT_ONCE)


def conditions_in(column: OperatorColumn, gpu: Gpu) -> Conditions:
    """The data set's conditions in the words of the simulator: copies that fill this machine's L2, and so on."""
    given = column.conditions
    cache = CacheState(
        weight_copies=np.inf if given.cold_caches else _weight_copies(column.record, given, gpu),
        activation_copies=np.inf if given.cold_caches else float(given.activation_copies),
        earlier_shapes=0.0 if column.earlier_shapes is None else column.earlier_shapes,
    )
    told = Conditions(
        cache=cache,
        launch=given.launch,
        attention_module=given.attention_module,
        rotation=given.rotation,
        runs_before=given.runs_before,
        runs=given.runs,
        eager=given.eager,
        base_clocks=given.base_clocks,
        activity=given.activity,
    )
    paces = gpu.calibration.pace.get(group_of(column.record, told), {}) if gpu.calibration is not None else {}
    return replace(told, pace=paces.get(column.source, 1.0))


def _weight_copies(record: Operator, given: measurement.Conditions, gpu: Gpu) -> float | Floats:
    """Copies that the weights rotate over; where L2 bounds them, min(most, ceil(L2 / weight bytes))."""
    if not (given.until_l2_is_full and isinstance(record, Gemm)):
        return float(given.weight_copies)
    weight_bytes = bytes_of(record.weight_dtype or record.dtype) * 1.0 * record.batch * record.n * record.k
    copies = np.ceil(gpu.l2.capacity_bytes / np.asarray(weight_bytes, dtype=np.float64))
    return np.minimum(float(given.weight_copies), copies)


def _comparison(
    gpu: Gpu, frame: pd.DataFrame, refused: Counter[str], fitted: int, columns: list[OperatorColumn]
) -> Comparison:
    table = frame[frame["predicted_us"].notna()].copy()
    if table.empty:
        told = Counter({"the machine was fitted on them": fitted}) + refused
        reasons = "; ".join(f"{reason} ({count} rows)" for reason, count in told.most_common(3))
        raise SimexploreError(f"nothing to compare: {gpu.name} can predict none of the measured rows: {reasons}")
    table["error"] = table["predicted_us"] / table[TIME] - 1.0
    return Comparison(
        arch=gpu.name,
        total=_errors(table),
        by_op={str(op): _errors(rows) for op, rows in table.groupby("op")},
        by_dtype={
            f"{op} {dtype}": _errors(rows) for op in table["op"].unique() for dtype, rows in _by_dtype(table, op)
        },
        by_size=tuple(_size_table(str(op), rows) for op, rows in table.groupby("op")),
        by_standing=_by_standing(table),
        left_out={},
        refused=dict(refused.most_common()),
        fitted_rows=fitted,
        warnings=(*device_warnings(gpu, frame), *_calibration_warnings(gpu), *warnings_of(columns, frame, gpu)),
        table=table.drop(columns="seconds").reset_index(drop=True),
    )


def where(part: OperatorColumn, gpu: Gpu) -> list[str]:
    """Where each row of a column stands, in one word."""
    return [Standing(code).key for code in standings(part.record, gpu, conditions_in(part, gpu), len(part.rows))]


def _by_standing(table: pd.DataFrame) -> dict[str, Errors]:
    """Errors by standing, from near to far."""
    words = table["stands_on"]
    return {step.key: _errors(table[words == step.key]) for step in Standing if (words == step.key).any()}


def _left_out(columns: list[OperatorColumn], machines: Machines) -> dict[str, HeldOut]:
    """What the calibrations stored of the groups that the rows are of, each of the engine that ran them."""
    found: dict[str, HeldOut] = {}
    for column in columns:
        gpu = machines.of(column)
        stored = gpu.calibration.held_out if gpu.calibration is not None else {}
        group = group_of(column.record, conditions_in(column.part(0, 1), gpu))
        if group in stored:
            name = f"{group}, {gpu.engine}" if gpu.is_of_other_engine else group
            found[name] = stored[group]
    return found


def _by_dtype(table: pd.DataFrame, op: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows of one dtype; of attention also of one dtype of the cache, for its kernels are others."""
    rows_of_op = table[table["op"] == op]
    cached = rows_of_op.get("kv_dtype", pd.Series("", index=rows_of_op.index)).fillna("")
    cached = cached.where(cached != rows_of_op["dtype"], "")
    for (dtype, cache), rows in rows_of_op.groupby([rows_of_op["dtype"], cached.rename("cache")]):
        yield f"{dtype}, {cache} cache" if cache else str(dtype), rows


def _errors(rows: pd.DataFrame) -> Errors:
    error = rows["error"].to_numpy(dtype=np.float64)
    size = np.abs(error)
    return Errors(
        rows=len(rows),
        mape=float(size.mean()),
        median_ape=float(np.median(size)),
        p90_ape=float(np.quantile(size, 0.9)),
        bias=float(error.mean()),
        interval_coverage=None
        if rows["low_us"].isna().all()
        else float(((rows["low_us"] <= rows[TIME]) & (rows[TIME] <= rows["high_us"])).mean()),
        rows_per_s=len(rows) / float(rows["seconds"].sum()),
        **power_errors(rows)._asdict(),
    )


_EDGES = (0, 1, 16, 128, 1024, 8192)
_LABELS = ("1", "2–16", "17–128", "129–1024", "1025–8192", ">8192")
_SIZES = (("m", "k"), ("batch x heads", "seq_kv"), ("rows", "cols"), ("elements", "num_gpus"), ("tokens", "width"))
"""Two sizes that tell most about a kernel, by family: a table is by the first pair that all its rows have."""


def _size_table(op: str, rows: pd.DataFrame) -> SizeTable:
    """Errors of one family's rows by size. Families with `elements` alone have one column."""
    pairs = ((down, _size(rows, down), across, _size(rows, across)) for down, across in _SIZES)
    down, sizes_down, across, sizes_across = next(
        (pair for pair in pairs if not np.isnan(pair[1] + pair[3]).any()),
        ("elements", _size(rows, "elements"), "all", np.ones(len(rows))),
    )
    i = np.searchsorted(_EDGES, sizes_down, side="left") - 1
    j = np.searchsorted(_EDGES, sizes_across, side="left") - 1
    lines, columns = sorted(set(i.tolist())), sorted(set(j.tolist()))
    size = np.abs(rows["error"].to_numpy(dtype=np.float64))
    cells = [[size[(i == line) & (j == column)] for column in columns] for line in lines]
    return SizeTable(
        op=op,
        down=down,
        across=across,
        down_labels=tuple(_LABELS[line] for line in lines),
        across_labels=("all",) if across == "all" else tuple(_LABELS[column] for column in columns),
        rows=tuple(tuple(len(cell) for cell in line) for line in cells),
        mape=tuple(tuple(float(cell.mean()) if len(cell) else None for cell in line) for line in cells),
    )


def _size(rows: pd.DataFrame, name: str) -> Floats:
    """A size by name, `m` or `batch x heads`; NaN where the table has no such column."""
    product: Floats = np.ones(len(rows))
    for factor in name.split(" x "):
        product = product * (rows[factor].to_numpy(dtype=np.float64) if factor in rows else np.nan)
    return product


def _calibration_warnings(gpu: Gpu) -> Iterator[str]:
    if (lender := gpu.lenders[0]) is not gpu and lender.lends:
        yield f"{gpu.name} has other values than its correction was learned with: it fades as times move apart"
    elif not is_as_calibrated(gpu):
        yield f"{gpu.name} has other values than its correction was learned with: physics alone"
