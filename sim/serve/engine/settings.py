"""How an engine is set up: what it batches, when it admits, and what its host does beside the GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from simexplore.errors import SimexploreError

Eviction = Literal["recompute", "swap"]
Batching = Literal["continuous", "static"]


@dataclass(frozen=True, slots=True)
class HostCosts:
    """Time of an engine's host; `engines.json` has each engine's, with sources.

    Args:
        step_s: choosing the work of a step and preparing its inputs [s].
        sequence_s: the same, for each sequence in it [s].
        sampling_s: choosing the next tokens of a step after the GPU's last kernel [s].
        tokenizer_token_s: turning the text of a prompt into a token, before the scheduler sees the request [s].
        detokenizer_s: turning a token into text and sending it; other tokens are made meanwhile [s].
        overlapped: whether the host prepares a step while the GPU runs the one before it.
    """

    step_s: float = 0.0
    sequence_s: float = 0.0
    sampling_s: float = 0.0
    tokenizer_token_s: float = 0.0
    detokenizer_s: float = 0.0
    overlapped: bool = True

    def beside(self, sequences: int) -> tuple[float, float]:
        """What a step of some sequences takes beyond the GPU's time, and what it takes at least [s]."""
        host_s = self.step_s + self.sequence_s * sequences
        return (self.sampling_s, host_s) if self.overlapped else (self.sampling_s + host_s, 0.0)

    def whole_s(self, gpu_s: float, sequences: int) -> float:
        """A step that takes the GPU `gpu_s`, with what its host does beside it or before it [s]."""
        more_s, least_s = self.beside(sequences)
        return max(gpu_s + more_s, least_s)


@dataclass(frozen=True, slots=True)
class Settings:
    """An engine.

    Args:
        max_tokens: most tokens of a step.
        max_sequences: most sequences at once.
        pages: of the KV cache.
        page_tokens: tokens of a page.
        batching: static: a batch begins when all of the one before have ended.
        mixed: whether sequences decode in steps with pieces of prompts; else prompts come first, by themselves.
        chunked: whether a prompt may be cut into pieces.
        reserve: share of its output that a request's admission counts on; 1: no sequence is ever evicted.
        eviction: what becomes of the KV cache of a sequence that is evicted.
        swap_s: time to move a page to the host's memory or back [s].
        block_tokens: tokens of a block that prompts may share; 0: nothing is shared.
        graph_sizes: numbers of sequences that CUDA graphs were captured for, to the next of which a decode step is
            filled up; none: as they are.
        host: what the host does.
    """

    max_tokens: int = 8192
    max_sequences: int = 256
    pages: int = 1_000_000
    page_tokens: int = 16
    batching: Batching = "continuous"
    mixed: bool = True
    chunked: bool = True
    reserve: float = 0.0
    eviction: Eviction = "recompute"
    swap_s: float = 0.0
    block_tokens: int = 0
    graph_sizes: tuple[int, ...] = ()
    host: HostCosts = field(default_factory=HostCosts)

    def __post_init__(self) -> None:
        """Check what the engine relies on.

        Raises:
            SimexploreError: a number that no engine can have.
        """
        for name in ("max_tokens", "max_sequences", "pages", "page_tokens"):
            if getattr(self, name) < 1:
                raise SimexploreError(f"{name.replace('_', ' ')}: expected at least 1, found {getattr(self, name)}")
        if not 0.0 <= self.reserve <= 1.0:
            raise SimexploreError(f"reserve: expected a share from 0 to 1, found {self.reserve:g}")
        if self.block_tokens % self.page_tokens:
            raise SimexploreError(
                f"block tokens: expected a multiple of page tokens = {self.page_tokens}, found {self.block_tokens}"
            )

    def pages_of(self, tokens: int) -> int:
        """Pages that some tokens of one sequence need."""
        return -(-tokens // self.page_tokens)
