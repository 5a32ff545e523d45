"""What is measured with PyTorch: operators at sizes that fit the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device

_NEEDS = {"fp8": frozenset({"fp8"}), "tf32": frozenset({"tf32"}), "int8": frozenset({"cuda"})}
"""Types that not every device multiplies."""

_SMALL_LAYERS = ((16, 16, 3, 14, 1, 1), (16, 32, 1, 14, 2, 0))
_LAYERS = (
    (64, 64, 3, 56, 1, 1),
    (128, 128, 3, 28, 1, 1),
    (256, 256, 3, 14, 1, 1),
    (256, 512, 1, 28, 2, 0),
    (3, 64, 7, 224, 2, 3),
)
"""Channels in and out, filter, image, stride and padding."""


def case_of(op: str, dtype: str, **params: int) -> Case:
    """An operator as PyTorch calls it."""
    given: Mapping[str, Any] = {**params, "dtype": dtype}
    return Case(op, given, "torch", requires=_NEEDS.get(dtype, frozenset()))


def gemm(device: Device, seed: int) -> list[Case]:  # noqa: ARG001 - a suite's signature; nothing here is drawn
    """Square, narrow and long products by type."""
    if device.kind == "CPU":
        return [case_of("gemm", "fp32", m=m, n=n, k=k) for m, n, k in ((64, 64, 64), (256, 256, 256), (1, 512, 512))]
    shapes = [(side, side, side) for side in (512, 1024, 2048, 4096, 8192)]
    shapes += [(m, 4096, 4096) for m in (16, 64, 256)] + [(m, 14336, 4096) for m in (16, 256, 2048)]
    dtypes = ("bf16", "fp16", "tf32", "fp8", "int8", "fp32")
    return [case_of("gemm", dtype, m=max(m, 32), n=n, k=k) for dtype in dtypes for m, n, k in shapes]


def reference(device: Device) -> Case:  # noqa: ARG001 - of the CPU, whatever it is
    """The kernel by which a CPU's pace is told."""
    return case_of("gemm", "fp32", m=192, n=192, k=192)


def attention(device: Device, seed: int) -> list[Case]:  # noqa: ARG001
    """Causal prefill and decode by length."""
    heads = {"batch": 1, "heads": 4, "kv_heads": 4, "head_dim": 32}
    lengths, dtype = [64, 128], "fp32"
    if device.kind != "CPU":
        heads, lengths, dtype = {"batch": 4, "heads": 32, "kv_heads": 8, "head_dim": 128}, [512, 1024, 2048], "bf16"
    cases = [case_of("attention_prefill", dtype, **heads, seq_q=tokens, seq_kv=tokens) for tokens in lengths]
    return cases + [case_of("attention_decode", dtype, **heads, seq_kv=8 * tokens) for tokens in lengths]


def conv(device: Device, seed: int) -> list[Case]:  # noqa: ARG001
    """Layers of residual networks."""
    small = device.kind == "CPU"
    dtypes, batch = (("fp32",), 2) if small else (("fp16", "tf32"), 32)
    names = ("cin", "cout", "ksize", "hw", "stride", "pad")
    layers = [dict(zip(names, sizes, strict=True)) for sizes in (_SMALL_LAYERS if small else _LAYERS)]
    return [case_of("conv2d", dtype, batch=batch, **layer) for dtype in dtypes for layer in layers]


def pointwise(device: Device, seed: int) -> list[Case]:  # noqa: ARG001
    """Elementwise and row-wise operators by size."""
    dtype = "fp32" if device.kind == "CPU" else "bf16"
    sizes = (1 << 14, 1 << 18) if device.kind == "CPU" else tuple(1 << shift for shift in range(16, 29, 3))
    named = ("copy", "add", "mul", "relu", "gelu", "silu_mul")
    cases = [case_of(op, dtype, elements=size) for op in named for size in sizes]
    rows = ((64, 256), (256, 1024)) if device.kind == "CPU" else ((256, 1024), (4096, 4096), (32768, 8192))
    return cases + [case_of(op, dtype, rows=r, cols=c) for op in ("softmax", "layernorm", "rmsnorm") for r, c in rows]


def micro(device: Device, seed: int) -> list[Case]:
    """All of the above."""
    return [case for suite in (gemm, attention, conv, pointwise) for case in suite(device, seed)]
