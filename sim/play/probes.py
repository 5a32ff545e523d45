"""Named points of a run that can be watched from outside. What nobody watches costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


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
    """What a board draws and how fast its SMs are clocked."""

    power_w: float
    """All that it draws, idle included [W]."""
    clock_hz: float | None = None
    """Clock of its SMs [Hz]; None: of a device whose clock nothing follows."""


class Probe:
    """Watches a run; override what is of interest. Times are in femtoseconds since the start of the run."""

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
        """Boards now draw this at this clock; by what the names of their resources begin with, '' of the first GPU."""

    def on_memory(self, now_fs: int, held_bytes: float) -> None:
        """The run now holds so much device memory [B]."""

    def on_tensor(self, now_fs: int, place: str, name: str, kind: str, size: float) -> None:
        """A tensor is born at a place, or dies there where `size` is below zero [B]."""


class Probes(Probe):
    """Passes what happens on to those probes that override the hook."""

    def __init__(self, probes: Sequence[Probe]) -> None:
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
