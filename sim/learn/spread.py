"""Rows that stand for a table: one from each cell of a k-d tree over the logs of their sizes.

Fitting on rows spread like this depends less on luck than on as many drawn from the whole table: large, small, deep
and flat kernels are all among them, each as likely as any other (stratified sampling; the tree is Bentley's, 1975).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.measurement import Measurements
from simexplore.sim.estimate.correction import size_names
from simexplore.workloads.operators.base import Operator

Positions = npt.NDArray[np.intp]
Floats = npt.NDArray[np.float64]


def log_sizes(record: Operator, rows: int) -> Floats:
    """log2 of the counts of an operator record whose columns have `rows` entries; shape (rows, counts)."""
    counts = [np.broadcast_to(np.asarray(getattr(record, name), dtype=np.float64), rows) for name in size_names(record)]
    return np.log2(np.maximum(np.column_stack(counts), 0.5))


def spread_rows(points: Floats, most: int, random: np.random.Generator) -> Positions:
    """Positions, in order, of at most `most` points of shape (rows, dimensions): one a cell, all cells alike large.

    A cell is halved along the dimension in which it is the widest, relative to the whole table's width.
    """
    width = np.ptp(points, axis=0)
    scaled = points[:, width > 0.0] / width[width > 0.0]
    cells = [(np.arange(len(points)), min(most, len(points)))]
    chosen: list[int] = []
    while cells:
        rows, wanted = cells.pop()
        if wanted == len(rows):
            chosen += rows.tolist()
        elif wanted == 1:
            chosen.append(int(random.choice(rows)))
        elif wanted > 1:
            cells += _halves(rows, wanted, scaled, random)
    return np.sort(np.array(chosen, dtype=np.intp))


def _halves(rows: Positions, wanted: int, scaled: Floats, random: np.random.Generator) -> list[tuple[Positions, int]]:
    """Two cells of the rows, and how many of each are wanted; equal sizes fall to either side at random."""
    ties = random.random(len(rows))
    if scaled.shape[1]:
        widest = int(np.argmax(np.ptp(scaled[rows], axis=0)))
        order = rows[np.lexsort((ties, scaled[rows, widest]))]
    else:
        order = rows[np.argsort(ties)]
    of_left = wanted // 2
    cut = round(len(rows) * of_left / wanted)
    return [(order[:cut], of_left), (order[cut:], wanted - of_left)]


def rows_of_engine(measurements: Measurements, gpu: Gpu) -> tuple[Measurements, dict[str, int]]:
    """The rows that the machine's kernels may be fitted on: none that another of its engines ran."""
    frame = measurements.frame
    pairs = frame[["source", "op"]].drop_duplicates().itertuples(index=False, name=None)
    engines = {pair: measurements.conditions_of(*pair).engine for pair in pairs}
    of_row = np.array([engines[pair] for pair in zip(frame["source"], frame["op"], strict=True)], dtype=object)
    others = np.isin(of_row, [name for name in gpu.engines if name != gpu.engine])
    others |= gpu.is_of_other_engine & (of_row != gpu.engine)
    counts = {str(name) or "no engine": int(np.sum(of_row[others] == name)) for name in set(of_row[others])}
    reasons = {f"rows of {name}, not {gpu.engine or 'a library'}": count for name, count in counts.items()}
    kept = frame[~others].reset_index(drop=True)
    return Measurements(kept, measurements.conditions_of), reasons
