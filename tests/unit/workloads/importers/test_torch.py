"""PyTorch modules as graphs: what torch counts, what it leaves, and what is no module."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from simexplore.errors import SimexploreError
from simexplore.workloads.graph import Graph
from simexplore.workloads.importers import import_model
from simexplore.workloads.importers.imported import Imported
from simexplore.workloads.importers.lowering import NOT_FUSED
from simexplore.workloads.ops import (
    Add,
    AttentionPrefill,
    ConvDilated,
    ConvTranspose,
    Copy,
    EncoderAttention,
    Gather,
    Gemm,
    GroupNorm,
    Mul,
    Pointwise,
    Pool,
    Reduce,
    Resample,
    RmsNorm,
    Scan,
    Scatter,
    Softmax,
    Sort,
    TopK,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
NETS = Path(__file__).with_name("nets.py")
EXAMPLE = Path(__file__).parents[4] / "examples" / "models" / "causal_lm.py"
MODELS = (
    *("perceptron", "convolutions", "patches", "encoder", "encoder_decoder", "decoder", "attention", "recurrent"),
    *("gated", "einsum", "one_pixel", "grouped", "causal", "images", "masked"),
)


def imported(name: str, **params: object) -> Imported:
    return import_model("torch", f"{NETS}:{name}", params)


def counted_by_torch(name: str) -> float:
    """Flops of a forward as torch's own counter has them, on the meta device."""
    from torch.utils.flop_counter import FlopCounterMode

    namespace: dict[str, Any] = {"__name__": "nets", "__annotations__": {}}
    exec(compile(NETS.read_text(encoding="utf-8"), str(NETS), "exec"), namespace)
    with torch.device("meta"):
        module, inputs = namespace[name]()
    module.eval()
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(*arguments)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    return float(counter.get_total_flops())


def matmul_flops(found: Imported) -> float:
    """Of all products: those of operators, and of convolutions that none stands for. Of causal attention all pairs."""
    of_operators = sum(
        float(op.matmul_flops) * (2 * op.seq_kv / (op.seq_kv + 1) if isinstance(op, AttentionPrefill) else 1)
        for op in (node.op for node in found.graph.nodes)
    )
    return of_operators + sum(one.flops for one in found.unknown if "convolution" in one.name)


@pytest.mark.parametrize("name", MODELS)
def test_flops_are_those_that_torch_counts(name: str) -> None:
    counted = counted_by_torch(name)
    assert counted > 0
    assert matmul_flops(imported(name)) == pytest.approx(counted, rel=1e-12)


def operators(graph: Graph) -> list[str]:
    return [node.op.describe() for node in graph.nodes]


@pytest.mark.parametrize("name", MODELS)
def test_an_exported_module_has_the_same_operators(name: str) -> None:
    traced, exported = imported(name, via="trace"), imported(name, via="export")
    assert operators(exported.graph) == operators(traced.graph)
    assert exported.unknown == traced.unknown
    assert [node.group for node in exported.graph.nodes if node.group] == [
        node.group for node in traced.graph.nodes if node.group
    ]


def test_a_causal_model_is_what_it_says() -> None:
    found = imported("causal", dtype="bf16")
    layer = [node.op for node in found.graph.nodes if node.group.startswith("layers.1")]
    assert (
        layer
        == [
            RmsNorm(32, 64, "bf16"),
            Gemm(32, 192, 64, dtype="bf16"),
            AttentionPrefill(2, 4, 4, 16, 16, 16, dtype="bf16"),
            Copy(2048, "bf16"),  # heads side by side again
            Gemm(32, 64, 64, dtype="bf16"),
            *[op for op in layer if op.op == "add"][:1],
            RmsNorm(32, 64, "bf16"),
            Gemm(32, 128, 64, dtype="bf16"),
            Pointwise(4096, 1, 1, 4, "bf16", "silu"),
            Gemm(32, 64, 128, dtype="bf16"),
            *[op for op in layer if op.op == "add"][1:],
        ]
    )
    assert [(one.pattern, one.count, one.operators) for one in found.repeated] == [("layers.*", 3, 11)]
    assert (found.unknown, found.notes) == ((), ())
    parameters = 2 * 100 * 64 + 64 + 3 * (2 * 64 + 4 * 64 * 64 + 2 * 64 * 128)
    assert found.graph.resident_bytes == {"weights": 2 * parameters}
    assert found.graph.name == "torch/nets/causal"


def test_nodes_are_after_what_they_read_and_after_the_one_before() -> None:
    graph = imported("causal").graph
    names = [node.name for node in graph.nodes]
    assert all(before in node.after for before, node in zip(names, graph.nodes[1:], strict=False))
    added = next(node for node in graph.nodes if node.op.op == "add")
    assert added.after == ("embedding.embedding", "layers.0.out.gemm")
    assert set(graph.streams().values()) == {0}


