"""A gated delta network in a graph, as serving engines run it (Qwen3-Next in vLLM and SGLang).

One GEMM makes queries, keys, values and the gate of the result, a narrow one the rates of forgetting and of learning.
A convolution over tokens with SiLU follows, then a kernel that makes the rates, the scan of a prompt or the step of
the states, the norm of each head's result with its gate in one kernel, and the output projection. GPUs divide the
heads. A step of a serving engine has the convolution and the scan twice: for pieces of prompts, and for sequences.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.workloads.families.decoder.chain import Chain, Parts
from simexplore.workloads.families.decoder.options import DecodeOptions, PrefillOptions
from simexplore.workloads.families.decoder.shape import Delta
from simexplore.workloads.operators.base import Count
from simexplore.workloads.ops import CausalConv1d, CausalConv1dUpdate, GdnDecode, GdnPrefill, Operator, Pointwise

RATE_FLOPS = 8
"""Of the two rates of a head: a bias, softplus, a product and exp; and a sigmoid."""
GATED_NORM_FLOPS = 9
"""Of an element: square and add, times 1/rms and scale; times SiLU of the gate, which are five."""
PIECES, TOKENS = "piece_", "token_"
"""Beginnings of the names of a step's kernels for pieces of prompts, and for sequences that get a token."""


class _Kernels(NamedTuple):
    """A convolution and the scan after it."""

    prefix: str
    convolution: Operator
    scan: Operator


def add_delta_network(chain: Chain, parts: Parts, group: str, kind: Delta) -> None:
    """All from the norm before it to the output projection."""
    hidden, dtype = parts.share.hidden, parts.options.activation_dtype
    norm = chain.last[0]
    rates = chain.add(f"{group}.rates_projection", parts.gemm(2 * kind.heads, hidden), group)
    projected = chain.add(f"{group}.qkvz", parts.gemm(kind.channels + kind.values, hidden), group, norm)
    kernels = _kernels(parts, kind)
    mixed = [chain.add(f"{group}.{each.prefix}convolution", each.convolution, group, projected) for each in kernels]
    made = Pointwise(parts.tokens * kind.heads, 2, 2, RATE_FLOPS, dtype, "delta_rates")
    told = chain.add(f"{group}.rates", made, group, rates)
    scanned = [
        chain.add(f"{group}.{each.prefix}delta", each.scan, group, before, told)
        for each, before in zip(kernels, mixed, strict=True)
    ]
    gate = Pointwise(parts.tokens * kind.values, 2, 1, GATED_NORM_FLOPS, dtype, "gated_norm")
    chain.add(f"{group}.gated_norm", gate, group, *scanned, projected)
    chain.add(f"{group}.projection", parts.gemm(hidden, kind.values, wide=True), group)


def _kernels(parts: Parts, kind: Delta) -> list[_Kernels]:
    """Of a prompt, of one token a sequence, or of both."""
    options, sizes = parts.options, parts.sizes
    if isinstance(options, PrefillOptions):
        return [_of_prompts(parts, kind, options.batch, options.prompt)]
    if isinstance(options, DecodeOptions):
        return [_of_tokens(parts, kind, options.batch)]
    assert sizes is not None  # the only other kind of options is a step's
    found = []
    if np.any(np.greater(sizes.pieces, 0)):
        found.append(_of_prompts(parts, kind, sizes.pieces, sizes.queries, PIECES))
    if np.any(np.greater(sizes.sequences, 0)):
        found.append(_of_tokens(parts, kind, sizes.sequences, TOKENS))
    return found


def _of_prompts(parts: Parts, kind: Delta, batch: Count, tokens: Count, prefix: str = "") -> _Kernels:
    dtype = parts.options.activation_dtype
    convolution = CausalConv1d(batch, kind.channels, tokens, kind.taps, dtype=dtype)
    scan = GdnPrefill(batch, kind.heads, kind.key_heads, tokens, kind.key_dim, kind.value_dim, dtype=dtype)
    return _Kernels(prefix, convolution, scan)


def _of_tokens(parts: Parts, kind: Delta, batch: Count, prefix: str = "") -> _Kernels:
    dtype = parts.options.activation_dtype
    update = CausalConv1dUpdate(batch, kind.channels, width=kind.taps, dtype=dtype)
    step = GdnDecode(batch, kind.heads, kind.key_heads, 1, kind.key_dim, kind.value_dim, dtype=dtype)
    return _Kernels(prefix, update, step)
