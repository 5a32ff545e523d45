"""What an import gives: a graph, what of the model it leaves out, and the file that holds both."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from simexplore.workloads.graph import Graph
from simexplore.workloads.graph_data import to_data


@dataclass(frozen=True, slots=True)
class Unknown:
    """Calls of an operation that no operator stands for.

    Args:
        name: as the framework has it, with what makes it unknown in brackets.
        calls: how many there are.
        flops: their arithmetic operations; where nothing is known of them, one for each element of the results.
        bytes: their operands and results, each moved once [B].
    """

    name: str
    calls: int
    flops: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Repeated:
    """Parts of a model that are alike, such as its layers: how many, and the operators of one."""

    pattern: str
    count: int
    operators: int


@dataclass(frozen=True, slots=True)
class Imported:
    """A graph, and what is left out of it.

    Args:
        unknown: by name, those with most bytes first.
        notes: what was written in another form, a line each.
        repeated: parts that are alike.
    """

    graph: Graph
    unknown: tuple[Unknown, ...] = ()
    notes: tuple[str, ...] = ()
    repeated: tuple[Repeated, ...] = ()

    def flops_share(self, some: Iterable[Unknown]) -> float:
        """What is left out over all flops of the model."""
        return _share(sum(one.flops for one in some), self.graph.flops + sum(one.flops for one in self.unknown))

    def bytes_share(self, some: Iterable[Unknown]) -> float:
        """What is left out over all compulsory bytes of the model."""
        return _share(sum(one.bytes for one in some), self.graph.min_bytes + sum(one.bytes for one in self.unknown))

    @property
    def left_out(self) -> tuple[str, ...]:
        """What is left out, a line for each operation; none where nothing is."""
        return tuple(
            f"{one.name}: {one.calls} calls, {self.flops_share([one]):.2%} of the flops, "
            f"{self.bytes_share([one]):.2%} of the bytes"
            for one in self.unknown
        )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def tallied(calls: Iterable[Unknown]) -> tuple[Unknown, ...]:
    """Calls of the same name as one, those with most bytes first."""
    counts: Counter[str] = Counter()
    flops: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for one in calls:
        counts[one.name] += one.calls
        flops[one.name] += one.flops  # type: ignore[assignment]  # a counter of floats
        moved[one.name] += one.bytes  # type: ignore[assignment]
    names = sorted(counts, key=lambda name: (-moved[name], name))
    return tuple(Unknown(name, counts[name], flops[name], moved[name]) for name in names)


def to_yaml(found: Imported, origin: str) -> str:
    """A file that `run` takes: an operator to a line, and what was left out as comments at its head.

    Args:
        origin: where the model came from, for the first line.
    """
    data = to_data(found.graph)
    head = [f"From {origin}."]
    head += [f"Note: {note}." for note in found.notes]
    if found.unknown:
        flops, moved = found.flops_share(found.unknown), found.bytes_share(found.unknown)
        head.append(f"Left out, as no operator stands for it: {flops:.2%} of the flops and {moved:.2%} of the bytes.")
        head += [f"  {line}" for line in found.left_out]
    lines = [f"# {_on_one_line(line)}" for line in head]
    lines.append(f"name: {_written(data['name'])}")
    lines.append(f"resident_bytes: {_written(data['resident_bytes'])}")
    lines.append("operators:")
    lines += [f"- {_written(operator)}" for operator in data["operators"]]
    return "\n".join(lines) + "\n"


def _on_one_line(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _written(value: object) -> str:
    """A value as JSON, which YAML 1.1 reads as it is as long as no number has an exponent without a point."""
    return json.dumps(_whole(value))


def _whole(value: object) -> object:
    """A value whose whole numbers are integers."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
