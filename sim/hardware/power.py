"""Power: what work draws at each clock, and the clock at which a board stays within its limit.

The clock of a board follows the power that its regulator allows. With f the clock over boost, a kernel draws

    P(f) = idle (1 - c + c f s(f)) + (E_clock s(f) + E_fixed) / t(f)      c: power.clocked_share
    s(f) = max(f, v)^(x-1)                    x: power.clock_exponent, v: power.voltage_floor over boost, at most 1

E_clock is the energy at boost of what follows the core's voltage (tensor cores, FMA pipes, shared memory, L2), E_fixed
that of DRAM and links, whose voltage is their own, and t(f) its time. The energy goes with the voltage squared, which
falls with the clock down to v: from there on a lower clock saves power, but no energy. More power never makes a kernel
slower, nor does more bandwidth or more SMs.

A regulator averages, so a board may draw more than its limit for a short time. That allowance is an energy budget Q,
which fills by what the board draws less than it may hold for ever, and drains by what it draws more:

    dQ/dt = P_held - P,  0 <= Q <= C = h (P_limit - P_idle) tau          h: power.burst_headroom, tau: power.burst
    P <= P_held + h (P_limit - P_idle) Q / C

so a full budget drains as exp(-t / tau). P_held is the limit less C / (10 T) with T `power.time_constant`, over which
the limit is meant: no budget lets the mean power over ten of these pass the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.demand import FloatArray, KernelDemand

COMPONENTS = ("tensor", "fma", "special", "shared", "l2", "dram", "link", "cluster", "host")
"""Where dynamic energy goes: to units of the SMs, the L2, DRAM, links, a neural-graphics cluster, and what is around a
GPU: CPUs and drives."""
FIXED = ("dram", "link", "host")
"""Components whose voltage is not the core's, so the core's clock changes nothing of their energy."""
CLOCKED = tuple(name for name in COMPONENTS if name not in FIXED)
HELD = 0.9995
"""Clock over boost from which on nothing holds it."""
LIMIT_WINDOWS = 10.0
"""Time constants over which the mean power stays within the limit whatever the budget was."""
HALF = 0.5
"""Of a search: between two ends, and what an end that stays counts."""
MOST_OF_WINDOW = 0.5
"""Share of what is beyond idle that a budget, drained over the window that the limit is meant over, may be."""
LEAST_ROOM_W = 1.0
"""What a board may always draw beyond idle, so that no limit stops it."""
LEAST_CLOCK = 1e-4
"""Clock over boost below which a limit that still does not hold is given up."""
SHORTEST_S = 1e-12
"""Stands for no time at all, so that nothing is divided by zero."""
ITERATIONS = 40
"""Most steps of a search; quadratic convergence takes a handful."""
CLOSE = 1e-11
"""Relative change of the power at which a clock is found."""


class Draw(NamedTuple):
    """How the time and power of work follow from the clock; arrays that broadcast, or numbers."""

    on_clock_s: Any
    """Time at the boost clock of what the core's clock drives [s]."""
    own_clock_s: Any
    """Time that DRAM and links need, whatever the core's clock [s]."""
    exponent: Any
    """Of the norm by which both overlap: t = (on_clock^r + own_clock^r)^(1/r)."""
    clocked_j: Any
    """Dynamic energy at boost of what follows the core's voltage [J]."""
    fixed_j: Any
    """Dynamic energy of the rest [J]."""

    def seconds(self, clock: Any) -> Any:
        """Time at a clock over boost, also of work that takes none [s]."""
        on_clock = self.on_clock_s / clock
        longest = np.maximum(np.maximum(on_clock, self.own_clock_s), SHORTEST_S)
        total = (on_clock / longest) ** self.exponent + (self.own_clock_s / longest) ** self.exponent
        return longest * total ** (1.0 / self.exponent)

    def dynamic_j(self, clock: Any, board: Board) -> Any:
        """Dynamic energy at a clock over boost [J]."""
        return self.clocked_j * board.scale(clock) + self.fixed_j


