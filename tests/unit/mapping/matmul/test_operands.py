"""What DRAM brings for a GEMM on the machine of round numbers: first reads, and passes over operands again.

A has 3 x 40 rows of 100 16-bit elements, B 3 x 200 columns of 8-bit ones, C 16-bit results, so that A is 24 kB, B 60 kB
and C 48 kB. Of lines that were last read x caches ago 1 / (1 + x) hit; operands fill 0.8 of 1 MB, results 0.4.
"""

from __future__ import annotations

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.sim.conditions import CacheState
from simexplore.sim.mapping.columns import Pairs
from simexplore.sim.mapping.matmul.operands import dram_traffic
from simexplore.workloads.ops import Gemm

A, B, C = 24_000, 60_000, 48_000
OP = Gemm(40, 200, 100, batch=3, dtype="fp16", weight_dtype="int8")
COPIES = CacheState(weight_copies=5, activation_copies=2)


def one(value: float) -> np.ndarray:
    return np.array([[float(value)]])


def read_again(grid: tuple[int, int], tile: tuple[int, int], splits: float) -> float:
    """Bytes beyond those that are read first, over the share of a second read that misses."""
    sides = tuple(map(one, grid)), tuple(map(one, tile))
    read = dram_traffic(OP, round_gpu(), COPIES, *sides, one(splits), Pairs(1, 1)).read.item()  # type: ignore[arg-type]
    missed = (84 / 800) / (1 + 84 / 800)
    return (read - FIRST) / missed


FIRST = A * (156 / 800) / (1 + 156 / 800) + B * (372 / 800) / (1 + 372 / 800)
"""Two copies of A, and B and C, lie between two reads of A; five copies of B, A and C between those of B."""


def test_first_reads_and_results() -> None:
    traffic = dram_traffic(OP, round_gpu(), COPIES, (one(1), one(1)), (one(64), one(64)), one(1), Pairs(1, 1))
    assert traffic.read.item() == pytest.approx(FIRST, rel=1e-12)
    assert traffic.unread.item() == pytest.approx(A + B - FIRST, rel=1e-12)
    assert traffic.write.item() == pytest.approx(C * (132 / 400) / (1 + 132 / 400), rel=1e-12)


@pytest.mark.parametrize(
    ("grid", "tile", "splits", "expected"),
    [
        ((20, 20), (64, 640), 1, B * (20 / 10 - 1)),  # ten rows of one column at once: A would be read 19 times more
        ((20, 20), (640, 64), 1, A * (20 / 10 - 1)),  # one row of ten
        ((20, 20), (64, 160), 1, B * (20 / 5 - 1)),  # five rows of two
        ((20, 20), (160, 64), 1, A * (20 / 5 - 1)),
        ((20, 20), (64, 160), 4, B * (20 / 2.5 - 1)),  # two and a half CTAs at once: that many rows of one column
        ((20, 20), (64, 64), 10, A * (20 / 1 - 1)),  # one CTA at a time, and so with more splits than SMs
        ((20, 20), (64, 64), 20, A * (20 / 1 - 1)),
        ((3, 40), (64, 640), 1, 0),  # all rows at once: B is passed over once
        ((40, 4), (640, 64), 1, 0),  # all columns, of two and a half rows
        ((2, 3), (64, 64), 1, 0),
    ],
)
def test_passes_over_operands(grid: tuple[int, int], tile: tuple[int, int], splits: float, expected: float) -> None:
    """Ten CTAs at once cover a block as nearly square as it can be; the cheaper of A and B is streamed."""
    assert read_again(grid, tile, splits) == pytest.approx(expected, abs=1e-6)
