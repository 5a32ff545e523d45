"""What an engine's attention over a latent cache decides, as mappings ask it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray
from simexplore.workloads.ops import MlaDecode, MlaPrefill


class Layout(NamedTuple):
    """The grid of a decode kernel; arrays of shape (rows, 1)."""

    heads: FloatArray
    """Query heads that a CTA computes, padding included."""
    ctas: FloatArray
    """CTAs that have work."""
    steps: FloatArray
    """Steps over tokens of the cache that the busiest of them takes."""
    sequences: FloatArray
    """Sequences, or parts of them, that it works on."""
    splits: FloatArray
    """CTAs that share a sequence; above 1 a kernel merges their results."""


class LatentRules(Protocol):
    """What an engine decides."""

    def absorbs_prefill(self, op: MlaPrefill) -> bool:
        """Whether prefill attends to the latents themselves, as decode does, and not to keys and values of heads."""

    def decode_layout(self, op: MlaDecode, gpu: Gpu) -> Layout:
        """The grid of a decode kernel."""
