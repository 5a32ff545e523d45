"""What an engine's steps are made of, and which requests can be part of any."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from simexplore.errors import SimexploreError
from simexplore.sim.serve.engine.sequence import Sequence
from simexplore.sim.serve.engine.settings import Settings
from simexplore.sim.serve.load.request import Served
from simexplore.sim.serve.steps.table import Row


class Steps(Protocol):
    """How long steps take, and the energy of all GPUs that share them."""

    def row(self, sequences: int, filled: int) -> Row:
        """Steps in which sequences decode, filled up to a number of them."""

    def step(
        self, sequences: int, context: float, pieces: int, queries: float, past: float, sampled: int
    ) -> tuple[float, float]:
        """Time [s] and energy [J] of a step with pieces of prompts (`table.StepTable.step`)."""


class Piece(NamedTuple):
    """A part of a prompt in a step."""

    sequence: Sequence
    tokens: int


def check_fits(served: Served, settings: Settings) -> None:
    """Check that an engine can serve a request some time.

    Raises:
        SimexploreError: it is longer than the cache, or its prompt than a step.
    """
    request = served.request
    longest = request.input_tokens + request.output_tokens - 1
    if settings.pages_of(longest) > settings.pages:
        room = settings.pages * settings.page_tokens
        raise SimexploreError(
            f"request {served.order}: its {longest:,} tokens need more than the {room:,} that the KV cache holds: "
            "take more GPUs, a narrower kv_dtype, or leave it out"
        )
    # What is evicted is a longer prompt when it is computed again.
    prompt = request.input_tokens if settings.reserve == 1.0 else longest
    if not settings.chunked and prompt > settings.max_tokens:
        raise SimexploreError(
            f"request {served.order}: a prompt of {prompt:,} tokens is longer than a step of "
            f"{settings.max_tokens:,}, and prompts are not cut: raise max_tokens, or let prompts be chunked"
        )


def filled_up(sequences: int, sizes: tuple[int, ...]) -> int:
    """The number of sequences that a captured step has; more than the largest are run as they are."""
    return next((size for size in sizes if size >= sequences), sequences)
