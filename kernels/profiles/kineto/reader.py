"""PyTorch profiler (Kineto) traces: Chrome JSON as `export_chrome_trace` writes it, gzipped or not.

Calls of operators nest in time on their thread and have the shapes of their inputs. A kernel belongs to the innermost
call around its launch that is an operator of ours; several kernels of one call (a split-K reduction) are one row.
Without kernels, in a trace of a CPU, the calls' own times count.
Format: github.com/pytorch/kineto, tb_plugin/docs and libkineto's ChromeTraceLogger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles.kineto.collectives import collective_of
from simexplore.kernels.profiles.kineto.events import Device, Host, Trace, read_trace
from simexplore.kernels.profiles.kineto.links import innermost_of, links
from simexplore.kernels.profiles.tally import NO_TIME, Tally
from simexplore.kernels.profiles.torch_calls import Call, UnmatchedError, operator_of

TAKEN = {"launch": "profiled"}
"""How a trace takes its times: durations of kernels, whatever launched them."""
TO_HOST = "a copy between host and device is no work of the device's memory alone"
NO_PLACE = "its event has no time or no duration that is a number"


def read(path: Path, tally: Tally) -> None:
    """Add what a trace holds. Raises SimexploreError where the file is no such trace, or lacks the GPU's part."""
    trace = read_trace(path)
    if not trace.calls and not trace.on_gpu and not trace.unplaced:
        raise SimexploreError(f"{path}: expected cpu_op or kernel events of the PyTorch profiler, found none")
    if not trace.on_gpu and trace.drives_gpu:
        raise SimexploreError(
            f"{path}: expected kernels, found calls on a machine with GPUs and no kernel: profile with "
            "activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA] (the times of calls alone are the host's)"
        )
    for name, count in trace.unplaced.items():
        tally.miss(name, NO_PLACE, 0.0, count)
    found = links(trace)
    if trace.on_gpu:
        tally.taken = TAKEN
        for owner in _owners(trace, [(link.call, link.reason) for link in found], tally):
            _add_owner(owner, trace.gpus, tally)
    else:
        _add_calls(trace, tally)


def _owners(trace: Trace, found: list[tuple[Host | None, str]], tally: Tally) -> list[Host]:
    """Calls that are operators of ours, with what they launched; everything else is added to the tally."""
    owners: dict[int, Host] = {}
    for device, (call, reason) in zip(trace.on_gpu, found, strict=True):
        if device.collective is not None:
            _add_collective(device, trace.gpus, tally)
            continue
        owner = innermost_of(call, trace.torn) if call is not None else reason
        if device.kind == "memcpy" and "DtoD" not in device.name:
            owner = TO_HOST
        if isinstance(owner, str):
            tally.miss(device.name, owner, device.time_us or 0.0)
            continue
        owner.ran.append(device)
        owners[id(owner)] = owner
    return list(owners.values())


def _add_collective(device: Device, gpus: Mapping[int, str], tally: Tally) -> None:
    time_us = device.time_us or 0.0
    try:
        operator = collective_of(device.collective or {})
    except UnmatchedError as error:
        tally.miss(device.name, str(error), time_us)
    else:
        tally.match(operator, time_us, device.name, _gpu(device, gpus))


def _add_owner(owner: Host, gpus: Mapping[int, str], tally: Tally) -> None:
    """One call with its kernels: a row, or each kernel among the unmatched."""
    try:
        if any(device.time_us is None for device in owner.ran):
            raise UnmatchedError(f"{NO_TIME}, or that of another kernel of the call is none")
        if len({device.place for device in owner.ran}) > 1:
            raise UnmatchedError("kernels of one call on several GPUs")
        by_kernel = any(device.kind == "kernel" for device in owner.ran)
        operator = operator_of(replace(_recorded(owner), by_kernel=by_kernel))
    except UnmatchedError as error:
        for device in owner.ran:
            tally.miss(device.name, f"{owner.name}: {error}", device.time_us or 0.0)
        return
    longest = max(owner.ran, key=lambda device: device.time_us or 0.0)
    total_us = sum(device.time_us or 0.0 for device in owner.ran)
    tally.match(operator, total_us, longest.name, _gpu(longest, gpus))


def _recorded(owner: Host) -> Call:
    if owner.call is None:
        raise UnmatchedError("no operator family of that name")
    return owner.call


def _gpu(device: Device, gpus: Mapping[int, str]) -> str:
    number = device.place[1]
    return "unknown GPU" if number is None else gpus.get(number, f"unknown GPU {number}")


def _add_calls(trace: Trace, tally: Tally) -> None:
    """A trace without kernels: the outermost calls that are operators of ours, and the own time of all outside them."""
    inside: set[int] = set()
    for host in sorted(trace.calls, key=lambda call: (call.start_us, -(call.end_us or call.start_us))):
        if host.parent is not None and id(host.parent) in inside:
            inside.add(id(host))
            continue
        if host.end_us is None or host.thread in trace.torn:
            tally.miss(host.name, NO_PLACE, 0.0)
            continue
        time_us = host.end_us - host.start_us
        if host.call is None:
            tally.miss(host.name, "no operator family of that name", max(time_us - host.children_us, 0.0))
            continue
        inside.add(id(host))
        try:
            tally.match(operator_of(host.call), time_us, host.name, "CPU")
        except UnmatchedError as error:
            tally.miss(host.name, str(error), time_us)
