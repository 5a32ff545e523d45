"""The catalogue: workloads by name, with the parameters of each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from simexplore.errors import SimexploreError
from simexplore.workloads.families import llm, neural_graphics
from simexplore.workloads.families.diffusion import stream
from simexplore.workloads.families.offloaded import workloads as offloaded
from simexplore.workloads.families.portrait import liveportrait
from simexplore.workloads.graph import Graph
from simexplore.workloads.hints import did_you_mean, found
from simexplore.workloads.operators.parameters import from_values, parameters_of
from simexplore.workloads.workload import Workload

_SOURCES = (
    llm.WORKLOADS,
    neural_graphics.WORKLOADS,
    stream.WORKLOADS,
    liveportrait.WORKLOADS,
    offloaded.WORKLOADS,
)  # a new domain: one more line here

CATALOG: Mapping[str, Workload] = MappingProxyType(
    {workload.name: workload for workloads in _SOURCES for workload in workloads}
)
"""Every workload by name."""


class WorkloadParameter(NamedTuple):
    """A parameter as `simexplore workload show` prints it."""

    name: str
    default: str
    description: str


def list_workloads() -> list[str]:
    """Names of all workloads, sorted."""
    return sorted(CATALOG)


def find(name: str) -> Workload:
    """The workload of that name.

    Raises:
        SimexploreError: there is none; suggests the nearest name.
    """
    if name not in CATALOG:
        raise SimexploreError(
            f"unknown workload {found(name)}{did_you_mean(name, CATALOG)} (simexplore workload list has all)"
        )
    return CATALOG[name]


def parameters(name: str) -> tuple[WorkloadParameter, ...]:
    """The parameters of a workload with their defaults and meaning.

    Raises:
        SimexploreError: unknown workload.
    """
    return tuple(
        WorkloadParameter(key, "none" if field.default is None else str(field.default), parameter.description)
        for key, (field, parameter) in parameters_of(find(name).options).items()
    )


def build(name: str, params: Mapping[str, object] | None = None) -> Graph:
    """The graph of a workload.

    Args:
        name: as in `list_workloads`.
        params: value by parameter name, as text or numbers; what is left out takes its default.

    Raises:
        SimexploreError: unknown workload or parameter, a bad value, or a model that does not divide as asked.
    """
    workload = find(name)
    example = "--param " + " --param ".join(f"{p.name}={p.default}" for p in parameters(name)[:2])
    return workload.builder(from_values(workload.options, name, params or {}, example))
