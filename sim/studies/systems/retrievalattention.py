"""RetrievalAttention (Liu et al., arXiv:2409.10516): decode steps that search for their keys in a CPU's memory.

A step is the model's graph on the GPU, over a window of tokens, with a search on the CPU beside each layer's attention.
Flat and inverted lists scan all keys or a share of them, as fast as memory streams; a graph is walked key by key, over
the share that was measured (`kernels/search`). The host's time of a step is one number, read from one published row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import simexplore.workloads
from simexplore.archs.load import read_document
from simexplore.archs.schema.system import System, system_of
from simexplore.archs.views.machines import load_machine
from simexplore.kernels.search.measured import visited_keys
from simexplore.sim.estimate.graphs import called_by_host, estimate_graph, paused_w
from simexplore.sim.play.execute import execute
from simexplore.sim.studies import record_of
from simexplore.workloads import catalog
from simexplore.workloads.families.decoder.shape import Grouped
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.families.offloaded.retrieval import VECTOR_BYTES, Retrieval, retrieving
from simexplore.workloads.graph import Graph
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.ops import GraphSearch, HostWork

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "systems" / "retrievalattention.yaml"
GIGA = 1e9


def study() -> list[dict[str, Any]]:
    """A record for each published figure; `input` is the row that the host's time of a step was read from."""
    table = read_document(PUBLISHED).data
    machine = system_of(load_machine(table["arch"]))
    steps = Steps(machine, table["model"], table["settings"])
    (given,) = (figure for figure in table["figures"] if figure["status"] == "input")
    host_s = given["published"] - steps.rest_s(given["method"], given["context"])
    return [
        record_of(table, figure, figured(steps, figure, host_s), unit="GB" if figure.get("part") == "memory" else "s")
        for figure in table["figures"]
    ]


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps of one model on one machine."""

    machine: System
    model: str
    settings: Mapping[str, Any]

    @cached_property
    def window(self) -> Graph:
        """The step over the tokens that the GPU holds."""
        return catalog.build(f"llm/{self.model}/decode", {"context": self.settings["window"], "dtype": "fp16"})

    def graph(self, method: str, context: int) -> Graph:
        """The step of a method that searches on the CPU."""
        held = context - self.settings["window"]
        return retrieving(self.window, Retrieval(self.search(method, held), self.settings["found"], held))

    def search(self, method: str, held: int) -> Operator:
        """What one layer's search over so many keys asks of the CPU.

        A scan takes a product with each key of the share that it visits, in FP32; each query head has an index of its
        own over the keys that it shares with others.
        """
        attention = MODELS[self.model].layers[0].attention
        assert isinstance(attention, Grouped)  # the paper's model has no other
        heads, width = attention.heads, attention.head_dim
        if method == "graph":
            return GraphSearch(heads, round(visited_keys(held)), width)
        scanned = round(self.settings["visited"][method] * held) * heads * width
        return HostWork(2 * scanned, scanned * VECTOR_BYTES)

    def search_s(self, method: str, context: int) -> float:
        """All layers' searches [s]."""
        return self._times(method, context)[1]

    def rest_s(self, method: str, context: int) -> float:
        """The step without its searches, and without what only the host does [s]."""
        whole_s, search_s = self._times(method, context)
        return whole_s - search_s

    def whole_s(self, method: str, context: int) -> float:
        """The step, without what only the host does [s]."""
        return self._times(method, context)[0]

    def _times(self, method: str, context: int) -> tuple[float, float]:
        told = estimate_graph(self.graph(method, context), self.machine)
        return told.time_s, sum(op.time_s for op in told.ops if op.name.endswith(".search"))

    def window_s(self) -> float:
        """A step over the window alone, each kernel called by the host of a framework [s]."""
        gpu = self.machine.place().gpu
        told = estimate_graph(self.window, gpu, launch="stream")
        return called_by_host(told, gpu.launch.eager_s, paused_w(self.window, gpu)).time_s

    def full_s(self, context: int) -> float:
        """All tokens anew, as without a cache [s]."""
        prefill = catalog.build(f"llm/{self.model}/prefill", {"prompt": context, "dtype": "fp16"})
        return estimate_graph(prefill, self.machine).time_s

    def gpu_bytes(self, method: str, context: int) -> float:
        """Peak of the GPU's memory [B]."""
        return float(execute(self.graph(method, context), self.machine).peak_memory_bytes)


def figured(steps: Steps, figure: Mapping[str, Any], host_s: float) -> float:
    """What is simulated of a figure, in its unit."""
    method, context = figure["method"], figure["context"]
    if method == "full":
        return steps.full_s(context)
    if method == "window":
        return steps.window_s()
    match figure.get("part", "whole"):
        case "memory":
            return steps.gpu_bytes(method, context) / GIGA
        case "search":
            return steps.search_s(method, context)
        case "rest":
            return steps.rest_s(method, context) + host_s
    return steps.whole_s(method, context) + host_s
