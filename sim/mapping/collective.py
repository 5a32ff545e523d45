"""Collectives → steps and bytes over a link, as NCCL runs them on the machine; docs/collectives.md has the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import CollectiveLibrary, CustomAllReduce
from simexplore.archs.schema.library.collectives import Engine
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, CollectiveDemand, FloatArray, LinkDemand
from simexplore.sim.libraries import nccl
from simexplore.workloads import ops
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import AllReduce, AllToAll, Collective

FOUR = 4.0
"""GPUs up to which an engine's kernel takes larger tensors in one pass."""
CUSTOM_CTAS = 36.0
"""CTAs of an engine's kernel: what vLLM's author found best on several machines (csrc/custom_all_reduce.cuh)."""


@dataclass(frozen=True)
class _Exchange:
    """What the rules are asked about; arrays of shape (rows,)."""

    op: str
    link: str
    gpus: FloatArray
    size: FloatArray
    """Of the whole tensor [B]."""
    local_bytes: FloatArray
    library: CollectiveLibrary

    @property
    def ring_steps(self) -> FloatArray:
        return nccl.ring_passes(self.op) * (self.gpus - 1.0)

    @property
    def ring_bytes(self) -> FloatArray:
        """Bytes that each GPU sends round a ring [B]."""
        return self.size * self.ring_steps / self.gpus

    @property
    def link_share(self) -> FloatArray:
        """Share of the link's bandwidth that copies reach; over PCIe less, the further apart the GPUs are."""
        library = self.library
        return library.efficiency * (library.doubling_share) ** (np.log2(np.maximum(self.gpus, 2.0)) - 1.0)

    def rate(self, channel_rate: float | None) -> FloatArray:
        return np.full(self.size.shape, np.inf if channel_rate is None else channel_rate)


def collective_algorithms(op: Collective, gpu: Gpu, conditions: Conditions) -> tuple[Algorithm, ...]:  # noqa: ARG001
    """One GPU's share: its bytes over NVLink, or PCIe where there is none, and the steps that wait for one another.

    The tuner changes from one way to the next where it reckons that they take the same time, and it is out by a third
    at times. Here a tensor takes no longer than a larger one: each way serves the sizes that it is run for, and smaller
    ones as if they were the least of these, and the fastest is taken.
    """
    link = "pcie" if gpu.links.nvlink is None else "nvlink"
    gpus, library = column(op.num_gpus)[:, 0], gpu.collective_library
    if library is None:
        passes = 2.0 if isinstance(op, AllReduce) else 1.0
        sent = LinkDemand(kernel=op.op, link=link, bytes=column(op.link_bytes)[:, 0], steps=passes * (gpus - 1.0))
        return (Algorithm((sent,), ANY_ROW),)
    gpus, size, local = np.broadcast_arrays(gpus, column(op.size_bytes)[:, 0], column(op.min_bytes)[:, 0])
    name = "all_reduce" if isinstance(op, AllReduce) else op.op
    exchange = _Exchange(name, link, gpus, size, np.where(gpus > 1.0, local, 0.0), library)
    if isinstance(op, ops.CustomAllReduce) and op.engine in library.custom:
        return _custom(exchange, op.engine)
    if isinstance(op, AllToAll):
        most = nccl.P2P_LL_BYTES * gpus
        begins, ends = np.stack([0.0 * most, most]), np.stack([most, np.full(most.shape, np.inf)])
        return _of_spans(exchange, (_p2p_ll, _p2p_simple), begins, ends)
    return _by_nccl(exchange)


def _by_nccl(exchange: _Exchange, least: FloatArray | float = 0.0) -> tuple[Algorithm, ...]:
    """What NCCL runs, of tensors of no less than `least` bytes."""
    begins, ends = nccl.spans(exchange.op, exchange.gpus, exchange.library, nvlink=exchange.link == "nvlink")
    begins = np.where(ends > least, np.maximum(begins, least), np.inf)
    return _of_spans(exchange, (_ll, _ll128, _simple, _nvls), begins, ends)


