"""What an engine has done: time, energy and tokens, and how full its cache was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MOST_SAMPLES = 4096
"""Samples of the cache that are kept; of more every second one goes."""
FIRST_S = 1e-3
"""Time between samples at the beginning [s]."""


class Sample(NamedTuple):
    """An engine at a moment."""

    time_s: float
    pages: int
    """Pages that sequences have."""
    sequences: int
    """That decoded in the step before."""


class LoggedStep(NamedTuple):
    """A step of the log."""

    end_s: float
    gpu_s: float
    prompt_tokens: int
    sequences: int
    pages: int


@dataclass(slots=True)
class Tally:
    """Sums over steps, and samples of the cache.

    Args:
        pages: that there are.
        most_logged: steps of which a log is kept.
    """

    pages: int
    most_logged: int = 0
    busy_s: float = 0.0
    energy_j: float = 0.0
    """Of all GPUs that share the steps, while steps run on them [J]."""
    steps: int = 0
    prefilled: int = 0
    """Tokens of prompts that were computed."""
    reused: int = 0
    """Tokens of prompts that were in the cache."""
    generated: int = 0
    evicted: int = 0
    most_pages: int = 0
    samples: list[Sample] = field(default_factory=list)
    log: list[LoggedStep] = field(default_factory=list)
    look_s: float = 0.0
    """From this time on the end of a step is worth a look."""
    _every_s: float = FIRST_S

    def count(self, steps: int, busy_s: float, energy_j: float, prefilled: int, generated: int, used: int) -> None:
        """Count steps, and how many pages sequences have."""
        self.steps += steps
        self.busy_s += busy_s
        self.energy_j += energy_j
        self.prefilled += prefilled
        self.generated += generated
        self.most_pages = max(self.most_pages, used)

    def look(self, now_s: float, gpu_s: float, prompt: int, sequences: int, used: int) -> None:
        """Keep what a step that ends now looks like."""
        if len(self.log) < self.most_logged:
            self.log.append(LoggedStep(now_s, gpu_s, prompt, sequences, used))
        if not self.samples or now_s >= self.samples[-1].time_s + self._every_s:
            self.samples.append(Sample(now_s, used, sequences))
        if len(self.samples) > MOST_SAMPLES:
            self.samples = self.samples[::2]
            self._every_s *= 2.0
        if len(self.log) >= self.most_logged:
            self.look_s = self.samples[-1].time_s + self._every_s
