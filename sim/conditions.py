"""How a kernel is run: what the runs before it left in the caches, and how it is launched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from simexplore.archs.schema.board import Launched
from simexplore.sim.demand import FloatArray
from simexplore.workloads.graph import Node

Launch = Launched
"""What a kernel's time includes of its launch; `queued`: as on a stream, and no less than the host takes for a call;
`profiled`: nothing, as in a profiler's durations of kernels."""


@dataclass(frozen=True)
class CacheState:
    """What the runs before left: in L2, by the number of copies of an operand that they rotated through, and in the
    library, by the number of other shapes that it keeps plans of.

    One copy is re-read each run and so is warm where it fits; infinitely many are never warm.
    Weights are the operand that a framework keeps (a GEMM's B, an attention's KV cache), activations the one it makes.
    Each is a number or an array of shape (rows,).
    """

    weight_copies: float | FloatArray = np.inf
    activation_copies: float | FloatArray = np.inf
    earlier_shapes: float | FloatArray = 0.0


COLD = CacheState()
"""Nothing is in L2."""
WARM = CacheState(weight_copies=1.0, activation_copies=1.0)
"""The same operands are read again and again."""
SERVING = CacheState(weight_copies=np.inf, activation_copies=1.0)
"""In a network: weights come from DRAM, activations were just written by the kernel before."""


PowerState = Literal["serving", "sustained", "burst"]
"""What of a board's energy budget is there when work begins. `serving`: what the same work leaves, done again and
again; `sustained`: nothing; `burst`: all of it, the board was idle."""


NORMAL_ACTIVITY = {"fp64": 0.887, "fp32": 0.851, "tf32": 0.851, "fp16": 0.857, "bf16": 0.703, "fp8": 0.847}
"""Mean bits that differ between one value of a normal distribution and the next, over half of a type's bits, which is
what random bits have: exponents differ little. Types that are not named count as random."""


class Beside(NamedTuple):
    """What an operator's last kernel does beside it, on values that it has in registers: merged operators."""

    flops: float = 0.0
    special_ops: float = 0.0
    bytes: float = 0.0
    """What it moves for them beside its own operands, made by nodes before [B]."""


@dataclass(frozen=True)
class Conditions:
    """How a kernel is run: what is warm, how it is launched, and whether attention is the serving module around it."""

    cache: CacheState = COLD
    launch: Launch = "graph"
    attention_module: bool = False
    """True: attention includes RoPE, the append to the KV cache and merging partial results, as engines time it."""
    rotation: bool = True
    """False: where the engine rotates in a kernel of its own, that kernel is not in the module's time."""
    runs_before: float = 0.0
    """Runs of the same work before those that are timed; infinitely many have spent the energy budget of the board."""
    runs: float = 1.0
    """Runs that the time is the mean of: each draws on what the ones before it left of that budget."""
    eager: bool = False
    """True: a framework is called on an idle stream, and the time the host takes up to the first launch is told too."""
    base_clocks: bool = False
    """True: the clock is locked to `clock.base`, as a profiler of kernels does."""
    activity: float | None = None
    """Switching that the operands cause over that of random bits; 0: constants, of which no bit switches; None: that of
    values in a normal distribution, as networks and most benchmarks have them (`NORMAL_ACTIVITY`)."""
    pace: float = 1.0
    """Time of these runs over that of most: a measured GPU of its own, whose clock settles elsewhere."""
    beside: Beside | None = None
    """What else its last kernel does."""


def conditions_of(node: Node, launch: Launch = "graph", given: Conditions | None = None) -> Conditions:
    """How a node of a graph runs: what it reads of nodes before it is warm in L2, and all else is cold.

    Args:
        node: of the graph.
        launch: how its kernels are launched.
        given: conditions of all nodes in their place; what a node itself says of its attention holds with these too.
    """
    chosen = Conditions(cache=SERVING if node.reads else COLD, launch=launch) if given is None else given
    if node.merged or node.merged_bytes:
        flops, special = (sum(float(getattr(op, name)) for op in node.merged) for name in ("flops", "special_ops"))
        chosen = replace(chosen, beside=Beside(flops, special, node.merged_bytes))
    return replace(chosen, attention_module=True) if node.module else chosen
