"""From shapes to operators, and from calls to a graph."""

from __future__ import annotations

import pytest
import yaml

from simexplore.errors import SimexploreError
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.graph_data import from_data
from simexplore.workloads.importers import lowering
from simexplore.workloads.importers.imported import Imported, Unknown, to_yaml
from simexplore.workloads.importers.lowering import FLOPS, Lowered, Sliding, Value
from simexplore.workloads.importers.recorder import Call, Recorder, alike, readable
from simexplore.workloads.ops import (
    Add,
    AttentionDecode,
    AttentionPrefill,
    Conv,
    Conv2d,
    ConvDilated,
    ConvTranspose,
    Copy,
    EncoderAttention,
    Gemm,
    Mul,
    Pointwise,
    Relu,
    Softmax,
)


def value(*shape: int, dtype: str | None = "bf16") -> Value:
    return Value(shape, dtype, 2.0)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (value(2, 3), value(3, 4), Gemm(2, 4, 3)),
        (value(5, 2, 3), value(3, 4), Gemm(10, 4, 3)),
        (value(5, 2, 3), value(5, 3, 4), Gemm(2, 4, 3, 5)),
        (value(7, 1, 2, 3), value(5, 3, 4), Gemm(2, 4, 3, 35)),
        (value(5, 2, 3), value(1, 3, 4), Gemm(10, 4, 3)),
        (value(3), value(3, 4), Gemm(1, 4, 3)),
        (value(2, 3), value(3), Gemm(2, 1, 3)),
    ],
)
def test_products(a: Value, b: Value, expected: Gemm) -> None:
    assert lowering.matmul(a, b) == (expected,)


def convolved(image: Value, filters: Value, out: tuple[int, ...], **more: object) -> Lowered:
    axes = len(image.shape) - 2
    fields: dict[str, object] = {
        **dict.fromkeys(("stride", "dilation"), (1,) * axes),
        **dict.fromkeys(("begin", "end"), (0,) * axes),
        **more,
    }
    return lowering.convolution(image, filters, value(*out), Sliding(**fields))  # type: ignore[arg-type]


SQUARE, FILTERS = value(2, 8, 10, 10), value(16, 8, 3, 3)


def test_square_convolutions_are_conv2d() -> None:
    assert convolved(SQUARE, FILTERS, (2, 16, 8, 8)) == (Conv2d(2, 8, 16, 3, 10),)
    padded = {"begin": (1, 1), "end": (1, 1), "stride": (2, 2)}
    assert convolved(SQUARE, FILTERS, (2, 16, 5, 5), **padded) == (Conv2d(2, 8, 16, 3, 10, 2, 1),)


def test_filters_that_do_not_overlap_are_a_gemm() -> None:
    image = value(2, 8, 12, 20)
    assert convolved(image, value(16, 8, 1, 1), (2, 16, 12, 20), dilation=(2, 2)) == (Gemm(480, 16, 8),)
    assert convolved(image, value(16, 8, 4, 4), (2, 16, 3, 5), stride=(4, 4)) == (Gemm(30, 16, 128),)
    assert convolved(value(2, 8, 12), value(16, 8, 3), (2, 16, 4), stride=(3,)) == (Gemm(8, 16, 24),)


WIDE = {"begin": (1, 0), "end": (1, 0)}


@pytest.mark.parametrize(
    ("image", "filters", "more", "conv"),
    [
        (SQUARE, value(16, 4, 3, 3), {"groups": 2}, Conv(2, 8, 16, 10, 10, cols=3, rows=3, groups=2)),
        (SQUARE, value(8, 1, 3, 3), {"groups": 8}, Conv(2, 8, 8, 10, 10, cols=3, rows=3, groups=8)),
        (value(2, 8, 10, 12), FILTERS, WIDE, Conv(2, 8, 16, 12, 10, cols=3, rows=3, pad_rows=1)),
        (SQUARE, value(16, 8, 3, 5), {"stride": (2, 2)}, Conv(2, 8, 16, 10, 10, cols=5, rows=3, stride=2)),
        (value(2, 8, 10), value(16, 8, 3), {"stride": (2,)}, Conv(2, 8, 16, 10, cols=3, stride=2)),
        (value(2, 8, 4, 5, 6), value(16, 8, 3, 2, 1), {}, Conv(2, 8, 16, 6, 5, 4, cols=1, rows=2, layers=3)),
    ],
)
def test_convolutions_of_other_shapes_are_conv(
    image: Value, filters: Value, more: dict[str, object], conv: Conv
) -> None:
    assert convolved(image, filters, (2, 16, 8, 8), **more) == (conv,)


