"""What the catalogue holds: a builder of graphs and the options it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simexplore.workloads.graph import Graph


@dataclass(frozen=True, slots=True)
class Workload:
    """A named builder.

    Args:
        name: as on the command line, `llm/llama-3-8b/decode`.
        description: one line, with the source of the model's shape.
        options: frozen dataclass whose fields carry a `parameters.Parameter`; the table of options and defaults.
        builder: from an instance of `options` to the graph.
    """

    name: str
    description: str
    options: type[Any]
    builder: Callable[[Any], Graph]
