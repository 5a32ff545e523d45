"""How NCCL chooses for a collective within a node: algorithm and protocol, how many channels, which chunks.

Read off its sources, github.com/NVIDIA/nccl at v2.29.2-1 (Apache-2.0): `src/graph/tuning.cc` for the times that the
tuner reckons with, `src/enqueue.cc` for channels and chunks, `src/include/comm.h` for thresholds. What it reckons
with of a machine is in the machine's file (`library.collectives.tuner`); the constants here are the same everywhere.

The tuner takes the least of latency + bytes / bandwidth over what it may run. Between GPUs of a node these are rings
in three protocols and reductions within the switches. Its trees never win there, by its own figures: a tree has the
ring's steps when all GPUs are in one node, and less bandwidth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.library import CollectiveLibrary
from simexplore.archs.schema.library.collectives import Nvls
from simexplore.sim.demand import FloatArray

LL, LL128, SIMPLE, NVLS = range(4)
"""Rings by protocol, and reductions within the switches, which use the Simple protocol."""
KIB = 1024.0


class _Latency(NamedTuple):
    """What the tuner reckons with for one protocol [s]."""

    base_s: float
    nvlink_step_s: float
    pcie_step_s: float


_RING = {
    LL: _Latency(6.6e-6, 0.6e-6, 1.0e-6),
    LL128: _Latency(14.0e-6, 1.9e-6, 2.5e-6),
    SIMPLE: _Latency(8.4e-6, 3.4e-6, 5.7e-6),
}
"""`baseLatencies` and `hwLatencies` of rings."""
NET_RING_S = {LL: 2.7e-6, SIMPLE: 14.0e-6}
NET_TREE_S = {LL: 5.0e-6, SIMPLE: 14.0e-6}
"""`hwLatencies` of a step between nodes, of rings and of trees."""
_NVLS_S = 25e-6
LL128_STEP = 1.9 / 0.6
"""A step of LL128 over one of LL, by the same table."""
LL128_SHARE = 0.92
"""Share of what a ring carries that LL128 leaves to data, as the tuner has it: 120 bytes of 128, and a little."""
LL_SHARE = 0.5
"""The same of LL: 4 bytes of data beside 4 of flags."""
_HEAD_GRAIN = 10e9
"""NCCL's search tries round bandwidths for a switch's reductions: steps of about 10 GB/s."""

CHANNELS_A_RING = 2
_LL_BYTES = 512 * 8
"""Bytes of data that the threads of a channel store in one go with LL: 512 threads, 8 bytes each."""
_CHANNEL_BYTES = {LL: 512 * 8.0, LL128: 640 * 8.0, SIMPLE: 512 * 64.0}
"""Bytes of a collective for which one more channel is opened; LL asks for as many of each GPU."""
P2P_CHANNELS = 32
_P2P_PART = 64 * KIB
"""Bytes to a peer for which one more channel sends to it."""
_P2P_CHUNK = 512 * KIB
P2P_LL_BYTES = 16 * KIB
"""Bytes to a peer up to which it is sent to with LL."""
_NVLS_CHUNKS = ((2.0, 32 * KIB, 16 * KIB), (8.0, 64 * KIB, 32 * KIB), (64.0, 128 * KIB, 64 * KIB))
"""Below so many rounds of such chunks, chunks are the third number."""


def ring_passes(op: str) -> float:
    """Times that a ring carries the tensor round: an all-reduce is a reduce-scatter and an all-gather."""
    return 2.0 if op == "all_reduce" else 1.0


def spans(op: str, gpus: FloatArray, library: CollectiveLibrary, *, nvlink: bool) -> tuple[FloatArray, FloatArray]:
    """Sizes from which and up to which the tuner runs each way, by the least of the times that it reckons with.

    Each of these is latency + size / bandwidth, so a way with more of both takes over from one with less where their
    lines cross. Rows of the two arrays are `LL`, `LL128`, `SIMPLE` and `NVLS`; where a way is never run, it begins no
    earlier than it ends.

    Args:
        op: `all_reduce`, `all_gather` or `reduce_scatter`.
        gpus: that take part, shape (rows,).
        library: the machine's.
        nvlink: whether the GPUs talk over NVLink.

    Returns:
        Shapes (ways, rows) [B].
    """
    lines = [_ring_line(protocol, op, gpus, library, nvlink=nvlink) for protocol in (LL, LL128, SIMPLE)]
    lines.append(_nvls_line(op, gpus, library.tuner.nvls))
    latency, pace = (np.stack(np.broadcast_arrays(*values)) for values in zip(*lines, strict=True))
    begins, ends = np.zeros_like(latency), np.full(latency.shape, np.inf)
    for one in range(len(lines)):
        for other in range(len(lines)):
            crossing = _takes_over(latency[one], pace[one], latency[other], pace[other])
            sooner = (latency[other] < latency[one]) | ((latency[other] == latency[one]) & (other < one))
            begins[one] = np.where(sooner, np.maximum(begins[one], crossing), begins[one])
            back = _takes_over(latency[other], pace[other], latency[one], pace[one])
            ends[one] = np.where(sooner | (one == other), ends[one], np.minimum(ends[one], back))
    return begins, ends


def _takes_over(latency: FloatArray, pace: FloatArray, least: FloatArray, its_pace: FloatArray) -> FloatArray:
    """Size from which a way is sooner done than one with less latency; infinite where it never is [B]."""
    with np.errstate(invalid="ignore"):  # what is never run has neither latency nor pace
        gain, more = its_pace - pace, latency - least
    takes_over = (gain > 0.0) & np.isfinite(latency)
    return np.where(takes_over, more, np.inf) / np.where(takes_over, gain, 1.0)


def _ring_line(
    protocol: int, op: str, gpus: FloatArray, library: CollectiveLibrary, *, nvlink: bool
) -> tuple[FloatArray, FloatArray]:
    """Latency [s] and time of a byte [s/B] that the tuner reckons with for a ring."""
    latency = _RING[protocol]
    steps = ring_passes(op) * (gpus - 1.0)
    bandwidth = _ring_bandwidth(protocol, library)
    if bandwidth == 0.0:
        return np.full(gpus.shape, np.inf), np.zeros(gpus.shape)
    step_s = latency.nvlink_step_s if nvlink else latency.pcie_step_s
    return latency.base_s + steps * step_s, steps / (gpus * bandwidth)


def _ring_bandwidth(protocol: int, library: CollectiveLibrary) -> float:
    """What the tuner thinks all rings move together [B/s]; 0 where they don't run this protocol."""
    tuner = library.tuner
    whole = tuner.rings * tuner.ring_bandwidth_bytes_per_s
    if protocol == LL:
        return min(tuner.ll_bandwidth_bytes_per_s, LL_SHARE * whole)
    if protocol == LL128:
        return min(LL128_SHARE * whole, tuner.rings * (tuner.ll128_bandwidth_bytes_per_s or 0.0))
    return whole


