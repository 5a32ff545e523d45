"""What engines choose by the machine that they are on: rules of `engines.json`, and one that is a formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

GIB, MIB = float(1 << 30), float(1 << 20)


class Where(NamedTuple):
    """A machine as engines see it when they choose their defaults.

    Args:
        name: of each GPU.
        memory_bytes: of each GPU [B].
        gpus: that share a layer.
        stages: of a pipeline.
    """

    name: str
    memory_bytes: float
    gpus: int = 1
    stages: int = 1


def value_for(entry: Mapping[str, Any], where: Where | None) -> Any:
    """The value of an entry of `engines.json` on a machine: of the first rule that fits, else its own.

    A rule fits where all that it says holds: `below_gib` of memory, `named` in the GPU's name, `gpus_below`.
    """
    if where is not None:
        for rule in entry.get("machines", ()):
            if _fits(rule, where):
                return rule["value"]
    return entry["value"]


def _fits(rule: Mapping[str, Any], where: Where) -> bool:
    return (
        where.memory_bytes < rule.get("below_gib", float("inf")) * GIB
        and rule.get("named", "") in where.name.lower()
        and where.gpus < rule.get("gpus_below", float("inf"))
    )


def static_share(where: Where, max_tokens: int, largest_graph: int) -> float:
    """Share of a GPU's memory for weights and KV cache, to three digits: SGLang's `mem_fraction_static`.

    SGLang 0.5.5, srt/server_args.py reserves 512 MiB, 1.5 MiB for each token of a step from 2048 tokens on, 2 MiB for
    each sequence of the largest graph and 128 MiB for each GPU of all; on GPUs of over 60 GiB at least 10 GiB.

    Args:
        where: the machine.
        max_tokens: of a step.
        largest_graph: sequences of the largest CUDA graph.
    """
    reserved = 512.0 + 1.5 * max(max_tokens, 2048) + 2.0 * largest_graph + 128.0 * where.gpus * where.stages
    if where.memory_bytes > 60.0 * GIB:
        reserved = max(reserved, 10.0 * 1024.0)
    memory = where.memory_bytes / MIB
    return round((memory - reserved) / memory, 3)


SHARES: Mapping[str, Callable[[Where, int, int], float]] = MappingProxyType({"static_share": static_share})
"""Formulas of the share of memory, by the name that `engines.json` has."""
