"""Inputs and numpy references of what only Vulkan runs: micro-benchmarks, naive GEMMs, neural graphics."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.problem import Array, Arrays, Generator, Problem
from simexplore.kernels.problems import PROBLEMS as COMMON
from simexplore.kernels.problems import draw
from simexplore.kernels.vulkan import neural

CHAINS = 8
"""Independent multiply-adds of a trip of fma.comp."""
CHASE_LOADS_PER_TRIP = 16
"""Dependent loads of a trip of pointer_chase.comp."""
CHASE_LINE_WORDS = 16
"""Words between the loads' places: one cache line of 64 bytes."""


def _launch_inputs(_case: Case, rng: Generator) -> dict[str, Array]:
    return {"x": rng.integers(0, 1000, 1).astype(np.uint32)}


def _fma_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    """Factor and summand first; the factor keeps floats within range however many trips there are."""
    n = case.count("groups") * case.count("threads")
    if case.dtype == "int32":
        head, first = rng.integers(-8, 9, 2), rng.integers(-8, 9, n)
    else:
        head, first = np.array([0.5, 0.25]) * rng.choice([-1.0, 1.0], 2), draw(rng, n, "fp16")
    return {"x": np.concatenate([head, first]).astype({"fp16": np.float16, "int32": np.int32}.get(case.dtype, "f4"))}


def _fma(case: Case, given: Arrays) -> dict[str, Array]:
    x = given["x"]
    total = np.zeros(len(x) - 2, dtype=x.dtype)
    for chain in range(CHAINS):
        v = x[2:] + x.dtype.type(chain)
        for _ in range(case.count("iterations")):
            v = v * x[0] + x[1]
        total = total + v
    return {"y": total}


def _chase_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    """One cycle through all lines of the array in random order; words between them are never read."""
    lines = case.count("bytes") // (4 * CHASE_LINE_WORDS)
    order = np.concatenate([[0], 1 + rng.permutation(lines - 1)]).astype(np.uint32) * CHASE_LINE_WORDS
    following = np.zeros(case.count("bytes") // 4, dtype=np.uint32)
    following[order] = np.roll(order, -1)
    return {"next": following}


def _chase(case: Case, given: Arrays) -> dict[str, Array]:
    lines = case.count("bytes") // (4 * CHASE_LINE_WORDS)
    at = np.uint32(0)
    for _ in range(case.count("loads") % lines):
        at = given["next"][at]
    return {"y": np.array([at], dtype=np.uint32)}


def _shared_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    return {"x": rng.integers(0, 1 << 16, case.count("words")).astype(np.uint32)}


def _shared(case: Case, given: Arrays) -> dict[str, Array]:
    words, trips = case.count("words"), case.count("iterations")
    places = np.arange(case.count("threads"))[:, None] * case.count("stride") + np.arange(4 * trips)[None, :]
    sums = given["x"][places % words].sum(axis=1, dtype=np.uint32)
    return {"y": np.tile(sums, case.count("groups"))}


def _triad_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    return {name: draw(rng, case.count("elements"), case.dtype) for name in "xy"}


PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        "launch": Problem(_launch_inputs, lambda _case, given: {"y": given["x"] + np.uint32(1)}),
        "triad": Problem(_triad_inputs, lambda _case, given: {"z": given["x"] + 3 * given["y"]}),
        "fma_rate": Problem(_fma_inputs, _fma),
        "occupancy": Problem(_fma_inputs, _fma),
        "pointer_chase": Problem(_chase_inputs, _chase),
        "shared_read": Problem(_shared_inputs, _shared),
        "gemm_naive": COMMON["gemm"],
        "gemm_naive_tiled": COMMON["gemm"],
        **neural.PROBLEMS,
    }
)
"""By the `op` of the cases: a micro-benchmark's own name, or an operator family."""
