"""Named points of a run that can be watched from outside. What nobody watches costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from simexplore.workloads.graph import Node

LAUNCH: Final = "launch"
"""From the host's command until a kernel could begin."""
QUEUE: Final = "queue"
"""SMs are held by others."""
SET_UP: Final = "set-up"
"""Until the first CTA computes."""
WAVES: Final = "waves"
"""CTAs compute; where the last wave is a partial one after others, until that begins."""
TAIL: Final = "tail"
"""The last wave, where it leaves slots empty and others came before it."""
LATENCY: Final = "latency"
"""Of work that is no kernel on SMs: it waits, and shares nothing."""
WORK: Final = "work"
"""Of work that is no kernel on SMs: it shares resources."""


@dataclass(frozen=True, eq=False)
class Task:
    """A node of the graph, as it is seen in a run."""

    node: Node
    stream: int
    """Stream that it runs on."""
    place: str
    """Name of the device, link or path that it runs on."""
    details: Mapping[str, object] = field(default_factory=dict)
    """For people: the operator, what bounds it, its kernels."""


@dataclass(frozen=True, eq=False)
class Activity:
    """One kernel, or one transfer over a link, as it is seen in a run."""

    node: str
    """Name of the graph's node that it belongs to."""
    stream: int
    """Stream that it runs on."""
    kernel: str
    """What runs: `gemm`, `split_kv`, `all_reduce`."""
    details: Mapping[str, object] = field(default_factory=dict)
    """For people: the operator, its tile, what bounds it."""


class BoardState(NamedTuple):
    """What a board draws and how fast its SMs are clocked; of a device or a link that is on none, what that draws."""

    power_w: float
    """All that it draws, idle included [W]."""
    clock_hz: float | None = None
    """Clock of its SMs [Hz]; None: of a device whose clock nothing follows."""


class Probe:
    """Watches a run; override what is of interest. Times are in femtoseconds since the start of the run."""

    def on_node_start(self, now_fs: int, task: Task) -> None:
        """A node's first launch, or what else it does first, begins."""

    def on_node_end(self, now_fs: int, task: Task) -> None:
        """The last kernel of a node has ended."""

    def on_phase(self, now_fs: int, activity: Activity, phase: str) -> None:
        """From now on a kernel or transfer is at this: `LAUNCH`, `SET_UP`, …; the first comes before its start."""

    def on_kernel_start(self, now_fs: int, activity: Activity) -> None:
        """The first CTAs of a kernel have been dispatched, or a transfer has begun."""

    def on_kernel_end(self, now_fs: int, activity: Activity) -> None:
        """A kernel's last CTA has ended, or a transfer's last byte has arrived."""

    def on_wave(self, now_fs: int, activity: Activity) -> None:
        """A wave of CTAs has ended."""

    def on_sms(self, now_fs: int, held_share: float) -> None:
        """Kernels now hold this share of the SM array (0..1)."""

    def on_rates(self, now_fs: int, loads: Mapping[str, float]) -> None:
        """Shared resources are now in use by these shares (0..1); `power` is the dynamic power [W]."""

    def on_boards(self, now_fs: int, boards: Mapping[str, BoardState]) -> None:
        """Boards, and what else draws power, now draw this; by `b.` for what is called `b`, '' of the first GPU."""

    def on_memory(self, now_fs: int, held_bytes: float) -> None:
        """The run now holds so much device memory [B]."""

    def on_tensor(self, now_fs: int, place: str, name: str, kind: str, size: float) -> None:
        """A tensor is born at a place, or dies there where `size` is below zero [B]."""


class Probes(Probe):
    """Passes what happens on to those probes that override the hook."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self._node_start = [p.on_node_start for p in probes if type(p).on_node_start is not Probe.on_node_start]
        self._node_end = [p.on_node_end for p in probes if type(p).on_node_end is not Probe.on_node_end]
        self._phase = [p.on_phase for p in probes if type(p).on_phase is not Probe.on_phase]
        self._kernel_start = [p.on_kernel_start for p in probes if type(p).on_kernel_start is not Probe.on_kernel_start]
        self._kernel_end = [p.on_kernel_end for p in probes if type(p).on_kernel_end is not Probe.on_kernel_end]
        self._wave = [p.on_wave for p in probes if type(p).on_wave is not Probe.on_wave]
        self._sms = [p.on_sms for p in probes if type(p).on_sms is not Probe.on_sms]
        self._rates = [p.on_rates for p in probes if type(p).on_rates is not Probe.on_rates]
        self._boards = [p.on_boards for p in probes if type(p).on_boards is not Probe.on_boards]
        self._memory = [p.on_memory for p in probes if type(p).on_memory is not Probe.on_memory]
        self._tensor = [p.on_tensor for p in probes if type(p).on_tensor is not Probe.on_tensor]

    @property
    def watch_waves(self) -> bool:
        """Whether any probe wants to be told of waves."""
        return bool(self._wave)

    @property
    def watch_boards(self) -> bool:
        """Whether any probe wants to be told of power and clocks."""
        return bool(self._boards)

    def on_node_start(self, now_fs: int, task: Task) -> None:
        for hook in self._node_start:
            hook(now_fs, task)

    def on_node_end(self, now_fs: int, task: Task) -> None:
        for hook in self._node_end:
            hook(now_fs, task)

    def on_phase(self, now_fs: int, activity: Activity, phase: str) -> None:
        for hook in self._phase:
            hook(now_fs, activity, phase)

    def on_kernel_start(self, now_fs: int, activity: Activity) -> None:
        for hook in self._kernel_start:
            hook(now_fs, activity)

    def on_kernel_end(self, now_fs: int, activity: Activity) -> None:
        for hook in self._kernel_end:
            hook(now_fs, activity)

    def on_wave(self, now_fs: int, activity: Activity) -> None:
        for hook in self._wave:
            hook(now_fs, activity)

    def on_sms(self, now_fs: int, held_share: float) -> None:
        for hook in self._sms:
            hook(now_fs, held_share)

    def on_rates(self, now_fs: int, loads: Mapping[str, float]) -> None:
        for hook in self._rates:
            hook(now_fs, loads)

    def on_boards(self, now_fs: int, boards: Mapping[str, BoardState]) -> None:
        for hook in self._boards:
            hook(now_fs, boards)

    def on_memory(self, now_fs: int, held_bytes: float) -> None:
        for hook in self._memory:
            hook(now_fs, held_bytes)

    def on_tensor(self, now_fs: int, place: str, name: str, kind: str, size: float) -> None:
        for hook in self._tensor:
            hook(now_fs, place, name, kind, size)