def test_attention_without_a_mask_and_with_one_is_an_operator() -> None:
    found = imported("encoder")
    assert found.notes == ()
    attention = [node.op for node in found.graph.nodes if node.op.op.startswith("attention") or node.op.op == "softmax"]
    assert attention == []
    assert EncoderAttention(2, 4, 4, 16, 16, 16, "fp32") in [node.op for node in found.graph.nodes]


def test_attention_reads_its_mask_once_and_narrow_values_are_told() -> None:
    found = imported("masked")
    assert [node.op for node in found.graph.nodes] == [
        EncoderAttention(2, 4, 4, 8, 6, 9, "fp32", 54),
        EncoderAttention(2, 4, 4, 8, 6, 9, "fp32"),
        Add(2 * 4 * 6 * 8, "fp32"),
        Gemm(6, 9, 8, 8, "fp32"),
        Softmax(48, 9, "fp32"),
        Gemm(6, 4, 9, 8, "fp32"),
    ]
    assert found.notes == (NOT_FUSED,)


def bias(elements: int) -> Pointwise:
    """What PyTorch adds to a convolution's result by a kernel of its own."""
    return Pointwise(elements, 1, 1, 1, "fp32", "add")


def test_what_vision_networks_do_to_images() -> None:
    found = imported("images")
    assert found.unknown == ()
    assert [node.op for node in found.graph.nodes] == [
        ConvDilated(2, 3, 8, 36, 20, cols=3, rows=3, dtype="fp32", dilation=2),
        bias(2 * 8 * 16 * 32),
        ConvDilated(2, 8, 8, 32, 16, cols=3, rows=1, pad_cols=1, stride=2, dtype="fp32", row_stride=1),
        bias(2 * 8 * 16 * 16),
        GroupNorm(2, 8, 16 * 16, 2, "fp32"),
        GroupNorm(1, 16, 16 * 16, 16, "fp32"),
        Pool(16, 16, 8, 16, cols=3, rows=3, out_height=8, indices=1, dtype="fp32"),
        Pool(16, 8, 4, 8, cols=2, rows=2, out_height=4, dtype="fp32", function="mean"),
        Resample(16, 16, 64, 4, dtype="fp32", function="linear"),
        Resample(16, 64, 256, dtype="fp32"),
        ConvTranspose(2, 8, 4, 16, 32, 16, cols=4, rows=4, out_height=32, stride=2, dtype="fp32"),
        bias(2 * 4 * 32 * 32),
        Pool(8, 32, 4, 32, cols=8, rows=8, out_height=4, dtype="fp32", function="mean"),
        Copy(128, "fp32"),
        Reduce(2, 64, dtype="fp32", function="mean"),
    ]


def test_what_goes_along_an_axis_or_by_an_index() -> None:
    found = imported("arrays")
    assert [one.name for one in found.unknown] == ["aten.zeros (no floating-point type)"]  # the indices
    assert [node.op for node in found.graph.nodes if node.op.op not in ("add", "pointwise")] == [
        Gather(4 * 6 * 3, 240, 1, "fp32"),
        Gather(4 * 6 * 3, 240, 1, "fp32"),
        Gather(4 * 2, 240, 10, "fp32"),
        Reduce(2, 40, dtype="fp32", function="mean"),  # of axes on both sides of one that stays
        Copy(240, "fp32"),
        Scatter(4 * 6 * 3, 240, 1, 1, "fp32"),
        Reduce(4, 6, 10, dtype="fp32", function="max"),
        Reduce(4, 6, 10, indices=1, dtype="fp32", function="max"),
        Reduce(1, 4, 60, dtype="fp32"),
        Scan(1, 6, 10, "fp32"),
        Sort(24, 10, "fp32"),
        TopK(24, 10, 3, "fp32"),
        Reduce(1, 72, 1, 4, dtype="fp32", function="std"),
        Reduce(1, 240, dtype="fp32"),
        Reduce(1, 2, dtype="fp32"),
        Reduce(4, 10, values=0, indices=1, dtype="fp32", function="max"),
        Reduce(24, 10, 1, 2, dtype="fp32", function="logsumexp"),
        Reduce(1, 24, 1, 2, dtype="fp32", function="l2"),
    ]


def test_images_that_are_not_square_are_gemms_where_filters_do_not_overlap() -> None:
    gemms = [node.op for node in imported("one_pixel").graph.nodes if isinstance(node.op, Gemm)]
    assert gemms == [Gemm(480, 16, 8, dtype="fp32"), Gemm(480, 4, 16, dtype="fp32")]
    assert imported("patches").graph.nodes[0].op == Gemm(2 * 4 * 8, 64, 3 * 64, dtype="fp32")


