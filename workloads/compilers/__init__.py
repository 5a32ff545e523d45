"""What compilers make of a graph: pure functions from a graph to one of fewer kernels, and how those are launched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from simexplore.workloads.compilers.inductor import inductor
from simexplore.workloads.compilers.merging import on_one_stream
from simexplore.workloads.compilers.tensorrt import tensorrt
from simexplore.workloads.graph import Graph


class Compiler(NamedTuple):
    """A framework's way of running a graph."""

    compiled: Callable[[Graph], Graph]
    launch: Literal["graph", "stream"]
    """How its kernels start: from one recorded graph, or one by one."""
    called: bool
    """Whether a host calls each operator while it runs, which takes `launch.eager` each."""


COMPILERS: Mapping[str, Compiler] = MappingProxyType(
    {
        "eager": Compiler(on_one_stream, "stream", called=True),
        "inductor": Compiler(inductor, "graph", called=False),
        "tensorrt": Compiler(tensorrt, "graph", called=False),
    }
)
"""By name. A compiler is one line."""
