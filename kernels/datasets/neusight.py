"""NeuSight's tables (Lee et al., ASPLOS 2025, arXiv 2407.13853; github.com/sitar-lab/NeuSight): how rows were run.

Events stand around one call of eager PyTorch 2.1 on an idle stream, and the fastest calls count, so a row has the time
that the host takes to reach the first launch (neusight/Dataset/collect.py). One process runs the whole sweep. A
convolution's host time grows with the shapes that the process has called before (`docs/studies/convolutions.md`), and
tables don't keep the order; but shapes were drawn by a seeded generator (neusight/Dataset/dims.py), so it can be drawn
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from random import Random
from types import MappingProxyType

import numpy as np
import pandas as pd

from simexplore.kernels.measurement import EARLIER_SHAPES, Conditions

SOURCE_PREFIX = "neusight/"
CONDITIONS = Conditions(launch="stream", eager=True)

SWEEP_SEED = 42
SWEEP_SHAPES = 5000
RANGES = {
    "batch": (1, 64),
    "cin": (3, 2048),
    "cout": (3, 2048),
    "ksize": (3, 3),
    "hw": (5, 256),
    "stride": (1, 1),
    "pad": (1, 1),
}
"""Parameters of a convolution in the order in which they were drawn, each evenly from its range."""
MOST_FLOPS = 1e9
"""Of one image; shapes with more were drawn again."""


def with_earlier_shapes(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with the convolutions that ran before each of these rows, where it does not tell them itself."""
    rows = frame["source"].str.startswith(SOURCE_PREFIX) & (frame["op"] == "conv2d")
    if EARLIER_SHAPES in frame or not rows.any() or not set(RANGES) <= set(frame.columns):
        return frame
    order = sweep()
    shapes = frame.loc[rows, list(RANGES)].itertuples(index=False, name=None)
    earlier = np.full(len(frame), np.nan)
    earlier[rows.to_numpy(dtype=bool)] = [order.get(shape, np.nan) for shape in shapes]
    return frame.assign(**{EARLIER_SHAPES: earlier})


@cache
def sweep() -> Mapping[tuple[int, ...], int]:
    """Shapes of the sweep of convolutions → how many came before."""
    draw = Random(SWEEP_SEED).randint
    order: dict[tuple[int, ...], int] = {}
    drawn = 0
    while drawn < SWEEP_SHAPES:
        shape = {name: draw(*ends) for name, ends in RANGES.items()}
        if 2 * shape["cin"] * shape["cout"] * shape["ksize"] ** 2 * shape["hw"] ** 2 <= MOST_FLOPS:
            order.setdefault(tuple(shape.values()), drawn)
            drawn += 1
    return MappingProxyType(order)
