"""What `simexplore run` prints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System
from simexplore.cli.columns import in_one_unit
from simexplore.cli.console import say
from simexplore.cli.output import about, percent, print_table, quantity
from simexplore.sim.estimate.graphs import Estimate
from simexplore.sim.estimate.intervals.standing import Standing
from simexplore.sim.estimate.op_run import OpRun, energy_interval, mean_clock, time_interval
from simexplore.sim.hardware.power import HELD
from simexplore.sim.learn.applied import Learned
from simexplore.sim.play.result import DutyCycle, Run
from simexplore.workloads.graph import Graph
from simexplore.workloads.ops import Embedding

SHOWN_OPS = 20
_PARTS = re.compile(r"([./_])")
SCOPE = {
    "time_s": "all", "energy_j": "one", "energies_j": "one", "mean_power_w": "one", "clock_over_boost": "one",
    "peak_memory_bytes": "one", "memory": "one", "utilization": "one", "ops": "one", "duty": "one",
}  # fmt: skip
"""Whether a figure of a run is all GPUs' together or that of one of them."""


@dataclass(frozen=True)
class Told:
    """A result with what belongs beside it."""

    result: Run | Estimate
    graph: Graph
    machine: Gpu | System
    learned: Learned
    gpus: int
    """GPUs that share the work; the graph is one GPU's part."""
    runs: int = 1
    """How often the graph was run; the result is of all."""
    cycle: DutyCycle | None = None
    """What becomes of it that is done once a period."""
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """Where operators stand, by name."""

    @property
    def gpu(self) -> Gpu:
        """The machine itself, or the first GPU of a system."""
        return self.machine if isinstance(self.machine, Gpu) else self.machine.place().gpu

    def to_json(self) -> dict[str, Any]:
        """The result's keys and those of what belongs beside it."""
        return {
            **about(self.machine.name, self.graph.name),
            **self._result(),
            "runs": self.runs,
            "time_per_run_s": self.result.time_s / self.runs,
            "energy_per_run_j": self.result.energy_j / self.runs,
            "duty": None if self.cycle is None else self.cycle.to_json(),
            "correction": self.learned.to_json(),
            "gpus": self.gpus,
            "figures_of": SCOPE,
        }

    def _result(self) -> dict[str, Any]:
        """The result's keys; operators of a GPU say what they stand on."""
        told = self.result.to_json()
        for op in told["ops"]:
            standing = self.standings.get(op["name"])
            op["stands_on"] = None if standing is None else standing.key
        return told

    def show(self) -> None:
        """The tables: operators, where the energy goes, the whole, and where no correction was learned."""
        often = f", {self.runs} times" if self.runs > 1 else ""
        alike = f", one of {self.gpus} alike" if self.gpus > 1 else ""
        say(f"{self.graph.name}{often} on {self.machine.name}{alike}")
        say()
        _print_ops(self.result.ops, self.result.energies_j["idle"])
        say()
        _print_energies(self.result.energies_j)
        say()
        headers = ["in all", "one GPU", f"all {self.gpus} GPUs"] if self.gpus > 1 else ["in all", ""]
        print_table(headers, [row[: len(headers)] for row in self._rows()])
        if self.cycle is not None:
            say()
            _print_cycle(self.cycle, "one GPU" if self.gpus > 1 else "")
        if self.learned.left_out:
            say()
            rows = [[reason, str(count)] for reason, count in self.learned.left_out.items()]
            print_table(["no learned correction", "operators"], rows)

    def _rows(self) -> list[list[str]]:
        """Name, one GPU's figure, and that of all GPUs together."""
        result, time_s = self.result, self.result.time_s
        interval = _interval(*time_interval(time_s, result.ops), "s")
        rows = [["time", quantity(time_s, "s"), quantity(time_s, "s")], ["80 % interval", interval, interval]]
        if self.runs > 1:
            rows.append(["time of one run", *2 * [quantity(time_s / self.runs, "s")]])
        tokens = self.runs * sum(float(node.op.tokens) for node in self.graph.nodes if isinstance(node.op, Embedding))
        if tokens and time_s:
            rate = f"{tokens / time_s:,.0f} /s"
            rows.append(["tokens", rate if self.gpus == 1 else "", rate])
        if time_s:
            rows.append(self._shared("work", self.runs * self.graph.flops / time_s, "flop/s"))
        rows += self._power_rows()
        if isinstance(result, Run):
            rows.append(self._shared("peak memory", result.peak_memory_bytes, "B"))
            rows += _elsewhere(result)
            rows += [[f"{name} in use", percent(share), ""] for name, share in result.utilization.items() if share > 0]
        if self.learned.applied or self.learned.left_out:
            rows.append(["learned correction", f"{self.learned.applied} of {self.learned.operators} operators", ""])
        if self.learned.lenders:
            rows.append(
                ["learned on", f"{' and '.join(self.learned.lenders)}, faded by {percent(self.learned.faded)}", ""]
            )
        counts = Counter(self.standings.values())
        rows += [
            [f"stands on {step.words}", f"{counts[step]} of {len(self.standings)} operators", ""]
            for step in sorted(counts)
        ]
        return rows

    def _power_rows(self) -> list[list[str]]:
        """Energy with its interval, mean power beside the board's limit, and the clock where that holds it."""
        result = self.result
        low_j, high_j = energy_interval(result.energy_j, result.time_s, result.ops)
        every = [_interval(low_j, high_j, "J"), _interval(self.gpus * low_j, self.gpus * high_j, "J")]
        rows = [self._shared("energy", result.energy_j, "J"), ["80 % interval", *every]]
        if self.runs > 1:
            rows.append(self._shared("energy of one run", result.energy_j / self.runs, "J"))
        rows.append(self._shared("mean power", result.mean_power_w, "W"))
        rows.append(self._shared("power limit", self.gpu.power.tdp_w, "W"))
        clock = mean_clock(result.ops)
        if clock < HELD:
            held = quantity(clock * self.gpu.clock.top_hz, "Hz")
            rows.append(["clock", f"{held}, {percent(clock)} of boost: the power limit holds it", ""])
        return rows

    def _shared(self, name: str, value: float, unit: str) -> list[str]:
        """What all GPUs have as much of as the one."""
        return [name, quantity(value, unit), quantity(self.gpus * value, unit)]


