"""What every workload of the catalogue promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from simexplore.errors import SimexploreError
from simexplore.workloads import catalog
from simexplore.workloads.families.decoder.shape import Decoder, Delta, Grouped, Latent
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.graph import Graph
from simexplore.workloads.graph_data import from_data, to_data
from simexplore.workloads.operators.parameters import signature
from simexplore.workloads.ops import (
    FAMILIES,
    AllGather,
    AllReduce,
    AttentionDecode,
    Embedding,
    GdnDecode,
    GdnPrefill,
    Gemm,
    SiluMul,
)

OF_MODEL = [name for name in catalog.list_workloads() if name.startswith("llm/")]
WORKLOADS = [name for name in OF_MODEL if not name.endswith("/train")]
EVERY_WORKLOAD = catalog.list_workloads()
REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTATION = (REPOSITORY / "docs" / "workloads.md").read_text(encoding="utf-8")
OF_MODELS = (REPOSITORY / "docs" / "models" / "models.md").read_text(encoding="utf-8")
SHAPES = list(MODELS.values())


def divides(name: str, gpus: int) -> bool:
    """Whether a dense model's heads, key-value heads and feed-forward are multiples of so many GPUs."""
    model = MODELS[name.split("/")[1]]
    layer = model.layers[0]
    if not isinstance(layer.attention, Grouped) or model.active_parameters < model.parameters:
        return False
    return not any(size % gpus for size in (layer.attention.heads, layer.attention.kv_heads, layer.feed_forward.width))


def test_the_catalogue_holds_both_phases_of_every_model_that_runs() -> None:
    assert sorted(f"llm/{model.name}/{phase}" for model in SHAPES for phase in ("decode", "prefill")) == WORKLOADS
    assert {"gpt-3-13b", "gpt-3-175b", "llama-2-7b", "llama-3-70b", "llama-3-8b"} <= {model.name for model in SHAPES}


@pytest.mark.parametrize("name", WORKLOADS)
def test_it_builds_a_graph_of_valid_operators(name: str) -> None:
    graph = catalog.build(name)
    assert graph.name == name
    assert graph.flops > 0
    assert set(graph.resident_bytes) - {"states"} == {"weights", "kv_cache"}
    stepped = any(isinstance(node.op, GdnPrefill | GdnDecode) for node in graph.nodes)
    assert ("states" in graph.resident_bytes) == stepped
    assert all(value > 0 for value in graph.resident_bytes.values())
    for node in graph.nodes:
        node.op.validate()
        assert node.output_bytes > 0
        assert node.group


@pytest.mark.parametrize("name", WORKLOADS)
def test_it_survives_json(name: str) -> None:
    graph = catalog.build(name, {"layers": 2, "tensor_parallel": 4 if divides(name, 4) else 1})
    assert from_data(json.loads(json.dumps(to_data(graph)))) == graph


@pytest.mark.parametrize("name", WORKLOADS)
def test_it_documents_its_parameters(name: str) -> None:
    parameters = catalog.parameters(name)
    length = "context" if name.endswith("decode") else "prompt"
    assert {"batch", "dtype", "kv_dtype", "tensor_parallel", "layers", length} <= {p.name for p in parameters}
    assert all(p.default and p.description for p in parameters)
    assert catalog.build(name, {p.name: p.default for p in parameters}) == catalog.build(name)
    assert catalog.find(name).description


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_weights_are_its_parameters(shape: Decoder) -> None:
    weights = catalog.build(f"llm/{shape.name}/decode", {"dtype": "bf16"}).resident_bytes["weights"]
    assert weights == 2 * shape.parameters