def test_a_transposed_convolution_whose_results_do_not_overlap_is_a_gemm() -> None:
    apart = {"transposed": True, "stride": (2, 2)}
    image, filters = value(2, 8, 10, 12), value(8, 5, 2, 2)
    assert convolved(image, filters, (2, 5, 20, 24), **apart) == (Gemm(240, 20, 8),)
    padded = ConvTranspose(2, 8, 5, 12, 24, 10, cols=2, rows=2, out_height=21, stride=2)  # its output is
    assert convolved(image, filters, (2, 5, 21, 24), **apart) == (padded,)


@pytest.mark.parametrize(
    ("image", "filters", "out", "more", "conv"),
    [
        (
            value(2, 8, 10, 12),
            value(8, 5, 3, 4),
            (2, 10, 21, 26),
            {"groups": 2},
            ConvTranspose(2, 8, 10, 12, 26, 10, cols=4, rows=3, out_height=21, stride=2, groups=2),
        ),
        (value(2, 8, 10), value(8, 5, 3), (2, 5, 21), {}, ConvTranspose(2, 8, 5, 10, 21, cols=3, stride=2)),
        (
            value(2, 8, 4, 5, 6),
            value(8, 5, 3, 3, 3),
            (2, 5, 9, 11, 13),
            {},
            ConvTranspose(2, 8, 5, 6, 13, 5, 4, 3, 3, 3, 11, 9, 2),
        ),
    ],
)
def test_transposed_convolutions(
    image: Value, filters: Value, out: tuple[int, ...], more: dict[str, object], conv: ConvTranspose
) -> None:
    fields = {"transposed": True, "stride": (2,) * (len(image.shape) - 2), **more}
    assert convolved(image, filters, out, **fields) == (conv,)


@pytest.mark.parametrize(
    ("filters", "more", "conv"),
    [
        (FILTERS, {"dilation": (2, 2)}, ConvDilated(2, 8, 16, 10, 10, cols=3, rows=3, dilation=2)),
        (FILTERS, {"stride": (1, 2)}, ConvDilated(2, 8, 16, 10, 10, cols=3, rows=3, stride=2, row_stride=1)),
        (
            FILTERS,
            {"begin": (1, 2), "end": (0, 2)},
            ConvDilated(2, 8, 16, 10, 10, cols=3, rows=3, pad_cols=2, end_rows=1),
        ),
        (
            value(16, 4, 3, 1),
            {"dilation": (3, 2), "groups": 2},
            ConvDilated(2, 8, 16, 10, 10, rows=3, groups=2, dilation=3),
        ),
    ],
)
def test_filters_with_holes_and_steps_by_axis(filters: Value, more: dict[str, object], conv: ConvDilated) -> None:
    assert convolved(SQUARE, filters, (2, 16, 8, 8), **more) == (conv,)


@pytest.mark.parametrize(
    ("image", "filters", "more", "why"),
    [
        (SQUARE, FILTERS, {"transposed": True, "dilation": (2, 2)}, "transposed, dilated"),
        (SQUARE, FILTERS, {"transposed": True, "stride": (1, 2)}, "transposed, of strides of several sizes"),
        (SQUARE, FILTERS, {"dilation": (2, 3)}, "dilations of several sizes"),
        (value(2, 8, 4, 4, 4, 4), value(16, 8, 3, 3, 3, 3), {}, "4d"),
        (value(2, 8, 10, 10, dtype=None), FILTERS, {}, "no floating-point type"),
    ],
)
def test_other_convolutions_are_told_apart(image: Value, filters: Value, more: dict[str, object], why: str) -> None:
    assert convolved(image, filters, (2, 16, 8, 8), **more) == why


