"""PyTorch's call for each operator: tensors by name → tensors by name. One line an operator in `CALLS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from simexplore.kernels.backend.case import Case
from simexplore.kernels.problems import EPSILON

Tensors = Mapping[str, Any]
Call = Callable[[Any, Case, Tensors], dict[str, Any]]
"""(the torch module, case, inputs) → results."""

DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "fp64": "float64",
        "fp32": "float32",
        "tf32": "float32",
        "fp16": "float16",
        "bf16": "bfloat16",
        "fp8": "float8_e4m3fn",
        "int8": "int8",
        "int32": "int32",
    }
)
"""Our names of element types → torch's."""


def _gemm(torch: Any, case: Case, given: Tensors) -> dict[str, Any]:
    a, b = given["a"], given["b"]
    if case.dtype == "fp8":
        one = torch.ones((), device=a.device)
        columns = b.t().contiguous().t()  # scaled products read B by columns
        return {"c": torch._scaled_mm(a, columns, one, one, out_dtype=torch.bfloat16)}
    return {"c": torch._int_mm(a, b) if case.dtype == "int8" else torch.mm(a, b)}


def _attention(torch: Any, case: Case, given: Tensors) -> dict[str, Any]:
    causal = case.op == "attention_prefill"
    attend = torch.nn.functional.scaled_dot_product_attention
    grouped = given["q"].shape[1] != given["k"].shape[1]
    return {"o": attend(given["q"], given["k"], given["v"], is_causal=causal, enable_gqa=grouped)}


def _conv2d(torch: Any, case: Case, given: Tensors) -> dict[str, Any]:
    stride, padding = case.count("stride"), case.count("pad")
    return {"y": torch.nn.functional.conv2d(given["x"], given["w"], stride=stride, padding=padding)}


def _layernorm(torch: Any, _case: Case, given: Tensors) -> dict[str, Any]:
    x = given["x"]
    return {"y": torch.nn.functional.layer_norm(x, x.shape[1:], given["scale"], given["shift"], EPSILON)}


def _rmsnorm(torch: Any, _case: Case, given: Tensors) -> dict[str, Any]:
    x = given["x"]
    return {"y": torch.nn.functional.rms_norm(x, x.shape[1:], given["scale"], EPSILON)}


CALLS: Mapping[str, Call] = MappingProxyType(
    {
        "gemm": _gemm,
        "attention_prefill": _attention,
        "attention_decode": _attention,
        "conv2d": _conv2d,
        "copy": lambda _, _case, given: {"y": given["x"].clone()},
        "add": lambda _, _case, given: {"z": given["x"] + given["y"]},
        "mul": lambda _, _case, given: {"z": given["x"] * given["y"]},
        "relu": lambda torch, _case, given: {"y": torch.relu(given["x"])},
        "gelu": lambda torch, _case, given: {"y": torch.nn.functional.gelu(given["x"], approximate="tanh")},
        "silu_mul": lambda torch, _case, given: {"z": torch.nn.functional.silu(given["x"]) * given["y"]},
        "softmax": lambda torch, _case, given: {"y": torch.softmax(given["x"], dim=1)},
        "layernorm": _layernorm,
        "rmsnorm": _rmsnorm,
    }
)
"""By operator family."""
