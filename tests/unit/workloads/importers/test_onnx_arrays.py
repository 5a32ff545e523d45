"""ONNX's operations on arrays one by one, and attention that a file has in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simexplore.workloads.importers.imported import Imported
from simexplore.workloads.importers.onnx_ import graph_of
from simexplore.workloads.ops import (
    Add,
    Copy,
    EncoderAttention,
    Gather,
    Gemm,
    GroupNorm,
    Mul,
    Operator,
    Pointwise,
    Pool,
    Reduce,
    Resample,
    Scan,
    Scatter,
    Softmax,
    TopK,
)

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
HELPER = onnx.helper
FLOAT, INT = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
Inputs = dict[str, tuple[Any, list[int]]]


def read(nodes: list[Any], inputs: Inputs, numbers: dict[str, list[int]] | None = None, opset: int = 21) -> Imported:
    """The graph of some nodes; `numbers` are constants of integers, `w…` among the inputs are weights."""
    held = [HELPER.make_tensor(name, INT, [len(told)], told) for name, told in (numbers or {}).items()]
    held += [
        HELPER.make_tensor(name, FLOAT, shape, b"\0" * 4 * _count(shape), raw=True)
        for name, (_, shape) in inputs.items()
        if name.startswith("w")
    ]
    given = [HELPER.make_tensor_value_info(name, *told) for name, told in inputs.items() if not name.startswith("w")]
    made = [HELPER.make_empty_tensor_value_info(nodes[-1].output[0])]
    graph = HELPER.make_graph(nodes, "g", given, made, held)
    model = HELPER.make_model(graph, opset_imports=[HELPER.make_opsetid("", opset)])
    return graph_of(model.SerializeToString(), Path("m.onnx"), {})


def _count(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def node(op: str, operands: list[str], results: list[str] | None = None, **attributes: Any) -> Any:
    return HELPER.make_node(op, operands, results or ["r"], **attributes)


X: Inputs = {"x": (FLOAT, [2, 6, 8, 10])}
FLAT: Inputs = {"x": (FLOAT, [4, 6, 10])}
POOLED = {"kernel_shape": [2, 2], "strides": [2, 2]}


@pytest.mark.parametrize(
    ("op", "inputs", "numbers", "expected"),
    [
        (node("MaxPool", ["x"], **POOLED), X, {}, Pool(12, 10, 5, 8, cols=2, rows=2, out_height=4, dtype="fp32")),
        (
            node("MaxPool", ["x"], ["r", "at"], **POOLED),
            X,
            {},
            Pool(12, 10, 5, 8, cols=2, rows=2, out_height=4, indices=1, dtype="fp32"),
        ),
        (
            node("AveragePool", ["x"], **POOLED),
            X,
            {},
            Pool(12, 10, 5, 8, cols=2, rows=2, out_height=4, dtype="fp32", function="mean"),
        ),
        (node("GlobalAveragePool", ["x"]), X, {}, Reduce(12, 80, dtype="fp32", function="mean")),
        (node("GlobalMaxPool", ["x"]), X, {}, Reduce(12, 80, dtype="fp32", function="max")),
        (node("ReduceMean", ["x", "axes"]), FLAT, {"axes": [0, 2]}, Reduce(6, 40, dtype="fp32", function="mean")),
        (node("ReduceMax", ["x", "axes"]), FLAT, {"axes": [1]}, Reduce(4, 6, 10, dtype="fp32", function="max")),
        (node("ReduceSum", ["x"]), FLAT, {}, Reduce(1, 240, dtype="fp32")),
        (node("ReduceL2", ["x", "axes"]), FLAT, {"axes": [-1]}, Reduce(24, 10, 1, 2, dtype="fp32", function="l2")),
        (
            node("ArgMax", ["x"], axis=1),
            FLAT,
            {},
            Reduce(4, 6, 10, values=0, indices=1, dtype="fp32", function="max"),
        ),
        (node("CumSum", ["x", "axis"]), FLAT, {"axis": [1]}, Scan(4, 6, 10, "fp32")),
        (node("TopK", ["x", "k"], ["r", "at"]), FLAT, {"k": [3]}, TopK(24, 10, 3, "fp32")),
        (node("GatherElements", ["x", "i"]), {**FLAT, "i": (INT, [4, 6, 10])}, {}, Gather(240, 240, 1, "fp32")),
        (node("Gather", ["x", "i"], axis=1), {**FLAT, "i": (INT, [3])}, {}, Gather(12, 240, 10, "fp32")),
        (node("GatherND", ["x", "i"]), {**FLAT, "i": (INT, [5, 2])}, {}, Gather(5, 240, 10, "fp32")),
        (node("GroupNormalization", ["x", "ws", "wb"], num_groups=3),
         {**X, "ws": (FLOAT, [6]), "wb": (FLOAT, [6])}, {}, GroupNorm(2, 6, 80, 3, "fp32")),
        (node("InstanceNormalization", ["x", "ws", "wb"]),
         {**X, "ws": (FLOAT, [6]), "wb": (FLOAT, [6])}, {}, GroupNorm(2, 6, 80, 6, "fp32")),
        (node("Resize", ["x", "", "", "to"], mode="linear"), X, {"to": [2, 6, 16, 20]},
         Resample(12, 80, 320, 4, dtype="fp32", function="linear")),
        (node("GridSample", ["x", "g"]), {**X, "g": (FLOAT, [2, 3, 4, 2])}, {},
         Resample(12, 80, 12, 4, 2, 2, "fp32", "grid_linear")),
        (node("Pad", ["x", "p"]), FLAT, {"p": [0, 0, 1, 0, 0, 1]}, Copy(4 * 6 * 12, "fp32")),
        (node("PRelu", ["x", "w"]), {**FLAT, "w": (FLOAT, [10])}, {}, Pointwise(240, 1, 1, 1, "fp32", "prelu")),
        (node("LogSoftmax", ["x"]), FLAT, {}, Softmax(24, 10, "fp32")),
    ],
    ids=lambda value: value.op_type if hasattr(value, "op_type") else "",
)  # fmt: skip
def test_a_node_is_its_operator(op: Any, inputs: Inputs, numbers: dict[str, list[int]], expected: Operator) -> None:
    found = read([op], inputs, numbers)
    assert found.unknown == ()
    assert [each.op for each in found.graph.nodes] == [expected]


@pytest.mark.parametrize(
    ("op", "pieces", "scatter"),
    [
        (node("ScatterElements", ["x", "i", "u"]), [4, 6, 10], Scatter(240, 240, 1, 0, "fp32")),
        (node("ScatterElements", ["x", "i", "u"], reduction="add"), [4, 6, 10], Scatter(240, 240, 1, 1, "fp32")),
        (node("ScatterND", ["x", "i", "u"]), [5, 10], Scatter(5, 240, 10, 0, "fp32")),
    ],
)
def test_a_scatter_copies_its_table_first(op: Any, pieces: list[int], scatter: Scatter) -> None:
    index = [5, 2] if op.op_type == "ScatterND" else pieces
    found = read([op], {**FLAT, "i": (INT, index), "u": (FLOAT, pieces)})
    assert [each.op for each in found.graph.nodes] == [Copy(240, "fp32"), scatter]


def test_a_local_response_norm_is_a_pool_of_channels_and_a_function() -> None:
    found = read([node("LRN", ["x"], size=5)], X)
    assert [each.op for each in found.graph.nodes] == [
        Pool(2, 10, 10, 8, 6, layers=5, out_height=8, out_depth=6, dtype="fp32", function="mean"),
        Pointwise(960, 2, 1, 5, "fp32", "local_response_norm"),
    ]


def test_axes_that_no_one_can_know_are_told() -> None:
    found = read([node("Relu", ["x"], ["y"]), node("ReduceSum", ["y", "a"])], {**FLAT, "a": (INT, [1])}, opset=13)
    assert [one.name for one in found.unknown] == ["ReduceSum (shape not known)"]


QKV: Inputs = {"q": (FLOAT, [2, 4, 6, 8]), "k": (FLOAT, [2, 4, 8, 9]), "v": (FLOAT, [2, 4, 9, 8])}
SCALE: Inputs = {"w": (FLOAT, [1])}
MASK: Inputs = {"m": (FLOAT, [2, 1, 6, 9])}
SCORES, CHANCES = node("MatMul", ["q", "k"], ["s"]), node("Softmax", ["s"], ["p"], axis=-1)
LAST = node("MatMul", ["p", "v"])


@pytest.mark.parametrize(
    ("nodes", "inputs", "mask"),
    [
        ([SCORES, CHANCES, LAST], QKV, 0),
        ([SCORES, node("Mul", ["s", "w"], ["t"]), node("Softmax", ["t"], ["p"]), LAST], {**QKV, **SCALE}, 0),
        (
            [
                SCORES,
                node("Div", ["s", "w"], ["t"]),
                node("Add", ["t", "m"], ["u"]),
                node("Softmax", ["u"], ["p"]),
                LAST,
            ],
            {**QKV, **SCALE, **MASK},
            2 * 6 * 9,
        ),
        ([SCORES, node("Add", ["m", "s"], ["u"]), node("Softmax", ["u"], ["p"]), LAST], {**QKV, **MASK}, 2 * 6 * 9),
    ],
    ids=["bare", "scaled", "scaled and masked", "masked from the left"],
)
def test_pieces_of_attention_are_one_operator(nodes: list[Any], inputs: Inputs, mask: int) -> None:
    found = read(nodes, inputs)
    assert [each.op for each in found.graph.nodes] == [EncoderAttention(2, 4, 4, 8, 6, 9, "fp32", mask)]
    assert found.unknown == ()


def test_scores_that_others_read_too_stay_in_pieces() -> None:
    nodes = [SCORES, CHANCES, node("MatMul", ["p", "v"], ["o"]), node("Mul", ["p", "p"])]
    kinds = [type(each.op) for each in read(nodes, QKV).graph.nodes]
    assert kinds == [Gemm, Softmax, Gemm, Mul]


def test_a_classifier_is_no_attention() -> None:
    """Products with weights are layers, whatever is between them."""
    nodes = [node("MatMul", ["x", "wa"], ["s"]), node("Softmax", ["s"], ["p"], axis=-1), node("MatMul", ["p", "wb"])]
    found = read(nodes, {"x": (FLOAT, [5, 6]), "wa": (FLOAT, [6, 7]), "wb": (FLOAT, [7, 3])})
    assert [each.op for each in found.graph.nodes] == [
        Gemm(5, 7, 6, dtype="fp32"),
        Softmax(5, 7, "fp32"),
        Gemm(5, 3, 7, dtype="fp32"),
    ]


def test_a_product_without_a_softmax_is_a_product() -> None:
    nodes = [SCORES, node("Add", ["s", "s"], ["t"]), node("MatMul", ["t", "v"])]
    assert [type(each.op) for each in read(nodes, QKV).graph.nodes] == [Gemm, Add, Gemm]
