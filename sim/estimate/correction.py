"""The learned correction of log time on top of the physics, and the 80 % interval of every prediction.

    log t = log t_physics + w(d) s shift(x)        half-width of log t = w(d) h(x) + (1 - w(d)) h_far (1 + d / 4)

x are features of the row: logs of its sizes, their divisibility, flops and bytes, and what the physics says of it
(`sim.traits`). d is the distance of its sizes from those of the training rows [octaves]; w(d) = exp(-d^2 / 2) is 1
among them and fades to 0 outside, where the interval widens to that of the physics alone and beyond. s is 1 for rows
of a kind that was seen; others keep the share that left-out kinds told, and their interval is no narrower than those'.

Shift and scale are sums of regression trees (Friedman, Annals of Statistics 29, 2001), walked level by level for all
rows and trees at once. h is a local scale times a factor that makes 80 % of left-out training rows fall inside
(split conformal prediction with normalised scores: Lei et al., JASA 113, 2018), a factor that depends on how long the
physics says a kernel takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import combinations
from math import inf

import numpy as np
import numpy.typing as npt

from simexplore.archs.schema.calibration import Calibration
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.residual import Correction, Hull, Trees
from simexplore.archs.units import show
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray
from simexplore.sim.estimate.compiled.build import ready
from simexplore.sim.estimate.compiled.walk import summed
from simexplore.sim.estimate.intervals.kinds import kind_columns, unseen
from simexplore.sim.estimate.intervals.standing import names_of, sigma_at, standing_of
from simexplore.sim.estimate.traits import NAMES
from simexplore.workloads.operators.columns import as_floats, as_integers
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import Gemm, Operator

NORMAL_80 = 1.2815515655446004
"""Half-width, over sigma, of the 80 % interval of a normal distribution."""
UNCALIBRATED_SIGMA_LOG = 0.35
"""Spread assumed where nothing was fitted: what physics from data sheets alone showed on attention, about 30 %; GEMMs
and streams were nearer."""
WIDER_PER_OCTAVE = 0.25
"""Of an interval, for each octave outside the training rows; assumed, as is the form of w(d)."""
LENGTH = "physics time"
"""The feature that intervals know sizes by: log2 of the physics' time [s]."""
ROWS_AT_ONCE = 256
"""Rows walked together: rows x trees x 8 bytes should stay in a core's L2 cache."""
_LARGEST_DIVISOR = 4096
_TILES = (64, 128, 256)
"""Multiples to which kernels fill up a size."""

_COMMON_TILES = ((128, 256), (256, 128), (128, 128), (64, 128), (128, 64), (64, 64))
"""Tiles of C that most libraries have."""

NOT_OF_A_GROUP = ("cache", "pace", "runs_before", "runs", "activity", "beside", "rotation")
"""Conditions that change what the physics says, and not what is wrong with it."""

Floats32 = npt.NDArray[np.float32]


def group_of(op: Operator, conditions: Conditions) -> str:
    """Rows that one correction can serve: family, dtypes and how kernels are run, as `gemm bf16 graph`."""
    dtypes = [name for name, (_, parameter) in parameters_of(op).items() if parameter.kind == "dtype"]
    others = {name: getattr(op, name) for name in dtypes if name != "dtype"}
    words = [op.op, op.dtype, *(f"{name}={value}" for name, value in others.items() if value not in (None, op.dtype))]
    names = [field.name for field in fields(conditions) if field.name not in NOT_OF_A_GROUP]
    states = {name: getattr(conditions, name) for name in names}
    words += [value if isinstance(value, str) else name for name, value in states.items() if value]
    words += ["sustained"] if conditions.runs_before == inf else []  # clocks that no short run has shown
    return " ".join(words)


def correction_of(op: Operator, gpu: Gpu, conditions: Conditions) -> Correction | None:
    """What was learned of such rows on this machine, if anything."""
    if gpu.calibration is None or gpu.calibration.residual is None:
        return None
    return gpu.calibration.residual.corrections.get(group_of(op, conditions))


