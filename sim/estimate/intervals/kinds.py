"""Kinds of an operator's rows: what makes a library take another kernel, or a kernel work in another way.

A row's sizes may lie among those of measured rows and its kind may still be one that nobody has measured: a head
dimension, a window, a single row of A. Kinds lie on axes; on each a row has one, a whole number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from simexplore.archs.schema.residual import Kinds
from simexplore.sim.demand import FloatArray
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.columns import as_integers

Codes = npt.NDArray[np.int64]

KIND = "kind "
"""Beginning of the names of the columns that hold kinds, one an axis."""
_CORNER_OCTAVES = 3
"""Octaves of m, n and k that make one corner."""
_NARROW = 16
"""Rows of A that the smallest instruction of tensor cores has: fewer leave it partly empty."""
_ALIGNED = (2, 8, 64)
"""Multiples that kernels ask of n and k: 16-byte loads of 16-bit numbers take 8, a slice of a tile 64."""


def kinds_of(op: Operator) -> dict[str, Codes]:
    """The kind of each row by axis, arrays of shape (rows,) or (1,); no axes where nothing tells kinds apart."""
    of_family = _OF_FAMILY.get(op.op)
    return {} if of_family is None else of_family(op)


def _column(op: Operator, name: str) -> Codes:
    return as_integers(getattr(op, name))


def _octave(value: Codes) -> Codes:
    """0 of 1, 1 of 2, 2 of 3 and 4, 3 of 5 to 8…"""
    return np.ceil(np.log2(np.maximum(value, 1))).astype(np.int64)


def _of_attention(op: Operator) -> dict[str, Codes]:
    """Head dimension, whether there is a window, and how many query heads share a key head, in octaves."""
    heads, kv_heads = _column(op, "heads"), _column(op, "kv_heads")
    window = _column(op, "window") if hasattr(op, "window") else np.zeros(1, dtype=np.int64)
    return {
        "head_dim": _column(op, "head_dim"),
        "window": (window > 0).astype(np.int64),
        "group": _octave(heads // np.maximum(kv_heads, 1)),
    }


def _of_gemm(op: Operator) -> dict[str, Codes]:
    """One row of A, a few or many; how n and k are aligned; and the corner of the space of sizes."""
    m, n, k = (_column(op, name) for name in ("m", "n", "k"))
    aligned = sum(((n % multiple == 0) & (k % multiple == 0)).astype(np.int64) for multiple in _ALIGNED)
    corner = np.zeros(1, dtype=np.int64)
    for size in (m, n, k):
        corner = 16 * corner + np.log2(np.maximum(size, 1)).astype(np.int64) // _CORNER_OCTAVES
    return {
        "rows": (m > 1).astype(np.int64) + (m > _NARROW),
        "alignment": as_integers(aligned),
        "corner": corner,
    }


def _of_rows(op: Operator) -> dict[str, Codes]:
    """How long a row is, in octaves, and whether loads of 8 elements divide it."""
    cols = _column(op, "cols")
    return {"cols": _octave(cols), "alignment": (cols % 8 == 0).astype(np.int64)}


def _of_conv(op: Operator) -> dict[str, Codes]:
    return {"ksize": _column(op, "ksize"), "stride": _column(op, "stride")}


def _of_collective(op: Operator) -> dict[str, Codes]:
    return {"num_gpus": _column(op, "num_gpus")}


_OF_FAMILY: Mapping[str, Callable[[Operator], dict[str, Codes]]] = {
    **dict.fromkeys(("attention_prefill", "attention_decode", "encoder_attention"), _of_attention),
    **dict.fromkeys(("gemm", "bmm"), _of_gemm),
    **dict.fromkeys(("softmax", "layernorm", "rmsnorm", "quant_scale_matrix"), _of_rows),
    "conv2d": _of_conv,
    **dict.fromkeys(("all_reduce", "all_gather", "reduce_scatter", "all_to_all"), _of_collective),
}


def kind_columns(op: Operator) -> dict[str, FloatArray]:
    """`kinds_of` as columns beside the features."""
    return {KIND + name: codes.astype(np.float64) for name, codes in kinds_of(op).items()}


def _not_among(column: FloatArray, seen: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Where a column has none of the values that were seen."""
    known = np.sort(seen).astype(np.float64)
    if not len(known):
        return np.ones(len(column), dtype=np.bool_)
    nearest = known[np.minimum(np.searchsorted(known, column), len(known) - 1)]
    other: npt.NDArray[np.bool_] = nearest != column
    return other


def unseen(kinds: Kinds, columns: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """What unseen kinds leave of a shift, and the least half-width of log time; arrays of shape (rows,) or (1,).

    A row that is new on several axes has the least share and the largest width of them. Columns that are missing are
    those of a machine whose file told of other axes: of these every row is of a kind that was seen.
    """
    keep, width = np.ones(1), np.zeros(1)
    for i, name in enumerate(kinds.names):
        column = columns.get(KIND + name)
        if column is not None:
            new = _not_among(column, kinds.value[kinds.axis == i])
            keep = np.minimum(keep, np.where(new, kinds.keep[i], 1.0))
            width = np.maximum(width, np.where(new, kinds.half_width[i], 0.0))
    return keep, width


def unseen_axes(kinds: Kinds, columns: Mapping[str, FloatArray]) -> tuple[str, ...]:
    """The axes on which a row's kind was never seen."""
    told = ((i, name, columns.get(KIND + name)) for i, name in enumerate(kinds.names))
    return tuple(
        name
        for i, name, column in told
        if column is not None and np.any(_not_among(column, kinds.value[kinds.axis == i]))
    )
