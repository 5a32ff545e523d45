"""A request inside an engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simexplore.sim.serve.load.request import Served


@dataclass(slots=True, eq=False)
class Sequence:
    """A request that an engine works on.

    Args:
        served: the request.
        rank: order of service: priority, then arrival.
        prompt: tokens to be prefilled: the prompt, and after an eviction what had been generated.
    """

    served: Served
    rank: tuple[int, int]
    prompt: int
    done: int = 0
    """Of those, tokens whose keys and values are there."""
    made: int = 0
    """Tokens of the answer."""
    own: list[int] = field(default_factory=list)
    """Pages of its own."""
    shared: tuple[int, ...] = ()
    """Blocks that it uses, by name: the first of its prompt."""
    joined: int = 0
    """The decode step before which it joined those that decode."""
    granted: int = -1
    """The decode step for which it last got a page."""
    swapped: int = 0
    """Pages that are in the host's memory."""
    fetch: Callable[[float], float] | None = None
    """Its keys and values are at another engine: from when there is room for them to when they are here [s]."""
    committed: int = 0
    """Pages that its admission counted on."""

    def __lt__(self, other: Sequence) -> bool:
        return self.rank < other.rank

    @property
    def left(self) -> int:
        """Tokens of the answer that are still to come."""
        return self.served.request.output_tokens - self.made

    def cached(self, step: int) -> int:
        """Tokens in the cache before a decode step, of one that decodes."""
        return self.prompt + step - self.joined
