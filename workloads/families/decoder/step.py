"""One step of a serving engine: sequences that each get a new token, and pieces of prompts beside them, in one batch.

All tokens of a step go through the same GEMMs and norms; attention is one kernel for the sequences and one for the
pieces. Pieces of different lengths stand for equal ones that have as many tokens, and as many pairs of query and key:
a kernel for ragged batches (`varlen` of FlashAttention-2, Dao 2023, arXiv:2307.08691) pads nothing: its work is those
pairs. Only the last token of a prompt, and the new ones of sequences, go through the output head.

Sizes may be columns: a table of steps is one set of operators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from simexplore.workloads.families.decoder.chain import DECODE, PREFILL, Chain, Parts
from simexplore.workloads.families.decoder.delta import PIECES, TOKENS
from simexplore.workloads.families.decoder.graph import (
    add_embedding,
    add_head,
    add_layer,
    decode_attention,
    nodes_of,
    prefill_attention,
)
from simexplore.workloads.families.decoder.options import Sizes, StepOptions
from simexplore.workloads.families.decoder.shape import Decoder, Grouped
from simexplore.workloads.families.decoder.share import resident_bytes, shard
from simexplore.workloads.graph import Graph
from simexplore.workloads.ops import Attention, MlaDecode, MlaPrefill, Operator

Share = Literal["body", "head", "prefill", "decode"]
"""What a part of a step grows with: all its tokens, those that are sampled, pieces of prompts, sequences."""

_SHARES: Mapping[str, Share] = {
    "lm_head": "head",
    "gather_logits": "head",
    "kv_up": "prefill",
    PREFILL: "prefill",
    "absorb": "decode",
    DECODE: "decode",
    "expand": "decode",
    **{f"{PIECES}{kernel}": "prefill" for kernel in ("convolution", "delta")},
    **{f"{TOKENS}{kernel}": "decode" for kernel in ("convolution", "delta")},
}


@dataclass(frozen=True, slots=True)
class Part:
    """An operator of a step, and how often it comes."""

    name: str
    op: Operator
    count: int
    reads: bool
    """Whether it reads what an operator before it has written."""
    module: bool
    share: Share


def build_step(model: Decoder, name: str, options: StepOptions, sizes: Sizes) -> Graph:
    """The graph of a step on one of the GPUs that share it.

    Raises:
        SimexploreError: the model does not divide evenly among the GPUs.
    """
    share = shard(model, name, options)
    nodes = nodes_of(_parts(share, options, sizes), lambda kind: _attention(kind, options, sizes))
    cached = int(sizes.sequences * sizes.context + sizes.pieces * (sizes.past + sizes.queries))
    return Graph(name, nodes, resident_bytes(share, replace(options, batch=1), cached))


def parts_of(model: Decoder, name: str, options: StepOptions, sizes: Sizes) -> tuple[Part, ...]:
    """The operators of steps, whose sizes may be columns; layers that are alike are told once.

    Raises:
        SimexploreError: the model does not divide evenly among the GPUs.
    """
    parts = _parts(shard(model, name, options), options, sizes)
    tally = _Tally()
    add_embedding(tally, parts)
    first, *others = parts.share.layers
    kinds = [(first, 1, True), *((layer, count, False) for layer, count in Counter(others).items())]
    for index, (layer, count, is_first) in enumerate(kinds):
        tally.count = count
        add_layer(tally, parts, f"layer{index}", layer, lambda kind: _attention(kind, options, sizes), is_first)
    tally.count = 1
    add_head(tally, parts)
    return tuple(tally.parts)


def _parts(share: Decoder, options: StepOptions, sizes: Sizes) -> Parts:
    return Parts(share, options, sizes.tokens, sizes.sampled, sizes)


def _attention(kind: Grouped, options: StepOptions, sizes: Sizes) -> dict[str, Operator]:
    ops: dict[str, Operator] = {}
    if np.any(np.greater(sizes.pieces, 0)):
        ops[PREFILL] = prefill_attention(kind, options, sizes.pieces, sizes.queries, sizes.past)
    if np.any(np.greater(sizes.sequences, 0)):
        ops[DECODE] = decode_attention(kind, options, sizes.sequences, sizes.context)
    return ops


class _Tally(Chain):
    """Operators in the making, each so often."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Part] = []
        self.count = 1

    def add(self, name: str, op: Operator, group: str, *also_after: str | None) -> str:  # noqa: ARG002 - as a chain's
        share = _SHARES.get(name.rpartition(".")[2], "body")
        module = isinstance(op, Attention | MlaPrefill | MlaDecode)
        self.parts.append(Part(name, op, self.count, bool(self.last), module, share))
        self.last = (name,)
        return name

    def beside(self, name: str, op: Operator, group: str) -> None:  # noqa: ARG002 - as a chain's
        self.parts.append(Part(name, op, self.count, reads=False, module=False, share="body"))