def _interval(low: float, high: float, unit: str) -> str:
    return f"{quantity(low, unit)} – {quantity(high, unit)}"


def _print_energies(energies_j: Mapping[str, float]) -> None:
    """Where the energy goes; the lines sum to all of it."""
    total_j = sum(energies_j.values()) or 1.0
    joule, energies = in_one_unit(list(energies_j.values()), "J")
    shares = [percent(joules / total_j) for joules in energies_j.values()]
    rows = [list(row) for row in zip(energies_j, energies, shares, strict=True)]
    print_table(["energy of", f"energy [{joule}]", "share"], rows)


def _print_cycle(cycle: DutyCycle, whose: str) -> None:
    """What becomes of the work that is done once a period."""
    rows = [
        ["periods with work", percent(1.0 - cycle.period.skip)],
        ["time at work", percent(cycle.busy_share)],
        ["power in pauses", quantity(cycle.idle_w, "W")],
        ["mean power", quantity(cycle.mean_power_w, "W")],
        ["energy a period", quantity(cycle.energy_per_period_j, "J")],
        ["energy for each time it is done", quantity(cycle.energy_per_work_j, "J")],
    ]
    print_table([f"once every {quantity(cycle.period.period_s, 's')}", whose], rows)


def _print_ops(ops: Sequence[OpRun], idle_j: float) -> None:
    """The operators that take longest, those of layers alike as one line, and what is drawn beside them."""
    groups: dict[tuple[str, str, str], list[OpRun]] = {}
    counted = _counted(op.name for op in ops)
    for op in ops:
        groups.setdefault((_unnumbered(op.name, counted), op.op, op.bound), []).append(op)
    longest = sorted(groups.items(), key=lambda item: -sum(op.time_s for op in item[1]))
    busy_s = sum(op.time_s for op in ops) or 1.0
    lines = [
        ([name if len(alike) > 1 else alike[0].name, text, bound], alike)
        for (name, text, bound), alike in longest[:SHOWN_OPS]
    ]
    if len(longest) > SHOWN_OPS:
        lines.append((["others", "", ""], [op for _, alike in longest[SHOWN_OPS:] for op in alike]))
    times_s = [sum(op.time_s for op in alike) for _, alike in lines]
    second, times = in_one_unit(times_s, "s")
    joule, energies = in_one_unit([*(sum(op.energy_j for op in alike) for _, alike in lines), idle_j], "J")
    rows = [
        [*words, str(len(alike)), time, percent(time_s / busy_s), energy]
        for (words, alike), time, time_s, energy in zip(lines, times, times_s, energies[:-1], strict=True)
    ]
    rows.append(["idle", "", "", "", "", "", energies[-1]])
    print_table(["name", "operator", "bound", "count", f"time [{second}]", "share", f"energy [{joule}]"], rows, left=3)


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


def _elsewhere(result: Run) -> list[list[str]]:
    """Peak memory of places beside the first GPU."""
    others = list(result.memory.items())[1:]
    return [[f"peak memory of {name}", quantity(place.peak_bytes, "B"), ""] for name, place in others]
