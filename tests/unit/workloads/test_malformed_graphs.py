"""Malformed graphs: each mistake is told with the path of keys to it, what was expected and what was found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.workloads.graph_data import MAX_OPERATORS, GraphDataError, from_data

GEMM = "gemm(m=16,n=16,k=16)"
UP: dict[str, Any] = {"name": "up", "op": GEMM}

CASES: dict[str, tuple[object, tuple[str | int, ...], str, str]] = {
    "empty file": (None, (), "a mapping with 'operators', or a list of operators", "nothing"),
    "a word": ("gemm", (), "a mapping with 'operators'", "'gemm'"),
    "a number": (3.5, (), "a mapping with 'operators'", "3.5"),
    "no operators": ({"name": "x"}, ("operators",), "a list of operators", "nothing"),
    "empty list": ([], ("operators",), "a list of operators", "an empty list"),
    "operators are a mapping": (
        {"operators": {"up": GEMM}},
        ("operators",),
        "a list of operators",
        "the mapping {'up'",
    ),
    "operators are a text": ({"operators": GEMM}, ("operators",), "a list of operators", f"'{GEMM}'"),
    "unknown key": (
        {"operator": [UP]},
        ("operator",),
        "one of name, operators",
        "'operator'; did you mean 'operators'?",
    ),
    "key is a number": ({1: 2, "operators": [UP]}, ("1",), "a key that is text", "1"),
    "name is a list": ({"name": [1], "operators": [UP]}, ("name",), "a text on one line", "the list [1]"),
    "name has two lines": ({"name": "a\nb", "operators": [UP]}, ("name",), "a text on one line", r"'a\nb'"),
    "repeat is nought": ({"repeat": 0, "operators": [UP]}, ("repeat",), "a positive integer", "0"),
    "no GPU is apart": ([{**UP, "apart": 0}], ("operators", 0, "apart"), "a positive integer", "0"),
    "repeat is empty": ({"repeat": None, "operators": [UP]}, ("repeat",), "a positive integer", "nothing"),
    "repeat is true": ({"repeat": True, "operators": [UP]}, ("repeat",), "a positive integer", "True"),
    "repeat is a fraction": ({"repeat": 1.5, "operators": [UP]}, ("repeat",), "a positive integer", "1.5"),
    "repeated too often": ({"repeat": 10**9, "operators": [UP]}, ("repeat",), f"at most {MAX_OPERATORS}", "1000000000"),
    "operator repeated too often": ([{**UP, "repeat": 10**6}], ("operators",), f"at most {MAX_OPERATORS}", "1000000"),
    "operator repeated less than once": (
        [{**UP, "repeat": -1}],
        ("operators", 0, "repeat"),
        "a positive integer",
        "-1",
    ),
    "resident bytes are a number": (
        {"resident_bytes": 5, "operators": [UP]},
        ("resident_bytes",),
        "bytes by name, {weights: 1000000}",
        "5",
    ),
    "resident bytes have a unit": (
        {"resident_bytes": {"weights": "5 GB"}, "operators": [UP]},
        ("resident_bytes", "weights"),
        "a number of bytes, not negative",
        "'5 GB'",
    ),
    "resident bytes are negative": (
        {"resident_bytes": {"weights": -1}, "operators": [UP]},
        ("resident_bytes", "weights"),
        "a number of bytes, not negative",
        "-1",
    ),
    "resident bytes are not a number": (
        {"resident_bytes": {"weights": float("nan")}, "operators": [UP]},
        ("resident_bytes", "weights"),
        "a number of bytes, not negative",
        "nan",
    ),
    "operator is a number": ([UP, 7], ("operators", 1), "or a mapping with 'op'", "7"),
    "operator is empty": ([UP, None], ("operators", 1), "or a mapping with 'op'", "nothing"),
    "operator without op": ([{"name": "up"}], ("operators", 0, "op"), "an operator such as 'gemm(", "nothing"),
    "op is a list": ([{"op": [GEMM]}], ("operators", 0, "op"), "an operator such as 'gemm(", "the list ['gemm("),
    "op is cut off": ([{"op": "gemm(m=16"}], ("operators", 0, "op"), "',' or ')' at column 10", "the end"),
    "text is cut off": (["gemm(m=16"], ("operators", 0), "',' or ')' at column 10", "the end"),
    "unknown family": (
        [{"op": "gem(m=1)"}],
        ("operators", 0, "op"),
        "one of the families",
        "'gem'; did you mean 'gemm'?",
    ),
    "unknown family with keys": (
        [{"op": "gelo", "elements": 5}],
        ("operators", 0, "op"),
        "one of the families",
        "'gelo'",
    ),
    "missing parameter in a text": ([{"op": "gemm(m=1,n=1)"}], ("operators", 0, "op"), "k = a positive", "nothing"),
    "missing parameter as a key": ([{"op": "gemm", "m": 1, "n": 1}], ("operators", 0, "k"), "a positive", "nothing"),
    "misspelt parameter": (
        [{"op": "gelu", "element": 5}],
        ("operators", 0, "element"),
        "one of the parameters elements, dtype=bf16",
        "'element'; did you mean 'elements'?",
    ),
    "parameter is a fraction": (
        [{"op": "gelu", "elements": 0.5}],
        ("operators", 0, "elements"),
        "a positive integer",
        "0.5",
    ),
    "parameter is a list": (
        [{"op": "gelu", "elements": [5]}],
        ("operators", 0, "elements"),
        "a positive integer",
        "the list [5]",
    ),
    "parameter in text is nought": (["gemm(m=0,n=1,k=1)"], ("operators", 0), "m = a positive integer", "'0'"),
    "unknown dtype": (
        [{"op": "gelu", "elements": 5, "dtype": "float16"}],
        ("operators", 0, "dtype"),
        "a dtype (fp64, fp32",
        "'float16'",
    ),
    "dtype is a number": (
        [{"op": "gelu", "elements": 5, "dtype": 16}],
        ("operators", 0, "dtype"),
        "a dtype (fp64, fp32",
        "16",
    ),
    "heads do not divide": (
        [{"op": "attention_decode", "batch": 1, "heads": 8, "kv_heads": 3, "head_dim": 64, "seq_kv": 9}],
        ("operators", 0, "kv_heads"),
        "a divisor of heads = 8",
        "3",
    ),
    "parameters twice": (
        [{"op": GEMM, "m": 16}],
        ("operators", 0, "m"),
        "one of name, op, after, any_size, repeat, output_bytes, group, place, module",
        "'m'",
    ),
    "name used twice": ([UP, UP], ("operators", 1, "name"), "a name of its own", "'up', as operators.0"),
    "name is blank": ([{**UP, "name": " "}], ("operators", 0, "name"), "a text on one line", "' '"),
    "unknown dependency": (
        [UP, {"op": GEMM, "after": ["upp"]}],
        ("operators", 1, "after"),
        "the name of an operator in this graph",
        "'upp'; did you mean 'up'?",
    ),
    "dependency is a number": (
        [UP, {"op": GEMM, "after": 0}],
        ("operators", 1, "after"),
        "the name of an operator or a list of names",
        "0",
    ),
    "dependency twice": (
        [UP, {"op": GEMM, "after": ["up", "up"]}],
        ("operators", 1, "after"),
        "each name once",
        "the list ['up', 'up']",
    ),
    "after itself": (
        [{**UP, "after": ["up"]}],
        ("operators", 0, "after"),
        "no operator to wait for itself",
        "up -> up",
    ),
    "cycle": (
        [{**UP, "after": ["down"]}, {"name": "down", "op": GEMM}],
        ("operators", 1, "after"),
        "no operator to wait for itself",
        "down -> up -> down",
    ),
    "output bytes are a text": (
        [{**UP, "output_bytes": "1 MB"}],
        ("operators", 0, "output_bytes"),
        "a number of bytes, not negative",
        "'1 MB'",
    ),
    "place is a number": ([{**UP, "place": 3}], ("operators", 0, "place"), "a text on one line", "3"),
    "group is a number": ([{**UP, "group": 3}], ("operators", 0, "group"), "a text on one line", "3"),
    "numbered name is taken": (
        [{**UP, "repeat": 2}, {"name": "up.1", "op": GEMM}],
        ("operators",),
        "names that stay apart when repeats are numbered",
        "two operators are named 'up.1'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_told_with_its_key_path(case: str) -> None:
    data, key_path, expected, found = CASES[case]
    with pytest.raises(GraphDataError) as caught:
        from_data(data)
    error = caught.value
    assert error.key_path == key_path
    assert expected in error.expected
    assert error.found.startswith(found)
    where = ".".join(map(str, key_path)) or "graph"
    assert str(error) == f"{where}: expected {error.expected}, found {error.found}"
    assert str(error).isprintable()


WORDS = [
    "gemm",
    GEMM,
    "gelu(elements=1)",
    "softmax",
    "up",
    "down",
    "bf16",
    "",
    "a\nb",
    "\ud800",
    "gemm(m=",
    "5 GB",
    "-1",
]
KEYS = ["name", "operators", "repeat", "resident_bytes", "op", "after", "output_bytes", "group", "m", "n", "k", "dtype"]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 50), st.floats(), st.sampled_from(WORDS), st.text(max_size=8)
)
keys = st.one_of(st.sampled_from(KEYS), st.text(max_size=5), st.integers(), st.none())


def nested(children: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.one_of(st.lists(children, max_size=4), st.dictionaries(keys, children, max_size=5))


plain_data = st.recursive(scalars, nested, max_leaves=15)
operator_like = st.fixed_dictionaries(
    {"op": st.sampled_from(WORDS)}, optional={key: plain_data for key in KEYS if key not in ("op", "operators")}
)
graph_like = st.fixed_dictionaries(
    {"operators": st.lists(st.one_of(operator_like, plain_data), max_size=4)},
    optional={"name": scalars, "repeat": scalars, "resident_bytes": plain_data},
)


@given(st.one_of(plain_data, graph_like))
def test_any_plain_data_is_a_graph_or_one_line_of_error(data: object) -> None:
    try:
        outcome = f"graph of {len(from_data(data).nodes)} operators"
    except SimexploreError as error:
        outcome = str(error)
    assert outcome.isprintable()
