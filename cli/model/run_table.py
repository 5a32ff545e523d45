"""What `simexplore run` prints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simexplore.archs.schema.gpu import Gpu
from simexplore.cli.console import say
from simexplore.cli.output import percent, print_table, quantity
from simexplore.sim.estimate.graphs import Estimate
from simexplore.sim.estimate.op_run import OpRun, time_interval
from simexplore.sim.learn.applied import Learned
from simexplore.sim.play.result import Run
from simexplore.workloads.graph import Graph
from simexplore.workloads.ops import Embedding

SHOWN_OPS = 20
_PARTS = re.compile(r"([./_])")
SCOPE = {"time_s": "all", "energy_j": "one", "peak_memory_bytes": "one", "utilization": "one", "ops": "one"}
"""Whether a figure of a run is all GPUs' together or that of one of them."""


@dataclass(frozen=True)
class Told:
    """A result with what belongs beside it."""

    result: Run | Estimate
    graph: Graph
    gpu: Gpu
    learned: Learned
    gpus: int
    """GPUs that share the work; the graph is one GPU's part."""

    def show(self) -> None:
        """The tables: operators, the whole, and where no correction was learned."""
        say(f"{self.graph.name} on {self.gpu.name}" + (f", one of {self.gpus} alike" if self.gpus > 1 else ""))
        say()
        _print_ops(self.result.ops)
        say()
        headers = ["in all", "one GPU", f"all {self.gpus} GPUs"] if self.gpus > 1 else ["in all", ""]
        print_table(headers, [row[: len(headers)] for row in self._rows()])
        if self.learned.left_out:
            say()
            rows = [[reason, str(count)] for reason, count in self.learned.left_out.items()]
            print_table(["no learned correction", "operators"], rows)

    def _rows(self) -> list[list[str]]:
        """Name, one GPU's figure, and that of all GPUs together."""
        result, time_s = self.result, self.result.time_s
        low_s, high_s = time_interval(time_s, result.ops)
        interval = f"{quantity(low_s, 's')} – {quantity(high_s, 's')}"
        rows = [["time", quantity(time_s, "s"), quantity(time_s, "s")], ["80 % interval", interval, interval]]
        tokens = sum(float(node.op.tokens) for node in self.graph.nodes if isinstance(node.op, Embedding))
        if tokens and time_s:
            rate = f"{tokens / time_s:,.0f} /s"
            rows.append(["tokens", rate if self.gpus == 1 else "", rate])
        if time_s:
            rows.append(self._shared("work", self.graph.flops / time_s, "flop/s"))
        rows.append(self._shared("energy", result.energy_j, "J"))
        if isinstance(result, Run):
            rows.append(self._shared("mean power", result.mean_power_w, "W"))
            rows.append(self._shared("peak memory", result.peak_memory_bytes, "B"))
            rows += [[f"{name} in use", percent(share), ""] for name, share in result.utilization.items() if share > 0]
        if self.learned.applied or self.learned.left_out:
            rows.append(["learned correction", f"{self.learned.applied} of {self.learned.operators} operators", ""])
        return rows

    def _shared(self, name: str, value: float, unit: str) -> list[str]:
        """What all GPUs have as much of as the one."""
        return [name, quantity(value, unit), quantity(self.gpus * value, unit)]


def _print_ops(ops: Sequence[OpRun]) -> None:
    """The operators that take longest; those of layers alike are one line."""
    groups: dict[tuple[str, str, str], list[OpRun]] = {}
    counted = _counted(op.name for op in ops)
    for op in ops:
        groups.setdefault((_unnumbered(op.name, counted), op.op, op.bound), []).append(op)
    longest = sorted(groups.items(), key=lambda item: -sum(op.time_s for op in item[1]))
    busy_s = sum(op.time_s for op in ops) or 1.0
    rows = []
    for (name, text, bound), alike in longest[:SHOWN_OPS]:
        time_s, energy_j = sum(op.time_s for op in alike), sum(op.energy_j for op in alike)
        shown = name if len(alike) > 1 else alike[0].name
        figures = [str(len(alike)), quantity(time_s, "s"), percent(time_s / busy_s), quantity(energy_j, "J")]
        rows.append([shown, text, bound, *figures])
    if len(longest) > SHOWN_OPS:
        rest_s = sum(op.time_s for _, alike in longest[SHOWN_OPS:] for op in alike)
        count = sum(len(alike) for _, alike in longest[SHOWN_OPS:])
        rows.append(["others", "", "", str(count), quantity(rest_s, "s"), percent(rest_s / busy_s), ""])
    print_table(["name", "operator", "bound", "count", "time", "share", "energy"], rows, left=3)


def _counted(names: Iterable[str]) -> frozenset[str]:
    """Words to which names append a count from 0, as `layer0`; `fc1` and `fc2` count nothing."""
    words = {part for name in names for part in _PARTS.split(name)}
    return frozenset(word[:-1] for word in words if word.endswith("0") and word[:-1] and not word[-2].isdigit())


def _unnumbered(name: str, counted: frozenset[str]) -> str:
    """A name with `*` for its counts: numbers of their own, and those behind a counted word."""

    def part(text: str) -> str:
        word = text.rstrip("0123456789")
        return f"{word}*" if text != word and (not word or word in counted) else text

    return "".join(map(part, _PARTS.split(name)))