def test_convolutions_in_groups_are_operators() -> None:
    found = imported("grouped")
    assert found.unknown == ()
    kinds = [node.op.op for node in found.graph.nodes if getattr(node.op, "function", "") != "add"]
    assert kinds == ["conv", "pointwise", "conv", "pool", "conv_transpose", "conv2d"]
    assert len(found.graph.nodes) == len(kinds) + 4


def test_what_no_operator_stands_for_is_listed_with_its_share() -> None:
    found = imported("unlike")
    names = {one.name: one.calls for one in found.unknown}
    assert names == {"aten.convolution (transposed, of strides of several sizes)": 1, "aten.linalg_inv_ex": 1}
    assert [node.op.op for node in found.graph.nodes] == ["conv", "pointwise", "relu"]
    transposed = 2 * 4 * 3 * 4 * 4 * 9
    assert next(one.flops for one in found.unknown if "transposed" in one.name) == transposed
    whole = found.graph.flops + sum(one.flops for one in found.unknown)
    assert found.flops_share(found.unknown) == pytest.approx(1 - found.graph.flops / whole)
    assert sum(found.flops_share([one]) for one in found.unknown) == pytest.approx(found.flops_share(found.unknown))
    assert found.graph.nodes[2].after == (found.graph.nodes[1].name,)  # through what is left out


def test_copies_and_functions_one_by_one() -> None:
    found = imported("joined")
    assert [node.op for node in found.graph.nodes] == [
        Copy(96, "fp32"),
        Copy(96, "fp32", "fp16"),
        Pointwise(96, 1, 1, 1, "fp32", "gt"),
        Pointwise(96, 2, 1, 1, "fp16", "masked_fill"),
        Pointwise(96, 1, 1, 3, "fp16", "sigmoid"),
        Reduce(4, 24, dtype="fp16"),
        Pointwise(4, 0, 1, 0, "fp32", "ones"),
        Mul(4, "fp16"),
        Pointwise(4, 1, 1, 2, "fp16", "clamp"),
    ]
    assert found.unknown == ()
    mul, ones, total = (found.graph.nodes[index] for index in (7, 6, 5))
    assert mul.after == (total.name, ones.name)


def test_another_type_is_that_of_weights_inputs_and_memory() -> None:
    own, half = imported("perceptron"), imported("perceptron", dtype="fp16")
    assert {node.op.dtype for node in half.graph.nodes} == {"fp16"}
    assert half.graph.resident_bytes["weights"] == own.graph.resident_bytes["weights"] / 2


def test_a_module_of_seven_billion_parameters_needs_no_memory() -> None:
    found = import_model("torch", f"{EXAMPLE}:build", {})
    of_layer = 2 * 4096 + 4 * 4096 * 4096 + 3 * 4096 * 11008
    assert found.graph.resident_bytes["weights"] == 2 * (2 * 32000 * 4096 + 32 * of_layer + 4096)
    assert Counter(node.op.op for node in found.graph.nodes)["attention_prefill"] == 32


@pytest.mark.parametrize(
    ("source", "params", "message"),
    [
        ("nets.py", {}, "expected FILE.py:FUNCTION, as my_model.py:build, found 'nets.py'"),
        ("nets.py:", {}, "expected FILE.py:FUNCTION"),
        ("none.py:build", {}, "none.py: expected a file, found nothing: name the file that defines the module"),
        (f"{NETS}:encoderr", {}, "expected a function 'encoderr', found nothing"),
        (f"{NETS}:number", {}, "expected a function 'number', found 3"),
        (f"{NETS}:no_module", {}, "expected a module and its example inputs to be returned, found 3"),
        (f"{NETS}:raising", {}, "raising: expected it to run, found RuntimeError: no weights$"),
        (f"{NETS}:encoder", {"via": "jit"}, "via: expected one of auto, trace, export, found 'jit'"),
        (f"{NETS}:encoder", {"dtype": "int4"}, "dtype: expected one of fp64, fp32, fp16, bf16, found 'int4'"),
        (f"{NETS}:encoder", {"dtyp": "bf16"}, "did you mean 'dtype'"),
        (f"{NETS}:of_one_size", {"via": "trace"}, "of_one_size: on the meta device: expected it to run, found"),
        (f"{NETS}:of_one_size", {}, "expected a module that runs on the meta device or can be exported, found"),
    ],
)
def test_a_mistake_is_one_line(source: str, params: dict[str, object], message: str) -> None:
    with pytest.raises(SimexploreError, match=message) as error:
        import_model("torch", source, params)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_python_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "model.py"
    file.write_text("def build(:\n", encoding="utf-8")
    with pytest.raises(SimexploreError, match=r"model.py: expected it to run, found SyntaxError"):
        import_model("torch", f"{file}:build", {})


def test_torch_is_as_it_was() -> None:
    imported("encoder")
    assert torch.backends.mha.get_fastpath_enabled()
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert not torch.is_inference_mode_enabled()


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SimexploreError, match=r"pip install 'simexplore\[torch\]'"):
        imported("encoder")
