"""One kernel on one GPU, taken apart: its grid, its clock, its time part by part, and each resource beside its peak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.hardware.occupancy import LIMITS, cta_limits
from simexplore.sim.hardware.power import HELD, Board, Draw, clock_within, power_w
from simexplore.sim.hardware.timing import KernelTiming, kernel_timing, launch_seconds, timeline

PARTS = ("launch", "set-up", "fill", "main loop", "tail", "epilogue")
"""Where the time of a kernel goes, in order; the parts add up to it."""
WAITS = ("L2", "DRAM")
"""What the main loop waits for, as far as the SMs' own work does not hide it."""


@dataclass(frozen=True)
class Use:
    """One resource of the machine beside its peak."""

    resource: str
    key: str
    """What an arch file calls its rate: `sm.tensor.bf16`."""
    amount: float
    """What the kernel asks of it, in operations or bytes."""
    unit: str
    """`op` or `B`."""
    rate: float
    """Amount over the kernel's time."""
    peak: float
    """The most that the machine does in a second at its top clock."""
    in_use: float
    """Share of the time for which it is busy at the rate that kernels of this kind reach."""


@dataclass(frozen=True)
class Occupancy:
    """How a grid falls onto the SMs."""

    ctas: float
    per_sm: float
    waves: float
    """CTAs over what all SMs hold at once."""
    last_wave: float
    """How full the last wave is."""
    warps: float
    """Share of an SM's warps that are taken."""
    limit: str
    """What an SM runs out of first."""
    room: Mapping[str, float]
    """CTAs per SM that each resource has room for."""


@dataclass(frozen=True)
class ClockState:
    """At which clock a kernel runs, and why."""

    hz: float
    over_boost: float
    wants_w: float
    """Power that it would draw at the top clock [W]."""
    allowed_w: float
    """Power that the board lets it draw [W]."""
    held_by: str
    """What holds the clock; nothing where nothing does."""


