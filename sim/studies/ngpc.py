"""Hardware Acceleration of Neural Graphics (Mubarik et al., ISCA 2023, arXiv 2303.05735): NGPC beside an RTX 3090.

Every figure comes from the same machines, `nvidia/rtx-3090` and `ngpc/rtx-3090-ngpc-N` by their facts
alone, and the same frames. Frames on the GPU alone are chains of kernels, whose closed form is their time as events;
frames with the cluster are played as events, in which both sides share the L2.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.hardware.ngpc.area import area_shares, power_shares
from simexplore.sim.hardware.timing import kernel_timing, settled_seconds
from simexplore.sim.mapping.frames import Frame, frame_of, fused_kernel
from simexplore.sim.play.execute import execute
from simexplore.sim.play.result import Run
from simexplore.sim.studies import record_of
from simexplore.workloads import catalog
from simexplore.workloads.graph import Graph

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "ngpc.yaml"
HOST = "nvidia/rtx-3090@facts"
"""Nothing fitted: no measured kernel says anything of these frames."""
CLUSTER = "ngpc/rtx-3090-ngpc-64@facts"
APPLICATIONS = ("nerf", "nsdf", "gia", "nvr")
ENCODINGS = ("hashgrid", "densegrid", "lowres-densegrid")
SCALES = (8, 16, 32, 64)
BEYOND = 128
"""The next step after the largest that was built, to see whether it would still have paid."""
WORTHWHILE = 1.05
"""A speed-up by less than this is not one."""
FRAMES_PER_S = 60.0


@dataclass(frozen=True)
class OnGpu:
    """A frame on the GPU alone, by kernel [s]."""

    encoding_s: float
    mlp_s: float
    rest_s: float

    @property
    def time_s(self) -> float:
        return self.encoding_s + self.mlp_s + self.rest_s

    @property
    def offloaded_share(self) -> float:
        """Encoding and network over the frame."""
        return (self.encoding_s + self.mlp_s) / self.time_s


class Frames:
    """Frames by application, encoding, scale and resolution; each is run once."""

    def __init__(self, overrides: dict[str, str] | None = None) -> None:
        """`overrides` change the machines with a cluster, as `--set` does."""
        self._overrides = overrides or {}
        self._graphs: dict[tuple[str, str, str], Graph] = {}
        self._on_gpu: dict[tuple[str, str, str], OnGpu] = {}
        self._runs: dict[tuple[str, str, int, str], Run] = {}
        self._machines: dict[int, Gpu] = {}

    @cached_property
    def host(self) -> Gpu:
        """The GPU that the cluster is held against, alone."""
        return load_arch(HOST)

    def machine(self, scale: int) -> Gpu:
        """The GPU with so many NFPs."""
        if scale not in self._machines:
            nfps = {"ngpc.nfps": str(scale), "name": f"RTX 3090 with NGPC-{scale}"}
            self._machines[scale] = load_arch(CLUSTER, {**nfps, **self._overrides})
        return self._machines[scale]

    def graph(self, application: str, encoding: str, resolution: str = "fhd") -> Graph:
        """The kernels of a frame."""
        key = (application, encoding, resolution)
        if key not in self._graphs:
            self._graphs[key] = catalog.build(f"ngp/{application}/{encoding}", {"resolution": resolution})
        return self._graphs[key]

    def on_gpu(self, application: str, encoding: str, resolution: str = "fhd") -> OnGpu:
        """A frame on the GPU alone, kernels launched one by one."""
        key = (application, encoding, resolution)
        if key not in self._on_gpu:
            graph = self.graph(*key)
            group = {node.name: node.group for node in graph.nodes}
            parts = dict.fromkeys(("encoding", "mlp", "rest"), 0.0)
            for op in estimate_graph(graph, self.host, launch="stream").ops:
                parts[group[op.name]] += op.time_s
            self._on_gpu[key] = OnGpu(parts["encoding"], parts["mlp"], parts["rest"])
        return self._on_gpu[key]

    def with_cluster(self, application: str, encoding: str, scale: int, resolution: str = "fhd") -> Run:
        """A frame on GPU and cluster."""
        key = (application, encoding, scale, resolution)
        if key not in self._runs:
            self._runs[key] = execute(self.graph(application, encoding, resolution), self.machine(scale))
        return self._runs[key]

    def frame(self, application: str, encoding: str) -> Frame:
        """A full-HD frame as GPU and cluster share it, whatever the cluster's scale."""
        frame = frame_of(self.graph(application, encoding), self._ngpc(SCALES[-1]))
        assert frame is not None, "these graphs are frames"
        return frame

    def _ngpc(self, scale: int) -> Ngpc:
        ngpc = self.machine(scale).ngpc
        assert ngpc is not None, "these machines have a cluster"
        return ngpc

    def _fused_s(self, application: str, encoding: str) -> float:
        """Time of what is left on the GPU of a full-HD frame, as one kernel alone [s]."""
        machine, ngpc = self.machine(SCALES[-1]), self._ngpc(SCALES[-1])
        kernel = fused_kernel(self.frame(application, encoding), machine, ngpc)
        return float(settled_seconds(kernel_timing(kernel, machine), machine).item())

    def speed_up(self, application: str, encoding: str, scale: int) -> float:
        """Time of a full-HD frame on the GPU alone over that with the cluster."""
        return self.on_gpu(application, encoding).time_s / self.with_cluster(application, encoding, scale).time_s

    def mean_speed_up(self, encoding: str, scale: int) -> float:
        """The mean speed-up of the four applications."""
        return fmean(self.speed_up(application, encoding, scale) for application in APPLICATIONS)

    def fusion(self, application: str, encoding: str = "hashgrid") -> float:
        """Time of what is neither encoding nor network as kernels of their own, over that as one kernel."""
        return self.on_gpu(application, encoding).rest_s / self._fused_s(application, encoding)

    def ceiling(self, application: str, encoding: str) -> float:
        """Amdahl's limit: the whole frame over the GPU's part of it, fused."""
        return self.on_gpu(application, encoding).time_s / self._fused_s(application, encoding)