class Board(NamedTuple):
    """What a board's regulator goes by; numbers, or columns of shape (rows,)."""

    idle_w: Any
    """Power with nothing to do [W]."""
    clocked_share: Any
    """Share of the idle power that follows the clock as dynamic power does."""
    clock_exponent: Any
    held_w: Any
    """Power that it may draw for ever [W]."""
    headroom_w: Any
    """What a full budget lets it draw beyond that [W]."""
    drain_s: Any
    """Time constant with which a full budget drains [s]."""
    least_scale: Any = 0.0
    """Least that `scale` comes to: where the voltage no longer falls."""

    @property
    def budget_j(self) -> Any:
        """Energy of a full budget [J]."""
        return self.headroom_w * self.drain_s

    @property
    def most_w(self) -> Any:
        """Power that a full budget allows [W]."""
        return self.held_w + self.headroom_w

    def scale(self, clock: Any) -> Any:
        """Energy of what follows the core's voltage at a clock over boost, over that at boost."""
        return scale_of(clock, self.clock_exponent, self.least_scale)

    def idle_at(self, clock: Any) -> Any:
        """Power beside the dynamic one at a clock over boost, while work runs [W]."""
        return self.idle_w * (1.0 - self.clocked_share + self.clocked_share * clock * self.scale(clock))

    def excess_w(self, run_s: Any, charge: Any = 1.0) -> Any:
        """Mean power beyond `held_w` that a budget allows over a time, from a charge in shares of a full one [W]."""
        periods = np.maximum(run_s, SHORTEST_S) / np.maximum(self.drain_s, SHORTEST_S)
        return self.headroom_w * charge * -np.expm1(-periods) / periods

    def of_rows(self, rows: Any) -> Board:
        """Of some rows, where there are columns."""
        return Board(*(value[rows] if np.ndim(value) and len(value) > 1 else value for value in self))


def scale_of(clock: Any, exponent: Any, least: Any) -> Any:
    """Energy of what follows the core's voltage at a clock over boost, over that at boost; numbers give a number."""
    follows = clock ** (exponent - 1.0)
    plain = isinstance(follows, float) and isinstance(least, float)
    return max(follows, least) if plain else np.maximum(follows, least)


def least_scale(gpu: Gpu) -> Any:
    """Energy of what follows the core's voltage where that no longer falls, over that at boost."""
    floor = np.minimum(gpu.power.voltage_floor_hz / gpu.clock.boost_hz, 1.0)
    return floor ** (gpu.power.clock_exponent - 1.0)


def board_of(gpu: Gpu, beside_w: float = 0.0) -> Board:
    """The regulator of a GPU's board; columns of machines give columns.

    Args:
        gpu: the machine.
        beside_w: what else is always drawn on the board, such as a cluster's leakage [W].
    """
    power = gpu.power
    idle = power.idle_w + beside_w
    room = np.maximum(power.tdp_w - idle, LEAST_ROOM_W)
    window_s = LIMIT_WINDOWS * np.maximum(power.time_constant_s, SHORTEST_S)
    # A budget too large for the window that the limit is meant over would leave nothing to hold.
    most = MOST_OF_WINDOW * window_s / np.maximum(power.burst_s, SHORTEST_S)
    headroom = room * np.minimum(power.burst_headroom, most)
    held = idle + room - headroom * power.burst_s / window_s
    share = power.clocked_share * power.idle_w / np.maximum(idle, LEAST_ROOM_W)
    return Board(idle, share, power.clock_exponent, held, headroom, power.burst_s, least_scale(gpu))


def kernel_energies(demand: KernelDemand, gpu: Gpu) -> dict[str, FloatArray]:
    """Dynamic energy at the top clock by component [J]: all CTAs' work times energy per unit of work (`energy`).

        E = E_random (1 - s (1 - activity))        s: energy.operand_share

    Energies of a machine are those at boost; a board that runs above it has its core at a higher voltage (`overdrive`).

    Instructions, clocks and addresses switch whatever the data are. The part s that follows the data is known from
    GEMMs whose operands alone were changed (Gregersen, Patel and Choukse, 2024, arXiv 2409.18324). What SMs load and
    store passes their L1 at least once, which is the same array as shared memory.
    """
    energy, work, ctas = gpu.energy, demand.work, demand.grid.ctas
    busy, still = 1.0 - energy.operand_share * (1.0 - work.activity), 1.0 - energy.operand_share
    drive = overdrive(gpu)
    products = busy * (work.tensor_ops - work.padding_ops) + still * work.padding_ops
    return {
        "tensor": drive * ctas * products * _of_dtype(energy.tensor_j_per_op, work.tensor_dtype),
        "fma": drive * busy * ctas * work.fma_ops * _of_dtype(energy.fma_j_per_op, work.fma_dtype),
        "special": drive * busy * ctas * work.special_ops * energy.special_function_j_per_op,
        "shared": drive * busy * ctas * np.maximum(work.shared_bytes, work.l2_bytes) * energy.shared_j_per_byte,
        "l2": drive * busy * ctas * work.l2_bytes * energy.l2_j_per_byte,
        "dram": busy * ctas * work.dram_bytes * energy.dram_j_per_byte,
    }