@dataclass(frozen=True)
class KernelPage:
    """A kernel taken apart."""

    kernel: str
    tile: str
    time_s: float
    parts_s: Mapping[str, float]
    """By name in `PARTS` [s]."""
    waits_s: Mapping[str, float]
    """The part of the main loop that waits, by name in `WAITS` [s]."""
    occupancy: Occupancy
    clock: ClockState
    uses: tuple[Use, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, SI units."""
        return asdict(self)


def kernel_page(
    demand: KernelDemand, gpu: Gpu, conditions: Conditions, board: Board, allowed_w: float, correction: float = 1.0
) -> KernelPage:
    """A kernel whose candidate is chosen, alone on the GPU; arrays of shape (1,).

    Args:
        demand: the kernel.
        gpu: the machine.
        conditions: how it is launched.
        board: its regulator.
        allowed_w: power that the board lets it draw [W].
        correction: the learned factor on its time, at the same power.
    """
    timing = kernel_timing(demand, gpu)
    draw = Draw(*(term if name == "exponent" else correction * term for name, term in timing.draw._asdict().items()))
    clock = float(np.ravel(clock_within(draw, allowed_w, board))[0])
    parts, waits = _parts(demand, gpu, conditions, timing, clock)
    parts = {name: correction * seconds for name, seconds in parts.items()}
    time_s = sum(parts.values())
    state = ClockState(
        hz=clock * gpu.clock.top_hz,
        over_boost=clock,
        wants_w=_number(power_w(draw, 1.0, board)),
        allowed_w=allowed_w,
        held_by="the power limit" if clock < HELD else "",
    )
    uses = _uses(demand, gpu, timing, time_s, clock, correction)
    held = {name: correction * seconds for name, seconds in waits.items()}
    return KernelPage(demand.kernel, tile_of(demand), time_s, parts, held, _occupancy(demand, gpu, timing), state, uses)


def tile_of(demand: KernelDemand) -> str:
    """The candidate that was chosen, as people write it: `128 × 256 × split 2`; nothing where there is one kernel."""
    sizes = [f"{_number(part):g}" for part in demand.choice.label]
    return tile_text(sizes)


def tile_text(sizes: list[str]) -> str:
    """Sizes of a tile; of three the last one is how often k is split, and one alone is a number of splits."""
    if len(sizes) == 1:
        return f"{sizes[0]} splits"
    return " × ".join(sizes[:2]) + (f", split {sizes[2]}" if len(sizes) > 2 else "")


def _parts(
    demand: KernelDemand, gpu: Gpu, conditions: Conditions, timing: KernelTiming, clock: float
) -> tuple[dict[str, float], dict[str, float]]:
    """The time by `PARTS` at a clock over boost, and what of the main loop waits by `WAITS` [s]."""
    line = timeline(demand, gpu)
    on_clock = _number(timing.draw.on_clock_s)
    waits = {
        "L2": (on_clock - _number(line.on_sm_s)) / clock,
        "DRAM": _number(timing.draw.seconds(clock)) - on_clock / clock,
    }
    first = _number(line.first_fill_s)
    parts = {
        "launch": _number(launch_seconds(demand, gpu, conditions.launch)),
        "set-up": _number(line.setup_s),
        "fill": first + (_number(line.fill_s) - first) / clock,
        "main loop": _number(line.main_s) / clock + sum(waits.values()),
        "tail": _number(line.tail_s) / clock,
        "epilogue": _number(line.epilogue_s) / clock,
    }
    return parts, waits


def _occupancy(demand: KernelDemand, gpu: Gpu, timing: KernelTiming) -> Occupancy:
    room = dict(zip(LIMITS, (_number(limit) for limit in cta_limits(demand, gpu)), strict=True))
    per_sm, ctas = _number(timing.waves.per_sm), _number(demand.grid.ctas)
    waves = ctas / (per_sm * gpu.sm.count)
    return Occupancy(
        ctas=ctas,
        per_sm=per_sm,
        waves=waves,
        last_wave=waves % 1.0 or 1.0,
        warps=per_sm * _number(demand.grid.warps_per_cta) / gpu.sm.max_warps,
        limit=" and ".join(name for name in room if np.floor(room[name]) == np.floor(min(room.values()))),
        room=room,
    )


def _uses(
    demand: KernelDemand, gpu: Gpu, timing: KernelTiming, time_s: float, clock: float, correction: float
) -> tuple[Use, ...]:
    """Each resource that the kernel asks for; busy times but DRAM's follow the clock."""
    work, sm, hz = demand.work, gpu.sm, gpu.clock.top_hz
    every, tensor, fma = sm.count * hz, f"sm.tensor.{work.tensor_dtype}", f"sm.fma.{work.fma_dtype}"
    asked = {
        "tensor": (tensor, work.tensor_ops, "op", every * _of_dtype(sm.tensor_ops_per_clk, work.tensor_dtype)),
        "fma": (fma, work.fma_ops, "op", every * _of_dtype(sm.fma_ops_per_clk, work.fma_dtype)),
        "special": ("sm.special_function", work.special_ops, "op", every * sm.special_function_ops_per_clk),
        "shared": ("sm.shared_bandwidth", work.shared_bytes, "B", every * sm.shared_bandwidth_bytes_per_clk),
        "l2": ("l2.bandwidth", work.l2_bytes, "B", hz * gpu.l2.bandwidth_bytes_per_clk),
        "dram": ("dram.bandwidth", work.dram_bytes, "B", gpu.dram.bandwidth_bytes_per_s),
    }
    found = []
    for name, (key, each, unit, peak) in asked.items():
        amount = _number(demand.grid.ctas * each)
        if amount > 0.0 and time_s > 0.0:
            busy_s = _number(timing.busy_s[name])
            held = 1.0 if name == "dram" else clock
            found.append(Use(name, key, amount, unit, amount / time_s, peak, correction * busy_s / held / time_s))
    return tuple(found)


def _of_dtype(rates: Mapping[Any, float], dtype: str) -> float:
    """A rate is only asked for where there is work of the type."""
    return rates.get(dtype, 0.0)


def _number(value: Any) -> float:
    return float(np.ravel(value)[0])