def study(frames: Frames | None = None) -> list[dict[str, Any]]:
    """Published figures beside simulated ones; `frames` keeps the runs for further questions."""
    table = read_document(PUBLISHED).data
    found = figures(frames or Frames())
    return [record_of(table, figure, found[figure["key"]]) for figure in table["figures"]]


def figures(frames: Frames) -> dict[str, float]:
    """Every figure by its key in `workloads/published/ngpc.yaml`."""
    return {
        **_speed_ups(frames),
        **_frame_times(frames),
        **_plateaus(frames),
        **_bandwidths(frames),
        **_fusions(frames),
        **_silicon(frames),
    }


def _speed_ups(frames: Frames) -> dict[str, float]:
    means = {f"mean_{scale}": frames.mean_speed_up("hashgrid", scale) for scale in SCALES}
    largest = max(frames.speed_up(a, e, scale) for a, e in pairs() for scale in SCALES)
    return {**means, "mean_dense_64": frames.mean_speed_up("densegrid", 64), "largest": largest}


def _frame_times(frames: Frames) -> dict[str, float]:
    shares = {f"share_{e}": 100.0 * fmean(frames.on_gpu(a, e).offloaded_share for a in APPLICATIONS) for e in ENCODINGS}
    at_4k = [frames.on_gpu(a, e, "4k").time_s * FRAMES_PER_S for a, e in pairs()]
    rates = [1.0 / frames.with_cluster(a, "hashgrid", 64, "8k").time_s for a in APPLICATIONS if a != "nerf"]
    return {
        **shares,
        "gap_least": min(gap for gap in at_4k if gap > 1.0),
        "gap_most": max(at_4k),
        "rate_nerf_4k": 1.0 / frames.with_cluster("nerf", "hashgrid", 64, "4k").time_s,
        "rate_others_8k": min(rates),
        "frame_nerf": 1e3 * frames.on_gpu("nerf", "hashgrid").time_s,
        "frame_gia": 1e3 * frames.on_gpu("gia", "hashgrid").time_s,
    }


def _plateaus(frames: Frames) -> dict[str, float]:
    return {f"plateau_{a}": float(plateau(frames, a)) for a in ("nerf", "nsdf", "nvr")}


def plateau(frames: Frames, application: str) -> int:
    """The scale after which twice as many NFPs bring less than 5 %; `BEYOND` where all of them bring more."""
    steps = (*SCALES, BEYOND)
    for scale, larger in pairwise(steps):
        gain = frames.speed_up(application, "hashgrid", larger) / frames.speed_up(application, "hashgrid", scale)
        if gain < WORTHWHILE:
            return scale
    return BEYOND


def _bandwidths(frames: Frames) -> dict[str, float]:
    """Bytes of queries and answers at 60 full-HD frames a second [GB/s]."""
    moved = []
    for application in APPLICATIONS:
        asked = frames.frame(application, "hashgrid").asked
        moved.append(asked.queries * (asked.input_bytes + asked.result_bytes) * FRAMES_PER_S / 1e9)
    return {"bandwidth_least": min(moved), "bandwidth_most": max(moved)}


def _fusions(frames: Frames) -> dict[str, float]:
    return {"fusion": geometric_mean(frames.fusion(application) for application in APPLICATIONS)}


def _silicon(frames: Frames) -> dict[str, float]:
    found: dict[str, float] = {}
    for scale in (8, 64):
        machine = frames.machine(scale)
        assert machine.ngpc is not None, "these machines have a cluster"
        areas, powers = area_shares(machine.ngpc), power_shares(machine.ngpc, frames.host.power.tdp_w)
        for mode, area, power in zip(("parts", "paper"), areas, powers, strict=True):
            found |= {f"area_{mode}_{scale}": 100.0 * area, f"power_{mode}_{scale}": 100.0 * power}
    return found


def pairs() -> Iterable[tuple[str, str]]:
    """Every application under every encoding."""
    return ((application, encoding) for encoding in ENCODINGS for application in APPLICATIONS)
