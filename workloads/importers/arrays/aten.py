"""ATen's operations on arrays as operators: an operation is one line in `ARRAYS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType

from simexplore.workloads.importers import lowering
from simexplore.workloads.importers.arrays import shapes
from simexplore.workloads.importers.arrays.calls import AtenCall, values_in
from simexplore.workloads.importers.lowering import Lowered
from simexplore.workloads.ops import Pointwise

Lowering = Callable[[AtenCall], Lowered]

GRID_MODES = ("linear", "nearest", "cubic")
"""Of grid_sample, by the number that ATen has for them."""
TAPS = {"linear": 2, "nearest": 1, "cubic": 4}
"""Elements along each axis that a result is interpolated between."""


def _pool(function: str, axes: int, *, indices: bool = False) -> Lowering:
    def of(call: AtenCall) -> Lowered:
        window = tuple(call.args[1])
        return shapes.pool(call.value(0), call.results[0], window * (axes // len(window)), function, indices=indices)

    return of


def _adaptive(function: str, axes: int, *, indices: bool = False) -> Lowering:
    return lambda call: shapes.adaptive_pool(call.value(0), call.results[0], axes, function, indices=indices)


def _resampled(function: str) -> Lowering:
    def of(call: AtenCall) -> Lowered:
        axes = len(call.value(0).shape) - 2
        return shapes.resample(call.value(0), call.results[0], TAPS[function] ** axes, function)

    return of


def _grid_sample(call: AtenCall) -> Lowered:
    mode, axes = GRID_MODES[call.option(2, "interpolation_mode", 0)], len(call.value(0).shape) - 2
    return shapes.resample(call.value(0), call.results[0], TAPS[mode] ** axes, f"grid_{mode}", call.value(1))


def _reduced(function: str, axes: int = 1) -> Lowering:
    """A reduction whose axes are its argument number `axes`, or `dim`."""

    def of(call: AtenCall) -> Lowered:
        told = call.option(axes, "dim", None)
        return shapes.reduce(function, call.value(0), told, call.results[0], values=len(call.results))

    return of


def _extreme(function: str) -> Lowering:
    """The largest of all elements, along an axis with where it lay, or element by element of two tensors."""

    def of(call: AtenCall) -> Lowered:
        if len(call.tensors) > 1:
            return lowering.elementwise(f"{function}imum", call.tensors, call.results[0])
        indices = len(call.results) - 1
        axis = call.option(1, "dim", None) if indices else None
        return shapes.reduce(function, call.value(0), axis, call.results[0], indices=indices)

    return of


def _where_extreme(function: str) -> Lowering:
    return lambda call: shapes.reduce(
        function, call.value(0), call.option(1, "dim", None), call.results[0], values=0, indices=1
    )


def _scanned(function: str) -> Lowering:
    return lambda call: shapes.scan(function, call.value(0), call.option(1, "dim", 0))


def _sorted(call: AtenCall) -> Lowered:
    """Of `sort.stable` the axis is given by name."""
    axis = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 and call.args[1] is not None else -1)
    return shapes.sort(call.value(0), axis if not isinstance(axis, bool) else -1)


def _run(call: AtenCall, axis: int) -> int:
    """Neighbouring elements that an index along an axis takes."""
    shape = call.value(0).shape
    return prod(shape[axis % max(len(shape), 1) + 1 :])


def _picked(call: AtenCall) -> Lowered:
    """gather and take: an index for each element."""
    return shapes.gather(call.value(0), call.results[0], 1)


def _selected(call: AtenCall) -> Lowered:
    return shapes.gather(call.value(0), call.results[0], _run(call, call.args[1]))


def _indexed(call: AtenCall) -> Lowered:
    return shapes.gather(call.value(0), call.results[0], _run(call, _last_indexed(call)))


def _last_indexed(call: AtenCall) -> int:
    return max((axis for axis, index in enumerate(call.args[1]) if index is not None), default=0)


def _scattered(*, adds: bool = False) -> Lowering:
    def of(call: AtenCall) -> Lowered:
        index = call.value(2)
        return shapes.scatter(call.value(0), index.numel, 1, adds=adds, in_place=call.name.endswith("_"))

    return of


def _scattered_rows(*, adds: bool) -> Lowering:
    def of(call: AtenCall) -> Lowered:
        return shapes.scatter(
            call.value(0), call.value(3), _run(call, call.args[1]), adds=adds, in_place=call.name.endswith("_")
        )

    return of


def _put(call: AtenCall) -> Lowered:
    last, shape = _last_indexed(call), call.value(0).shape
    indices = values_in(call.args[1])
    pieces = max((index.numel for index in indices), default=1)
    taken = sum(index is not None for index in call.args[1])
    others = prod(shape) // max(prod(shape[axis] for axis in range(last + 1 - taken, last + 1)), 1)
    adds = bool(call.option(3, "accumulate", False))
    return shapes.scatter(
        call.value(0), pieces * others, prod(shape[last + 1 :]), adds=adds, in_place=call.name.endswith("_")
    )


def _rearranged(call: AtenCall) -> Lowered:
    """Elements that change places, or get others around them."""
    return lowering.copy(call.value(0), call.results[0])


def _gated(call: AtenCall) -> Lowered:
    """One half by the sigmoid of the other."""
    dtype = call.results[0].dtype
    return lowering.NO_FLOATS if dtype is None else (Pointwise(call.results[0].numel, 2, 1, 4, dtype, "glu"),)


_PADS = (f"{kind}_pad{axes}d" for kind in ("reflection", "replication") for axes in (1, 2, 3))

ARRAYS: Mapping[str, Lowering] = MappingProxyType(
    {
        **{f"max_pool{axes}d_with_indices": _pool("max", axes, indices=True) for axes in (2, 3)},
        **{f"avg_pool{axes}d": _pool("mean", axes) for axes in (2, 3)},
        **{f"_adaptive_avg_pool{axes}d": _adaptive("mean", axes) for axes in (2, 3)},
        **{f"adaptive_max_pool{axes}d": _adaptive("max", axes, indices=True) for axes in (2, 3)},
        **{f"upsample_nearest{axes}d": _resampled("nearest") for axes in (1, 2, 3)},
        **{f"_upsample_nearest_exact{axes}d": _resampled("nearest") for axes in (1, 2, 3)},
        **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"), _resampled("linear")),
        "upsample_bicubic2d": _resampled("cubic"),
        **dict.fromkeys(("grid_sampler_2d", "grid_sampler_3d"), _grid_sample),
        **{name: _reduced(name) for name in ("sum", "mean", "prod", "var", "std", "logsumexp")},
        **{name: _reduced("moments") for name in ("var_mean", "std_mean")},
        **{f"a{name}": _reduced(name) for name in ("max", "min")},
        **{name: _extreme(name) for name in ("max", "min")},
        **{f"arg{name}": _where_extreme(name) for name in ("max", "min")},
        **dict.fromkeys(("linalg_vector_norm", "norm"), _reduced("l2", 2)),
        **{f"cum{name}": _scanned(name) for name in ("sum", "prod")},
        "logcumsumexp": _scanned("logsumexp"),
        "sort": _sorted,
        "topk": lambda call: shapes.top_k(call.value(0), call.option(2, "dim", -1), call.args[1]),
        **dict.fromkeys(("gather", "take"), _picked),
        "index_select": _selected,
        "index": _indexed,
        **dict.fromkeys(("scatter", "scatter_"), _scattered()),
        **dict.fromkeys(("scatter_add", "scatter_add_", "scatter_reduce", "scatter_reduce_"), _scattered(adds=True)),
        **dict.fromkeys(("index_add", "index_add_"), _scattered_rows(adds=True)),
        **dict.fromkeys(("index_copy", "index_copy_"), _scattered_rows(adds=False)),
        **dict.fromkeys(("index_put", "index_put_"), _put),
        **dict.fromkeys(
            (*_PADS, "constant_pad_nd", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"), _rearranged
        ),
        **dict.fromkeys(("roll", "flip", "tril", "triu", "im2col", "slice_scatter", "select_scatter"), _rearranged),
        "glu": _gated,
    }
)
"""Operations by name: how each becomes operators."""
