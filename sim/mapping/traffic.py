"""What DRAM brings and takes: how much of what a kernel touches L2 still holds, and what is passed over again.

Between two reads of a line lie all bytes that are touched meanwhile. An operand that a framework rotates through
several copies is read again after all of them; one copy is re-read each run, infinitely many are never warm.
"""

from __future__ import annotations

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray
from simexplore.sim.hardware.cache import hit_share
from simexplore.workloads.operators.columns import column

MOST_COPIES = 1e9
"""Copies that stand for infinitely many: no cache holds so many, and zero bytes stay zero."""


def warm_share(
    operand_bytes: FloatArray, copies: float | FloatArray, other_bytes: FloatArray, gpu: Gpu, room: float = 1.0
) -> FloatArray:
    """Share of an operand's bytes that L2 holds from the run before.

    Args:
        operand_bytes: one copy of the operand [B], shape (rows, 1).
        copies: how many of them the runs rotate through, a number or an array of shape (rows,).
        other_bytes: what a run touches beside it [B].
        gpu: the machine.
        room: share of the usable L2 that such lines can fill.
    """
    # Once every copy has had its turn, this one is read again.
    return hit_share(np.minimum(column(copies), MOST_COPIES) * operand_bytes + other_bytes, gpu, room)


def written_back_share(touched_bytes: FloatArray, gpu: Gpu, room: float = 1.0) -> FloatArray:
    """Share of the results that reaches DRAM within the kernel's time, when it touches so many bytes [B]."""
    return 1.0 - hit_share(touched_bytes, gpu, room)


def passes(rows: FloatArray, columns: FloatArray, at_once: FloatArray | float) -> FloatArray:
    """How often an operand that belongs to all of a grid's columns is passed over, once for each wave of rows.

    CTAs start row by row, `at_once` of them at a time, and those that run at once share what they read.
    """
    return np.maximum(rows / np.maximum(at_once / columns, 1.0), 1.0)
