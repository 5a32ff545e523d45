"""What the physics says of each row beside its time: where the time goes, how the grid falls onto the SMs, the tile.

The learned correction reads these. Columns are named, so that a stored correction finds its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.sim.demand import RESOURCES, FloatArray, KernelDemand
from simexplore.sim.hardware.timing import KernelTiming

BOUNDS = (*RESOURCES, "latency", "launch", "link", "encode", "mlp", "cores", "memory", "drive")
"""Names; results that are arrays hold positions in it."""

_SECONDS = (*RESOURCES, "latency", "launch")
_TILE_SIZES = 3
_NO_TILE = np.zeros(1)
_SHAPE = ("ctas", "per_sm", "waves", "wave_fill", "tail", "tile_0", "tile_1", "tile_2")
NAMES = ("time", *_SECONDS, "dram_bytes", "main", *_SHAPE)
"""log2 of the physics' time; shares of it; log2 of DRAM bytes; of the main kernel: its share of the time, log2 of
CTAs, CTAs per SM and waves, how full waves are, the share of the partial one, log2 of the tile. All at the boost clock:
what was learned of a kernel holds whatever the power limit makes of it."""


class KernelTraits(NamedTuple):
    """Of one kernel of each row."""

    seconds: FloatArray
    """Shape (len(_SECONDS), rows): busy times, latency, launch with set-up [s]."""
    shape: FloatArray
    """Shape (len(_SHAPE), rows)."""
    time_s: FloatArray
    operations: FloatArray
    """Arithmetic: the kernel with the most of it is the main one."""
    dram_bytes: FloatArray


def no_traits(time_s: FloatArray) -> KernelTraits:
    """Of what is no kernel, such as a transfer over a link: its time alone."""
    rows = len(time_s)
    nothing = np.zeros(rows)
    return KernelTraits(np.zeros((len(_SECONDS), rows)), np.zeros((len(_SHAPE), rows)), time_s, nothing, nothing)


def kernel_traits(demand: KernelDemand, timing: KernelTiming, launch_s: FloatArray, time_s: FloatArray) -> KernelTraits:
    """Traits of one kernel, each row's candidate chosen."""
    rows = len(time_s)
    return KernelTraits(
        seconds=_side_by_side(seconds_of(timing, launch_s), rows),
        shape=_side_by_side(shape_of(demand, timing), rows),
        time_s=time_s,
        operations=demand.grid.ctas * (demand.work.tensor_ops + demand.work.fma_ops) + np.zeros(rows),
        dram_bytes=demand.grid.ctas * demand.work.dram_bytes + np.zeros(rows),
    )


def _side_by_side(values: Sequence[FloatArray], rows: int) -> FloatArray:
    """Values of each row, shape (values, rows)."""
    table = np.empty((len(values), rows))
    for i, value in enumerate(values):
        table[i] = value
    return table


def seconds_of(timing: KernelTiming, launch_s: FloatArray) -> list[FloatArray]:
    """What takes a kernel's time, in the order of `_SECONDS` [s]."""
    busy = [timing.busy_s[name] for name in RESOURCES]
    return [*busy, timing.latency_s, launch_s + timing.setup_s]


def shape_of(demand: KernelDemand, timing: KernelTiming) -> list[FloatArray]:
    """How a kernel's grid falls onto the SMs, in the order of `_SHAPE`; no tile is as small as none."""
    waves = timing.waves
    count = np.maximum(waves.full + (waves.rest > 0.0), 1.0)
    label = demand.choice.label[:_TILE_SIZES]
    tile = (*label, *(_NO_TILE for _ in range(_TILE_SIZES - len(label))))
    fill = waves.busiest / (waves.per_sm * count)
    return [*_logs((demand.grid.ctas, waves.per_sm, count)), fill, timing.tail_share, *_logs(tile)]


def _logs(values: Sequence[FloatArray]) -> list[FloatArray]:
    return [np.log2(np.maximum(value, 0.5)) for value in values]


def together(kernels: Sequence[KernelTraits]) -> FloatArray:
    """Traits of kernels that run one after another, shape (rows, len(NAMES))."""
    time = np.sum([kernel.time_s for kernel in kernels], axis=0)
    seconds = np.sum([kernel.seconds for kernel in kernels], axis=0)
    main = np.argmax([kernel.operations for kernel in kernels], axis=0)
    rows = np.arange(len(time))
    share = np.stack([kernel.time_s for kernel in kernels])[main, rows] / time
    shape = np.stack([kernel.shape for kernel in kernels])[main, :, rows]
    dram = np.sum([kernel.dram_bytes for kernel in kernels], axis=0)
    return np.column_stack([np.log2(time), (seconds / time).T, np.log2(dram + 1.0), share, shape])


def bound_code(timing: KernelTiming, launch_s: FloatArray) -> NDArray[np.int64]:
    """The largest of the resources' busy times, the latencies within waves, and launch with set-up; as the arrays."""
    shares = seconds_of(timing, launch_s)
    codes: NDArray[np.int64] = np.argmax(np.stack(np.broadcast_arrays(*shares)), axis=0)
    return codes
