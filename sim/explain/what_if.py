"""What would help: the same work on the machine with one of its numbers a fifth better, run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from simexplore.archs.fields import leaf_fields
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError

MORE, LESS = 1.2, 0.8
"""A change that is large enough to see and small enough for a next generation."""
LEAST_GAIN = 0.0005
"""A smaller change of the time, as a share, is not told."""


@dataclass(frozen=True)
class Knob:
    """Numbers of a machine that change together."""

    name: str
    paths: tuple[str, ...]
    """Dotted keys of the arch file, or what they begin with; those that the machine has are changed."""
    factor: float


KNOBS = (
    Knob("sm.count", ("sm.count",), MORE),
    Knob("clock", ("clock.boost", "clock.max"), MORE),
    Knob("sm.tensor", ("sm.tensor.",), MORE),
    Knob("sm.fma", ("sm.fma.",), MORE),
    Knob("sm.special_function", ("sm.special_function",), MORE),
    Knob("sm.shared_bandwidth", ("sm.shared_bandwidth",), MORE),
    Knob("sm.shared_memory", ("sm.shared_memory", "sm.shared_memory_per_cta"), MORE),
    Knob("sm.registers", ("sm.registers",), MORE),
    Knob("sm.l2_port", ("sm.l2_port",), MORE),
    Knob("l2.bandwidth", ("l2.bandwidth",), MORE),
    Knob("l2.capacity", ("l2.capacity",), MORE),
    Knob("l2 latency", ("l2.near_latency", "l2.far_latency"), LESS),
    Knob("dram.bandwidth", ("dram.bandwidth",), MORE),
    Knob("dram.latency", ("dram.latency",), LESS),
    Knob("launch", ("launch.graph", "launch.stream"), LESS),
    Knob("power.tdp", ("power.tdp",), MORE),
    Knob("links.nvlink.bandwidth", ("links.nvlink.bandwidth",), MORE),
    Knob("links.pcie.bandwidth", ("links.pcie.bandwidth",), MORE),
)
"""What is tried."""


@dataclass(frozen=True)
class WhatIf:
    """One change, and the time that the work then takes."""

    name: str
    change: float
    """Of the numbers, as a share: 0.2 is a fifth more."""
    changes: Mapping[str, str]
    """Key and value as `--set` takes them."""
    time_s: float
    gain: float
    """Change of the time, as a share of it: less than 0 where it helps."""

    def to_json(self) -> dict[str, Any]:
        """Plain data, SI units."""
        told = asdict(self)
        return {**told, "set": told.pop("changes")}


def what_ifs(
    gpu: Gpu,
    time_s: float,
    variant: Callable[[Mapping[str, str]], Gpu],
    timed: Callable[[Gpu], float],
    advance: Callable[[int, int], None] = lambda _done, _all: None,
) -> tuple[WhatIf, ...]:
    """All changes that matter, those that help most first.

    Args:
        gpu: the machine.
        time_s: what the work takes on it [s].
        variant: the machine with values laid over it, as `load_arch` has it.
        timed: what the work takes on a machine [s].
        advance: told how many of all changes have been tried.
    """
    found = []
    knobs = list(_fitting(gpu, KNOBS))
    for done, (knob, changes) in enumerate(knobs, start=1):
        try:
            then_s = timed(variant(changes))
        except SimexploreError:
            continue  # no such machine can be: a latency below that of the level before, or work that it can't run
        gain = then_s / time_s - 1.0
        if abs(gain) >= LEAST_GAIN:
            found.append(WhatIf(knob.name, knob.factor - 1.0, changes, then_s, gain))
        advance(done, len(knobs))
    return tuple(sorted(found, key=lambda each: each.gain))


def _fitting(gpu: Gpu, knobs: Iterable[Knob]) -> Iterator[tuple[Knob, dict[str, str]]]:
    """What of a machine each knob changes, as an arch file has it; knobs that it lacks are left out."""
    fields = leaf_fields(gpu)
    for knob in knobs:
        mine = [
            field
            for path, field in fields.items()
            if any(path == own or (own.endswith(".") and path.startswith(own)) for own in knob.paths)
        ]
        changes = {field.path: field.write(knob.factor * float(field.read(gpu))) for field in mine}
        if changes:
            yield knob, changes