def half_width(op: Operator, gpu: Gpu, conditions: Conditions) -> float:
    """Half of the 80 % interval of log time of the physics alone, as `half_width_of_group` has it."""
    return half_width_of_group(group_of(op, conditions), gpu)


def half_width_of_group(group: str, gpu: Gpu) -> float:
    """Half of the 80 % interval of log time of a group's rows by the physics alone.

    By the nearest group that the machine tells of, and no narrower than where that knowledge comes from allows.
    """
    calibration = gpu.calibration or Calibration()
    known, names = calibration.sigma_log, names_of(group)
    sigma = next((known[name] for name in (*names, "default") if name in known), UNCALIBRATED_SIGMA_LOG)
    return NORMAL_80 * sigma_at(standing_of(group, gpu), sigma, calibration.spread, names[-1])


def corrected(
    correction: Correction, columns: Mapping[str, FloatArray], far_half_width: float
) -> tuple[FloatArray, FloatArray]:
    """Shift of log time and half-width of its interval, each of shape (rows,).

    Args:
        correction: of the operator's group.
        columns: features of the rows, as of `feature_columns`.
        far_half_width: half-width of the physics alone, for rows far from the training rows.
    """
    x = stacked(columns, correction.features)
    distance = octaves_outside(correction.hull, stacked(columns, correction.coordinates))
    near = np.exp(-0.5 * distance**2)
    keep, least = unseen(correction.kinds, columns)
    local = np.exp(sum_of_trees(correction.spread, x)) * _over_scale(correction, columns)
    wider = 1.0 + WIDER_PER_OCTAVE * distance
    far = np.maximum(far_half_width, local) * wider
    width = np.maximum(near * local + (1.0 - near) * far, least * wider)
    return near * keep * sum_of_trees(correction.shift, x), width


def _over_scale(correction: Correction, columns: Mapping[str, FloatArray]) -> FloatArray:
    """Half-width of the interval over the local scale, by how long the physics says that kernels take."""
    if len(correction.knots) == 1:
        return correction.half_width
    widths: FloatArray = np.interp(columns[LENGTH], correction.knots, correction.half_width)
    return widths


def feature_columns(op: Operator, gpu: Gpu, traits: FloatArray) -> dict[str, FloatArray]:
    """Features of each row by name, columns of shape (rows,) or (1,)."""
    columns = size_columns(op, gpu) | {f"physics {name}": traits[:, i] for i, name in enumerate(NAMES)}
    columns["physics reads"] = columns["physics dram_bytes"] - columns["bytes"]
    return columns | kind_columns(op)


def size_columns(op: Operator, gpu: Gpu) -> dict[str, FloatArray]:
    """The features that follow from the sizes of each row alone."""
    columns: dict[str, FloatArray] = {}
    for name in size_names(op):
        value = as_integers(getattr(op, name))
        columns[name] = np.log2(np.maximum(value, 0.5))
        divisor = np.minimum(value & -value, _LARGEST_DIVISOR)
        columns[f"{name} divisor"] = np.log2(np.maximum(divisor, 1.0))
        for tile in _TILES:
            columns[f"{name} in {tile}"] = np.ceil(value / tile) * tile / np.maximum(value, 1)
    columns |= _of_pairs(columns, size_names(op))
    if isinstance(op, Gemm):
        columns |= _of_waves(op, gpu)
    flops, size = as_floats(op.flops), as_floats(op.min_bytes)
    columns["flops"], columns["bytes"] = np.log2(np.maximum(flops, 1.0)), np.log2(np.maximum(size, 1.0))
    return columns


def _of_pairs(columns: Mapping[str, FloatArray], names: list[str]) -> dict[str, FloatArray]:
    """log2 of the product and the quotient of each two sizes: what thresholds of a library's rules are in."""
    pairs: dict[str, FloatArray] = {}
    for first, second in combinations(names, 2):
        pairs[f"{first} x {second}"] = columns[first] + columns[second]
        pairs[f"{second} / {first}"] = columns[second] - columns[first]
    return pairs


