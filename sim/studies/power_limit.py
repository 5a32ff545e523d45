"""Kernels of an H200 at its power limit and under it: times, clocks and watts of rows that nothing was fitted on.

Rows of 100 µs and more, whose watts are their own. Under 660 W the limit holds nothing back: there the watts of the
simulator stand beside a constant, and beside boosted trees that were fitted on four fifths of those very rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.measurement import POWER, TIME, join
from simexplore.kernels.records import operator_columns
from simexplore.sim.compare.comparison import conditions_in
from simexplore.sim.compare.watts import LONG_US
from simexplore.sim.estimate.operators import physics, predict
from simexplore.sim.learn.spread import log_sizes
from simexplore.sim.studies import record_of

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "power_limit.yaml"
TABLES = ("aic_h200_sxm_gemm_POWER_vllm0.22.0.csv", "aic_h200_sxm_attention_prefill_POWER_vllm0.22.0.csv")
AT_LIMIT_W, UNDER_W = 680.0, 660.0
LIMITED = 0.999
"""Clock over boost under which a row is clock-limited."""
FITTED = 0.8
"""Share of the rows that trees are fitted on."""
FEWEST = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows of a family; arrays of shape (rows,)."""

    op: str
    dtype: str
    measured_s: Floats
    measured_w: Floats
    time_s: Floats
    power_w: Floats
    clock: Floats
    """Predicted, over boost."""
    sizes: Floats
    """Logs, shape (rows, sizes)."""


def study(measured: Path) -> list[dict[str, Any]]:
    """The records; `measured` is the folder with both tables. Raises SimexploreError for bad ones."""
    document = read_document(PUBLISHED).data
    families = rows_of(load_arch(document["arch"]), measured)
    found = figures(families)
    records = []
    for figure in document["figures"]:
        published = found[figure["baseline"]] if "baseline" in figure else float(figure["published"])
        records.append(record_of(document, figure, found[figure["key"]], published=published))
    return records


def rows_of(gpu: Gpu, measured: Path) -> list[Rows]:
    """Rows long enough, by family, as the machine predicts them."""
    table = join([read_measurements(measured / name) for name in TABLES])
    if POWER not in table.frame:
        raise SimexploreError(f"power_limit: expected a column {POWER} in {measured / TABLES[0]}, found none")
    time_us, power_w = (table.frame[name].to_numpy(dtype=np.float64) for name in (TIME, POWER))
    families = []
    for column in operator_columns(table)[0]:
        long = np.flatnonzero((time_us[column.rows] >= LONG_US) & (power_w[column.rows] > 0.0))
        if not len(long):
            continue
        part = column.take(long)
        conditions = conditions_in(part, gpu)
        try:
            prediction, held = predict(part.record, gpu, conditions), physics(part.record, gpu, conditions)
        except SimexploreError:
            continue  # a type that the machine does not multiply
        families.append(
            Rows(
                part.record.op,
                part.record.dtype,
                time_us[part.rows] * 1e-6,
                power_w[part.rows],
                prediction.time_s,
                prediction.power_w,
                held.clock,
                log_sizes(part.record, len(part.rows)),
            )
        )
    if not families:
        raise SimexploreError(f"power_limit: expected rows of {LONG_US:g} us and more with {POWER}, found none")
    return families


def figures(families: list[Rows]) -> dict[str, float]:
    """The study's figures, all in percent.

    Raises:
        SimexploreError: too few rows at the limit or under it, or scikit-learn is missing.
    """
    gemm = [rows for rows in families if (rows.op, rows.dtype) == ("gemm", "bf16")]
    time_s, measured_s = (np.concatenate([getattr(rows, name) for rows in gemm]) for name in ("time_s", "measured_s"))
    power_w, measured_w, clock = (
        np.concatenate([getattr(rows, name) for rows in families]) for name in ("power_w", "measured_w", "clock")
    )
    hot, cool = measured_w >= AT_LIMIT_W, measured_w < UNDER_W
    if min(hot.sum(), cool.sum()) < FEWEST:
        raise SimexploreError(f"power_limit: expected {FEWEST} rows at the limit and under it, found fewer")
    return {
        "gemm_time": _mean_error(time_s, measured_s),
        "limited": 100.0 * float(np.mean(clock[hot] < LIMITED)),
        "watts": _mean_error(power_w[cool], measured_w[cool]),
        "constant": _mean_error(np.median(measured_w[cool]), measured_w[cool]),
        "trees": _of_trees(families),
    }


def _of_trees(families: list[Rows]) -> float:
    """Mean error of boosted trees, one model a family, on the fifth of the rows that each is not fitted on [%]."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError:
        raise SimexploreError("power_limit needs scikit-learn: pip install 'simexplore[calibrate]'") from None
    errors = []
    for rows in families:
        cool = np.flatnonzero(rows.measured_w < UNDER_W)
        order = np.random.default_rng(0).permutation(cool)
        fitted, other = np.split(order, [int(FITTED * len(order))])
        if len(fitted) < FEWEST:
            continue
        trees = HistGradientBoostingRegressor(random_state=0).fit(rows.sizes[fitted], np.log(rows.measured_w[fitted]))
        errors.append(np.abs(np.exp(trees.predict(rows.sizes[other])) / rows.measured_w[other] - 1.0))
    return 100.0 * float(np.mean(np.concatenate(errors)))


def _mean_error(predicted: Any, measured: Floats) -> float:
    return 100.0 * float(np.mean(np.abs(predicted / measured - 1.0)))
