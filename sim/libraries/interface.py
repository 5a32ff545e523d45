"""What a library or an engine decides, as mappings ask it; `simexplore.sim.libraries` has those that there are.

Operators are records of numbers or columns; answers have shape (rows, 1), or (1, 1) where all rows are alike, unless
they say otherwise.
"""

from __future__ import annotations

from typing import Protocol

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import BoolArray, FloatArray
from simexplore.workloads.ops import (
    AttentionDecode,
    AttentionPrefill,
    Conv,
    Conv2d,
    EncoderAttention,
    Gemm,
    LayerNorm,
    RmsNorm,
    Softmax,
)


class GemmRules(Protocol):
    """What a library of matrix products decides."""

    def takes_two_stages(self, op: Gemm, gpu: Gpu) -> BoolArray:
        """Rows that kernels with one k-step ahead serve; shape (rows,) or (1,)."""

    def takes_matrix_vector(self, op: Gemm, gpu: Gpu) -> BoolArray:
        """Rows that the matrix-vector kernel can serve; shape (rows,) or (1,)."""

    def offers_tiles(self, op: Gemm, tile: tuple[FloatArray, FloatArray], gpu: Gpu) -> BoolArray:
        """Which tiles (rows and columns of C) are kernels to consider for each row; broadcasts to (rows, tiles)."""

    def splits_k(self, op: Gemm, gpu: Gpu) -> BoolArray:
        """Rows for which splitting k is considered."""


class PrefillRules(Protocol):
    """What an engine's prefill decides."""

    def prefill_tile(self, op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> tuple[FloatArray, FloatArray]:
        """Query rows and keys of a step of the prefill kernel."""

    def multiplies_narrow(self, op: AttentionPrefill | EncoderAttention, gpu: Gpu) -> BoolArray:
        """Rows whose operands are multiplied in the type that they have."""


class AttentionRules(PrefillRules, Protocol):
    """What an engine's attention decides that decodes by groups and single heads."""

    def takes_groups(self, op: AttentionDecode, gpu: Gpu) -> BoolArray:
        """Rows whose query heads of a KV head one CTA computes together."""

    def rotates_itself(self, op: AttentionDecode, gpu: Gpu) -> BoolArray:
        """Rows whose grouped kernel rotates and appends by itself."""

    def has_narrow_cache(self, op: AttentionDecode) -> bool:
        """Whether the kernels for 8-bit caches serve the operator."""

    def grouped_splits(self, op: AttentionDecode, gpu: Gpu) -> FloatArray:
        """CTAs that share the keys of a KV head."""

    def head_threads(self, op: AttentionDecode, gpu: Gpu) -> FloatArray:
        """Threads of a CTA that computes one query head."""

    def head_splits(self, op: AttentionDecode, gpu: Gpu, threads: FloatArray, loop_keys: FloatArray) -> FloatArray:
        """CTAs that share the keys of a query head, each with loops of `loop_keys` keys."""


class ConvRules(Protocol):
    """What a library of convolutions decides."""

    FFT_POINTS: tuple[int, ...]
    """Pixels along a side of the tiles of its Fourier transforms."""

    def transforms(self, op: Conv2d | Conv, gpu: Gpu) -> bool:
        """Whether it has Winograd's and Fourier's algorithms for the operator's type."""

    def serves_winograd(self, op: Conv2d) -> BoolArray:
        """Rows that Winograd's kernels serve; shape (rows,) or (1,)."""

    def serves_fft(self, op: Conv2d, points: int) -> BoolArray:
        """Rows that transforms of so many pixels serve; shape (rows,) or (1,)."""

    def call_seconds(self, gpu: Gpu, conditions: Conditions) -> FloatArray:
        """Host time of an eager call up to its first launch [s]."""


class RowRules(Protocol):
    """What row-wise kernels decide."""

    def holds_rows(self, op: Softmax | LayerNorm | RmsNorm, gpu: Gpu) -> BoolArray:
        """Rows that a warp holds in its registers."""

    def threads_of_row(self, op: Softmax | LayerNorm | RmsNorm, gpu: Gpu) -> FloatArray:
        """Threads of the CTA that a row has."""

    def passes(self, op: Softmax | LayerNorm | RmsNorm, gpu: Gpu) -> float:
        """How often a row is read that is not held."""
