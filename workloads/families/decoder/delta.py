"""A gated delta network in a graph, as serving engines run it (Qwen3-Next in vLLM and SGLang).

One GEMM makes queries, keys, values and the gate of the result, a narrow one the rates of forgetting and of learning.
A convolution over tokens with SiLU follows, then a kernel that makes the rates, the scan of a prompt or the step of
the states, the norm of each head's result with its gate, and the output projection. GPUs divide the heads.
"""

from __future__ import annotations

from dataclasses import replace

from simexplore.workloads.families.decoder.chain import Chain, Parts
from simexplore.workloads.families.decoder.options import DecodeOptions, PrefillOptions
from simexplore.workloads.families.decoder.shape import Delta
from simexplore.workloads.ops import (
    CausalConv1d,
    CausalConv1dUpdate,
    GdnDecode,
    GdnPrefill,
    Operator,
    Pointwise,
    RmsNorm,
    SiluMul,
)

RATE_FLOPS = 8
"""Of the two rates of a head: a bias, softplus, a product and exp; and a sigmoid."""

PARTS_OF_A_GATE = 3.0
"""Tensors that a product of gate and value moves, of which a norm that does it on the way moves one more."""


def add_delta_network(chain: Chain, parts: Parts, group: str, kind: Delta) -> None:
    """All from the norm before it to the output projection."""
    hidden, dtype = parts.share.hidden, parts.options.activation_dtype
    norm = chain.last[0]
    rates = chain.add(f"{group}.rates_projection", parts.gemm(2 * kind.heads, hidden), group)
    projected = chain.add(f"{group}.qkvz", parts.gemm(kind.channels + kind.values, hidden), group, norm)
    convolution, scan = _kernels(parts, kind)
    mixed = chain.add(f"{group}.convolution", convolution, group)
    made = Pointwise(parts.tokens * kind.heads, 2, 2, RATE_FLOPS, dtype, "delta_rates")
    chain.add(f"{group}.rates", made, group, rates)
    chain.add(f"{group}.delta", scan, group, mixed)
    chain.add(f"{group}.gated_norm", RmsNorm(parts.tokens * kind.heads, kind.value_dim, dtype), group, projected)
    gate = SiluMul(parts.tokens * kind.values, dtype)
    # The norm's kernel reads the gate beside it, and weighs its own result.
    chain.nodes[-1] = replace(chain.nodes[-1], merged=(gate,), merged_bytes=float(gate.min_bytes) / PARTS_OF_A_GATE)
    chain.add(f"{group}.projection", parts.gemm(hidden, kind.values, wide=True), group)


def _kernels(parts: Parts, kind: Delta) -> tuple[Operator, Operator]:
    """The convolution and the scan, over prompts or of one token."""
    options, dtype = parts.options, parts.options.activation_dtype
    heads = kind.heads, kind.key_heads
    if isinstance(options, PrefillOptions):
        convolution = CausalConv1d(options.batch, kind.channels, options.prompt, kind.taps, dtype=dtype)
        scan = GdnPrefill(options.batch, *heads, options.prompt, kind.key_dim, kind.value_dim, dtype=dtype)
        return convolution, scan
    assert isinstance(options, DecodeOptions)
    update = CausalConv1dUpdate(options.batch, kind.channels, width=kind.taps, dtype=dtype)
    return update, GdnDecode(options.batch, *heads, 1, kind.key_dim, kind.value_dim, dtype=dtype)
