"""Gradients of operators: their flops, and what they need of the forward pass."""

from __future__ import annotations

import pytest

from simexplore.errors import SimexploreError
from simexplore.workloads.ops import Conv2d, Operator, parse_operator
from simexplore.workloads.training.gradients import gradients_of


def texts(ops: tuple[Operator, ...]) -> list[str]:
    return [op.describe() for op in ops]


@pytest.mark.parametrize(
    ("op", "of_inputs", "of_weights"),
    [
        ("gemm(m=2,n=3,k=5,dtype=bf16)", ["gemm(m=2,n=5,k=3,dtype=bf16)"], ["gemm(m=5,n=3,k=2,dtype=bf16)"]),
        (
            "bmm(m=2,n=3,k=5,batch=7,dtype=fp16)",
            ["bmm(m=2,n=5,k=3,batch=7,dtype=fp16)", "bmm(m=5,n=3,k=2,batch=7,dtype=fp16)"],
            [],
        ),
        (
            "attention_prefill(batch=2,heads=8,kv_heads=2,head_dim=64,seq_q=16,seq_kv=32,window=8,dtype=bf16)",
            ["attention_backward(batch=2,heads=8,kv_heads=2,head_dim=64,seq_q=16,seq_kv=32,window=8,dtype=bf16)"],
            [],
        ),
        (
            "encoder_attention(batch=2,heads=8,kv_heads=8,head_dim=64,seq_q=16,seq_kv=32,dtype=bf16)",
            ["attention_backward(batch=2,heads=8,kv_heads=8,head_dim=64,seq_q=16,seq_kv=32,dtype=bf16,mask=none)"],
            [],
        ),
        (
            "rmsnorm(rows=3,cols=5,dtype=bf16)",
            ["pointwise(elements=15,inputs=2,flops_per_element=8,dtype=bf16,function=rmsnorm_backward)"],
            [],
        ),
        (
            "silu_mul(elements=6,dtype=bf16)",
            ["pointwise(elements=6,inputs=3,outputs=2,flops_per_element=11,dtype=bf16,function=silu_mul_backward)"],
            [],
        ),
        (
            "embedding(tokens=2,width=3,vocabulary=7,dtype=bf16)",
            [],
            [
                "pointwise(elements=21,inputs=0,flops_per_element=0,dtype=bf16,function=zero)",
                "pointwise(elements=6,inputs=2,dtype=bf16,function=embedding_backward)",
            ],
        ),
        ("add(elements=6,dtype=bf16)", [], []),
        (
            "pointwise(elements=4,dtype=fp16,function=add_dropout)",
            ["pointwise(elements=4,dtype=fp16,function=add_dropout_backward)"],
            [],
        ),
        (
            "group_norm(batch=2,channels=4,pixels=8,groups=2,dtype=fp16)",
            ["pointwise(elements=64,inputs=2,flops_per_element=11,dtype=fp16,function=group_norm_backward)"],
            [],
        ),
        (
            "resample(planes=3,in_elements=4,out_elements=16,dtype=fp16)",
            ["pointwise(elements=48,dtype=fp16,function=resample_backward)"],
            [],
        ),
        ("reduce(rows=2,cols=8,dtype=fp16)", ["pointwise(elements=16,dtype=fp16,function=reduce_backward)"], []),
        ("all_gather(elements=8,num_gpus=2,dtype=bf16)", ["reduce_scatter(elements=8,num_gpus=2,dtype=bf16)"], []),
        ("reduce_scatter(elements=8,num_gpus=2,dtype=bf16)", ["all_gather(elements=8,num_gpus=2,dtype=bf16)"], []),
        (
            "copy(elements=4,dtype=bf16,output_dtype=fp32)",
            ["copy(elements=4,dtype=fp32,output_dtype=bf16)"],
            [],
        ),
        (
            "rope(tokens=2,heads=4,kv_heads=2,head_dim=8,dtype=bf16)",
            ["rope(tokens=2,heads=4,kv_heads=2,head_dim=8,dtype=bf16)"],
            [],
        ),
    ],
)
def test_backward_operators(op: str, of_inputs: list[str], of_weights: list[str]) -> None:
    found = gradients_of(parse_operator(op))
    assert texts(found.of_inputs) == of_inputs
    assert texts(found.of_weights) == of_weights


