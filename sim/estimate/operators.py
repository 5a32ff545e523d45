"""The closed form: times of whole columns of operators at once, tile choice included.

`predict` is what sweeps and comparisons call; `kernels_of` gives the events engine the same kernels, the same choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import ANY_ROW, Algorithm, Demand, FloatArray, KernelDemand, LinkDemand
from simexplore.sim.estimate.correction import corrected, correction_of, feature_columns, half_width
from simexplore.sim.estimate.traits import KernelTraits, kernel_traits, together
from simexplore.sim.hardware.link import link_seconds
from simexplore.sim.hardware.timing import KernelTiming, kernel_seconds, kernel_timing, launch_seconds
from simexplore.sim.mapping import algorithms_of, candidates_of
from simexplore.workloads.ops import Operator

ARRAY_BYTES = 120 * 1024
"""Size of the arrays of rows x candidates that are worked on at once: tens of them fit a core's L2 cache, and an
allocator that gives arrays of 128 KiB and more back to the system (glibc's malloc, M_MMAP_THRESHOLD) keeps them."""
MOST_ROWS = 2048
"""Rows mapped at once where there is nothing to choose: there, time goes to numpy's calls, not into its loops."""

BOUNDS = ("tensor", "fma", "special", "shared", "l2", "dram", "latency", "launch", "link", "encode", "mlp")
"""What can bound an operator, in the order of `Prediction.bound_code`."""


@dataclass(frozen=True)
class Prediction:
    """What one operator, or each row of a column of them, costs alone on an idle GPU; arrays of shape (rows,)."""

    time_s: FloatArray
    """From the first launch to the last store, launch latency included."""
    interval_ratio: FloatArray
    """Upper end of the 80 % interval over the time, and the time over the lower end."""
    energy_j: FloatArray
    """Dynamic energy plus idle power over the time."""
    bound_code: NDArray[np.int64]
    """Index into `BOUNDS` of what takes the largest part of the time."""
    correction: FloatArray
    """The learned factor that is in `time_s`; 1 where there is none."""

    @property
    def low_s(self) -> FloatArray:
        """Lower end of the interval that holds 80 % of measured times."""
        return self.time_s / self.interval_ratio

    @property
    def high_s(self) -> FloatArray:
        """Upper end of that interval."""
        return self.time_s * self.interval_ratio

    @property
    def bound(self) -> list[str]:
        """What bounds each row, by name."""
        return [BOUNDS[code] for code in self.bound_code]


@dataclass(frozen=True)
class Cost:
    """What the physics alone says; arrays of shape (rows,)."""

    time_s: FloatArray
    energy_j: FloatArray
    bound_code: NDArray[np.int64]
    traits: FloatArray | None = None
    """Shape (rows, len(traits.NAMES)), where they were asked for."""
    kernel: KernelTraits | None = None
    """Of a single kernel, where they were asked for."""


def predict(op: Operator, gpu: Gpu, conditions: Conditions | None = None) -> Prediction:
    """Predict an operator record whose fields are numbers or columns of shape (rows,).

    The physics, times the learned correction where the machine has one for such rows. Raises SimexploreError where
    the GPU cannot run the operator.
    """
    conditions = Conditions() if conditions is None else conditions
    correction = correction_of(op, gpu, conditions)
    cost = physics(op, gpu, conditions, with_traits=correction is not None)
    factor = np.ones(len(cost.time_s))
    if correction is None or cost.traits is None:
        ratio = np.full(len(cost.time_s), np.exp(half_width(op, gpu, conditions)))
    else:
        shift, spread = corrected(correction, feature_columns(op, gpu, cost.traits), half_width(op, gpu, conditions))
        factor, ratio = np.exp(shift), np.exp(spread)
    time = cost.time_s * factor
    return Prediction(
        time_s=time,
        interval_ratio=ratio,
        energy_j=cost.energy_j + gpu.power.idle_w * (time - cost.time_s),
        bound_code=cost.bound_code,
        correction=factor,
    )


def physics(op: Operator, gpu: Gpu, conditions: Conditions, *, with_traits: bool = False) -> Cost:
    """`predict` without the learned correction and without intervals."""
    if conditions.sustained:
        gpu = gpu.model_copy(update={"power": gpu.power.model_copy(update={"burst_headroom": 0.0})})
    parts = [_cost_of_chunk(part, gpu, state, with_traits) for part, state in _chunks(op, gpu, conditions)]
    told = [part.traits for part in parts if part.traits is not None]
    time = np.concatenate([part.time_s for part in parts])
    return Cost(
        time_s=conditions.pace * time,
        energy_j=np.concatenate([part.energy_j for part in parts]) + (conditions.pace - 1.0) * gpu.power.idle_w * time,
        bound_code=np.concatenate([part.bound_code for part in parts]),
        traits=np.concatenate(told) if told else None,
    )


def kernels_of(op: Operator, gpu: Gpu, conditions: Conditions) -> tuple[Demand, ...]:
    """The kernels of an operator in order, each with its fastest candidate; arrays of shape (rows,).

    Where the library has several algorithms, the kernels are those that take the least time for all rows together.
    """
    ways = [(_chosen(way, gpu, conditions), way.serves) for way in algorithms_of(op, gpu, conditions)]
    if len(ways) == 1:
        return ways[0][0]
    totals = [
        float(np.sum(_together(kernels, gpu, conditions).time_s)) if np.all(serves) else np.inf
        for kernels, serves in ways
    ]
    return ways[int(np.argmin(totals))][0]


def choose_kernel(demand: KernelDemand, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """The tile of each row that is the fastest as far as the library can tell, launch included.

    Rows of `demand` have a column a tile. A library knows shapes, not what is in the cache: see `reckoned_read_bytes`.
    """
    rows, candidates = demand.shape
    if candidates == 1:
        return demand.take(np.zeros(rows, dtype=np.intp))
    reckoned = replace(
        demand,
        dram_read_bytes=demand.dram_read_bytes + demand.reckoned_read_bytes,
        miss_latency_share=demand.reckoned_latency_share,
    )
    seconds = kernel_seconds(reckoned, gpu) + launch_seconds(demand, gpu, conditions.launch)
    seconds = seconds + demand.reckoned_cycles / gpu.clock.boost_hz
    return demand.take(np.argmin(seconds, axis=1))


def _chosen(algorithm: Algorithm, gpu: Gpu, conditions: Conditions) -> tuple[Demand, ...]:
    return tuple(
        demand if isinstance(demand, LinkDemand) else choose_kernel(demand, gpu, conditions)
        for demand in algorithm.kernels
    )


def _cost_of_chunk(op: Operator, gpu: Gpu, conditions: Conditions, with_traits: bool) -> Cost:
    """The algorithm that is fastest for each row."""
    ways = algorithms_of(op, gpu, conditions)
    if len(ways) == 1:
        return _together(_chosen(ways[0], gpu, conditions), gpu, conditions, with_traits)
    costs = [_cost_of_served(way, gpu, conditions, with_traits) for way in ways]
    fastest = np.argmin(np.stack(np.broadcast_arrays(*(cost.time_s for cost in costs))), axis=0)
    rows = np.arange(len(fastest))

    def of_fastest(arrays: list[NDArray[Any]]) -> NDArray[Any]:
        chosen: NDArray[Any] = np.stack(np.broadcast_arrays(*arrays))[fastest, rows]
        return chosen

    return Cost(
        time_s=of_fastest([cost.time_s for cost in costs]),
        energy_j=of_fastest([cost.energy_j for cost in costs]),
        bound_code=of_fastest([cost.bound_code for cost in costs]),
        traits=of_fastest([cost.traits for cost in costs if cost.traits is not None]) if with_traits else None,
    )


def _cost_of_served(way: Algorithm, gpu: Gpu, conditions: Conditions, with_traits: bool) -> Cost:
    """What an algorithm costs; rows that it does not serve are not tried and take infinitely long."""
    if np.all(way.serves):
        return _together(_chosen(way, gpu, conditions), gpu, conditions, with_traits)
    rows = np.flatnonzero(way.serves)
    some = tuple(demand.of_rows(rows) for demand in way.kernels)
    cost = _together(_chosen(Algorithm(some, ANY_ROW), gpu, conditions), gpu, conditions, with_traits)

    def spread(values: NDArray[Any], elsewhere: float) -> NDArray[Any]:
        all_rows = np.full((len(way.serves), *values.shape[1:]), elsewhere, dtype=values.dtype)
        all_rows[rows] = values
        return all_rows

    return Cost(
        time_s=spread(cost.time_s, np.inf),
        energy_j=spread(cost.energy_j, 0.0),
        bound_code=spread(cost.bound_code, 0),
        traits=None if cost.traits is None else spread(cost.traits, 0.0),
    )


def _together(kernels: tuple[Demand, ...], gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> Cost:
    """What kernels that run one after another cost; what bounds the longest of them bounds all."""
    costs = [kernel_cost(demand, gpu, conditions, with_traits) for demand in kernels]
    time = np.sum([cost.time_s for cost in costs], axis=0)
    dynamic = np.sum([cost.energy_j for cost in costs], axis=0)
    longest = np.argmax([cost.time_s for cost in costs], axis=0)
    codes = np.stack([cost.bound_code for cost in costs])
    return Cost(
        time_s=time,
        energy_j=dynamic + gpu.power.idle_w * time,
        bound_code=codes[longest, np.arange(len(longest))],
        traits=together([cost.kernel for cost in costs if cost.kernel is not None]) if with_traits else None,
    )


def kernel_cost(demand: Demand, gpu: Gpu, conditions: Conditions, with_traits: bool = False) -> Cost:
    """Time, dynamic energy and bound of one kernel of each row; its traits, where they are asked for."""
    if isinstance(demand, LinkDemand):
        seconds = link_seconds(demand, gpu)
        told = kernel_traits(demand, None, seconds, seconds) if with_traits else None
        return Cost(seconds, 0.0 * seconds, np.full(len(seconds), BOUNDS.index("link")), kernel=told)
    timing = kernel_timing(demand, gpu)
    launch = launch_seconds(demand, gpu, conditions.launch)
    time = launch + timing.time_s
    told = kernel_traits(demand, timing, launch, time) if with_traits else None
    return Cost(time_s=time, energy_j=timing.energy_j, bound_code=bound_code(timing, launch), kernel=told)


def bound_code(timing: KernelTiming, launch_s: FloatArray) -> NDArray[np.int64]:
    """The largest of the resources' busy times, the latencies within waves, and launch with set-up."""
    shares = [timing.busy_s[name] for name in BOUNDS[:6]]
    shares += [timing.latency_s, launch_s + timing.setup_s]
    codes: NDArray[np.int64] = np.argmax(np.stack(np.broadcast_arrays(*shares)), axis=0)
    return codes


def _chunks(op: Operator, gpu: Gpu, conditions: Conditions) -> Iterator[tuple[Operator, Conditions]]:
    """Slices of the columns of an operator and of its cache state, short enough for `ARRAY_BYTES`."""
    most = min(max(ARRAY_BYTES // (8 * candidates_of(op, gpu)), 1), MOST_ROWS)
    names = [f.name for f in fields(op)]  # type: ignore[arg-type]  # every concrete family is a dataclass
    columns = {name: value for name in names if np.ndim(value := getattr(op, name)) == 1}
    rows = max((len(value) for value in columns.values()), default=1)
    for start in range(0, rows, most):
        part = slice(start, start + most)
        changed: dict[str, Any] = {name: value[part] for name, value in columns.items()}
        cache = CacheState(
            weight_copies=_slice(conditions.cache.weight_copies, part),
            activation_copies=_slice(conditions.cache.activation_copies, part),
            earlier_shapes=_slice(conditions.cache.earlier_shapes, part),
        )
        yield replace(op, **changed) if changed else op, replace(conditions, cache=cache)  # type: ignore[type-var]


def _slice(value: float | FloatArray, part: slice) -> float | FloatArray:
    return value[part] if isinstance(value, np.ndarray) and value.ndim == 1 else value