def attention(queries: Value, keys: Value, causal: bool, mask: Value | None = None) -> Lowered:
    return lowering.attention(queries, keys, keys, causal, mask)


def test_attention_that_is_causal_is_fused() -> None:
    queries, keys = value(2, 8, 16, 64), value(2, 4, 16, 64)
    assert attention(queries, keys, causal=True) == (AttentionPrefill(2, 8, 4, 64, 16, 16),)
    longer = value(2, 4, 99, 64)  # the first query sees the first key only
    assert attention(queries, longer, causal=True) == (AttentionPrefill(2, 8, 4, 64, 16, 16),)
    assert attention(value(8, 16, 64), value(8, 16, 64), causal=True) == (AttentionPrefill(1, 8, 8, 64, 16, 16),)


def test_attention_of_one_query_is_a_decode() -> None:
    assert attention(value(2, 8, 1, 64), value(2, 4, 99, 64), causal=False) == (AttentionDecode(2, 8, 4, 64, 99),)


@pytest.mark.parametrize(("causal", "masked", "tokens"), [(False, False, 16), (True, True, 16), (False, True, 1)])
def test_attention_that_is_not_causal_reads_its_mask(causal: bool, masked: bool, tokens: int) -> None:
    mask = value(2, 1, tokens, 99) if masked else None
    lowered = attention(value(2, 8, tokens, 64), value(2, 4, 99, 64), causal, mask)
    assert lowered == (EncoderAttention(2, 8, 4, 64, tokens, 99, "bf16", 2 * tokens * 99 if masked else 0),)


def test_more_queries_than_keys_that_are_causal_are_no_operator() -> None:
    lowered = attention(value(1, 2, 8, 64), value(1, 2, 4, 64), causal=True)
    assert lowered == (Gemm(8, 4, 64, 2), Softmax(16, 4), Gemm(8, 64, 4, 2))


def test_values_of_another_width_are_not_fused() -> None:
    q, v = value(1, 2, 8, 64), value(1, 2, 8, 32)
    lowered = lowering.attention(q, q, v, causal=True)
    assert lowered == (Gemm(8, 8, 64, 2), Softmax(16, 8), Gemm(8, 32, 8, 2))


def test_elementwise_counts_whole_inputs() -> None:
    whole, row, number = value(4, 8), value(8), value()
    assert lowering.elementwise("add", [whole, whole], whole) == (Add(32),)
    assert lowering.elementwise("mul", [whole, whole], whole) == (Mul(32),)
    assert lowering.elementwise("relu", [whole], whole) == (Relu(32),)
    assert lowering.elementwise("mul", [whole, row], whole) == (Pointwise(32, 1, 1, 1, function="mul"),)
    assert lowering.elementwise("silu", [whole], whole) == (Pointwise(32, 1, 1, 4, function="silu"),)
    assert lowering.elementwise("full", [number], whole) == (Pointwise(32, 0, 1, 0, function="full"),)
    assert lowering.elementwise("add", [value(4, dtype=None)], value(4, dtype=None)) == "no floating-point type"


@pytest.mark.parametrize(
    ("flops", "functions"),
    [
        (0, ("fill", "zeros", "ones", "full")),
        (
            1,
            (
                "add",
                "sub",
                "mul",
                "div",
                "exp",
                "rsqrt",
                "tanh",
                "pow",
                "where",
                "relu",
                "maximum",
                "gt",
                "logical_not",
            ),
        ),
        (2, ("clamp", "leaky_relu", "batch_norm", "addcmul")),
        (3, ("sigmoid", "softplus", "elu")),  # exp, sum and reciprocal; exp, sum and log; exp, difference and product
        (4, ("silu", "hardswish")),  # a product more than sigmoid's; sum, two limits and a product
        (8, ("gelu",)),
    ],
)
def test_flops_of_an_element(flops: int, functions: tuple[str, ...]) -> None:
    assert [FLOPS[function] for function in functions] == [flops] * len(functions)


def test_softmax_of_another_axis_than_the_last_is_none() -> None:
    assert lowering.softmax(value(4, 8), 1) == (Softmax(4, 8),)
    assert lowering.softmax(value(4, 8, 1), -2) == (Softmax(4, 8),)
    assert lowering.softmax(value(4, 8), 0) == "not of the last axis"
    assert lowering.softmax(value(), -1) == "of a number"