def _of_spans(
    exchange: _Exchange,
    ways: Sequence[Callable[[_Exchange], CollectiveDemand]],
    begins: FloatArray,
    ends: FloatArray,
) -> tuple[Algorithm, ...]:
    """Each way at no less than the size from which it is run, for rows up to the size to which it is."""
    algorithms = []
    for way, begin, end in zip(ways, begins, ends, strict=True):
        serves = (begin < end) & (exchange.size < end)
        size = np.where(serves, np.maximum(exchange.size, begin), exchange.size)
        algorithms.append(Algorithm((way(replace(exchange, size=size)),), serves))
    return tuple(algorithms)


def _demand(exchange: _Exchange, **amounts: FloatArray | float) -> CollectiveDemand:
    """A demand in which what is not given is none, and the channel's rate no limit."""
    shape = exchange.size.shape
    given = {"link_share": exchange.link_share, "local_bytes": exchange.local_bytes, **amounts}
    filled: dict[str, Any] = {
        name: np.broadcast_to(np.asarray(value, dtype=np.float64), shape) for name, value in given.items()
    }
    return replace(CollectiveDemand(exchange.op, exchange.link), **filled)


def _ll(exchange: _Exchange) -> CollectiveDemand:
    """A ring of stores of 8 bytes, 4 of which are a flag: least latency, half of the link."""
    library, channels = exchange.library, nccl.ring_channels(nccl.LL, exchange.gpus, exchange.size, exchange.library)
    most = library.tuner.ll_bandwidth_bytes_per_s
    all_channels = nccl.CHANNELS_A_RING * library.tuner.rings
    return _demand(
        exchange,
        steps=exchange.ring_steps,
        wire_bytes=exchange.ring_bytes / library.ll_share,
        channel_bytes=exchange.ring_bytes / all_channels,
        channel_rate=most / all_channels,
        first_bytes=nccl.first_store(exchange.gpus, exchange.size, channels),
        channels=channels,
    )


def _ll128(exchange: _Exchange) -> CollectiveDemand:
    """A ring of lines of 128 bytes with one flag each, which NVLink keeps whole: nearly all of the link."""
    library = exchange.library
    rate = (library.tuner.ll128_bandwidth_bytes_per_s or np.inf) / nccl.CHANNELS_A_RING
    return _demand(
        exchange,
        steps=exchange.ring_steps * nccl.LL128_STEP,
        wire_bytes=exchange.ring_bytes / nccl.LL128_SHARE,
        channel_bytes=exchange.ring_bytes / (nccl.CHANNELS_A_RING * library.tuner.rings),
        channel_rate=rate,
        channels=nccl.ring_channels(nccl.LL128, exchange.gpus, exchange.size, library),
    )


def _simple(exchange: _Exchange) -> CollectiveDemand:
    """A ring of chunks, fenced and flagged once each; a CTA works at one chunk more than it sends."""
    channels = nccl.ring_channels(nccl.SIMPLE, exchange.gpus, exchange.size, exchange.library)
    return _demand(
        exchange,
        simple_starts=1.0,
        simple_steps=exchange.ring_steps,
        wire_bytes=exchange.ring_bytes,
        channel_bytes=exchange.size / exchange.gpus * (exchange.ring_steps + 1.0) / channels,
        channel_rate=exchange.rate(exchange.library.channel_bandwidth_bytes_per_s),
        channels=channels,
    )


def _nvls(exchange: _Exchange) -> CollectiveDemand:
    """Rounds in which the switch reduces what it reads of all GPUs, and writes it to all of them.

    A round synchronises twice, before the reduction and after it; so does the whole.
    """
    nvls = exchange.library.tuner.nvls
    if nvls is None:
        return _demand(exchange)
    both_ways = exchange.op == "all_reduce"
    return _demand(
        exchange,
        simple_starts=1.0,
        simple_steps=2.0 + 2.0 * nccl.nvls_rounds(exchange.gpus, exchange.size, nvls),
        wire_bytes=exchange.size * (1.0 + 1.0 / exchange.gpus if both_ways else 1.0),
        channels=float(nvls.channels),
    )


