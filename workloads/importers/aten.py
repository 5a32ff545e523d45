"""ATen's operations as operators. An operation is one line in `LOWERINGS`, or its name is in `FREE` or `FUNCTIONS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from types import MappingProxyType

from simexplore.workloads.importers import lowering
from simexplore.workloads.importers.arrays import shapes
from simexplore.workloads.importers.arrays.aten import ARRAYS
from simexplore.workloads.importers.arrays.calls import AtenCall
from simexplore.workloads.importers.lowering import FLOPS, Lowered, Sliding, Value
from simexplore.workloads.ops import LayerNorm, RmsNorm

DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "float64": "fp64",
        "float32": "fp32",
        "float16": "fp16",
        "bfloat16": "bf16",
        "float8_e4m3fn": "fp8",
        "float8_e5m2": "fp8",
    }
)
"""Our types by torch's; integers and truth values have none: no operator computes with them."""

FREE = frozenset(
    (
        *("_unsafe_view", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "lift_fresh"),
        *("_reshape_alias", "device", "is_same_size", "sym_size", "sym_stride", "sym_numel", "_local_scalar_dense"),
    )
)
"""Operations that launch nothing, beside those whose results alias their operands."""

_SPELLED: Mapping[str, str] = MappingProxyType(
    {"zeros_like": "zeros", "zero_": "zeros", "ones_like": "ones", "full_like": "full", "new_zeros": "zeros"}
    | {
        "new_ones": "ones",
        "new_full": "full",
        "_prelu_kernel": "prelu",
        "hardtanh": "clamp",
        "fill_": "fill",
        "scalar_tensor": "full",
    }
)
"""Functions that ATen has under several names."""


def lowered(call: AtenCall) -> Lowered:
    """The operators that a call amounts to; the empty text where nothing is known of its operation."""
    if call.name in LOWERINGS:
        return LOWERINGS[call.name](call)
    base = _SPELLED.get(call.name, call.name.removesuffix("_"))
    if base in FLOPS and call.results:
        return lowering.elementwise(base, call.tensors, call.results[0])
    return ""


def _product(first: int) -> Callable[[AtenCall], Lowered]:
    """A product of two arguments from `first` on."""
    return lambda call: lowering.matmul(call.value(first), call.value(first + 1))


def _convolution(call: AtenCall) -> Lowered:
    """A convolution; its bias is added by a kernel of its own (ATen/native/Convolution.cpp)."""
    image, filters, bias, stride, padding, dilation, transposed, _, groups = call.args
    axes = len(image.shape) - 2
    stride, padding, dilation = (tuple(each) * (axes if len(each) == 1 else 1) for each in (stride, padding, dilation))
    sliding = Sliding(stride, padding, padding, dilation, groups, transposed)
    product = lowering.convolution(image, filters, call.results[0], sliding)
    if isinstance(product, str) or bias is None:
        return product
    added = lowering.elementwise("add", (call.results[0],), call.results[0])
    return product if isinstance(added, str) else (*product, *added)


def _attention(call: AtenCall) -> Lowered:
    mask = call.option(3, "attn_mask", None)
    return lowering.attention(call.value(0), call.value(1), call.value(2), call.option(5, "is_causal", False), mask)


def _batch_norm(call: AtenCall) -> Lowered:
    """At inference an elementwise operator; with moments of its own, as instance norms have it, a norm of channels."""
    if call.name == "native_batch_norm" and call.args[5]:
        value = call.value(0)
        channels = value.shape[1]
        together = Value((1, channels, value.numel // channels), value.dtype, value.element_bytes)
        return shapes.group_norm(together, channels)
    return lowering.elementwise("batch_norm", call.tensors[:1], call.results[0])


def _concatenated(call: AtenCall) -> Lowered:
    return lowering.copy(call.tensors[0], call.results[0])


def _converted(call: AtenCall) -> Lowered:
    """A copy; into the first operand, where there are two."""
    return lowering.copy(call.tensors[-1], call.results[0])


LOWERINGS: Mapping[str, Callable[[AtenCall], Lowered]] = MappingProxyType(
    {
        **ARRAYS,
        "mm": _product(0),
        "bmm": _product(0),
        "mv": _product(0),
        "dot": _product(0),
        "addmm": _product(1),
        "addmv": _product(1),
        "baddbmm": _product(1),
        "convolution": _convolution,
        "scaled_dot_product_attention": _attention,
        "_softmax": lambda call: lowering.softmax(call.value(0), call.args[1]),
        "_log_softmax": lambda call: lowering.softmax(call.value(0), call.args[1]),
        "_safe_softmax": lambda call: lowering.softmax(call.value(0), call.args[1]),
        "native_layer_norm": lambda call: lowering.norm(LayerNorm, call.value(0), prod(call.args[1])),
        "rms_norm": lambda call: lowering.norm(RmsNorm, call.value(0), prod(call.args[1])),
        "_fused_rms_norm": lambda call: lowering.norm(RmsNorm, call.value(0), prod(call.args[1])),
        "native_group_norm": lambda call: shapes.group_norm(call.value(0), call.args[6]),
        "embedding": lambda call: lowering.embedding(call.value(0), call.results[0]),
        "native_batch_norm": _batch_norm,
        "_native_batch_norm_legit_no_training": _batch_norm,
        "cat": _concatenated,
        "stack": _concatenated,
        "clone": _converted,
        "_to_copy": _converted,
        "copy_": _converted,
        "repeat": _converted,
    }
)
"""Operations by name: how each becomes operators."""
