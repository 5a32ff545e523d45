"""A training step as a graph: its work, what is done again, what GPUs exchange, and what stays in memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from simexplore.errors import SimexploreError
from simexplore.workloads import catalog
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import (
    AllReduce,
    Attention,
    AttentionBackward,
    Bmm,
    Conv,
    Conv2d,
    Gemm,
    Operator,
    OptimizerStep,
    Svd,
    parse_operator,
)
from simexplore.workloads.training.methods.low_rank import Method
from simexplore.workloads.training.methods.optimizers import AdamW
from simexplore.workloads.training.plan import Plan, held_by
from simexplore.workloads.training.step import training_step

MODEL = MODELS["llama-2-7b"]
TOKENS = 64
LAYER = sum(m * n for m, n in ((12288, 4096), (4096, 4096), (22016, 4096), (4096, 11008)))
HEAD = 32000 * 4096


def step(**params: Any) -> Graph:
    return catalog.build("llm/llama-2-7b/train", {"tokens": TOKENS, "layers": 2, **params})


def nodes_of(graph: Graph, *families: type[Operator]) -> list[Node]:
    return [node for node in graph.nodes if isinstance(node.op, families)]


def flops_of(graph: Graph, phase: str, *families: type[Operator]) -> float:
    return sum(float(node.op.flops) for node in nodes_of(graph, *families) if node.group.endswith(phase))


def named(graph: Graph, name: str) -> Node:
    return next(node for node in graph.nodes if node.name == name)


def test_products_take_six_flops_a_parameter_and_token() -> None:
    graph = step()
    multiplied = 2 * LAYER + HEAD
    assert flops_of(graph, "forward", Gemm) == 2 * multiplied * TOKENS
    assert flops_of(graph, "backward", Gemm) == 4 * multiplied * TOKENS
    assert flops_of(graph, "backward", AttentionBackward) == 2.5 * flops_of(graph, "forward", Attention)


def test_the_first_layer_hands_its_gradient_to_the_embedding() -> None:
    assert named(step(), "embedding.weights_backward1").reads[0] == "embedding.sum"


@pytest.mark.parametrize(("recompute", "layers", "attention"), [("none", 0, 0), ("attention", 0, 1), ("full", 1, 1)])
def test_what_is_recomputed_is_done_twice(recompute: str, layers: int, attention: int) -> None:
    graph = step(recompute=recompute)
    again = [node for node in graph.nodes if node.name.endswith(".again")]
    assert sum(float(node.op.flops) for node in again if isinstance(node.op, Gemm)) == layers * 4 * LAYER * TOKENS
    assert sum(isinstance(node.op, Attention) for node in again) == 2 * attention
    assert not any(node.group.startswith("head") for node in again)


def test_a_recomputed_layer_begins_from_what_the_layer_before_left() -> None:
    graph = step(recompute="full")
    assert named(graph, "layer1.attention_norm.again").reads[0] == "layer0.down.add"
    assert "layer1.attention_norm.again" in named(graph, "layer1.qkv.weights_backward").reads
    read_late = {name for node in graph.nodes if "backward" in node.group for name in node.reads}
    kept = [node.name for node in graph.nodes if node.group.startswith("layer") and "forward" in node.group]
    assert [name for name in kept if name in read_late] == ["layer0.down.add", "layer1.down.add"]


def test_selective_recomputation_keeps_what_attention_hands_on() -> None:
    graph = step(recompute="attention", attention="unfused")
    again = [node.name for node in graph.nodes if node.name.startswith("layer1") and node.name.endswith(".again")]
    assert again == [f"layer1.attention{part}.again" for part in (".scores", ".softmax", ".dropout", "")]
    assert "layer1.attention" in named(graph, "layer1.projection.weights_backward").reads
    read = {name for node in graph.nodes if "backward" in node.group for name in node.reads}
    assert not read & {f"layer1.attention.{part}" for part in ("scores", "softmax", "dropout")}


def test_unfused_attention_has_the_flops_of_all_pairs() -> None:
    graph = step(attention="unfused")
    assert flops_of(graph, "forward", Bmm) == 2 * 4 * 128 * 32 * TOKENS**2
    assert flops_of(graph, "backward", Bmm) == 2 * flops_of(graph, "forward", Bmm)


def test_gpus_that_share_layers_reduce_twice_a_layer_each_way() -> None:
    graph = step(tensor_parallel=4)
    reduced = Counter(node.group for node in nodes_of(graph, AllReduce))
    assert reduced == {
        "embedding forward": 1, "layer0 forward": 2, "layer1 forward": 2, "layer0 backward": 2, "layer1 backward": 2,
    }  # fmt: skip
    twin = named(graph, "layer1.ffn_norm.all_reduce_backward")
    assert twin.reads[0] == "layer1.gate_up.backward"
    assert flops_of(graph, "forward", Gemm) == pytest.approx(flops_of(step(), "forward", Gemm) / 4)
    whole, part = (each.resident_bytes["weights"] for each in (step(), graph))
    assert part == pytest.approx(whole / 4, rel=1e-4)  # but for the norms


def test_sequence_parallel_gpus_gather_and_scatter_instead() -> None:
    whole, parts = step(tensor_parallel=4), step(tensor_parallel=4, sequence="parallel", recompute="attention")
    kinds = Counter(node.op.op for node in parts.nodes if node.group.startswith("layer1"))
    assert kinds["all_reduce"] == 0
    assert kinds["reduce_scatter"] == 4
    assert kinds["all_gather"] == 2 + 2 + 2  # forward, what the backward pass multiplies, gradients
    assert named(parts, "layer1.ffn_norm").op.rows * 4 == named(whole, "layer1.ffn_norm").op.rows  # type: ignore[attr-defined]
    with pytest.raises(SimexploreError, match="4 GPUs must divide 66 tokens"):
        step(tensor_parallel=4, sequence="parallel", tokens=66)


def test_copies_of_the_model_add_up_every_gradient_beside_the_backward_pass() -> None:
    graph = step(data_parallel=8)
    reduced = nodes_of(graph, AllReduce)
    assert sum(int(node.op.elements) for node in reduced) == 2 * (LAYER + 2 * 4096) + 2 * HEAD + 4096
    others = [node for node in graph.nodes if node not in reduced and "backward" in node.group]
    assert not {name for node in others for name in node.reads} & {node.name for node in reduced}
    first_update = next(node for node in graph.nodes if "update" in node.group)
    assert reduced[-1].name in first_update.after
    streams = graph.streams()
    assert {streams[node.name] for node in reduced[:-1]} == {1}  # after the last one nothing runs beside it
    assert {streams[node.name] for node in graph.nodes if node not in reduced} == {0}


def test_micro_batches_add_up_gradients_and_update_once() -> None:
    graph = step(micro_batches=3)
    assert len(graph.nodes) == 3 * (len(step().nodes) - 4) + 4
    assert flops_of(graph, "backward", Gemm) == 3 * flops_of(step(), "backward", Gemm)
    added = named(graph, "batch1/layer0.qkv.weights_backward")
    assert [op.op for op in added.merged] == ["add"]
    assert added.merged_bytes == 2 * 12288 * 4096  # the gradients that are there are read
    wide = named(step(precision="mixed"), "layer0.qkv.weights_backward")
    assert wide.merged_bytes == (2 * 4 - 2) * 12288 * 4096  # read and written in fp32, not written in 16 bits
    assert named(step(), "layer0.qkv.weights_backward").merged == ()


def test_layer_wise_updates_hold_no_gradients_for_long() -> None:
    graph = step(update="layer_wise")
    assert set(graph.resident_bytes) == {"weights", "states"}
    assert named(graph, "layer1.qkv.weights_backward").output_bytes == 2 * 12288 * 4096
    assert named(graph, "layer1.qkv.weights_backward").kind == "gradients"
    assert named(graph, "embedding.update").reads == ("embedding.weights_backward", "embedding.weights_backward1")
    at_end = step()
    assert at_end.resident_bytes["gradients"] == at_end.resident_bytes["weights"]
    assert named(at_end, "layer1.qkv.weights_backward").output_bytes == 0
    for each in (graph, at_end):
        updated = sum(int(node.op.elements) for node in nodes_of(each, OptimizerStep))  # type: ignore[attr-defined]
        assert 2 * updated == each.resident_bytes["weights"]
    for params in ({"micro_batches": 2}, {"data_parallel": 2}):
        with pytest.raises(SimexploreError, match="take one micro-batch and one copy"):
            step(update="layer_wise", **params)


def test_states_of_the_graph_are_those_that_updates_read() -> None:
    for optimizer in ("adamw", "adamw_fp32", "adafactor"):
        graph = step(optimizer=optimizer)
        read = sum(int(node.op.state_bytes) for node in nodes_of(graph, OptimizerStep))  # type: ignore[attr-defined]
        assert read == graph.resident_bytes["states"]


def test_galore_projects_the_gradient_and_its_update_back() -> None:
    graph = step(optimizer="galore8bit", rank=512, update="layer_wise")
    project, back = (named(graph, f"layer0.gate_up.gate.{name}").op for name in ("project", "project_back"))
    assert project.describe() == "gemm(m=11008,n=512,k=4096,dtype=bf16)"
    assert back.describe() == "gemm(m=11008,n=4096,k=512,dtype=bf16)"
    assert named(graph, "layer0.down.down.project").op.describe() == "gemm(m=512,n=11008,k=4096,dtype=bf16)"
    moments = 2 * 11008 * 512
    assert named(graph, "layer0.gate_up.gate.update").op.state_bytes == moments + moments // 64  # type: ignore[attr-defined]
    assert named(graph, "lm_head.update").op.elements == HEAD  # type: ignore[attr-defined]


def test_adapters_are_trained_beside_a_frozen_model() -> None:
    graph = step(optimizer="lora", rank=16)
    assert named(graph, "layer0.qkv.k.A").op.describe() == f"gemm(m={TOKENS},n=16,k=4096,dtype=bf16)"
    assert named(graph, "layer0.qkv.k.B").op.describe() == f"gemm(m={TOKENS},n=4096,k=16,dtype=bf16)"
    assert set(named(graph, "layer0.qkv.adapted").reads) == {"layer0.qkv", *(f"layer0.qkv.{each}.B" for each in "qkv")}
    assert not any(node.name == "layer0.qkv.weights_backward" for node in graph.nodes)
    assert any(node.name == "layer0.qkv.k.A.weights_backward" for node in graph.nodes)
    assert not any(
        node.name == "layer0.attention_norm.backward" for node in graph.nodes
    )  # nothing before it is trained
    adapters = 2 * 16 * (4 * (4096 + 4096) + 3 * (4096 + 11008))
    updated = sum(int(node.op.elements) for node in nodes_of(graph, OptimizerStep))  # type: ignore[attr-defined]
    assert updated == adapters
    assert graph.resident_bytes["gradients"] == 4 * adapters
    assert graph.resident_bytes["weights"] == step().resident_bytes["weights"] + 4 * adapters


def test_mixed_precision_holds_18_bytes_a_parameter() -> None:
    graph, parameters = step(precision="mixed"), 2 * (LAYER + 2 * 4096) + 2 * HEAD + 4096
    assert graph.resident_bytes["weights"] == 2 * parameters
    assert graph.resident_bytes["gradients"] == 4 * parameters
    assert graph.resident_bytes["states"] == 12 * parameters + 4 * 21  # and the steps of its tensors
    (update, *_) = nodes_of(graph, OptimizerStep)
    assert (update.op.dtype, update.op.gradient_dtype) == ("bf16", "fp32")  # type: ignore[attr-defined]


def test_gpus_have_equal_parts_of_the_vocabulary() -> None:
    graph = catalog.build("llm/gpt2/train", {"tokens": 16, "layers": 1, "tensor_parallel": 4})
    assert named(graph, "embedding.part").op.describe() == "embedding(tokens=16,width=768,vocabulary=12565,dtype=bf16)"
    assert named(graph, "embedding").op.describe() == "all_reduce(elements=12288,num_gpus=4,dtype=bf16)"


def test_the_loss_is_a_softmax_of_wide_logits() -> None:
    loss = [node.op.describe() for node in step().nodes if node.name.startswith("lm_head.")][:3]
    elements = TOKENS * 32000
    assert loss == [
        f"copy(elements={elements},dtype=bf16,output_dtype=fp32)",
        f"softmax(rows={TOKENS},cols=32000,dtype=fp32)",
        f"pointwise(elements={elements},flops_per_element=2,dtype=fp32,function=cross_entropy_backward)",
    ]


def test_tensors_of_any_graph_by_its_operators() -> None:
    ops = {
        "conv": "conv2d(batch=2,cin=3,cout=8,ksize=3,hw=8,pad=1)",
        "depthwise": "conv(batch=2,cin=8,cout=8,width=9,cols=5,groups=8)",
        "norm": "layernorm(rows=4,cols=16)",
        "scores": "bmm(m=2,n=3,k=4)",
        "table": "embedding(tokens=2,width=4,vocabulary=9)",
        "heads": "gemm(m=2,n=3,k=4,batch=5)",
        "groups": "group_norm(batch=1,channels=6,pixels=4,groups=2)",
        "up": "conv_transpose(batch=1,cin=8,cout=6,width=4,out_width=8,cols=2,stride=2,groups=2)",
    }
    held = held_by(Graph("some", tuple(Node.of(name, parse_operator(text)) for name, text in ops.items())))
    elements = {name: sum(weight.total for weight in weights) for name, weights in held.items()}
    assert elements == {
        "conv": 3 * 8 * 9,
        "depthwise": 8 * 5,
        "norm": 2 * 16,
        "table": 36,
        "heads": 60,
        "groups": 12,
        "up": 48,
    }


def test_a_network_of_images_is_trained() -> None:
    forward = catalog.build("diffusion/sd-turbo", {"size": 64})
    graph = training_step(forward, Plan(Method(AdamW()), dtype="fp16"))
    products = (Gemm, Conv, Conv2d)
    one, whole = (sum(float(node.op.flops) for node in nodes_of(each, *products)) for each in (forward, graph))
    assert 2.7 * one < whole < 3 * one  # what reads the image or the text needs no gradient of it
    assert graph.resident_bytes["states"] > 2 * graph.resident_bytes["weights"]


def test_any_graph_of_known_operators_is_trained() -> None:
    """Two products with a branch: gradients of what two nodes read are added up, and the loss is a mean square."""
    ops = {
        "up": "gemm(m=8,n=32,k=16)",
        "act": "gelu(elements=256)",
        "gate": "mul(elements=256)",
        "down": "gemm(m=8,n=16,k=32)",
    }
    after = {"up": (), "act": ("up",), "gate": ("up", "act"), "down": ("gate",)}
    forward = Graph("net", tuple(Node.of(name, parse_operator(op), after[name]) for name, op in ops.items()))
    graph = training_step(forward, Plan(Method(AdamW())))
    assert [node.name for node in graph.nodes][4:] == [
        "down.loss", "down.backward", "down.weights_backward", "gate.backward", "act.backward", "up.sum",
        "up.weights_backward", "up.update", "down.update",
    ]  # fmt: skip
    assert graph.resident_bytes == {"weights": 2 * 1024, "states": 2 * 2048 + 2 * 4, "gradients": 2 * 1024}
    assert named(graph, "gate.backward").reads == ("down.backward", "up", "act")
    assert named(graph, "gate.backward").unread == ("down.weights_backward",)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("llama-2-7b", {"optimizer": "galor"}, "optimizer: expected adamw, .*did you mean 'galore'"),
        ("llama-2-7b", {"recompute": "some"}, "recompute: expected none, attention, full, found 'some'"),
        ("llama-2-7b", {"precision": "mixed", "optimizer": "lora"}, "leave out lora"),
        ("llama-2-7b", {"svd_every": 200}, "svd_every is of galore and gradnormlorp: leave it out for adamw"),
        ("llama-2-7b", {"tensor_parallel": "3"}, "tensor_parallel=3 must divide"),
    ],
)
def test_a_mistake_is_one_line(name: str, params: dict[str, str], message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        catalog.build(f"llm/{name}/train", params)


def test_every_model_of_the_catalogue_is_trained() -> None:
    assert {f"llm/{name}/train" for name in MODELS} <= {*catalog.CATALOG}


@pytest.mark.parametrize("name", ["gpt2", "gemma-3-1b", "qwen3-8b", "phi-2", "pythia-70m", "gemma-2-2b"])
def test_every_shape_of_layer_trains_all_its_parameters(name: str) -> None:
    graph = catalog.build(f"llm/{name}/train", {"tokens": 16})
    assert graph.resident_bytes["weights"] == 2 * MODELS[name].parameters
    updated = sum(int(node.op.elements) for node in nodes_of(graph, OptimizerStep))  # type: ignore[attr-defined]
    assert updated == MODELS[name].parameters
    forward, backward = (flops_of(graph, phase, Gemm) for phase in ("forward", "backward"))
    assert backward == 2 * forward


def test_a_projected_gradient_is_decomposed_before_it_is_projected() -> None:
    without, graph = (step(optimizer="galore", rank=128, svd_every=every) for every in (0, 200))
    assert not nodes_of(without, Svd)
    assert len(graph.nodes) == len(without.nodes) + 2 * 7
    svd, project = named(graph, "layer0.gate.svd"), named(graph, "layer0.gate.project")
    assert svd.op == Svd(11008, 4096, every=200)
    assert svd.name in project.reads
    assert (svd.kind, svd.output_bytes) == ("workspace", 4 * (2 * 11008 * 4096 + 4096**2 + 4096))
    layer_wise = step(optimizer="galore", rank=128, svd_every=1, update="layer_wise")
    assert "layer1.gate_up.weights_backward" in named(layer_wise, "layer1.gate_up.gate.svd").reads
