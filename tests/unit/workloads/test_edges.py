"""Sizes along the edges of a user's graph: what one operator makes the next reads, or the file says otherwise."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_machines import operators

import simexplore
from simexplore.workloads.graph_data import GraphDataError, from_data, to_data
from simexplore.workloads.operators.tensors.elements import elements_read, elements_written, fit
from simexplore.workloads.ops import FAMILIES, Operator, parse_operator

WITH_INDICES = ("sort", "top_k")
"""Families whose results come with 64-bit indices."""
EDGED = ("llama-3-8b", "gpt-3-13b")
"""Models whose edges are looked at; in a training step nodes also come after what they don't read."""
ONE_WAY = {"embedding", "grid_encoding", "ray_kernel", "host_read"}
"""Families that read indices, coordinates or what rays hold: sizes say nothing of these."""


def op(text: str) -> Operator:
    return parse_operator(text)


@pytest.mark.parametrize(
    ("writer", "reader", "fits"),
    [
        ("gemm(m=4096,n=4096,k=4096)", "gelu(elements=17)", False),
        ("gemm(m=4096,n=4096,k=4096)", "gelu(elements=16777216)", True),
        ("gelu(elements=16777215)", "gelu(elements=16777216)", False),
        ("gemm(m=16,n=22016,k=4096)", "silu_mul(elements=176128)", True),
        ("gemm(m=16,n=11008,k=4096)", "silu_mul(elements=176128)", True),
        ("gemm(m=16,n=33024,k=4096)", "silu_mul(elements=176128)", False),
        ("gemm(m=8,n=6144,k=4096)", "attention_decode(batch=8,heads=32,kv_heads=8,head_dim=128,seq_kv=99)", True),
        ("gemm(m=8,n=4096,k=4096)", "attention_decode(batch=8,heads=32,kv_heads=8,head_dim=128,seq_kv=99)", True),
        ("gemm(m=8,n=4097,k=4096)", "attention_decode(batch=8,heads=32,kv_heads=8,head_dim=128,seq_kv=99)", False),
        ("rmsnorm(rows=8,cols=64,residual=1)", "gemm(m=8,n=8,k=64)", True),
        ("rmsnorm(rows=8,cols=64)", "rmsnorm(rows=8,cols=64,residual=1)", True),
        ("rmsnorm(rows=8,cols=64)", "rmsnorm(rows=8,cols=32,residual=1)", True),
        ("rmsnorm(rows=8,cols=64)", "rmsnorm(rows=8,cols=16,residual=1)", False),
        ("gemm(m=8,n=64,k=8)", "all_gather(elements=1024,num_gpus=2)", True),
        ("all_gather(elements=1024,num_gpus=2)", "gelu(elements=1024)", True),
        ("reduce_scatter(elements=1024,num_gpus=2)", "gelu(elements=512)", True),
        ("reduce_scatter(elements=1024,num_gpus=2)", "gelu(elements=1024)", False),
        ("conv2d(batch=2,cin=3,cout=8,ksize=1,hw=4)", "conv2d(batch=2,cin=8,cout=1,ksize=1,hw=4)", True),
        ("conv2d(batch=2,cin=3,cout=8,ksize=1,hw=4)", "conv2d(batch=2,cin=3,cout=1,ksize=1,hw=4)", False),
        ("grid_encoding(queries=64)", "fused_mlp(queries=64)", True),
        ("grid_encoding(queries=64)", "fused_mlp(queries=65)", False),
        ("gemm(m=1,n=1000,k=8)", "embedding(tokens=1,width=8,vocabulary=1000)", True),
        ("pointwise(elements=8,inputs=0)", "quant_scale_matrix(rows=2,cols=4)", True),
    ],
)
def test_sizes_fit(writer: str, reader: str, fits: bool) -> None:
    assert fit(op(writer), op(reader)) is fits


@given(st.lists(operators(), min_size=2, max_size=6))
def test_what_does_not_fit_is_refused_unless_the_file_says_so(ops: list[Operator]) -> None:
    texts: list[dict[str, Any]] = [{"name": f"n{index}", "op": each.describe()} for index, each in enumerate(ops)]
    wrong = [index for index in range(1, len(ops)) if not fit(ops[index - 1], ops[index])]
    if wrong:
        with pytest.raises(GraphDataError, match="any_size: true") as caught:
            from_data(texts)
        assert caught.value.key_path == ("operators", wrong[0], "after")
    for index in wrong:
        texts[index]["any_size"] = True
    graph = from_data(texts)
    assert [node.op for node in graph.nodes] == ops
    assert from_data(to_data(graph)) == graph


@given(operators(), st.integers(1, 2**30))
def test_an_elementwise_reader_takes_what_is_there_and_nothing_else(writer: Operator, elements: int) -> None:
    (first, *_) = elements_written(writer)
    assert fit(writer, op(f"gelu(elements={int(first)})"))
    assert fit(writer, op(f"gelu(elements={elements})")) == (elements in {first, sum(elements_written(writer))})


@pytest.mark.parametrize("text", [family.example for family in FAMILIES.values()])
def test_elements_are_those_of_the_bytes(text: str) -> None:
    one = op(text)
    written = sum(elements_written(one))
    if one.op not in ("ray_kernel", "host_read", *WITH_INDICES):
        per_element = float(one.output_bytes) / written
        assert per_element in (1.0, 2.0, 4.0)
    assert (not elements_read(one)) == (one.op in ONE_WAY)
    assert all(size > 0 and math.isfinite(size) for size in (*elements_read(one), *elements_written(one)))


@pytest.mark.parametrize("name", [f"llm/{model}/{phase}" for model in EDGED for phase in ("prefill", "decode")])
@pytest.mark.parametrize("gpus", [1, 2])
def test_a_language_models_sizes_fit_but_where_a_part_is_read(name: str, gpus: int) -> None:
    graph = simexplore.load_workload(name, {"layers": 2, "tensor_parallel": gpus})
    ops = {node.name: node.op for node in graph.nodes}
    wrong = {node.name for node in graph.nodes for before in node.after if not fit(ops[before], node.op)}
    assert wrong == ({"lm_head"} if "prefill" in name else set()), "the head reads each prompt's last token"


def test_any_size_is_true_or_false() -> None:
    with pytest.raises(GraphDataError, match=r"any_size.*true or false"):
        from_data([{"op": "gelu(elements=1)", "any_size": 1}])
