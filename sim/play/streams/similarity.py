"""The filter that leaves frames out which hardly differ from the last one that was worked on.

A frame of similarity s is left out with the probability max(0, 1 - (1 - s) / (1 - threshold)), but never more than
`most` + 1 one after the other (Kodaira et al., arXiv:2312.12491, section 3.4; image_filter.py of
cumulo-autumn/StreamDiffusion: it works on a frame where more than `max_skip_frame` were left out before).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from simexplore.errors import SimexploreError


@dataclass(frozen=True)
class SimilarityFilter:
    """How a filter decides.

    Raises:
        SimexploreError: a threshold outside 0 to 1, or fewer than no frames in a row.
    """

    threshold: float = 0.98
    """Similarity from which frames begin to be left out (0 to 1); 1: none is."""
    most: int = 10
    """Frames left out in a row after which one more may be, and then none (`max_skip_frame`)."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise SimexploreError(f"expected a threshold of similarity from 0 to 1, found {self.threshold:g}")
        if self.most < 0:
            raise SimexploreError(f"expected no fewer than 0 frames left out in a row, found {self.most}")

    def skip_probability(self, similarity: float) -> float:
        """With what probability a frame is left out that is so similar to the last one that was worked on."""
        if self.threshold >= 1.0:
            return 0.0
        return max(0.0, 1.0 - (1.0 - similarity) / (1.0 - self.threshold))


class Filtering:
    """A filter at work: it remembers how many frames it left out in a row."""

    def __init__(self, rule: SimilarityFilter, seed: int) -> None:
        self._rule = rule
        self._draws = random.Random(seed)
        self._in_a_row = 0
        self._begun = False

    def skips(self, similarity: float) -> bool:
        """Whether the next frame is left out; the first never is. The count goes on where a frame differs."""
        if not self._begun:
            self._begun = True
            return False
        if self._rule.skip_probability(similarity) < self._draws.uniform(0.0, 1.0):
            return False
        if self._in_a_row > self._rule.most:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        return True
