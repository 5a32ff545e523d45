"""Where the numbers behind a prediction come from: the machine's file, what was fitted, what was learned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from simexplore.archs.fields import leaf_fields
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.explain.kernel import KernelPage

ALWAYS = ("sm.count", "clock.boost", "clock.max", "launch.graph", "power.tdp")
BEHIND = {
    "l2": ("l2.capacity", "l2.write_cost", "l2.near_latency", "l2.far_latency", "sm.l2_port"),
    "dram": ("dram.efficiency", "dram.latency"),
}
"""The machine's numbers behind a resource, beside its rate."""
CALIBRATED, OWN, CITED = "calibrated", "own value", "cited"


@dataclass(frozen=True)
class Origin:
    """One number of the machine."""

    key: str
    value: str
    """As its file has it."""
    kind: str
    """`calibrated`: fitted to measured times; `own value`: its user's; `cited`: of somebody else."""
    source: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def origins(gpu: Gpu, kernels: Iterable[KernelPage]) -> tuple[Origin, ...]:
    """The numbers of a machine that the times of kernels follow from, in the order of its file."""
    uses = [use for kernel in kernels for use in kernel.uses]
    wanted = {*ALWAYS, *(use.key for use in uses), *(path for use in uses for path in BEHIND.get(use.resource, ()))}
    return tuple(
        Origin(path, field.write(field.read(gpu)), _kind(source := gpu.source_of(path) or ""), source)
        for path, field in leaf_fields(gpu).items()
        if path in wanted
    )


def _kind(source: str) -> str:
    if source.startswith(CALIBRATED):
        return CALIBRATED
    return OWN if source.startswith(OWN) or source == "--set" else CITED