def _of_waves(op: Gemm, gpu: Gpu) -> dict[str, FloatArray]:
    """Waves that C would make in tiles of common sizes, one CTA an SM, and how full they would be.

    The library weighs these whatever tile the physics takes to be the fastest.
    """
    m, n, batch = (as_floats(x) for x in (op.m, op.n, op.batch))
    columns: dict[str, FloatArray] = {}
    for high, wide in _COMMON_TILES:
        waves = batch * np.ceil(m / high) * np.ceil(n / wide) / gpu.sm.count
        columns[f"waves of {high}x{wide}"] = np.log2(waves)
        columns[f"wave fill of {high}x{wide}"] = waves / np.ceil(waves)
    return columns


def by_thirds(inside: npt.NDArray[np.bool_], size: FloatArray) -> tuple[float, ...]:
    """Share of each third of the rows by size, smallest first; nothing where there are fewer than three rows."""
    thirds = np.array_split(np.argsort(size, kind="stable"), 3)
    return tuple(float(np.mean(inside[part])) for part in thirds) if len(inside) >= 3 else ()


def size_names(op: Operator) -> list[str]:
    """The counts of an operator: what its hull is made of."""
    return [name for name, (_, parameter) in parameters_of(op).items() if parameter.kind == "count"]


def stacked(columns: Mapping[str, FloatArray], names: tuple[str, ...]) -> Floats32:
    """Named columns side by side, shape (rows, names), in the precision in which thresholds are stored.

    Raises:
        SimexploreError: a correction asks for a column that operators do not have.
    """
    unknown = next((name for name in names if name not in columns), None)
    if unknown is not None:
        raise SimexploreError(
            f"the machine's learned correction asks for {show(unknown)}, which its operators do not have: "
            "calibrate it again, or leave it out with --physics-only"
        )
    rows = max(len(column) for column in columns.values())
    table = np.empty((rows, len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        table[:, i] = columns[name]
    return table


def octaves_outside(hull: Hull, coordinates: Floats32) -> FloatArray:
    """How far rows lie outside a hull [octaves], the largest over its directions; 0 inside. Shape (rows,)."""
    # In double precision: a product in single precision depends on how many rows there are.
    along = coordinates.astype(np.float64) @ hull.directions.T.astype(np.float64)
    outside: FloatArray = np.maximum(along - hull.high, hull.low - along).max(axis=1, initial=0.0)
    return outside


def sum_of_trees(trees: Trees, x: Floats32) -> FloatArray:
    """The sum of the leaves that each row of x, shape (rows, features), reaches; shape (rows,)."""
    if ready(len(x)) and x.shape[1]:
        return summed(trees, x)
    inner = trees.feature >= 0
    feature = np.where(inner, trees.feature, 0).astype(np.intp)
    threshold = np.where(inner, trees.value, np.float32(np.inf))
    left = trees.left.astype(np.intp)
    total = np.empty(len(x))
    for start in range(0, len(x), ROWS_AT_ONCE):
        part = np.ascontiguousarray(x[start : start + ROWS_AT_ONCE])
        leaf = _walk(trees.root.astype(np.intp), feature, threshold, left, part)
        total[start : start + ROWS_AT_ONCE] = trees.value.take(leaf).sum(axis=1, dtype=np.float64)
    return total + trees.start


def _walk(
    root: npt.NDArray[np.intp],
    feature: npt.NDArray[np.intp],
    threshold: Floats32,
    left: npt.NDArray[np.intp],
    x: Floats32,
) -> npt.NDArray[np.intp]:
    """The leaf of each row in each tree, shape (rows, trees). A leaf's threshold is infinite: who is there stays.

    No index is outside its array (`archs.residual` sees to it), so `take` need not look: mode "clip" is the fastest.
    """
    flat = x.ravel()
    begin = (np.arange(len(x)) * x.shape[1])[:, None]
    node = np.broadcast_to(root, (len(x), len(root)))
    while True:
        asked = flat.take(feature.take(node, mode="clip") + begin, mode="clip")
        below: npt.NDArray[np.intp] = left.take(node, mode="clip")
        below += asked > threshold.take(node, mode="clip")
        if np.array_equal(below, node):
            return below
        node = below
