"""How long a step may be and how many sequences it has, where nobody says: what engines' own tools choose.

`trtllm-bench` chooses both for the lengths of its data set: as many sequences as its estimate of the KV cache holds,
and as many tokens as keep prompts coming while answers are made (NVIDIA/TensorRT-LLM@04cba88,
tensorrt_llm/bench/build/tuning.py: calc_engine_setting, finetune_setting).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from simexplore.sim.serve.engine.settings import Settings

MOST_SEQUENCES = 4096
MOST_TOKENS = 32768
LEAST_SEQUENCES = 64
LEAST_TOKENS = 2048
GRAPH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 384, 512, 1024, 2048, 4096, 8192)
"""Numbers of sequences that graphs are captured for (its performance overview,
NVIDIA/TensorRT-LLM@00f3768: llm_options.yml)."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Lengths of a load [tokens].

    Args:
        prompt, answer: means.
        longest: of all prompts.
    """

    prompt: float
    answer: float
    longest: int


def fitting(settings: Settings, shape: Shape, given: frozenset[str]) -> Settings:
    """Settings under which a load can be served: a step is as long as the longest prompt where prompts are not cut.

    A static batch is prefilled in one step. What is `given` by name stays.
    """
    if "max_tokens" in given:
        return settings
    if settings.batching == "static":
        return replace(settings, max_tokens=settings.max_sequences * shape.longest)
    if not settings.chunked and settings.max_tokens < shape.longest + settings.max_sequences:
        return replace(settings, max_tokens=shape.longest + settings.max_sequences)
    return settings


def tuned(settings: Settings, shape: Shape, cache_tokens: float, stages: int, given: frozenset[str]) -> Settings:
    """What `trtllm-bench` sets for a load that is all there at once; what is `given` by name stays.

    Args:
        settings: of the engine.
        shape: of the load.
        cache_tokens: that the tool reckons the KV caches of all stages hold, activations not counted.
        stages: of the pipeline.
        given: settings that somebody has said, by name.
    """
    together = min(cache_tokens / (shape.prompt + shape.answer), float(MOST_SEQUENCES)) / stages
    tokens = min(together * (1.0 + shape.prompt / shape.answer), float(MOST_TOKENS))
    chosen = {"max_sequences": _sequences(together), "max_tokens": _tokens(tokens)}
    if not settings.chunked:
        chosen["max_tokens"] = max(chosen["max_tokens"], shape.longest + chosen["max_sequences"])
    settings = replace(settings, graph_sizes=GRAPH_SIZES)
    return replace(settings, **{name: value for name, value in chosen.items() if name not in given})  # type: ignore[arg-type]


def _sequences(wanted: float) -> int:
    """Multiples of 32, 128 and 256, the larger the more."""
    if wanted < 256:
        return max(LEAST_SEQUENCES, 32 * ceil(wanted / 32))
    step = 128 if wanted < 1024 else 256
    return step * ceil(wanted / step)


def _tokens(wanted: float) -> int:
    """Multiples of 256, 512 and 1024, the larger the more."""
    if wanted < 4096:
        return max(LEAST_TOKENS, 256 * ceil(wanted / 256))
    step = 512 if wanted < 8192 else 1024
    return step * ceil(wanted / step)
