"""Neural graphics: grid encodings, small networks fused and layer by layer, and the chain of stages around them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

import numpy as np

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.problem import Array, Arrays, Generator, Problem
from simexplore.kernels.vulkan.program import Buffer, Dispatch, Program, ceil_div
from simexplore.workloads.ops import FusedMlp, GridEncoding, make_operator

INDEXINGS = {"hash": 0, "dense": 1, "tiled": 2}
"""INDEXING of grid_encoding.comp."""
PRIMES = (1, 2654435761, 805459861)
"""Of the hash, by axis (Müller et al. 2022, arXiv:2201.05989, section 3)."""
WIDEST = 64
"""Neurons of a layer that mlp_fused.comp holds."""
STAGE_INSTRUCTIONS = (2, 2, 4, 2, 3, 3, 1, 3, 2, 3, 4, 2)
"""Arithmetic instructions of each stage of chain.comp, none of them fused."""


def _grid(case: Case) -> GridEncoding:
    operator = make_operator("grid_encoding", case.params)
    assert isinstance(operator, GridEncoding)
    return operator


def levels_of(case: Case) -> Array:
    """Scale, resolution, entries and first entry of each level: a record array of 16 bytes a level."""
    op = _grid(case)
    entries = op.grid.entries[0].astype(np.uint32)
    growth = (case.count("finest") / case.count("base")) ** (1.0 / max(case.count("levels") - 1, 1))
    levels = np.zeros(len(entries), dtype=[("scale", "f4"), ("resolution", "u4"), ("entries", "u4"), ("first", "u4")])
    levels["scale"] = case.count("base") * growth ** np.arange(len(entries)) - 1.0
    levels["resolution"] = op.grid.resolution[0]
    levels["entries"] = entries
    levels["first"] = np.concatenate([[0], np.cumsum(entries)[:-1]])
    return levels


def _grid_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    levels = levels_of(case)
    table = rng.uniform(-1.0, 1.0, (int(levels["entries"].sum()), 2)).astype(np.float32)
    points = rng.uniform(0.0, 1.0, (case.count("queries"), 3)).astype(np.float32)
    return {"points": points, "levels": levels.view(np.uint32), "table": table}


def _grid_reference(case: Case, given: Arrays) -> dict[str, Array]:
    levels = levels_of(case)
    results = [_level_reference(case, given["points"], given["table"], level) for level in levels]
    return {"y": np.stack(results, axis=1)}


def _level_reference(case: Case, points: Array, table: Array, level: np.void) -> Array:
    """Features of every point at one level, shape (queries, 2); positions in float32 as the kernel's are."""
    at = points * level["scale"] + np.float32(0.5)
    cell = np.floor(at).astype(np.uint64)
    within = (at - np.floor(at)).astype(np.float64)
    total = np.zeros((len(points), 2))
    for corner in range(8):
        side = np.array([corner & 1, corner >> 1 & 1, corner >> 2])
        weight = np.prod(np.where(side == 1, within, 1.0 - within), axis=1)
        total += weight[:, None] * table[level["first"] + _entry(case, cell + side.astype(np.uint64), level)]
    return total


def _entry(case: Case, corner: Array, level: np.void) -> Array:
    """Entry of a corner within its level, as tiny-cuda-nn's grid_index computes it in 32 bits."""
    entries, resolution = int(level["entries"]), int(level["resolution"])
    stride, index = 1, np.zeros(len(corner), dtype=np.uint64)
    for axis in range(3):
        if stride > entries:
            break
        index += corner[:, axis] * np.uint64(stride)
        stride *= resolution
    if case.params["indexing"] == "hash" and entries < stride:
        hashed = [corner[:, axis] * np.uint64(prime) & np.uint64(0xFFFFFFFF) for axis, prime in enumerate(PRIMES)]
        index = hashed[0] ^ hashed[1] ^ hashed[2]
    result: Array = (index & np.uint64(0xFFFFFFFF)) % np.uint64(entries)
    return result


def grid_encoding(case: Case) -> Program:
    """One thread a query and level."""
    op, queries, levels, threads = _grid(case), case.count("queries"), case.count("levels"), case.count("threads")
    buffers = (
        Buffer("points", (queries, 3), "in"),
        Buffer("levels", (4 * levels,), "in", "uint32"),
        Buffer("table", (int(op.grid.entries.sum()), 2), "in"),
        Buffer("y", (queries, levels, 2), "out"),
    )
    constants = (threads, INDEXINGS[str(case.params["indexing"])])
    groups = (ceil_div(queries, threads), levels, 1)
    names = tuple(buffer.name for buffer in buffers)
    return Program(buffers, (Dispatch("grid_encoding", constants, names, groups, (queries, levels)),))


def _mlp(case: Case) -> tuple[int, list[int]]:
    """Queries, and the features between layers, those in first."""
    op = make_operator("fused_mlp", case.params)
    assert isinstance(op, FusedMlp)
    widths = [case.count("inputs"), *[case.count("width")] * case.count("hidden"), int(op.padded_outputs)]
    return case.count("queries"), widths


