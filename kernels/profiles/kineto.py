"""PyTorch profiler (Kineto) traces: Chrome JSON as `export_chrome_trace` writes it, gzipped or not.

Calls of operators (`cpu_op`) nest in time on their thread and have the shapes of their inputs; kernels name the call
that launched them by its `External id`. A kernel belongs to the innermost call around its launch that is an operator
of ours; several kernels of one call (a split-K reduction) are one row. Without kernels the calls' own times count.
Format: github.com/pytorch/kineto, tb_plugin/docs and libkineto's ChromeTraceLogger.
"""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles.tally import Tally
from simexplore.kernels.profiles.torch_calls import DTYPES, MATCHES, Call, UnmatchedError, operator_of
from simexplore.workloads import ops
from simexplore.workloads.operators.base import Operator

Event = Mapping[str, Any]

KERNELS = ("kernel", "gpu_memcpy", "gpu_memset")
"""Categories of events that run on the GPU."""

COLLECTIVES: Mapping[str, tuple[type[ops.Collective], str]] = {
    "allreduce": (ops.AllReduce, "In msg nelems"),
    "_allgather_base": (ops.AllGather, "Out msg nelems"),
    "allgather": (ops.AllGather, "Out msg nelems"),
    "_reduce_scatter_base": (ops.ReduceScatter, "In msg nelems"),
    "reduce_scatter": (ops.ReduceScatter, "In msg nelems"),
    "all_to_all": (ops.AllToAll, "In msg nelems"),
    "all_to_allv": (ops.AllToAll, "In msg nelems"),
}
"""Names of collectives in the arguments of NCCL kernels → family, and the argument that has the whole tensor's size."""
_COLLECTIVE_DTYPES = {"Float": "fp32", "BFloat16": "bf16", "Half": "fp16", "Double": "fp64", "Char": "int8"}


@dataclass
class _Node:
    """A call of an operator, and the call that it is in."""

    event: Event
    parent: _Node | None
    children_us: float = 0.0
    kernels: list[Event] = field(default_factory=list)

    @property
    def call(self) -> Call:
        given = self.event.get("args", {})
        dtype = next((DTYPES[name] for name in given.get("Input type", ()) if name in DTYPES), "")
        return Call(self.event["name"], given.get("Input Dims", ()), dtype, given.get("Concrete Inputs", ()))

    @property
    def matched(self) -> _Node | None:
        """The innermost call from this one outwards that is an operator of ours."""
        node: _Node | None = self
        while node is not None and node.event["name"] not in MATCHES:
            node = node.parent
        return node


def read(path: Path, tally: Tally) -> None:
    """Add what a trace holds. Raises SimexploreError where the file is no such trace."""
    trace = _load(path)
    events: list[Event] = [
        event for event in trace["traceEvents"] if isinstance(event, dict) and event.get("ph") == "X"
    ]
    nodes = _tree(event for event in events if event.get("cat") == "cpu_op")
    kernels = [event for event in events if event.get("cat") in KERNELS]
    if not nodes and not kernels:
        raise SimexploreError(f"{path}: expected cpu_op or kernel events of the PyTorch profiler, found none")
    if kernels:
        _add_kernels(kernels, nodes, _devices(trace), tally)
    else:
        _add_calls(nodes, tally)


def _load(path: Path) -> Mapping[str, Any]:
    try:
        raw = path.read_bytes()
        trace = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    except (OSError, ValueError) as error:
        raise SimexploreError(f"{path}: expected a Chrome trace in JSON, found: {error}") from None
    if not isinstance(trace, dict) or not isinstance(trace.get("traceEvents"), list):
        raise SimexploreError(f"{path}: expected a Chrome trace with traceEvents, found other JSON")
    return trace


def _devices(trace: Mapping[str, Any]) -> dict[int, str]:
    return {device["id"]: device["name"] for device in trace.get("deviceProperties", ()) if "name" in device}


def _tree(events: Iterable[Event]) -> list[_Node]:
    """Calls with the call around each, by their times on each thread."""
    threads: dict[object, list[Event]] = defaultdict(list)
    for event in events:
        threads[(event.get("pid"), event.get("tid"))].append(event)
    nodes: list[_Node] = []
    for calls in threads.values():
        open_calls: list[_Node] = []
        for event in sorted(calls, key=lambda call: (call["ts"], -call["dur"])):
            while open_calls and event["ts"] >= open_calls[-1].event["ts"] + open_calls[-1].event["dur"]:
                open_calls.pop()
            node = _Node(event, open_calls[-1] if open_calls else None)
            if node.parent is not None:
                node.parent.children_us += event["dur"]
            open_calls.append(node)
            nodes.append(node)
    return nodes


def _add_kernels(kernels: list[Event], nodes: list[_Node], devices: Mapping[int, str], tally: Tally) -> None:
    by_id = {node.event["args"]["External id"]: node for node in nodes if "External id" in node.event.get("args", {})}
    owners: dict[int, _Node] = {}
    for kernel in kernels:
        given = kernel.get("args", {})
        collective = _collective(given)
        if collective is not None:
            tally.match(collective, kernel["dur"], kernel["name"], devices.get(given.get("device"), "unknown GPU"))
            continue
        launcher = by_id.get(given.get("External id"))
        owner = launcher.matched if launcher is not None else None
        if owner is None:
            reason = "not launched by a recorded call" if launcher is None else f"launched by {launcher.event['name']}"
            tally.miss(kernel["name"], reason, kernel["dur"])
            continue
        owner.kernels.append(kernel)
        owners[id(owner)] = owner
    for owner in owners.values():
        _add_owner(owner, devices, tally)


def _add_owner(owner: _Node, devices: Mapping[int, str], tally: Tally) -> None:
    """One call with its kernels: a row, or each kernel among the unmatched."""
    try:
        operator = operator_of(owner.call)
    except UnmatchedError as error:
        for kernel in owner.kernels:
            tally.miss(kernel["name"], f"{owner.event['name']}: {error}", kernel["dur"])
        return
    longest = max(owner.kernels, key=lambda kernel: float(kernel["dur"]))
    device = devices.get(longest.get("args", {}).get("device"), "unknown GPU")
    tally.match(operator, sum(kernel["dur"] for kernel in owner.kernels), longest["name"], device)


def _collective(given: Mapping[str, Any]) -> Operator | None:
    family, size = COLLECTIVES.get(given.get("Collective name", ""), (None, ""))
    dtype = _COLLECTIVE_DTYPES.get(given.get("dtype", ""))
    if family is None or dtype is None or not given.get(size) or not given.get("Group size"):
        return None
    return family(elements=int(given[size]), num_gpus=int(given["Group size"]), dtype=dtype)


def _add_calls(nodes: list[_Node], tally: Tally) -> None:
    """A trace without kernels: the outermost calls that are operators of ours, and the own time of all outside them."""
    inside: set[int] = set()
    for node in nodes:
        if node.parent is not None and id(node.parent) in inside:
            inside.add(id(node))
            continue
        own_us = node.event["dur"] - node.children_us
        if node.event["name"] not in MATCHES:
            tally.miss(node.event["name"], "no operator family of that name", own_us)
            continue
        inside.add(id(node))
        try:
            tally.match(operator_of(node.call), node.event["dur"], node.event["name"], "CPU")
        except UnmatchedError as error:
            tally.miss(node.event["name"], str(error), node.event["dur"])