def overdrive(gpu: Gpu) -> float:
    """Energy of the core at its top clock over that at boost: (top / boost)^(x-1), x `power.clock_exponent`."""
    over_boost = gpu.clock.top_hz / gpu.clock.boost_hz
    energy: float = over_boost ** (gpu.power.clock_exponent - 1.0)
    return energy


def _of_dtype(energies: Mapping[Any, float], dtype: str) -> float:
    """A machine has an energy for each type that it has a rate for; work of no type takes none."""
    return energies.get(dtype, 0.0)


def split_energy(energies: Mapping[str, Any]) -> tuple[Any, Any]:
    """What follows the core's voltage and what does not [J]."""
    fixed = sum((joules for name, joules in energies.items() if name in FIXED), start=0.0)
    clocked = sum((joules for name, joules in energies.items() if name not in FIXED), start=0.0)
    return clocked, fixed


def power_w(draw: Draw, clock: Any, board: Board) -> Any:
    """Power of a board that runs this and nothing else, at a clock over boost [W]."""
    return board.idle_at(clock) + draw.dynamic_j(clock, board) / np.maximum(draw.seconds(clock), SHORTEST_S)


def clock_within(draw: Draw, allowed_w: Any, board: Board, start: FloatArray | None = None) -> FloatArray:
    """Clock over boost at which work draws no more than `allowed_w`, shape of all arguments; 1 where boost does.

    By Newton's method on the logarithms of power and clock, of which the first rises with the second; `start` is where
    to begin.
    """
    shape = np.broadcast_shapes(*(np.shape(term) for term in (*draw, allowed_w, *board)))
    power = np.broadcast_to(power_w(draw, 1.0, board), shape)
    clock = np.ones(shape)
    limited = (power > allowed_w) & (np.broadcast_to(draw.on_clock_s, shape) > 0.0)
    if np.any(limited):
        begun = clock if start is None else start
        held = (Draw(*_where(limited, draw)), _where(limited, (allowed_w,))[0], Board(*_where(limited, board)))
        clock[limited] = _newton(*held, np.log(begun[limited]))
    return clock


def _where(mask: Any, terms: Any) -> list[Any]:
    return [np.broadcast_to(term, mask.shape)[mask] for term in terms]


def _newton(draw: Draw, allowed_w: Any, board: Board, log_clock: FloatArray) -> FloatArray:
    """The clocks of rows that boost would take beyond what is allowed."""
    x, log_allowed = board.clock_exponent, np.log(allowed_w)
    low, high = np.full_like(log_clock, np.log(LEAST_CLOCK)), np.zeros_like(log_clock)
    found = np.zeros(log_clock.shape, dtype=np.bool_)
    for _ in range(ITERATIONS):
        clock = np.exp(log_clock)
        seconds = np.maximum(draw.seconds(clock), SHORTEST_S)
        scale = board.scale(clock)
        clocked_j = draw.clocked_j * scale
        follows = np.where(scale > board.least_scale, x - 1.0, 0.0)  # d log s / d log f
        dynamic_w, idle_w = (clocked_j + draw.fixed_j) / seconds, board.idle_at(clock)
        longer = np.maximum(1.0 - (draw.own_clock_s / seconds) ** draw.exponent, 0.0)  # -d log t / d log f
        clocked_idle_w = idle_w - board.idle_w * (1.0 - board.clocked_share)
        slope = follows * clocked_j / seconds + longer * dynamic_w + (1.0 + follows) * clocked_idle_w
        power = dynamic_w + idle_w
        error = np.log(power) - log_allowed
        low, high = np.where(error > 0.0, low, log_clock), np.where(error > 0.0, log_clock, high)
        # Where no clock changes the power, the step is none, and the interval is halved.
        aim = log_clock - error * power / np.where(slope > 0.0, slope, np.inf)
        close = (np.abs(error) < CLOSE) | (high - low < CLOSE)
        aim = np.where(((aim > low) & (aim < high)) | close, np.clip(aim, low, high), HALF * (low + high))
        log_clock = np.where(found, log_clock, aim)
        # The step from a clock this close has all digits, and stays, so that no row depends on the others. A clock
        # with fewer would leave the search for a limit, which asks for so much, without an end.
        found |= close
        if np.all(found):
            break
    clocks: FloatArray = np.exp(log_clock)
    return clocks


