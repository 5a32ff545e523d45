"""From shapes to operators on arrays: windows, rows, indices. See `lowering`, whose conventions hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType

from simexplore.workloads.importers.lowering import NO_FLOATS, Lowered, Value, dtype_of
from simexplore.workloads.ops import (
    Copy,
    Gather,
    GroupNorm,
    Operator,
    Pointwise,
    Pool,
    Reduce,
    Resample,
    Scan,
    Scatter,
    Sort,
    TopK,
)

AXES = 3
"""Most axes of an image."""
REDUCTION_FLOPS: Mapping[str, int] = MappingProxyType(
    {
        **dict.fromkeys(("sum", "mean", "max", "min", "prod", "l1"), 1),
        **dict.fromkeys(("l2", "logsumexp"), 2),
        **dict.fromkeys(("var", "std", "moments"), 4),
    }
)
"""Flops of each element: one, or with a square or an exponential two; of a variance difference, square and two sums."""


def pool(value: Value, out: Value, window: Sequence[int], function: str, *, indices: bool = False) -> Lowered:
    """Pooling of (…, depth, height, width), as many axes as the window has."""
    dtype, axes = dtype_of(value), len(window)
    if dtype is None:
        return NO_FLOATS
    if axes > AXES:
        return f"{axes}d"
    (depth, height, width), (out_depth, out_height, out_width), (layers, rows, cols) = (
        (1,) * (AXES - axes) + tuple(sizes) for sizes in (value.shape[-axes:], out.shape[-axes:], window)
    )
    planes = prod(value.shape[:-axes])
    op = Pool(
        planes,
        width,
        out_width,
        height,
        depth,
        cols,
        rows,
        layers,
        out_height,
        out_depth,
        int(indices),
        dtype,
        function,
    )
    return (op,)


def adaptive_pool(value: Value, out: Value, axes: int, function: str, *, indices: bool = False) -> Lowered:
    """Pooling to a given size: windows as large as in / out, rounded up."""
    window = [-(-n // to) for n, to in zip(value.shape[-axes:], out.shape[-axes:], strict=True)]
    return pool(value, out, window, function, indices=indices)


def resample(value: Value, out: Value, taps: int, function: str, grid: Value | None = None) -> Lowered:
    """An image (batch, channels, …) read at other places, which a grid (batch, …, coordinates) may tell."""
    dtype = dtype_of(value)
    if dtype is None:
        return NO_FLOATS
    planes, sizes = prod(value.shape[:2]), (prod(value.shape[2:]), prod(out.shape[2:]))
    coordinates, images = (grid.shape[-1], value.shape[0]) if grid is not None else (0, 1)
    return (Resample(planes, *sizes, taps, coordinates, images, dtype, function),)


def group_norm(value: Value, groups: int) -> Lowered:
    """Normalisation of groups of channels of (batch, channels, …)."""
    dtype = dtype_of(value)
    if dtype is None:
        return NO_FLOATS
    batch, channels = value.shape[:2]
    return (GroupNorm(batch, channels, prod(value.shape[2:]), groups, dtype),)


def local_response_norm(value: Value, window: int) -> Lowered:
    """Sums of squares over neighbouring channels, then x / (k + a sum)^b: pooling and an elementwise operator."""
    pooled = pool(value, value, (window,) + (1,) * (len(value.shape) - 2), "mean")
    if isinstance(pooled, str):
        return pooled
    return (*pooled, Pointwise(value.numel, 2, 1, 5, value.dtype or "", "local_response_norm"))


def axes_of(value: Value, axes: Sequence[int] | int | None) -> tuple[int, ...]:
    """Axes from 0 on, in order; none, or an empty list, means all."""
    count = max(len(value.shape), 1)
    told = (axes,) if isinstance(axes, int) else tuple(axes or ())
    return tuple(sorted({axis % count for axis in told})) or tuple(range(count))


def along(value: Value, axes: Sequence[int] | int | None) -> tuple[int, int, int]:
    """(rows, cols, inner) of a tensor whose `axes` are gone along; inner is what lies after the last of them."""
    found = axes_of(value, axes)
    shape = value.shape or (1,)
    cols, inner = prod(shape[axis] for axis in found), prod(shape[found[-1] + 1 :])
    return value.numel // max(cols * inner, 1), cols, inner


def reduce(
    function: str, value: Value, axes: Sequence[int] | int | None, out: Value, *, values: int = 1, indices: int = 0
) -> Lowered:
    """A reduction over axes; `values` numbers and `indices` for each result."""
    dtype = dtype_of(value)
    if dtype is None:
        return NO_FLOATS
    written = None if out.dtype in (None, dtype) else out.dtype
    flops = REDUCTION_FLOPS[function]
    return (Reduce(*along(value, axes), flops, values, indices, dtype, written, function),)


def scan(function: str, value: Value, axis: int) -> Lowered:
    """A running sum, product or maximum along an axis."""
    dtype = dtype_of(value)
    return NO_FLOATS if dtype is None else (Scan(*along(value, axis), dtype, function),)


def sort(value: Value, axis: int) -> Lowered:
    """Sorting along an axis, which is copied to be the last where it is another."""
    return _of_rows(value, axis, Sort)


def top_k(value: Value, axis: int, count: int) -> Lowered:
    """The largest elements along an axis."""
    return _of_rows(value, axis, lambda rows, cols, dtype: TopK(rows, cols, count, dtype))


def _of_rows(value: Value, axis: int, of: Callable[[int, int, str], Operator]) -> Lowered:
    dtype = dtype_of(value)
    if dtype is None:
        return NO_FLOATS
    rows, cols, inner = along(value, axis)
    op = of(rows * inner, cols, dtype)
    return (Copy(value.numel, dtype), op) if inner > 1 else (op,)


def gather(table: Value, out: Value, run: int) -> Lowered:
    """Pieces of `run` neighbouring elements of a table by index."""
    if table.dtype is None:
        return NO_FLOATS
    return (Gather(out.numel // run, table.numel, run, table.dtype),)


def scatter(table: Value, pieces: Value | int, run: int, *, adds: bool, in_place: bool) -> Lowered:
    """Pieces of `run` neighbouring elements written into a table, or into a copy of it.

    `pieces` is the tensor that they come from, or how many elements of one number there are.
    """
    if table.dtype is None:
        return NO_FLOATS
    moved = pieces if isinstance(pieces, int) else pieces.numel
    op = Scatter(moved // run, table.numel, run, int(adds), table.dtype)
    return (op,) if in_place else (Copy(table.numel, table.dtype), op)