def _p2p_ll(exchange: _Exchange) -> CollectiveDemand:
    """An all-to-all of small parts: a store with a flag to every peer, on a channel each.

    What waits for the slowest peer has been seen to grow about as the logarithm of their number.
    """
    library, gpus, size = exchange.library, exchange.gpus, exchange.size
    each, channels = nccl.p2p_channels(gpus, size)
    return _demand(
        exchange,
        steps=np.log2(gpus),
        wire_bytes=size * (gpus - 1.0) / (gpus * library.ll_share),
        channel_bytes=size / (gpus * each),
        channel_rate=library.tuner.ll_bandwidth_bytes_per_s / (nccl.CHANNELS_A_RING * library.tuner.rings),
        channels=channels,
    )


def _p2p_simple(exchange: _Exchange) -> CollectiveDemand:
    """An all-to-all: sends and receives with every peer at once, and the GPU's own part copied beside them."""
    library, gpus, size = exchange.library, exchange.gpus, exchange.size
    each, channels = nccl.p2p_channels(gpus, size)
    return _demand(
        exchange,
        steps=np.log2(gpus),
        simple_steps=np.where(gpus > 1.0, 1.0, 0.0),
        wire_bytes=size * (gpus - 1.0) / gpus,
        channel_bytes=np.maximum(size / (gpus * each), size / nccl.P2P_CHANNELS),
        channel_rate=exchange.rate(library.channel_bandwidth_bytes_per_s),
        first_bytes=nccl.first_chunk(gpus, size, each),
        channels=channels,
    )


def _custom(exchange: _Exchange, engine: Engine) -> tuple[Algorithm, ...]:
    """An engine's kernel up to its largest tensor, in one pass and then in two; NCCL's ways beyond."""
    costs, gpus = exchange.library.custom[engine], exchange.gpus
    most = np.where(gpus > 2.0, costs.most_bytes, costs.most_of_two_bytes)
    one = np.where(gpus > FOUR, costs.one_pass_bytes, costs.one_pass_of_four_bytes)
    one = np.nextafter(np.where(gpus > 2.0, np.minimum(one, most), most), np.inf)
    end = np.nextafter(most, np.inf)
    ways = (partial(_one_pass, engine=engine, costs=costs), partial(_two_passes, engine=engine, costs=costs))
    own = _of_spans(exchange, ways, np.stack([0.0 * one, one]), np.stack([one, end]))
    return (*own, *_by_nccl(exchange, end))


def _one_pass(exchange: _Exchange, engine: Engine, costs: CustomAllReduce) -> CollectiveDemand:
    """Each GPU reads the tensors of all others, and adds them up."""
    demand = _demand(
        exchange,
        steps=np.log2(exchange.gpus),
        wire_bytes=exchange.size * (exchange.gpus - 1.0),
        link_share=costs.efficiency,
        channels=CUSTOM_CTAS,
    )
    return replace(demand, engine=engine)


def _two_passes(exchange: _Exchange, engine: Engine, costs: CustomAllReduce) -> CollectiveDemand:
    """Each GPU adds up its part of all tensors, and reads the other parts' sums."""
    demand = _demand(
        exchange,
        steps=np.log2(exchange.gpus),
        simple_steps=np.where(exchange.gpus > 1.0, 1.0, 0.0),
        wire_bytes=2.0 * exchange.size * (exchange.gpus - 1.0) / exchange.gpus,
        link_share=costs.two_pass_efficiency,
        channels=CUSTOM_CTAS,
    )
    return replace(demand, engine=engine)
