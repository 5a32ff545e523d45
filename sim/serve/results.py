"""What users saw, and what it took: percentiles, throughput, goodput, energy, and the KV cache over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simexplore.sim.demand import FloatArray
from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.engine.tally import Sample
from simexplore.sim.serve.load.request import Served

PERCENTILES = (50, 90, 95, 99)
SPREADS = ("mean", *(f"p{each}" for each in PERCENTILES), "max")
"""What is told of many times."""
SHORTEST_S = 1e-9
"""Stands for no time at all [s]."""


@dataclass(frozen=True, slots=True)
class Objectives:
    """What users are promised [s]; None: nothing.

    Args:
        ttft_s: time to first token.
        tpot_s: time per output token after it, the mean over an answer.
        latency_s: time to the last token.
        share: of requests that all of this holds for, where a rate is to hold it.
    """

    ttft_s: float | None = None
    tpot_s: float | None = None
    latency_s: float | None = None
    share: float = 0.99

    @property
    def any(self) -> bool:
        """Whether anything is promised."""
        return any(limit is not None for limit in (self.ttft_s, self.tpot_s, self.latency_s))

    def held(self, served: Served) -> bool:
        """Whether a request saw what was promised."""
        pairs = ((served.ttft_s, self.ttft_s), (served.tpot_s, self.tpot_s), (served.latency_s, self.latency_s))
        return all(limit is None or seen <= limit for seen, limit in pairs)


@dataclass(frozen=True)
class Result:
    """A served load.

    Args:
        served: every request.
        engines: what they did.
        gpus: of all engines.
        engine_gpus: that share each engine's steps.
        idle_w: power of a GPU with nothing to do [W].
        objectives: what was promised.
    """

    served: Sequence[Served]
    engines: Sequence[Engine]
    gpus: int
    engine_gpus: int
    idle_w: float
    objectives: Objectives

    @property
    def duration_s(self) -> float:
        """From the first arrival to the last token [s]."""
        return max(each.finish_s for each in self.served) - min(each.arrival_s for each in self.served)

    @property
    def output_tokens(self) -> int:
        """Tokens of all answers."""
        return sum(each.request.output_tokens for each in self.served)

    @property
    def energy_j(self) -> float:
        """Of all GPUs [J]: their steps, and what they draw while there is none."""
        busy_s = sum(engine.tally.busy_s for engine in self.engines) * self.engine_gpus
        idle_s = max(self.gpus * self.duration_s - busy_s, 0.0)
        return sum(engine.tally.energy_j for engine in self.engines) + idle_s * self.idle_w

    @property
    def held_share(self) -> float:
        """Share of requests that saw what was promised."""
        return sum(self.objectives.held(each) for each in self.served) / len(self.served)

    @property
    def mean_in_system(self) -> float:
        """Requests that were there on average: the time that all of them spent, over the duration."""
        return sum(each.latency_s for each in self.served) / self.duration_s

    def samples(self) -> list[Sample]:
        """How full the cache of the last engine was, which is one that decodes."""
        return self.engines[-1].tally.samples

    @property
    def offered_per_s(self) -> float | None:
        """Requests over the time in which they arrived [1/s]; None where all came at once."""
        arrivals = [each.arrival_s for each in self.served]
        span_s = max(arrivals) - min(arrivals)
        return len(arrivals) / span_s if span_s > 0.0 else None

    @property
    def answered_per_s(self) -> float:
        """Requests over the time in which they were answered: all of it but the shortest that an answer took [1/s]."""
        return len(self.served) / (self.duration_s - min(each.latency_s for each in self.served) + SHORTEST_S)

    def to_json(self) -> dict[str, Any]:
        """Plain data with SI units in its keys; figures are of all GPUs unless the key says `per_gpu`."""
        tokens, time_s, count = self.output_tokens, self.duration_s, len(self.served)
        tallies = [engine.tally for engine in self.engines]
        prompts = sum(each.request.input_tokens for each in self.served)
        reused = sum(tally.reused for tally in tallies)
        return {
            "requests": count,
            "gpus": self.gpus,
            "duration_s": time_s,
            "requests_per_s": count / time_s,
            "offered_per_s": self.offered_per_s,
            "answered_per_s": self.answered_per_s,
            "output_tokens_per_s": tokens / time_s,
            "output_tokens_per_s_per_gpu": tokens / time_s / self.gpus,
            "total_tokens_per_s": (tokens + prompts) / time_s,
            "goodput_requests_per_s": self.held_share * count / time_s,
            "held_share": self.held_share,
            "ttft_s": _spread([each.ttft_s for each in self.served]),
            "tpot_s": _spread([each.tpot_s for each in self.served if each.request.output_tokens > 1]),
            "latency_s": _spread([each.latency_s for each in self.served]),
            "mean_requests_in_system": self.mean_in_system,
            "energy_j": self.energy_j,
            "energy_per_output_token_j": self.energy_j / tokens,
            "energy_per_request_j": self.energy_j / count,
            "mean_power_per_gpu_w": self.energy_j / time_s / self.gpus,
            "busy_share": sum(tally.busy_s for tally in tallies) / (time_s * len(tallies)),
            "steps": sum(tally.steps for tally in tallies),
            "prompt_tokens_computed": sum(tally.prefilled for tally in tallies),
            "prompt_tokens_reused": reused,
            "evictions": sum(tally.evicted for tally in tallies),
            "kv_pages": sum(tally.pages for tally in tallies),
            "kv_peak_share": max(tally.most_pages / tally.pages for tally in tallies),
        }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """The mean, the largest and some percentiles; None of nothing."""
    if not values:
        return None
    array: FloatArray = np.array(values)
    told = {f"p{each}": float(np.percentile(array, each)) for each in PERCENTILES}
    return {"mean": float(array.mean()), **told, "max": float(array.max())}
