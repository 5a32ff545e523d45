"""What the simulator is held against: a roofline, and a random forest fitted to the measured rows themselves.

The forest is GPPerf's (`sim/studies/gpperf.py`): scikit-learn's multi-output regression on sizes and what follows from
them. It is fitted on four fifths of the rows and only ever asked about the others, so that every predictor can be asked
about the same ones (`held_out_rows`). scikit-learn is the extra `forest`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import POWER, TIME
from simexplore.kernels.records import OperatorColumn
from simexplore.sim.conditions import Conditions
from simexplore.sim.estimate.operators import as_run
from simexplore.workloads.hints import did_you_mean
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import Collective

PREDICTORS = ("full", "physics", "roofline", "random-forest")
"""By name: `physics` is the simulator's closed form, `full` the same with what a calibrated machine has learned."""
TREES = 100
DEPTH = 6
"""GPPerf's forest, cutlass_predictor.py of github.com/pavlyhalim/GPPerf @b30a60b: 100 trees of depth 6."""
HELD_OUT = 0.2
"""Share of the rows that a forest is not fitted on; GPPerf's split."""

Floats = npt.NDArray[np.float64]


class Predicted(Protocol):
    """Times of the rows of a column with their intervals, what bounds each, and its mean power; NaN: not told."""

    @property
    def time_s(self) -> Floats: ...
    @property
    def low_s(self) -> Floats: ...
    @property
    def high_s(self) -> Floats: ...
    @property
    def bound(self) -> list[str]: ...
    @property
    def power_w(self) -> Floats: ...


class Forecast(NamedTuple):
    """What a predictor without intervals says."""

    time_s: Floats
    bound: list[str]

    @property
    def low_s(self) -> Floats:
        """Not a number: this predictor has no interval."""
        return np.full_like(self.time_s, np.nan)

    @property
    def high_s(self) -> Floats:
        """Not a number: this predictor has no interval."""
        return np.full_like(self.time_s, np.nan)

    @property
    def power_w(self) -> Floats:
        """Not a number: this predictor tells no power."""
        return np.full_like(self.time_s, np.nan)


Forecaster = Callable[[OperatorColumn, Conditions], Predicted]


def known(name: str) -> str:
    """The name, if a predictor has it. Raises SimexploreError that lists them."""
    if name not in PREDICTORS:
        raise SimexploreError(
            f"predictor: expected {', '.join(PREDICTORS)}, found {name!r}{did_you_mean(name, PREDICTORS)}"
        )
    return name


def held_out_rows(count: int, seed: int) -> npt.NDArray[np.bool_]:
    """Which of `count` rows no forest of this seed is fitted on: a fifth, rounded up, drawn at random."""
    chosen = np.zeros(count, dtype=np.bool_)
    chosen[np.random.default_rng(seed).permutation(count)[: int(np.ceil(HELD_OUT * count))]] = True
    return chosen


def roofline(gpu: Gpu) -> Forecaster:
    """t = launch + max(flops / peak, compulsory bytes / bandwidth) (Williams, Waterman and Patterson, 2009).

    Under a profiler the launch takes nothing. The peak is that of the unit which multiplies the type, of the FP32 pipes
    for what multiplies no matrices. A collective takes its bytes over its link.
    """

    def forecast(column: OperatorColumn, conditions: Conditions) -> Forecast:
        op, machine = column.record, as_run(gpu, conditions)
        launch_s = machine.launch.each_s(conditions.launch)
        if isinstance(op, Collective):
            link = machine.links.nvlink or machine.links.pcie
            times = np.atleast_1d(np.asarray(op.link_bytes / link.bandwidth_bytes_per_s, dtype=np.float64))
            return Forecast(times + launch_s, ["link"] * len(times))
        unit, peak = _peak_ops_per_s(op, machine)
        compute_s, memory_s = (
            np.atleast_1d(np.asarray(amount, dtype=np.float64))
            for amount in (op.flops / peak, op.min_bytes / machine.dram.bandwidth_bytes_per_s)
        )
        bound = np.where(compute_s > memory_s, unit, "dram").tolist()
        return Forecast(np.maximum(compute_s, memory_s) + launch_s, bound)

    return forecast


def _peak_ops_per_s(op: Operator, gpu: Gpu) -> tuple[str, float]:
    if not np.any(op.matmul_flops):
        return "fma", gpu.fma_peak_ops_per_s("fp32")
    if op.dtype in gpu.sm.tensor_ops_per_clk:
        return "tensor", gpu.tensor_peak_ops_per_s(op.dtype)
    return "fma", gpu.fma_peak_ops_per_s(op.dtype)


def random_forest(columns: Sequence[OperatorColumn], frame: pd.DataFrame, seed: int) -> Forecaster:
    """A forest for each operator family, fitted on its rows that are not held out.

    Features are the sizes, the bytes of an element, flops, compulsory bytes and flops per byte; targets are time and
    flop rate, and power where every row has it.

    Raises:
        SimexploreError: scikit-learn is missing, or a family has no row to be fitted on.
    """
    held_out = held_out_rows(len(frame), seed)
    forests: dict[str, Any] = {}
    for op in sorted({column.record.op for column in columns}):
        own = [column.take(np.flatnonzero(~held_out[column.rows])) for column in columns if column.record.op == op]
        rows = np.concatenate([column.rows for column in own])
        if not len(rows):
            raise SimexploreError(
                f"random-forest: expected rows of {op} to be fitted on, found none; give it more rows"
            )
        features = np.concatenate([_features(column) for column in own])
        forests[op] = forest(features, _targets(frame.iloc[rows], features), seed)

    def forecast(column: OperatorColumn, conditions: Conditions) -> Forecast:  # noqa: ARG001 - as every forecaster
        seconds = np.asarray(forests[column.record.op].predict(_features(column)))[:, 0] * 1e-6
        return Forecast(seconds, [""] * len(seconds))

    return forecast


def forest(features: Floats, targets: Floats, seed: int) -> Any:
    """A fitted forest, one regression for each column of `targets`; features are scaled to unit variance.

    Raises SimexploreError where scikit-learn is missing.
    """
    try:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.multioutput import MultiOutputRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise SimexploreError("random-forest needs scikit-learn: pip install 'simexplore[forest]'") from None
    trees = RandomForestRegressor(TREES, max_depth=DEPTH, random_state=seed)
    return make_pipeline(StandardScaler(), MultiOutputRegressor(trees)).fit(features, targets)


def _features(column: OperatorColumn) -> Floats:
    """One row a kernel: its counts, then what follows from them; flops come last but two."""
    op, rows = column.record, len(column.rows)
    counts = [getattr(op, name) for name, (_, parameter) in parameters_of(op).items() if parameter.kind == "count"]
    flops, moved = np.asarray(op.flops, dtype=np.float64), np.asarray(op.min_bytes, dtype=np.float64)
    parts = (*counts, flops / moved, moved, flops)
    return np.stack([np.broadcast_to(np.asarray(part, dtype=np.float64), (rows,)) for part in parts], axis=1)


def _targets(frame: pd.DataFrame, features: Floats) -> Floats:
    times_us = frame[TIME].to_numpy(dtype=np.float64)
    targets = [times_us, features[:, -1] / times_us]
    if POWER in frame and not frame[POWER].isna().any():
        targets.append(frame[POWER].to_numpy(dtype=np.float64))
    return np.stack(targets, axis=1)
