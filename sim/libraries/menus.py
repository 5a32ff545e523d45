"""Menus in a machine's file, as rules of several libraries read them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simexplore.archs.schema.library import Tile
from simexplore.sim.demand import FloatArray


def of_largest(width: FloatArray, tiles: Mapping[str, Tile]) -> tuple[FloatArray, FloatArray]:
    """Rows and columns of the tile of the first kernel that serves a size, else of the one that serves the largest.

    Args:
        width: sizes, head dimensions or rows of C, shape (rows, 1).
        tiles: tile by the largest size that its kernel serves.
    """
    menu = sorted((float(head), tile) for head, tile in tiles.items())
    first = np.minimum(np.searchsorted([head for head, _ in menu], width), len(menu) - 1)
    rows, keys = (np.array([float(size) for size in sizes]) for sizes in zip(*(tile for _, tile in menu), strict=True))
    return rows[first], keys[first]
