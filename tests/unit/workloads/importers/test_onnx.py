"""ONNX files as graphs: the weightless networks that ship with onnx, models of a few nodes, and damaged files."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.workloads.importers import import_model
from simexplore.workloads.importers.imported import Imported
from simexplore.workloads.importers.lowering import FLOPS
from simexplore.workloads.importers.onnx_ops import FUNCTIONS
from simexplore.workloads.ops import (
    AttentionPrefill,
    Conv2d,
    Copy,
    Embedding,
    EncoderAttention,
    Gemm,
    LayerNorm,
    Operator,
    Pointwise,
    RmsNorm,
    Softmax,
)

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
HELPER = onnx.helper
FLOAT, HALF, INT = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64


def imported(path: Path, **params: object) -> Imported:
    return import_model("onnx", str(path), params)


@pytest.mark.parametrize("file", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_the_networks_that_ship_with_onnx(file: Path) -> None:
    found = imported(file)
    assert found.graph.name == f"onnx/{file.stem}"
    for node in found.graph.nodes:
        node.op.validate()
    kinds = {one.name for one in found.unknown}
    assert not kinds
    assert found.graph.resident_bytes["weights"] > 1e6


def counted_by_shapes(file: Path) -> float:
    """Flops of convolutions and dense layers by the shapes that onnx infers: two for each result and filter element."""
    known = onnx.shape_inference.infer_shapes(onnx.load(file), data_prop=True).graph
    values = (*known.value_info, *known.input, *known.output)
    shapes = {each.name: [size.dim_value for size in each.type.tensor_type.shape.dim] for each in values}
    return sum(
        2.0 * _count(shapes[node.output[0]]) * _count(shapes[node.input[1]][1:])
        for node in known.node
        if node.op_type in ("Conv", "Gemm")
    )


@pytest.mark.parametrize("file", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_their_flops_are_those_of_their_shapes(file: Path) -> None:
    found = imported(file)
    assert sum(float(node.op.matmul_flops) for node in found.graph.nodes) == counted_by_shapes(file)


def test_vgg_has_the_products_that_are_published() -> None:
    """19.6 billion products and sums: He et al. 2015, 'Deep Residual Learning', arXiv:1512.03385, section 3.3."""
    graph = imported(LIGHT / "light_vgg19.onnx").graph
    assert sum(float(node.op.matmul_flops) for node in graph.nodes) / 2 == pytest.approx(19.6e9, rel=0.005)


def test_resnet_has_its_layers() -> None:
    graph = imported(LIGHT / "light_resnet50.onnx").graph
    counts = Counter(node.op.op for node in graph.nodes)
    assert (counts["conv2d"], counts["gemm"], counts["softmax"]) == (53, 1, 1)
    assert graph.nodes[0].op == Conv2d(1, 3, 64, 7, 224, 2, 3, "fp32")
    assert graph.resident_bytes["weights"] == pytest.approx(4 * 25.6e6, rel=0.01)


def model(
    nodes: list[tuple[str, list[str], dict[str, Any]]],
    inputs: dict[str, tuple[Any, list[Any]]],
    held: dict[str, list[int]] | None = None,
    opset: int = 23,
    name: str = "",
) -> bytes:
    """A chain of nodes: each is its operation, its operands and its attributes; it makes `r0`, `r1`, …"""
    made = [
        HELPER.make_node(op, operands, [f"r{index}"], name=f"{name}{op}_{index}", **attributes)
        for index, (op, operands, attributes) in enumerate(nodes)
    ]
    weights = [HELPER.make_tensor(key, FLOAT, shape, [0.0] * _count(shape)) for key, shape in (held or {}).items()]
    graph = HELPER.make_graph(
        made,
        "g",
        [HELPER.make_tensor_value_info(key, kind, shape) for key, (kind, shape) in inputs.items()],
        [HELPER.make_empty_tensor_value_info(f"r{len(nodes) - 1}")],
        weights,
    )
    data: bytes = HELPER.make_model(
        graph, opset_imports=[HELPER.make_opsetid("", opset), HELPER.make_opsetid("mine", 1)]
    ).SerializeToString()
    return data


def _count(shape: list[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def operators(tmp_path: Path, data: bytes, **params: object) -> list[Operator]:
    file = tmp_path / "m.onnx"
    file.write_bytes(data)
    return [node.op for node in imported(file, **params).graph.nodes]


X = {"x": (FLOAT, [2, 8, 16])}
SMALL = Gemm(5, 7, 6, dtype="fp32")


@pytest.mark.parametrize(
    ("node", "inputs", "held", "expected"),
    [
        (("MatMul", ["x", "w"], {}), X, {"w": [16, 4]}, [Gemm(16, 4, 16, dtype="fp32")]),
        (
            ("Gemm", ["x", "w", "b"], {"transB": 1}),
            {"x": (FLOAT, [5, 6])},
            {"w": [7, 6], "b": [7]},
            [Gemm(5, 7, 6, dtype="fp32")],
        ),
        (("Gemm", ["x", "w"], {"transA": 1}), {"x": (FLOAT, [6, 5])}, {"w": [6, 7]}, [Gemm(5, 7, 6, dtype="fp32")]),
        (("MatMul", ["x", "y"], {}), {**X, "y": (FLOAT, [2, 16, 3])}, {}, [Gemm(8, 3, 16, 2, "fp32")]),
        (("Add", ["x", "b"], {}), X, {"b": [16]}, [Pointwise(256, 1, 1, 1, "fp32", "add")]),
        (("Softmax", ["x"], {}), X, {}, [Softmax(16, 16, "fp32")]),
        (("LayerNormalization", ["x", "w"], {"axis": 1}), X, {"w": [8, 16]}, [LayerNorm(2, 128, "fp32")]),
        (("RMSNormalization", ["x", "w"], {}), X, {"w": [16]}, [RmsNorm(16, 16, "fp32")]),
        (("Transpose", ["x"], {"perm": [1, 0, 2]}), X, {}, [Copy(256, "fp32")]),
        (("Gather", ["w", "x"], {}), {"x": (INT, [2, 8])}, {"w": [100, 16]}, [Embedding(16, 16, 100, "fp32")]),
        (("Cast", ["x"], {"to": HALF}), X, {}, [Copy(256, "fp32", "fp16")]),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_node_is_its_operator(
    node: Any, inputs: Any, held: dict[str, list[int]], expected: list[Operator], tmp_path: Path
) -> None:
    assert operators(tmp_path, model([node], inputs, held)) == expected


def test_softmax_of_old_files_makes_rows_of_all_axes_that_follow(tmp_path: Path) -> None:
    node = ("Softmax", ["x"], {"axis": 1})
    assert operators(tmp_path, model([node], X, opset=12)) == [Softmax(2, 128, "fp32")]


def test_padding_that_the_file_leaves_to_the_runtime(tmp_path: Path) -> None:
    node = ("Conv", ["x", "w"], {"auto_pad": "SAME_UPPER", "strides": [1, 1]})
    data = model([node], {"x": (FLOAT, [1, 3, 9, 9])}, {"w": [4, 3, 3, 3]})
    assert operators(tmp_path, data) == [Conv2d(1, 3, 4, 3, 9, 1, 1, "fp32")]


@pytest.mark.parametrize(("causal", "expected"), [(1, [AttentionPrefill(2, 4, 2, 8, 16, 16, dtype="fp32")]), (0, None)])
def test_attention_with_fewer_key_heads(causal: int, expected: list[Operator] | None, tmp_path: Path) -> None:
    node = ("Attention", ["q", "k", "v"], {"is_causal": causal, "q_num_heads": 4, "kv_num_heads": 2})
    inputs = {"q": (FLOAT, [2, 16, 32]), "k": (FLOAT, [2, 16, 16]), "v": (FLOAT, [2, 16, 16])}
    given = operators(tmp_path, model([node], inputs))
    assert given == (expected or [EncoderAttention(2, 4, 2, 8, 16, 16, "fp32")])
    assert imported(tmp_path / "m.onnx").notes == ()


def test_products_of_convolutions_that_are_left_out_are_exact(tmp_path: Path) -> None:
    image = {"x": (FLOAT, [1, 8, 5, 5])}
    nodes = [
        ("Relu", ["x"], {}),
        ("ConvTranspose", ["r0", "up"], {"strides": [2, 1]}),
        ("Conv", ["r1", "by_two"], {"group": 2, "dilations": [2, 1]}),
    ]
    file = tmp_path / "m.onnx"
    file.write_bytes(model(nodes, image, {"up": [8, 6, 3, 3], "by_two": [4, 3, 3, 3]}))
    flops = {one.name: one.flops for one in imported(file).unknown}
    assert flops == {
        "ConvTranspose (transposed, of strides of several sizes)": 2 * 8 * 5 * 5 * 6 * 3 * 3,
        "Conv (dilations of several sizes)": 2 * 4 * 7 * 5 * 3 * 3 * 3,
    }


def test_what_only_constants_go_into_is_done_before(tmp_path: Path) -> None:
    nodes = [("Add", ["w", "w"], {}), ("MatMul", ["x", "r0"], {})]
    file = tmp_path / "m.onnx"
    file.write_bytes(model(nodes, X, {"w": [16, 4]}))
    found = imported(file)
    assert [node.op.op for node in found.graph.nodes] == ["gemm"]
    assert found.graph.resident_bytes == {"weights": 4 * 64}


def test_names_tell_parts_that_repeat(tmp_path: Path) -> None:
    parts = [
        onnx.load_model_from_string(model([("Relu", ["x"], {})], X, name=f"/layers.{part}/act/")) for part in (0, 1)
    ]
    nodes = [parts[0].graph.node[0], parts[1].graph.node[0]]
    nodes[1].input[0], nodes[1].output[0] = "r0", "r1"
    parts[0].graph.node.append(nodes[1])
    parts[0].graph.output[0].name = "r1"
    file = tmp_path / "m.onnx"
    file.write_bytes(parts[0].SerializeToString())
    found = imported(file)
    assert [(one.pattern, one.count, one.operators) for one in found.repeated] == [("layers.*", 2, 1)]
    assert [node.name for node in found.graph.nodes] == ["layers.0.act.relu", "layers.1.act.relu"]


def test_sizes_of_named_dimensions_are_parameters(tmp_path: Path) -> None:
    data = model([("MatMul", ["x", "w"], {})], {"x": (FLOAT, ["batch", None, 16])}, {"w": [16, 4]})
    assert operators(tmp_path, data, batch="3", **{"x.1": 5}) == [Gemm(15, 4, 16, dtype="fp32")]
    assert operators(tmp_path, data, batch=3, dtype="bf16", **{"x.1": 5}) == [Gemm(15, 4, 16, dtype="bf16")]
    for params, message in (
        ({}, "batch: expected the size of this dimension .--param batch=1., found nothing"),
        ({"batch": 0, "x.1": 5}, "batch: expected the size of this dimension .*found 0"),
        ({"bach": 1}, "bach: expected one of the parameters dtype, batch, x.1, found 'bach'; did you mean 'batch'"),
        ({"dtype": "int4"}, "dtype: expected one of fp64, fp32, fp16, bf16, found 'int4'"),
    ):
        with pytest.raises(SimexploreError, match=message):
            operators(tmp_path, data, **params)


def test_what_is_not_known_is_listed_and_what_follows_waits_for_what_came_before(tmp_path: Path) -> None:
    nodes = [
        ("Relu", ["x"], {}),
        ("Det", ["r0"], {}),
        ("Mystery", ["r1"], {"domain": "mine"}),
        ("Relu", ["r1"], {}),
    ]
    file = tmp_path / "m.onnx"
    file.write_bytes(model(nodes, {"x": (FLOAT, [2, 16, 16])}))
    found = imported(file)
    assert [one.name for one in found.unknown] == ["Det", "Mystery (shape not known)"]
    assert (found.unknown[0].flops, found.unknown[0].bytes) == (2, 4 * 512 + 8)
    assert [node.after for node in found.graph.nodes] == [(), ("relu",)]


def test_every_function_has_flops() -> None:
    assert set(FUNCTIONS.values()) <= set(FLOPS)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an ONNX model with operations, found none"),
        (b"not a model", "expected an ONNX model, found"),
        (b"\x08\x03", "expected an ONNX model with operations, found none"),
    ],
)
def test_a_file_that_is_no_model_is_one_line(data: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(data)
    with pytest.raises(SimexploreError, match=message) as error:
        imported(file)
    assert "\n" not in str(error.value)


WHOLE = model([("MatMul", ["x", "w"], {}), ("Relu", ["r0"], {})], X, {"w": [16, 4]})


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_damaged_file_is_a_graph_or_one_line(at: int, byte: int) -> None:
    from simexplore.workloads.importers.onnx_ import graph_of

    damaged = WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]
    try:
        told = graph_of(damaged, Path("m.onnx"), {}).graph.name
    except SimexploreError as error:
        told = str(error)
    assert "m" in told
    assert "\n" not in told


def test_without_onnx_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SimexploreError, match=r"pip install 'simexplore\[onnx\]'"):
        imported(LIGHT / "light_vgg19.onnx")


SHARED = (
    "perceptron",
    "convolutions",
    "patches",
    "encoder",
    "one_pixel",
    "grouped",
    "images",
    "masked",
)


@pytest.mark.parametrize("name", SHARED)
@pytest.mark.filterwarnings("ignore")
def test_the_same_model_through_torch_and_onnx_has_the_same_operators(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nets = Path(__file__).with_name("nets.py")
    namespace: dict[str, Any] = {"__name__": "nets", "__annotations__": {}}
    exec(compile(nets.read_text(encoding="utf-8"), str(nets), "exec"), namespace)
    module, inputs = namespace[name]()
    file = tmp_path / "m.onnx"
    torch.backends.mha.set_fastpath_enabled(False)
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    torch.onnx.export(module.eval(), arguments, file, dynamo=False)
    torch.backends.mha.set_fastpath_enabled(True)
    through_onnx, through_torch = (
        Counter(each.describe() for each in ops if each.op in SAME)
        for ops in (
            [node.op for node in imported(file).graph.nodes],
            [node.op for node in import_model("torch", f"{nets}:{name}", {}).graph.nodes],
        )
    )
    assert through_onnx == through_torch


SAME = (
    *("gemm", "conv2d", "conv", "conv_dilated", "conv_transpose", "encoder_attention"),
    *("softmax", "layernorm", "relu", "gelu", "resample", "reduce"),
)
"""Kinds that a runtime cannot lay out otherwise: copies between layouts differ."""