def attention_flops(shape: Decoder, pairs: float, tokens: int, *, absorbed: bool) -> float:
    """Of one sequence whose heads have that many pairs each, in all layers; `absorbed`: latent attention in decode.

    A delta network has three products with a head's state a token, and in decode a decay of it.
    """

    def features(kind: Grouped | Latent) -> int:
        if isinstance(kind, Grouped):
            return 2 * kind.head_dim
        return 2 * kind.kv_rank + kind.rope if absorbed else kind.nope + kind.rope + kind.value

    kinds = [layer.attention for layer in shape.layers]
    states = sum(kind.state_elements for kind in kinds if isinstance(kind, Delta))
    return (7.0 if absorbed else 6.0) * states * tokens + sum(
        2.0 * features(kind) * kind.heads * pairs for kind in kinds if not isinstance(kind, Delta)
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_decode_multiplies_every_weight_once_for_each_sequence(shape: Decoder) -> None:
    batch, context = 4, 500  # no window is shorter
    graph = catalog.build(f"llm/{shape.name}/decode", {"batch": batch, "context": context})
    multiplied = shape.active_parameters - (0 if shape.tied_head else shape.hidden * shape.vocabulary)
    attention = batch * attention_flops(shape, context, 1, absorbed=True)
    assert graph.flops == pytest.approx(2 * multiplied * batch + attention, rel=0.03)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_prefill_multiplies_every_layer_weight_once_for_each_token(shape: Decoder) -> None:
    batch, prompt = 2, 512
    graph = catalog.build(f"llm/{shape.name}/prefill", {"batch": batch, "prompt": prompt})
    matmul = sum(float(node.op.matmul_flops) for node in graph.nodes)
    head = 2 * batch * shape.hidden * shape.vocabulary
    attention = batch * attention_flops(shape, prompt * (prompt + 1) / 2, prompt, absorbed=False)
    layers = shape.layer_parameters - (shape.parameters - shape.active_parameters)
    assert matmul == pytest.approx(2 * layers * batch * prompt + attention + head, rel=0.005)
    assert gemm_named(graph, "lm_head").m == batch


def gemm_named(graph: Graph, name: str) -> Gemm:
    op = next(node.op for node in graph.nodes if node.name == name)
    assert isinstance(op, Gemm)
    return op


@pytest.mark.parametrize("name", WORKLOADS)
def test_it_is_a_chain_but_for_position_tables(name: str) -> None:
    graph = catalog.build(name, {"layers": 3})
    tables = sum(isinstance(node.op, Embedding) for node in graph.nodes)
    assert max(graph.streams().values()) + 1 == tables


@pytest.mark.parametrize("name", [name for name in WORKLOADS if divides(name, 8)])
def test_tensor_parallel_gpus_share_the_work_and_reduce_twice_a_layer(name: str) -> None:
    alone = catalog.build(name, {"layers": 3, "batch": 16})
    shared = catalog.build(name, {"layers": 3, "batch": 16, "tensor_parallel": 8})
    matmul_flops = [sum(float(node.op.matmul_flops) for node in graph.nodes) for graph in (alone, shared)]
    assert matmul_flops[1] == pytest.approx(matmul_flops[0] / 8, rel=1e-3)
    assert shared.resident_bytes["kv_cache"] == alone.resident_bytes["kv_cache"] / 8
    assert sum(isinstance(node.op, AllReduce) for node in shared.nodes) == 6
    assert sum(isinstance(node.op, AllGather) for node in shared.nodes) == 1
    assert not any(isinstance(node.op, AllReduce | AllGather) for node in alone.nodes)


def test_key_value_heads_are_copied_when_there_are_more_gpus() -> None:
    graph = catalog.build("llm/llama-3-70b/decode", {"tensor_parallel": 16, "layers": 1})
    attention = next(node.op for node in graph.nodes if isinstance(node.op, AttentionDecode))
    assert (attention.heads, attention.kv_heads) == (4, 1)


@pytest.mark.parametrize(
    ("params", "operand_bytes"),
    [({"dtype": "fp32"}, 4), ({"dtype": "bf16"}, 2), ({"dtype": "fp8"}, 1), ({"weight_dtype": "int4"}, 0.5)],
)
def test_narrow_types_shrink_the_layers_and_leave_the_head(params: dict[str, str], operand_bytes: float) -> None:
    shape = MODELS["llama-3-8b"]
    graph = catalog.build("llm/llama-3-8b/decode", params)
    outside_bytes = max(2, operand_bytes) * shape.outer_parameters
    assert graph.resident_bytes["weights"] == operand_bytes * shape.layer_parameters + outside_bytes
    assert gemm_named(graph, "lm_head").dtype == ("fp32" if operand_bytes == 4 else "bf16")


def test_fp8_activations_are_quantised_on_the_way_into_every_layer_gemm() -> None:
    graph = catalog.build("llm/llama-3-8b/decode", {"dtype": "fp8", "layers": 1, "quantize": "kernels"})
    gemm = gemm_named(graph, "layer0.qkv")
    assert (gemm.dtype, gemm.activation_dtype, gemm.output_dtype) == ("fp8", "bf16", "bf16")


def test_the_kv_cache_has_its_own_type() -> None:
    caches = [
        catalog.build("llm/llama-3-8b/decode", params).resident_bytes["kv_cache"]
        for params in ({"batch": 8, "context": 4096}, {"batch": 8, "context": 4096, "kv_dtype": "fp8"})
    ]
    assert caches == [2 * 8 * 4096 * 8 * 128 * 32 * 2, 2 * 8 * 4096 * 8 * 128 * 32]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("llm/llama-3-8/decode", {}, "unknown workload 'llm/llama-3-8/decode'; did you mean 'llm/llama-3-8b/decode'"),
        ("llm/llama-3-8b/decode", {"contxt": "1"}, "batch=1, dtype=bf16, .*context=2048.*did you mean 'context'"),
        ("llm/llama-3-8b/prefill", {"prompt": "0"}, "prompt: expected a positive integer, found '0'"),
        ("llm/llama-3-8b/prefill", {"dtype": "fp9"}, "dtype: expected a dtype .*did you mean 'fp8'"),
        ("llm/llama-3-8b/decode", {"tensor_parallel": "3"}, "tensor_parallel=3 must divide heads=32 and ffn=14336"),
        ("llm/llama-3-70b/decode", {"tensor_parallel": "128"}, "must divide heads=64"),
        ("llm/mixtral-8x7b/decode", {"tensor_parallel": "8", "expert_parallel": "3"}, "expert_parallel=3 must divide"),
        ("llm/mixtral-8x7b/decode", {"expert_parallel": "2"}, "must divide tensor_parallel=1"),
        ("llm/gpt-oss-20b/decode", {"tensor_parallel": "64", "expert_parallel": "64"}, "=64 must divide 32 experts"),
        ("llm/mixtral-8x7b/decode", {"weight_dtype": "int4"}, "in the type that they are stored in"),
        ("llm/llama-3-8b/decode", {"tensor_parallel": "2", "expert_parallel": "2"}, "has none: leave them out"),
        ("llm/llama-3-8b/decode", {"skew": "120"}, "has none: leave them out"),
        ("llm/llama-3-8b/decode", {"layers": "33"}, "layers=33 must be at most 32"),
    ],
)
def test_a_mistake_is_one_line_that_says_how_to_mend_it(name: str, params: dict[str, str], message: str) -> None:
    with pytest.raises(SimexploreError, match=message) as error:
        catalog.build(name, params)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_documentation_has_every_family_with_its_parameters(family: str) -> None:
    assert f"| `{family}` | `{signature(FAMILIES[family])}` |" in DOCUMENTATION


@pytest.mark.parametrize("name", EVERY_WORKLOAD)
def test_the_documentation_has_every_workload_and_parameter(name: str) -> None:
    assert f"`{name.split('/')[1]}`" in OF_MODELS if name in OF_MODEL else f"`{name}`" in DOCUMENTATION
    for parameter in catalog.parameters(name):
        rows = [line for line in DOCUMENTATION.splitlines() if line.startswith(f"| `{parameter.name}`")]
        assert any(f"| {parameter.default} |" in row for row in rows)


def test_the_example_of_a_users_graph_is_what_its_comments_say() -> None:
    graph = from_data(yaml.safe_load((REPOSITORY / "examples" / "models" / "mlp.yaml").read_text(encoding="utf-8")))
    gemms = [node.op for node in graph.nodes if isinstance(node.op, Gemm)]
    assert (len(graph.nodes), len(gemms), set(graph.streams().values())) == (20, 12, {0, 1})
    assert graph.resident_bytes["weights"] == sum(2 * gemm.n * gemm.k for gemm in gemms)
    assert {node.op.output_bytes for node in graph.nodes if isinstance(node.op, SiluMul)} == {2 * 16 * 11008}