def _mlp_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    queries, widths = _mlp(case)
    weights = [rng.normal(0.0, (2.0 / rows) ** 0.5, rows * columns) for rows, columns in pairwise(widths)]
    x = rng.uniform(-1.0, 1.0, (queries, widths[0]))
    return {"x": x.astype(np.float32), "weights": np.concatenate(weights).astype(np.float32)}


def _mlp_reference(case: Case, given: Arrays) -> dict[str, Array]:
    _, widths = _mlp(case)
    y, rest = given["x"].astype(np.float64), given["weights"].astype(np.float64)
    for layer, (rows, columns) in enumerate(pairwise(widths)):
        y = y @ rest[: rows * columns].reshape(rows, columns)
        rest = rest[rows * columns :]
        y = np.maximum(y, 0.0) if layer < len(widths) - 2 else y
    return {"y": y}


def _mlp_buffers(case: Case) -> list[Buffer]:
    queries, widths = _mlp(case)
    weights = sum(rows * columns for rows, columns in pairwise(widths))
    return [
        Buffer("x", (queries, widths[0]), "in"),
        Buffer("weights", (weights,), "in"),
        Buffer("y", (queries, widths[-1]), "out"),
    ]


def mlp_fused(case: Case) -> Program:
    """All layers in one dispatch."""
    queries, widths = _mlp(case)
    constants = (case.count("threads"), widths[0], widths[1], len(widths) - 2, widths[-1])
    groups = (ceil_div(queries, case.count("threads")), 1, 1)
    dispatch = Dispatch("mlp_fused", constants, ("x", "weights", "y"), groups, (queries,))
    return Program(tuple(_mlp_buffers(case)), (dispatch,))


def mlp_layers(case: Case) -> Program:
    """A dispatch for each layer, activations between them in memory."""
    queries, widths = _mlp(case)
    buffers, dispatches, first = _mlp_buffers(case), [], 0
    names = ["x", *(f"h{layer}" for layer in range(len(widths) - 2)), "y"]
    buffers += [
        Buffer(name, (queries, width), "between") for name, width in zip(names[1:-1], widths[1:-1], strict=True)
    ]
    for layer, (rows, columns) in enumerate(pairwise(widths)):
        constants = (case.count("threads"), rows, columns, int(layer < len(widths) - 2))
        bound = (names[layer], "weights", names[layer + 1])
        groups = (ceil_div(queries, case.count("threads")), columns // 4, 1)
        dispatches.append(Dispatch("mlp_layer", constants, bound, groups, (queries, first)))
        first += rows * columns // 4
    return Program(tuple(buffers), tuple(dispatches))


def _chain_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    return {"x": rng.uniform(-1.2, 1.2, case.count("rays")).astype(np.float32)}


def _chain_reference(_case: Case, given: Arrays) -> dict[str, Array]:
    """The twelve stages of chain.comp."""
    v = given["x"].astype(np.float64) * 0.5 + 0.5
    v = np.clip(v, 0.0, 1.0)
    v = v * v * (3.0 - 2.0 * v) * 1.25 - 0.125
    v = np.abs(v) * 0.9 + 0.05
    v = v * (1.0 - 0.25 * v) * 1.5
    v = np.clip(v * (0.75 + 0.25 * v), 0.0, 1.0)
    v = 0.5 + (v - 0.5) * 1.1
    return {"y": v * v * (3.0 - 2.0 * v) * 0.96 + 0.02}


def _chain(case: Case, stages: list[tuple[int, int]]) -> Program:
    """A dispatch for each (first stage, stages); two buffers take turns between them."""
    n, threads, per_thread = case.count("rays"), case.count("threads"), case.count("per_thread")
    names = ["x", *(f"v{number % 2}" for number in range(len(stages) - 1)), "y"]
    roles = {"x": "in", "y": "out"}
    buffers = tuple(
        Buffer(name, (n,), roles.get(name, "between"))  # type: ignore[arg-type]
        for name in dict.fromkeys(names)
    )
    groups = (ceil_div(n, threads * per_thread), 1, 1)
    dispatches = tuple(
        Dispatch("chain", (threads, per_thread, first, count), (names[i], names[i + 1]), groups, (n,))
        for i, (first, count) in enumerate(stages)
    )
    return Program(buffers, dispatches)


def chain_fused(case: Case) -> Program:
    """All stages in one dispatch: values stay in registers between them."""
    return _chain(case, [(0, len(STAGE_INSTRUCTIONS))])


def chain_stages(case: Case) -> Program:
    """A dispatch for each stage: values go through memory between them."""
    return _chain(case, [(stage, 1) for stage in range(len(STAGE_INSTRUCTIONS))])


PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        "grid_encoding": Problem(_grid_inputs, _grid_reference),
        "fused_mlp": Problem(_mlp_inputs, _mlp_reference),
        "layered_mlp": Problem(_mlp_inputs, _mlp_reference),
        "ray_kernel": Problem(_chain_inputs, _chain_reference),
        "ray_kernels": Problem(_chain_inputs, _chain_reference),
    }
)
"""By operator family, or the name of what is a graph of several."""