def added(terms: FloatArray) -> FloatArray:
    """The sum along the first axis, one after another: numpy's own depends on how long the other axes are."""
    total: FloatArray = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


class Repeated(NamedTuple):
    """Work that a board does again and again: kernels of shape (kernels, rows), each so often."""

    draw: Draw
    counts: Any
    """How often each kernel comes, shape (kernels, 1)."""
    waits_s: Any
    """Time of the whole in which nothing runs: launches and set-ups, shape (rows,) [s]."""

    def of_rows(self, rows: Any) -> Repeated:
        """Of some rows."""
        draw = Draw(*(np.broadcast_to(term, np.shape(self.draw.on_clock_s))[:, rows] for term in self.draw))
        return Repeated(draw, self.counts, self.waits_s[rows])

    def whole(self, clock: FloatArray, board: Board) -> tuple[FloatArray, FloatArray]:
        """Time and mean power of the whole at the clocks of its kernels, shape (rows,)."""
        each_s = self.counts * self.draw.seconds(clock)
        joules = added(self.counts * self.draw.dynamic_j(clock, board) + each_s * board.idle_at(clock))
        whole_s = np.maximum(added(each_s) + self.waits_s, SHORTEST_S)
        return whole_s, (joules + self.waits_s * board.idle_w) / whole_s


def nothing_more(whole_s: FloatArray) -> FloatArray:
    """The mean power beyond `held_w` of work that is done again and again for ever [W]."""
    return np.zeros_like(whole_s)


def steady_w(work: Repeated, board: Board, excess_w: Callable[[FloatArray], FloatArray] = nothing_more) -> FloatArray:
    """Power that each kernel of work may draw, shape (rows,) [W].

    Kernels are short beside the budget's time constant: what the hungry ones draw beyond `held_w` is what the others
    leave, and all meet the same limit, the largest at which the mean power of the whole is held. What a budget adds to
    that mean is `excess_w` of the time of the whole, of shape (rows,).
    """
    allowed: FloatArray = board.most_w + np.zeros(np.shape(work.waits_s))
    whole_s, mean_w = work.whole(clock_within(work.draw, allowed, board), board)
    over = np.flatnonzero(mean_w > board.held_w + excess_w(whole_s))
    if len(over):
        every = np.broadcast_to(whole_s, allowed.shape).copy()

        def of_these(part_s: FloatArray) -> FloatArray:
            every[over] = part_s
            return excess_w(every)[over]

        allowed[over] = _balanced_w(work.of_rows(over), board.of_rows(over), of_these)
    return allowed


def _balanced_w(work: Repeated, board: Board, excess_w: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """The limit of each kernel at which the mean power is what may be held, by false position (Illinois) in each row.

    At `held_w` the mean is within what is held, at `most_w` it is not.
    """
    rows = np.shape(work.waits_s)
    low: FloatArray = board.held_w + np.zeros(rows)
    high: FloatArray = board.most_w + np.zeros(rows)
    clock: FloatArray | None = None

    def beyond(allowed_w: FloatArray) -> FloatArray:
        nonlocal clock
        clock = clock_within(work.draw, allowed_w, board, clock)
        whole_s, mean_w = work.whole(clock, board)
        return np.asarray(mean_w - board.held_w - excess_w(whole_s))

    below, above = beyond(low), beyond(high)
    limit, done, before = low, np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.int64)
    for _ in range(ITERATIONS):
        span = above - below
        middle = low - below * (high - low) / np.where(span > 0.0, span, 1.0)
        middle = np.clip(middle, low, high)  # where rounding has the mean at `held_w` a hair too high already
        limit = np.where(done, limit, middle)
        found = beyond(limit)
        within = found <= 0.0
        side = np.where(within, -1, 1)
        # An end that stays a second time counts half, so that it is moved too.
        weight = np.where(side == before, HALF, 1.0)
        below, above = np.where(within, found, weight * below), np.where(within, weight * above, found)
        before = side
        low, high = np.where(within, limit, low), np.where(within, high, limit)
        done |= (np.abs(found) < CLOSE * limit) | (high - low < CLOSE * limit)
        if np.all(done):
            break
    return limit
