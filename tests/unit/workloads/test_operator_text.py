"""The text of an operator: there and back, tolerant of white space, exact about mistakes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_machines import any_operators

from simexplore.errors import SimexploreError
from simexplore.workloads.ops import FAMILIES, Gemm, Operator, parse_operator


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_example_is_canonical(family: str) -> None:
    example = FAMILIES[family].example
    assert parse_operator(example).describe() == example


@given(any_operators())
def test_text_there_and_back_is_the_same_operator(op: Operator) -> None:
    op.validate()
    assert parse_operator(op.describe()) == op


@pytest.mark.parametrize(
    "text",
    [
        "gemm(k=3,n=2,m=1)",
        "  gemm ( m = 1 ,\tn=2,\n k = 3 )  ",
        "gemm(m=1,n=2,k=3,dtype=bf16,batch=1)",
        "gemm(m=+1,n=02,k=3,weight_dtype=none)",
    ],
)
def test_order_and_white_space_do_not_matter(text: str) -> None:
    assert parse_operator(text) == Gemm(1, 2, 3)


def test_parameters_at_their_default_are_left_out() -> None:
    assert Gemm(1, 2, 3, batch=4, weight_dtype="int8").describe() == (
        "gemm(m=1,n=2,k=3,batch=4,dtype=bf16,weight_dtype=int8)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the name of an operator family at column 1, found the end"),
        ("gemm", "expected '(' at column 5, found the end"),
        ("(m=1)", "expected the name of an operator family at column 1, found '('"),
        ("gemm(m=1 n=2)", "expected ',' or ')' at column 10, found 'n'"),
        ("gemm(m=1,", "expected the name of a parameter at column 10, found the end"),
        ("gemm(m=1,)", "expected the name of a parameter at column 10, found ')'"),
        ("gemm(m)", "expected '=' at column 7, found ')'"),
        ("gemm(m=)", "expected a value for 'm' at column 8, found ')'"),
        ("gemm(m=1,n=1,k=1) x", "expected the end of the text at column 19, found 'x'"),
        ("gemm(m=1;n=1)", "expected ',' or ')' at column 9, found ';'"),
        ("gemm(m=1,m=2)", "expected each parameter once at column 10, found 'm' again"),
        ("gemm(" + "m" * 3000, "expected the end of the text at column 2001, found 1005 more characters"),
        ("gem(m=1,n=1,k=1)", "found 'gem'; did you mean 'gemm'?"),
        ("zzz(m=1)", "expected one of the families gemm, bmm, gemm_naive_tiled, conv2d, "),
        ("gemm()", "gemm: m: expected a positive integer, rows of A and C: tokens (example: gemm(m=4096,"),
        ("gemm(m=1,n=1)", "gemm: k: expected a positive integer"),
        ("gemm(m=1,n=1,k=1,batchs=2)", "found 'batchs'; did you mean 'batch'?"),
        ("gemm(m=1,n=1,k=1,q=2)", "one of the parameters m, n, k, batch=1, dtype=bf16, weight_dtype=none"),
        ("gemm(m=0,n=1,k=1)", "gemm: m: expected a positive integer, found '0'"),
        ("gemm(m=-4,n=1,k=1)", "gemm: m: expected a positive integer, found '-4'"),
        ("gemm(m=1e3,n=1,k=1)", "gemm: m: expected a positive integer, found '1e3'"),
        ("gemm(m=" + "9" * 400 + ",n=1,k=1)", "gemm: m: expected a positive integer, found '999"),
        ("gemm(m=99999999999999999999,n=1,k=1)", "gemm: m: expected at most 2**53"),
        ("gemm(m=1,n=1,k=1,dtype=fp17)", "found 'fp17'; did you mean 'fp16'?"),
        ("gemm(m=1,n=1,k=1,dtype=none)", "gemm: dtype: expected a dtype (fp64, fp32"),
        ("attention_decode(batch=1,heads=8,kv_heads=3,head_dim=64,seq_kv=9)", "a divisor of heads = 8, found 3"),
    ],
)
def test_a_mistake_is_one_line_with_what_was_expected_and_found(text: str, message: str) -> None:
    with pytest.raises(SimexploreError) as error:
        parse_operator(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 900  # the names of all families fit


@given(st.one_of(st.text(max_size=60), st.text("gem(mnk=1,) ", max_size=30)))
def test_any_text_is_an_operator_or_one_line_of_error(text: str) -> None:
    try:
        outcome = parse_operator(text).describe()
    except SimexploreError as error:
        outcome = str(error)
    assert outcome.isprintable()
