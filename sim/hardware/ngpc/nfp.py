"""One neural-field processor (NFP) as events: engines, banks, FIFOs and MLP array, one event a query and not a clock.

Encoding engines take queries in order. A query's corner requests enter their banks' FIFOs together, `lanes` a clock, as
soon as all find room; a bank serves `ports` a clock. With n_b requests of the query at bank b and t the clock at which
it is issued,

    end_b = max(end_b, t) + n_b / ports,      t >= end_b - (fifo - n_b) / ports      for each bank b that it reads

and its features are there when the last of its banks has ended, `latency` later. Engines run ahead of one another by
`output_fifo` queries. The MLP takes slices of queries, layer after layer, while the next slice gathers. The tests hold
this model to a reference that plays every clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.schema.ngpc import EncodingEngines, MlpEngine
from simexplore.errors import SimexploreError
from simexplore.sim.hardware.ngpc.addresses import request_banks

Layer = tuple[int, int]
"""Inputs and outputs of a network's layer."""
PROBE_SLICES = 6
"""Slices of random points by which the steady rate is found; the first two fill the pipeline."""


@dataclass(frozen=True)
class Level:
    """A level as an engine holds it."""

    resolution: int
    entries: int
    hashed: bool


@dataclass(frozen=True)
class Field:
    """What an NFP evaluates for each query."""

    dims: int
    levels: tuple[Level, ...]
    entry_bytes: float
    layers: tuple[Layer, ...]
    """Of all networks, in order."""


@dataclass(frozen=True)
class NfpRun:
    """A trace played on one NFP."""

    cycles: float
    """Until the last slice has left the MLP engine [clk]."""
    slice_ends: tuple[float, ...]
    """When each slice did."""
    bank_share: float
    """Mean share of the banks of the busy engines that serve a request."""
    mlp_share: float
    """Share of the time that the MLP array is busy."""


def inputs_in_parallel(field: Field, engines: EncodingEngines) -> int:
    """Queries that the engines encode side by side, a copy of the tables for each.

    Raises:
        SimexploreError: more levels than engines.
    """
    if len(field.levels) > engines.count:
        raise SimexploreError(
            f"ngpc.encoding.count: {len(field.levels)} levels need as many engines, found {engines.count}"
        )
    return engines.count // len(field.levels)


def layer_cycles(layer: Layer, queries: int, mlp: MlpEngine) -> float:
    """Clocks for which a layer of so many queries holds the array, and the exchange of its weights [clk]."""
    inputs, outputs = layer
    if mlp.packing == "packed" and inputs <= mlp.rows and outputs <= mlp.columns:
        side_by_side = (mlp.rows // inputs) * (mlp.columns // outputs)
        return ceil(queries / side_by_side) + mlp.switch_cycles
    return queries * ceil(inputs / mlp.rows) * ceil(outputs / mlp.columns) + mlp.switch_cycles


def slice_cycles(layers: Sequence[Layer], queries: int, mlp: MlpEngine) -> float:
    """Clocks of all layers of a slice [clk]."""
    return sum(layer_cycles(layer, queries, mlp) for layer in layers)


def level_banks(points: NDArray[np.float64], level: Level, field: Field, engines: EncodingEngines) -> NDArray[np.int64]:
    """Bank of every request of each query at one level, (points, requests)."""
    words = max(ceil(field.entry_bytes / engines.word_bytes), 1)
    return request_banks(
        points, level.resolution, level.entries, level.hashed, engines.interleave, engines.banks, words
    )  # fmt: skip


def bank_trace(points: NDArray[np.float64], field: Field, engines: EncodingEngines) -> NDArray[np.int64]:
    """Requests of each query at each bank of each engine: (steps, engines, banks) counts.

    Args:
        points: (queries, dims); queries that don't fill a step of `inputs_in_parallel` are left out.
    """
    side_by_side = inputs_in_parallel(field, engines)
    steps = len(points) // side_by_side
    counts = np.zeros((steps, side_by_side * len(field.levels), engines.banks), np.int64)
    for number, level in enumerate(field.levels):
        banks = level_banks(points[: steps * side_by_side], level, field, engines)
        for bank in range(engines.banks):
            here = (banks == bank).sum(axis=1).reshape(steps, side_by_side)
            counts[:, number * side_by_side : (number + 1) * side_by_side, bank] = here
    return counts


def play(counts: NDArray[np.int64], field: Field, engines: EncodingEngines, mlp: MlpEngine) -> NfpRun:
    """Play a trace of bank requests through engines, FIFOs and MLP array."""
    steps, lanes_used, _ = counts.shape
    side_by_side = inputs_in_parallel(field, engines)
    per_slice = max(mlp.slice // side_by_side, 1)
    issue = max(ceil(float(counts[:, 0].sum(axis=1).max()) / engines.lanes), 1)
    service = counts / engines.ports
    reads = counts > 0
    slack = np.maximum(engines.bank_fifo - counts, 0) / engines.ports
    end = np.zeros(counts.shape[1:])
    issued, consumed = np.full(lanes_used, -float(issue)), np.zeros(steps)
    slice_ends: list[float] = []
    busy = 0.0
    for step in range(steps):
        room = np.where(reads[step], end - slack[step], 0.0).max(axis=1)
        issued = np.maximum(issued + issue, np.ceil(room))
        if step >= engines.output_fifo:
            issued = np.maximum(issued, consumed[step - engines.output_fifo] + 1.0)  # room is seen a clock later
        end = np.where(reads[step], np.maximum(end, issued[:, None]) + service[step], end)
        ready = float(np.where(reads[step], end, 0.0).max()) + engines.latency_cycles
        number, place = divmod(step, per_slice)
        free = slice_ends[number - 2] if number >= 2 else 0.0
        consumed[step] = max(ready, free, consumed[step - 1] + 1.0 if step else 0.0)
        if place == per_slice - 1 or step == steps - 1:
            work = slice_cycles(field.layers, (place + 1) * side_by_side, mlp)
            slice_ends.append(max(consumed[step], slice_ends[-1] if slice_ends else 0.0) + work)
            busy += work
    cycles = slice_ends[-1]
    served = float(counts.sum()) / (engines.ports * engines.banks * lanes_used)
    return NfpRun(cycles, tuple(slice_ends), served / cycles, busy / cycles)


@dataclass(frozen=True)
class SteadyRate:
    """What one NFP does all along."""

    cycles_per_query: float
    """Clocks between queries."""
    fill_cycles: float
    """From the first request of a batch to the end of its first slice, beyond the steady rate [clk]."""
    bank_share: float
    mlp_share: float


REMEMBERED = 256
"""Fields kept in mind: more than a sweep over clusters has."""


@lru_cache(maxsize=REMEMBERED)
def steady_rate(field: Field, engines: EncodingEngines, mlp: MlpEngine) -> SteadyRate:
    """The steady rate on uniformly random points, the same in every run."""
    queries = PROBE_SLICES * mlp.slice
    points = np.random.default_rng(0).random((queries, field.dims))
    run = play(bank_trace(points, field, engines), field, engines, mlp)
    first, last = run.slice_ends[1], run.slice_ends[-1]
    measured = (len(run.slice_ends) - 2) * max(mlp.slice // inputs_in_parallel(field, engines), 1)
    per_query = (last - first) / (measured * inputs_in_parallel(field, engines))
    fill = max(run.slice_ends[0] - mlp.slice * per_query, 0.0)
    return SteadyRate(float(per_query), float(fill), float(run.bank_share), float(run.mlp_share))
