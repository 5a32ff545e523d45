"""Steps of an engine whose times are known by hand."""

from __future__ import annotations

from dataclasses import dataclass

from simexplore.sim.serve.steps.table import Row, row_of


@dataclass
class ToySteps:
    """A step takes `fixed_s`, and so much for each sequence, token of context and token of a prompt; a watt."""

    fixed_s: float = 1.0
    sequence_s: float = 0.0
    context_s: float = 0.0
    prompt_s: float = 0.0
    calls: int = 0

    def row(self, sequences: int, filled: int) -> Row:
        def step(context: float) -> tuple[float, float]:
            time_s = self.fixed_s + self.sequence_s * filled + self.context_s * sequences * context
            return time_s, time_s

        contexts = [0.0, 1000.0]
        return row_of(contexts, [step(context) for context in contexts])

    def step(
        self, sequences: int, context: float, pieces: int, queries: float, past: float, sampled: int
    ) -> tuple[float, float]:
        self.calls += 1
        time_s = self.fixed_s + self.sequence_s * sequences + self.context_s * sequences * context
        time_s += self.prompt_s * pieces * queries
        return time_s, time_s