@pytest.mark.parametrize(
    "text",
    [
        "gemm(m=20,n=30,k=50,dtype=bf16)",
        "bmm(m=20,n=30,k=50,batch=4,dtype=bf16)",
        "conv2d(batch=4,cin=16,cout=32,ksize=3,hw=14,pad=1,dtype=fp16)",
        "conv(batch=2,cin=8,cout=8,width=9,height=7,cols=3,rows=3,groups=4,dtype=fp16)",
        "conv_transpose(batch=2,cin=8,cout=12,width=9,out_width=18,cols=2,stride=2,groups=4,dtype=fp16)",
    ],
)
def test_products_have_twice_the_flops_of_the_forward_pass(text: str) -> None:
    op = parse_operator(text)
    found = gradients_of(op)
    assert sum(float(each.flops) for each in (*found.of_inputs, *found.of_weights)) == 2 * op.flops


def test_gradients_of_filters_have_as_many_elements_as_the_filters() -> None:
    op = Conv2d(batch=4, cin=16, cout=32, ksize=3, hw=14, pad=1, dtype="fp16")
    (filters,) = gradients_of(op).of_weights
    assert filters.output_bytes == op.filter_bytes
    (pixels,) = gradients_of(op).of_inputs
    assert pixels.flops == op.flops


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("gemm(m=2,n=3,k=5)", (True, False, False)),
        ("embedding(tokens=2,width=3,vocabulary=7)", (False, False, False)),
        ("attention_prefill(batch=1,heads=1,kv_heads=1,head_dim=8,seq_q=4,seq_kv=4)", (True, True, True)),
        ("softmax(rows=2,cols=3)", (True, False, True)),
        ("pool(planes=1,width=8,out_width=4,cols=2)", (True, True, False)),
        ("pool(planes=1,width=8,out_width=4,cols=2,indices=1)", (True, False, True)),
        ("pool(planes=1,width=8,out_width=4,cols=2,function=mean)", (True, False, False)),
        ("resample(planes=1,in_elements=4,out_elements=16)", (True, False, False)),
        ("relu(elements=4)", (True, False, True)),
        ("gelu(elements=4)", (True, True, False)),
        ("layernorm(rows=2,cols=3)", (True, True, False)),
        ("pointwise(elements=4,function=dropout)", (True, False, True)),
        ("pointwise(elements=4,function=tanh)", (True, True, False)),
    ],
)
def test_what_the_backward_pass_needs_is_kept(text: str, needs: tuple[bool, bool, bool]) -> None:
    found = gradients_of(parse_operator(text))
    assert (found.inputs_for_weights, found.inputs_for_inputs, found.result) == needs


def test_attention_has_five_products_where_the_forward_pass_has_two() -> None:
    op = parse_operator("attention_prefill(batch=2,heads=4,kv_heads=2,head_dim=8,seq_q=16,seq_kv=32,dtype=bf16)")
    (back,) = gradients_of(op).of_inputs
    assert back.flops == 2.5 * op.flops
    queries, keys, sums = 2 * 2 * 4 * 16 * 8, 2 * 2 * 2 * 2 * 32 * 8, 4 * 2 * 4 * 16
    assert back.min_bytes == 4 * queries + 2 * keys + sums
    assert back.output_bytes == queries + keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "attention_decode(batch=1,heads=1,kv_heads=1,head_dim=8,seq_kv=4)",
            "no gradient of attention_decode is known",
        ),
        ("rmsnorm(rows=2,cols=3,residual=1)", "training has that addition apart"),
    ],
)
def test_what_has_no_gradient_is_refused(text: str, message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        gradients_of(parse_operator(text))


def test_an_update_reads_gradients_and_states_and_writes_in_place() -> None:
    op = parse_operator("optimizer_step(elements=100,state_bytes=800,dtype=bf16,gradient_dtype=fp32)")
    assert op.min_bytes == 400 + 2 * (200 + 800)
    assert op.output_bytes == 200
    assert op.flops == 1200
