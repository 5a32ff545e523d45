"""pos_fract and grid_index: from points to the table entries of their cells' corners, and to banks.

The arithmetic is tiny-cuda-nn's (NVlabs/tiny-cuda-nn, common_device.h): a point is scaled and shifted by half a cell;
an entry is the dense index, or the XOR of coordinates times primes, modulo the table's size.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PRIMES = (1, 2654435761, 805459861)
HASH_BITS = np.uint64(0xFFFFFFFF)
"""The hash is computed in 32 bits."""
CELL_CENTRE = 0.5
"""Of a cell, by which points are shifted."""
Entries = NDArray[np.uint64]


def cells(points: NDArray[np.float64], scale: float) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Cell of each point and its place in the cell; points (n, dims) in the unit cube."""
    at = points * scale + CELL_CENTRE
    corner = np.floor(at)
    return corner.astype(np.uint64), at - corner


def corner_offsets(dims: int) -> NDArray[np.uint64]:
    """The corners of a cell, (2^dims, dims), x fastest."""
    number = np.arange(2**dims, dtype=np.uint64)[:, None]
    return (number >> np.arange(dims, dtype=np.uint64)[None, :]) & np.uint64(1)


def corner_entries(points: NDArray[np.float64], resolution: int, entries: int, hashed: bool) -> Entries:
    """Table entries of the corners of each point's cell, shape (points, 2^dims).

    Args:
        points: (n, dims) in the unit cube.
        resolution: grid points along an axis.
        entries: size of the table.
        hashed: whether the index is hashed; else dense, wrapped where the table is smaller (tiled).
    """
    cell, _ = cells(points, resolution - 1.0)
    corners = cell[:, None, :] + corner_offsets(points.shape[1])[None, :, :]
    if hashed:
        index = np.zeros(corners.shape[:2], np.uint64)
        for axis in range(points.shape[1]):
            index ^= (corners[:, :, axis] * np.uint64(PRIMES[axis])) & HASH_BITS
    else:
        strides = np.array([resolution**axis for axis in range(points.shape[1])], np.uint64)
        index = (corners * strides).sum(axis=2, dtype=np.uint64)
    return np.asarray(index % np.uint64(entries), np.uint64)


def request_banks(
    points: NDArray[np.float64], resolution: int, entries: int, hashed: bool, interleave: str, banks: int, words: int
) -> NDArray[np.int64]:
    """Bank of every word that the corners of each point's cell need, shape (points, 2^dims * words).

    Words of an entry lie in neighbouring banks. Entries lie across the banks by their `index`, or by the `parity` of
    their corner's coordinates, which are then the low bits of its address: so the corners of a cell never meet.
    """
    if interleave == "parity":
        cell, _ = cells(points, resolution - 1.0)
        odd = (cell[:, None, :] + corner_offsets(points.shape[1])[None, :, :]) & np.uint64(1)
        number = (odd << np.arange(points.shape[1], dtype=np.uint64)).sum(axis=2, dtype=np.uint64)
    else:
        number = corner_entries(points, resolution, entries, hashed)
    word = number[:, :, None] * np.uint64(words) + np.arange(words, dtype=np.uint64)
    return np.asarray((word % np.uint64(banks)).reshape(len(points), -1), np.int64)
