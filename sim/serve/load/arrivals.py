"""Requests that arrive by chance: when they come, and how long they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.sim.serve.load.request import Request

MOST_TOKENS = 10_000_000
MOST_REQUESTS = 10_000_000


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of prompts or answers: all alike, or evenly spread from the least to the most."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: str, option: str) -> Lengths:
        """`1000`, or `100:2000` for any number between the two.

        Raises:
            SimexploreError: it is neither.
        """
        found = re.fullmatch(r"(\d{1,9})(?::(\d{1,9}))?", text.strip())
        if found is None:
            raise SimexploreError(f"{option}: expected tokens such as 1000 or 100:2000, found {text!r}")
        least = int(found[1])
        most = int(found[2]) if found[2] else least
        if not 1 <= least <= most <= MOST_TOKENS:
            raise SimexploreError(f"{option}: expected 1 to {MOST_TOKENS:,} tokens, the least first, found {text!r}")
        return cls(least, most)

    def draw(self, count: int, random: np.random.Generator) -> list[int]:
        """Some lengths."""
        drawn: list[int] = random.integers(self.least, self.most + 1, count).tolist()
        return drawn


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests at a rate.

    The time between two is drawn from a gamma distribution: of shape 1 they are a Poisson process; smaller shapes come
    in bursts, with a coefficient of variation of 1 / sqrt(shape), and larger ones are more regular.

    Args:
        rate_per_s: requests a second.
        duration_s: in which they arrive [s].
        prompt: tokens of prompts.
        answer: tokens of answers.
        shape: of the distribution.
        seed: of what is drawn.
    """

    rate_per_s: float
    duration_s: float
    prompt: Lengths
    answer: Lengths
    shape: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked.

        Raises:
            SimexploreError: a rate, a duration or a shape that is no positive number, or too many requests.
        """
        for name, value in (("rate", self.rate_per_s), ("duration", self.duration_s), ("burstiness", self.shape)):
            if not (isfinite(value) and value > 0.0):
                raise SimexploreError(f"{name}: expected a positive number, found {value:g}")
        if self.rate_per_s * self.duration_s > MOST_REQUESTS:
            raise SimexploreError(
                f"rate: expected at most {MOST_REQUESTS:,} requests, found {self.rate_per_s:g} a second for "
                f"{self.duration_s:g} s"
            )

    def at(self, rate_per_s: float) -> Arrivals:
        """The same at another rate."""
        return replace(self, rate_per_s=rate_per_s)

    def requests(self) -> list[Request]:
        """The requests, in order; at least one."""
        random = np.random.default_rng(self.seed)
        expected = self.rate_per_s * self.duration_s
        gaps = random.gamma(self.shape, 1.0 / (self.shape * self.rate_per_s), int(expected + 10.0 * expected**0.5 + 20))
        while gaps.sum() < self.duration_s:
            gaps = np.concatenate([gaps, random.gamma(self.shape, 1.0 / (self.shape * self.rate_per_s), len(gaps))])
        times = np.cumsum(gaps)
        count = max(int(np.searchsorted(times, self.duration_s)), 1)
        prompts, answers = self.prompt.draw(count, random), self.answer.draw(count, random)
        return [Request(*each) for each in zip(times[:count].tolist(), prompts, answers, strict=True)]


@dataclass(frozen=True, slots=True)
class Users:
    """Users who each wait for an answer, think, and ask again.

    Args:
        count: of them.
        think_s: from an answer to the next question [s].
        requests: that all of them ask together.
        prompt: tokens of prompts.
        answer: tokens of answers.
        seed: of what is drawn.
    """

    count: int
    think_s: float
    requests: int
    prompt: Lengths
    answer: Lengths
    seed: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked.

        Raises:
            SimexploreError: too few users or requests, or a time that is none.
        """
        if not (1 <= self.count <= MOST_REQUESTS):
            raise SimexploreError(f"users: expected 1 to {MOST_REQUESTS:,}, found {self.count}")
        if not (self.count <= self.requests <= MOST_REQUESTS):
            raise SimexploreError(
                f"requests: expected {self.count} to {MOST_REQUESTS:,}, one a user at least, found {self.requests}"
            )
        if not (isfinite(self.think_s) and self.think_s >= 0.0):
            raise SimexploreError(f"think: expected a time, found {self.think_s:g} s")

    def questions(self) -> list[tuple[int, int]]:
        """Prompt and answer of every request [tokens]."""
        random = np.random.default_rng(self.seed)
        prompts, answers = self.prompt.draw(self.requests, random), self.answer.draw(self.requests, random)
        return list(zip(prompts, answers, strict=True))
