"""ONNX's operations on arrays as operators: an operation is one line in `ARRAYS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType

from simexplore.workloads.importers import lowering
from simexplore.workloads.importers.arrays import shapes
from simexplore.workloads.importers.arrays.calls import OnnxCall
from simexplore.workloads.importers.lowering import Lowered

Lowering = Callable[[OnnxCall], Lowered]

TAPS = {b"linear": 2, b"bilinear": 2, b"nearest": 1, b"cubic": 4, b"bicubic": 4}
"""Elements along each axis that a result is interpolated between."""
NAMES = {1: "nearest", 2: "linear", 4: "cubic"}
AXES_ARE_UNKNOWN = "axes are not in the file"


def _pool(function: str) -> Lowering:
    def of(call: OnnxCall) -> Lowered:
        window = call.attributes["kernel_shape"]
        return shapes.pool(call.value(0), call.results[0], window, function, indices=len(call.results) > 1)

    return of


def _global(function: str) -> Lowering:
    def of(call: OnnxCall) -> Lowered:
        value = call.value(0)
        return shapes.reduce(function, value, tuple(range(2, len(value.shape))), call.results[0])

    return of


def _resized(call: OnnxCall) -> Lowered:
    taps, axes = TAPS[call.attributes.get("mode", b"nearest")], len(call.value(0).shape) - 2
    return shapes.resample(call.value(0), call.results[0], taps**axes, NAMES[taps])


def _grid_sample(call: OnnxCall) -> Lowered:
    taps, axes = TAPS[call.attributes.get("mode", b"linear")], len(call.value(0).shape) - 2
    return shapes.resample(call.value(0), call.results[0], taps**axes, f"grid_{NAMES[taps]}", call.value(1))


def _reduced(function: str) -> Lowering:
    """Axes are an attribute, in newer files an operand; where they are left out all are meant."""

    def of(call: OnnxCall) -> Lowered:
        axes = call.told(1, "axes")
        if axes is None and len(call.given) > 1:
            return AXES_ARE_UNKNOWN
        return shapes.reduce(function, call.value(0), axes, call.results[0])

    return of


def _where_extreme(function: str) -> Lowering:
    return lambda call: shapes.reduce(
        function, call.value(0), call.attributes.get("axis", 0), call.results[0], values=0, indices=1
    )


def _scanned(call: OnnxCall) -> Lowered:
    axes = call.told(1, "axis")
    return AXES_ARE_UNKNOWN if axes is None else shapes.scan("sum", call.value(0), axes[0])


def _top_k(call: OnnxCall) -> Lowered:
    axis = call.attributes.get("axis", -1)
    return shapes.top_k(call.value(0), axis, call.results[0].shape[axis])


def _picked(call: OnnxCall) -> Lowered:
    return shapes.gather(call.value(0), call.results[0], 1)


def _picked_by_place(call: OnnxCall) -> Lowered:
    """GatherND: the last axis of the indices tells a place along as many axes."""
    table, axes = call.value(0), call.value(1).shape[-1] + call.attributes.get("batch_dims", 0)
    return shapes.gather(table, call.results[0], prod(table.shape[axes:]))


def _scattered(call: OnnxCall) -> Lowered:
    adds = call.attributes.get("reduction", b"none") != b"none"
    return shapes.scatter(call.value(0), call.value(2), 1, adds=adds, in_place=False)


def _scattered_by_place(call: OnnxCall) -> Lowered:
    adds, table = call.attributes.get("reduction", b"none") != b"none", call.value(0)
    run = prod(table.shape[call.value(1).shape[-1] :])
    return shapes.scatter(table, call.value(2), run, adds=adds, in_place=False)


def _rearranged(call: OnnxCall) -> Lowered:
    return lowering.copy(call.value(0), call.results[0])


REDUCTIONS = {
    **{f"Reduce{name}": name.lower() for name in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2")},
    "ReduceLogSumExp": "logsumexp",
    "ReduceSumSquare": "l2",
}

ARRAYS: Mapping[str, Lowering] = MappingProxyType(
    {
        "MaxPool": _pool("max"),
        "AveragePool": _pool("mean"),
        "GlobalAveragePool": _global("mean"),
        "GlobalMaxPool": _global("max"),
        **dict.fromkeys(("Resize", "Upsample"), _resized),
        "GridSample": _grid_sample,
        **{name: _reduced(function) for name, function in REDUCTIONS.items()},
        "ArgMax": _where_extreme("max"),
        "ArgMin": _where_extreme("min"),
        "CumSum": _scanned,
        "TopK": _top_k,
        "GatherElements": _picked,
        "GatherND": _picked_by_place,
        "ScatterElements": _scattered,
        "ScatterND": _scattered_by_place,
        **dict.fromkeys(("Pad", "DepthToSpace", "SpaceToDepth", "Trilu"), _rearranged),
        "GroupNormalization": lambda call: shapes.group_norm(call.value(0), call.attributes["num_groups"]),
        "InstanceNormalization": lambda call: shapes.group_norm(call.value(0), call.value(0).shape[1]),
        "LRN": lambda call: shapes.local_response_norm(call.value(0), call.attributes["size"]),
    }
)
"""Operations by name: how each becomes operators."""
