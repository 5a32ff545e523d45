"""Collectives between the GPUs of a node: what NCCL's tuner reckons with, and what its kernels cost.

What a link can carry is the link's (`links`). Here is what the library makes of it: how many rings it lays, what each
of its protocols costs a step, and which share of the link its copies reach. Nothing here changes a kernel on one GPU.
"""

from __future__ import annotations

from typing import Literal

from simexplore.archs.schema.quantities import Bytes, BytesPerSecond, Capacity, Count, Seconds, Share, Spec, about

Engine = Literal["trtllm", "vllm", "sglang"]


class Nvls(Spec):
    """Reductions within the switches (NVLink SHARP), as NCCL's tuner sees them."""

    channels: Count = about("CTAs of a kernel that reduces in the switch", "1")
    efficiency: Share = about("share of its bandwidth that NCCL reckons with", "1")
    port_bandwidth_bytes_per_s: BytesPerSecond = about("what NCCL reckons that a GPU's links carry together", "B/s")
    head_bandwidth_bytes_per_s: BytesPerSecond = about("the most that it reckons with for the part of one GPU", "B/s")


class Tuner(Spec):
    """What NCCL's tuner reckons with when it chooses an algorithm and a protocol; no time is told from it."""

    rings: Count = about("rings that its search lays over the links; it runs two channels on each", "1")
    ring_bandwidth_bytes_per_s: BytesPerSecond = about("bandwidth of one ring", "B/s")
    ll_bandwidth_bytes_per_s: BytesPerSecond = about(
        "the most that the LL protocol moves, all channels together, flags not counted", "B/s"
    )
    ll128_bandwidth_bytes_per_s: BytesPerSecond | None = about(
        "the most that the LL128 protocol moves over one ring; absent: the links don't keep 128 bytes in order",
        "B/s",
        default=None,
    )
    nvls: Nvls | None = about("reductions within the switches; absent: none", "mapping", default=None)


class CustomAllReduce(Spec):
    """An engine's own all-reduce: GPUs read each other's tensors whole, or a part of each and then the others' sums."""

    most_of_two_bytes: Capacity = about("largest tensor that it serves between two GPUs; NCCL serves larger ones", "B")
    most_bytes: Capacity = about("the same among more", "B")
    one_pass_of_four_bytes: Bytes = about("largest tensor that three or four GPUs read whole; two always do", "B")
    one_pass_bytes: Bytes = about("the same of more", "B")
    start_s: Seconds = about("beyond the launch: first barrier and last store", "s")
    doubling_s: Seconds = about("more of that each time the GPUs double", "s")
    exchange_s: Seconds = about("what two passes take more: the barrier between them", "s")
    efficiency: Share = about("share of the link's bandwidth that one pass reaches", "1")
    two_pass_efficiency: Share = about("share of the link's bandwidth that two passes reach", "1")


class CollectiveLibrary(Spec):
    """NCCL over one kind of link, and the engines' own all-reduces."""

    rules: Literal["nccl"] = about("library whose rules choose algorithm, protocol and channels", "text")
    tuner: Tuner = about("what the library's tuner reckons with", "mapping")
    start_s: Seconds = about("of a collective beyond its launch: its kernel begins and ends", "s")
    step_s: Seconds = about("a step of the LL protocol: store with a flag, and the neighbour's poll", "s")
    simple_start_s: Seconds = about("what the Simple protocol takes more to begin: GPUs exchange credits", "s")
    simple_step_s: Seconds = about("a step of the Simple protocol: fence, flag, barrier of the CTA", "s")
    efficiency: Share = about("share of the link's bandwidth that long messages reach between two GPUs", "1")
    channel_bandwidth_bytes_per_s: BytesPerSecond | None = about(
        "what one channel, a CTA, copies; absent: more than the link carries", "B/s", default=None
    )
    ll_share: Share = about("share of that bandwidth that the LL protocol moves; flags are half of what it sends", "1")
    doubling_share: Share = about(
        "share of that bandwidth that is left each time GPUs beyond two double; 1: they are on one switch", "1"
    )
    custom: dict[Engine, CustomAllReduce] = about("engines' own all-reduces by engine", "mapping", default_factory=dict)


class Collectives(Spec):
    """The library by the kind of link that GPUs talk over."""

    nvlink: CollectiveLibrary | None = about("over NVLink; absent: bytes at its full rate", "mapping", default=None)
    pcie: CollectiveLibrary | None = about("over PCIe; absent: bytes at its full rate", "mapping", default=None)
