"""Multi-head latent attention in a graph, as serving engines run it (DeepSeek-V2, arXiv:2405.04434, section 2.1).

One GEMM makes the narrow vectors of queries and of keys and values; each has a norm of its own, and queries are
projected up. A prefill projects keys and values up for all heads and attends to them. A decode step absorbs that
projection: queries are brought into the space of the cache, a small product a head, and what attention makes is brought
back by another. Rotary embedding and the append to the cache are part of attention. GPUs divide the heads; each holds
the projections to narrow vectors, and the cache, whole.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simexplore.workloads.families.decoder.chain import ATTENTION, DECODE, PREFILL, Chain, Parts
from simexplore.workloads.families.decoder.options import DecodeOptions, PrefillOptions, Sizes
from simexplore.workloads.families.decoder.shape import Latent
from simexplore.workloads.operators.base import Count
from simexplore.workloads.ops import Gemm, MlaDecode, MlaPrefill, RmsNorm


def add_latent_attention(chain: Chain, parts: Parts, group: str, kind: Latent) -> None:
    """All from the norm before it to the output projection."""
    if isinstance(parts.options, DecodeOptions):
        after = _add_projections(chain, parts, group, kind)
        _add_decode(chain, parts, group, kind, after, parts.options.context)
    elif isinstance(parts.options, PrefillOptions):
        prompt = parts.options.prompt
        after = _add_projections(chain, parts, group, kind)
        up = parts.gemm(kind.heads * (kind.nope + kind.value), kind.kv_rank)
        _add_prefill(chain, parts, group, kind, after, up, parts.options.batch, prompt, prompt)
    elif parts.sizes is not None:
        _add_step(chain, parts, group, kind, parts.sizes)
    projection = parts.gemm(parts.share.hidden, kind.heads * kind.value, wide=True)
    chain.add(f"{group}.projection", projection, group)


def _add_step(chain: Chain, parts: Parts, group: str, kind: Latent, sizes: Sizes) -> None:
    """Pieces of prompts, for all of whose tokens keys and values are projected up, then sequences."""
    after = _add_projections(chain, parts, group, kind)
    if np.any(np.greater(sizes.pieces, 0)):
        length = sizes.past + sizes.queries
        cached = replace(parts, tokens=sizes.pieces * length)
        up = cached.gemm(kind.heads * (kind.nope + kind.value), kind.kv_rank, wide=True)
        _add_prefill(chain, parts, group, kind, after, up, sizes.pieces, sizes.queries, length, PREFILL)
    if np.any(np.greater(sizes.sequences, 0)):
        some = replace(parts, tokens=sizes.sequences)
        _add_decode(chain, some, group, kind, after, sizes.context, DECODE)


def _add_prefill(
    chain: Chain,
    parts: Parts,
    group: str,
    kind: Latent,
    after: _Projected,
    up: Gemm,
    sequences: Count,
    queries: Count,
    length: Count,
    name: str = ATTENTION,
) -> None:
    chain.add(f"{group}.kv_up", up, group, after.latents)
    attention = MlaPrefill(
        batch=sequences,
        heads=kind.heads,
        seq_q=queries,
        seq_kv=length,
        nope_dim=kind.nope,
        rope_dim=kind.rope,
        v_dim=kind.value,
        kv_lora_rank=kind.kv_rank,
        dtype=parts.options.activation_dtype,
        kv_dtype=parts.options.kv_dtype,
    )
    chain.add(f"{group}.{name}", attention, group, after.queries, after.down)


def _add_decode(
    chain: Chain, parts: Parts, group: str, kind: Latent, after: _Projected, context: Count, name: str = ATTENTION
) -> None:
    chain.add(f"{group}.absorb", parts.gemm(kind.kv_rank, kind.nope, wide=True, heads=kind.heads), group)
    attention = MlaDecode(
        batch=parts.tokens,
        heads=kind.heads,
        seq_kv=context,
        kv_lora_rank=kind.kv_rank,
        rope_dim=kind.rope,
        dtype=parts.options.activation_dtype,
        kv_dtype=parts.options.kv_dtype,
    )
    chain.add(f"{group}.{name}", attention, group, after.queries, after.latents, after.down)
    chain.add(f"{group}.expand", parts.gemm(kind.value, kind.kv_rank, wide=True, heads=kind.heads), group)


class _Projected(NamedTuple):
    """Names of the nodes that attention reads."""

    down: str
    """Makes the narrow vectors of keys and values."""
    latents: str
    """Their norm."""
    queries: str


def _add_projections(chain: Chain, parts: Parts, group: str, kind: Latent) -> _Projected:
    """Queries, and the narrow vectors of keys and values.

    In decode the latents' norm writes what the cache holds; in prefill what the next GEMM reads.
    """
    hidden, tokens, options = parts.share.hidden, parts.tokens, parts.options
    width, norm = kind.heads * (kind.nope + kind.rope), *chain.last
    if kind.q_rank:
        down = chain.add(f"{group}.qkv_down", parts.gemm(kind.q_rank + kind.kv_elements, hidden), group)
        query_norm = RmsNorm(tokens, kind.q_rank, options.activation_dtype, 0, options.written_dtype)
        chain.add(f"{group}.query_norm", query_norm, group)
        queries = chain.add(f"{group}.query_up", parts.gemm(width, kind.q_rank), group)
    else:
        queries = chain.add(f"{group}.query", parts.gemm(width, hidden), group)
        down = chain.add(f"{group}.kv_down", parts.gemm(kind.kv_elements, hidden), group, norm)
    written = options.written_dtype if isinstance(options, PrefillOptions) else None
    kv_norm = RmsNorm(tokens, kind.kv_rank, options.activation_dtype, 0, written)
    latents = chain.add(f"{group}.kv_norm", kv_norm, group, down)
    return _Projected(down, latents, queries)
