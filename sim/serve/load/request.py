"""A request, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import NamedTuple


class Request(NamedTuple):
    """What a user asks for.

    Args:
        arrival_s: when it reaches the server [s].
        input_tokens: of the prompt, at least one.
        output_tokens: of the answer, at least one.
        priority: the smaller, the sooner it is served.
        blocks: names of the blocks that its prompt begins with, each of as many tokens as engines share prefixes in;
            prompts that begin with the same names begin with the same tokens.
    """

    arrival_s: float
    input_tokens: int
    output_tokens: int
    priority: int = 0
    blocks: tuple[int, ...] = ()


@dataclass(slots=True)
class Served:
    """A request on its way, and at its end."""

    order: int
    """Its position among all requests."""
    request: Request
    arrival_s: float
    """As the request's; of users who wait for answers, when it was sent [s]."""
    first_s: float = nan
    """When the first token of the answer was there [s]."""
    finish_s: float = nan
    """When the last one was [s]."""
    cached_tokens: int = 0
    """Of the prompt that were in the cache when it was first admitted."""
    evictions: int = 0
    replica: int = 0
    """The engine that it was given to."""

    @property
    def ttft_s(self) -> float:
        """Time to first token [s]."""
        return self.first_s - self.arrival_s

    @property
    def tpot_s(self) -> float:
        """Time per output token after the first [s]; 0 of an answer of one token."""
        more = self.request.output_tokens - 1
        return (self.finish_s - self.first_s) / more if more else 0.0

    @property
    def latency_s(self) -> float:
        """From arrival to the last token [s]."""
        return self.finish_s - self.arrival_s
