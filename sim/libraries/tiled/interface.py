"""What engines whose decode works by tiles decide; answers have shape (rows, 1), or (1, 1) where all rows are alike."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library.attention import Tiled
from simexplore.errors import SimexploreError
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.sim.libraries.interface import PrefillRules
from simexplore.sim.libraries.menus import of_largest
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill, EncoderAttention

NEARLY_AS_FULL = 0.85
"""Of the fullest waves, a number of splits is good enough."""
NEVER: BoolArray = np.zeros((1, 1), dtype=np.bool_)
"""Of no row."""


class Plan(NamedTuple):
    """How a row of decode attention is laid out over CTAs."""

    rows: FloatArray
    """Query rows that a CTA computes, those without a query included."""
    keys: FloatArray
    """Keys of a step."""
    packed: BoolArray
    """Whether the query heads of a KV head share CTAs; else each has CTAs of its own."""
    splits: FloatArray
    """CTAs among which the keys are split."""
    merged: BoolArray
    """Whether a kernel that merges partial results follows."""
    scalar: BoolArray = NEVER
    """Whether products are of the FMA pipes, a head's worth of threads for each query."""


class TiledRules(PrefillRules, Protocol):
    """What an engine's attention decides that decodes by tiles."""

    def decode_plan(self, op: AttentionDecode, gpu: Gpu) -> Plan:
        """The grid of the decode kernel."""

    def converts(self, op: AttentionDecode | AttentionPrefill | EncoderAttention, gpu: Gpu) -> bool:
        """Whether kernels within the module convert queries, or new keys and values, to 8 bits."""

    def packs_heads(self, op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> bool:
        """Whether rows of prefill's tiles are the query heads of a KV head, token after token."""


def tiled_kernels(gpu: Gpu) -> Tiled:
    """The numbers of kernels that decode by tiles. Raises SimexploreError where the machine's file has none."""
    tiled = gpu.attention_kernels.tiled
    if tiled is None:
        raise SimexploreError(
            f"{gpu.name}: library.attention.rules is {gpu.attention_kernels.rules}, which decodes by tiles: "
            "add library.attention.tiled, or take other rules"
        )
    return tiled


def narrow_cache(op: AttentionDecode | AttentionPrefill | EncoderAttention) -> bool:
    """Whether keys and values are kept in fewer bits than queries have."""
    return bytes_of(op.kv_dtype or op.dtype) < bytes_of(op.dtype)


def product_dtype(op: AttentionDecode | AttentionPrefill | EncoderAttention, gpu: Gpu) -> str:
    """Type of the products: that of a narrow cache where the engine converts queries to it, else that of queries."""
    tiled = gpu.attention_kernels.tiled
    converts = tiled is not None and tiled.narrow_products and narrow_cache(op)
    return (op.kv_dtype or op.dtype) if converts else op.dtype


def prefill_tile(op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> tuple[FloatArray, FloatArray]:
    """Query rows and keys of a step: of the first kernel whose head dimension is wide enough, else of the widest."""
    narrow = bytes_of(op.kv_dtype or op.dtype) < bytes_of("bf16")
    menu = tiled_kernels(gpu).narrow_prefill_tiles if narrow else gpu.attention_kernels.prefill.tiles
    return of_largest(column(op.head_dim), menu)


def converts(op: AttentionDecode | AttentionPrefill | EncoderAttention, gpu: Gpu) -> bool:
    """Whether kernels within the module convert queries or new keys to 8 bits: where they do not come so."""
    return narrow_cache(op) and tiled_kernels(gpu).narrow_kernels > 0.0


def packs_heads(op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> bool:  # noqa: ARG001 - one engine asks for more
    """Whether rows of prefill's tiles are the query heads of a KV head, token after token."""
    return gpu.attention_kernels.prefill.packs_heads


def multiplies_narrow(op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> BoolArray:
    """Whether operands are multiplied as they are: all but a narrow cache whose queries are not converted."""
    return np.array([[not narrow_cache(op) or tiled_kernels(gpu).narrow_products]])


def least_waves(ctas: FloatArray, slots: float, most: FloatArray, even: FloatArray | None = None) -> FloatArray:
    """The fewest splits whose waves are at least 85 % as full as those of the best number of splits.

    FlashAttention's num_splits_heuristic (csrc/flash_attn/flash_api.cpp, hopper/heuristics.h).

    Args:
        ctas: CTAs before keys are split, shape (rows, 1).
        slots: CTAs that run at once.
        most: most splits, shape (rows, 1).
        even: steps over keys; splits that leave a CTA as many steps as one split fewer are not considered.
    """
    tried = np.arange(1.0, max(float(np.max(most)), 1.0) + 1.0)[None, :]
    waves = ctas * tried / slots
    offered = tried <= most
    if even is not None:
        fewer = np.maximum(tried - 1.0, 1.0)
        offered &= (tried == 1.0) | (np.ceil(even / tried) != np.ceil(even / fewer))
    fullness = np.where(offered, waves / np.ceil(waves), 0.0)
    enough = fullness >= NEARLY_AS_FULL * np.max(fullness, axis=1, keepdims=True)
    splits: FloatArray = np.argmax(enough, axis=1)[:, None] + 1.0
    return splits