def test_copies_may_change_the_type() -> None:
    assert lowering.copy(value(4), value(2, 2)) == (Copy(4),)
    assert lowering.copy(value(4), value(4, dtype="fp8")) == (Copy(4, "bf16", "fp8"),)
    assert lowering.copy(value(4, dtype=None), value(4)) == "no floating-point type"


def call(name: str, reads: str, writes: str, group: str = "") -> Call:
    return Call(name, group, tuple(reads), tuple(writes), 10.0, 20.0)


def test_what_is_free_or_unknown_hands_on_who_made_its_operands() -> None:
    recorder = Recorder()
    recorder.add(call("add", "a", "b"), (Add(4),))
    recorder.add(call("relu", "x", "y"), (Relu(4),))
    recorder.passes(call("view", "b", "c"))
    recorder.add(call("sort", "c", "d"), "")
    recorder.add(call("sort", "c", "d"), "of numbers")
    recorder.add(call("add", "dx", "e"), (Add(4),))
    found = recorder.imported("mine", {"weights": 8.0})
    assert [(node.name, node.after) for node in found.graph.nodes] == [
        ("add", ()),
        ("relu", ("add",)),
        ("add#2", ("add", "relu")),
    ]
    assert found.unknown == (Unknown("sort", 1, 10.0, 20.0), Unknown("sort (of numbers)", 1, 10.0, 20.0))


def test_calls_of_one_name_are_one_line_with_its_share() -> None:
    graph = Graph("mine", (Node.of("add", Add(30)),))  # 30 flops, 180 bytes
    found = Imported(graph, (Unknown("sort", 3, 10.0, 20.0),))
    assert found.left_out == ("sort: 3 calls, 25.00% of the flops, 10.00% of the bytes",)
    recorder = Recorder()
    recorder.add(call("add", "a", "b"), (Add(4),))
    for _ in range(3):
        recorder.add(call("sort", "b", "c"), "")
    assert recorder.imported("mine", {}).unknown == (Unknown("sort", 3, 30.0, 60.0),)


def test_a_model_without_known_operators_is_refused() -> None:
    recorder = Recorder()
    recorder.add(call("sort", "a", "b"), "")
    with pytest.raises(SimexploreError, match="mine: expected a model with operators that are known, found sort"):
        recorder.imported("mine", {})


def test_a_model_of_too_many_operators_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simexplore.workloads.importers.recorder.MAX_OPERATORS", 2)
    recorder = Recorder()
    recorder.add(call("add", "a", "b"), (Add(4), Add(4)))
    with pytest.raises(SimexploreError, match="at most 2 operators, found more"):
        recorder.add(call("add", "a", "b"), (Add(4),))


def test_alike_are_numbered_parts_with_the_same_operators() -> None:
    groups = ("h.0.a", "h.0.b", "h.1.a", "h.1.b", "tail", "x.0")
    nodes = [Node(group, Add(4), group=group) for group in groups]
    nodes.append(Node("h.2.a", Relu(4), group="h.2.a"))
    (found,) = alike(nodes)
    assert (found.pattern, found.count, found.operators) == ("h.*", 2, 2)


def test_names_are_readable() -> None:
    assert readable("a b\n\x1b[31m.c#1") == "a_b_31m.c_1"
    assert readable("") == "model"
    assert len(readable("x" * 1000)) == 150


def test_the_file_has_what_is_left_out_at_its_head_and_reads_back() -> None:
    nodes = (Node.of("big", Gemm(2**20, 2**20, 2**10)), Node.of("small", Add(4), after=["big"]))
    graph = Graph("mine", nodes, {"weights": 1.5e21, "rest": 0.5})
    text = to_yaml(Imported(graph, (Unknown("so\nrt", 1, 10.0, 20.0),), ("a note",)), "onnx a\nb")
    assert text.startswith("# From onnx a b.\n# Note: a note.\n# Left out, as no operator stands for it: ")
    assert "\n#   so rt: 1 calls, " in text
    assert from_data(yaml.safe_load(text)) == graph