def _nvls_line(op: str, gpus: FloatArray, nvls: Nvls | None) -> tuple[FloatArray, FloatArray]:
    """The same of reductions within the switches."""
    if nvls is None:
        return np.full(gpus.shape, np.inf), np.zeros(gpus.shape)
    others = np.maximum(gpus - 1.0, 1.0) / gpus
    heads = gpus * _head_bandwidth(gpus, nvls) * nvls.efficiency * others
    bandwidth = heads / others if op == "all_reduce" else heads * others
    # With many GPUs a port's share falls below the least bandwidth that the search tries, and it finds no such way.
    runs = (gpus > 1.0) & (heads > 0.0)
    return np.where(runs, _NVLS_S, np.inf), np.divide(1.0, bandwidth, out=np.zeros(gpus.shape), where=runs)


def _head_bandwidth(gpus: FloatArray, nvls: Nvls) -> FloatArray:
    """What each GPU's part of the tensor moves through the switch: a port carries all parts, and its own twice."""
    fair = nvls.port_bandwidth_bytes_per_s / (gpus + 1.0)
    return np.minimum(np.floor(fair / _HEAD_GRAIN) * _HEAD_GRAIN, nvls.head_bandwidth_bytes_per_s)


def ring_channels(protocol: int, gpus: FloatArray, size: FloatArray, library: CollectiveLibrary) -> FloatArray:
    """Channels that a ring collective opens, one to two a ring; taken as continuous."""
    each = _CHANNEL_BYTES[protocol] * (gpus if protocol == LL else 1.0)
    return np.clip(size / each, 1.0, CHANNELS_A_RING * float(library.tuner.rings))


def first_store(gpus: FloatArray, size: FloatArray, channels: FloatArray) -> FloatArray:
    """Bytes that the threads of a channel store before the neighbour sees any: one round of LL [B]."""
    return np.minimum(size / (gpus * channels), float(_LL_BYTES))


def nvls_rounds(gpus: FloatArray, size: FloatArray, nvls: Nvls) -> FloatArray:
    """Rounds of scatter, reduction and gather within the switches, at least one.

    Chunks grow with the tensor. Where they double, rounds would halve; a larger tensor is taken to have no fewer.
    """
    operations = nvls.channels * gpus
    rounds, least = np.ones_like(size), 1.0
    for limit, grown, chunk in _NVLS_CHUNKS:
        below = np.minimum(size, limit * operations * grown) / (operations * chunk)
        rounds = np.maximum(rounds, below)
        least = grown
    return np.maximum(rounds, size / (operations * least))


def p2p_channels(gpus: FloatArray, size: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Channels to each peer of an all-to-all, and channels in all."""
    each = np.clip(size / (gpus * _P2P_PART), 1.0, float(P2P_CHANNELS))
    return each, np.minimum(each * gpus, float(P2P_CHANNELS))


def first_chunk(gpus: FloatArray, size: FloatArray, channels: FloatArray) -> FloatArray:
    """Bytes that a channel sends to a peer before the peer can copy any on: a chunk [B]."""
    return np.minimum(size / (gpus * channels), _P2P_CHUNK)


def steps_between(op: str, gpus: float, nodes: float) -> tuple[float, float]:
    """Dependent steps of a ring within nodes, and between them (`nInterSteps` of src/graph/tuning.cc)."""
    between = ring_passes(op) * (nodes - 1.0)
    return ring_passes(op) * (gpus - 1.0) - between, between


def tree_steps(gpus: float, nodes: float) -> tuple[float, float]:
    """The same of an all-reduce up and down a tree of nodes, a chain in each (src/graph/tuning.cc)."""
    return 2.0 * (gpus / nodes - 1.0), 2.0 * float(np.floor(np.log2(nodes)))
