"""Cases as programs: which shader, with which constants, on which buffers. A kernel is one line in `KERNELS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.vulkan import neural
from simexplore.kernels.vulkan.problems import CHASE_LOADS_PER_TRIP
from simexplore.kernels.vulkan.program import Buffer, Dispatch, Program, ceil_div
from simexplore.workloads.hints import did_you_mean

MOST_TRIPS = 65_535
"""Loop trips of one invocation, all loops together, after which lavapipe stops silently."""

FUNCTIONS = {"copy": 0, "add": 1, "mul": 2, "relu": 3, "gelu": 4, "silu_mul": 5, "triad": 6}
"""FUNCTION of elementwise.comp."""
ROW_FUNCTIONS = {"softmax": 0, "rmsnorm": 1, "layernorm": 2}
"""FUNCTION of rowwise.comp."""
PATCH = 4
"""Rows and columns that a thread of gemm_register.comp computes."""


def _elementwise(case: Case) -> Program:
    """`threads` x `per_thread` elements a work-group."""
    n, threads, per_thread = case.count("elements"), case.count("threads"), case.count("per_thread")
    two_inputs = case.op in ("add", "mul", "silu_mul", "triad")
    names = ("x", "y", "z") if two_inputs else ("x", "x", "y")
    buffers = [Buffer(name, (n,), "in", case.dtype) for name in dict.fromkeys(names[:2])]
    return Program(
        (*buffers, Buffer(names[2], (n,), "out", case.dtype)),
        (
            Dispatch(
                f"elementwise_{case.dtype}",
                (threads, per_thread, FUNCTIONS[case.op]),
                names,
                (ceil_div(n, threads * per_thread), 1, 1),
                (n,),
            ),
        ),
    )


def _rowwise(case: Case) -> Program:
    """One work-group of `threads` a row."""
    rows, cols, threads = case.count("rows"), case.count("cols"), case.count("threads")
    _check_trips(case, 4 * ceil_div(cols, threads) + 64)
    vectors = [name for name in ("scale", "shift") if case.op in ("rmsnorm", "layernorm")]
    vectors = vectors[: 1 if case.op == "rmsnorm" else 2]
    bound = ("x", *vectors, *["x"] * (2 - len(vectors)), "y")
    return Program(
        (
            Buffer("x", (rows, cols), "in"),
            *(Buffer(name, (cols,), "in") for name in vectors),
            Buffer("y", (rows, cols), "out"),
        ),
        (Dispatch("rowwise", (threads, ROW_FUNCTIONS[case.op]), bound, (rows, 1, 1), (cols,)),),
    )


def _gemm(case: Case, shader: str, group: tuple[int, int], tile: tuple[int, int], trips: int) -> Program:
    """A GEMM whose work-group of `group` threads computes a tile of C of (columns, rows)."""
    _check_trips(case, trips)
    m, n, k = (case.count(name) for name in "mnk")
    return Program(
        (Buffer("a", (m, k), "in"), Buffer("b", (k, n), "in"), Buffer("c", (m, n), "out")),
        (Dispatch(shader, group, ("a", "b", "c"), (ceil_div(n, tile[0]), ceil_div(m, tile[1]), 1), (m, n, k)),),
    )


def _gemm_naive(case: Case) -> Program:
    group = (case.count("group"), case.count("group"))
    return _gemm(case, "gemm_naive", group, group, case.count("k"))


def _gemm_tiled(case: Case) -> Program:
    tile = case.count("tile")
    trips = (tile + 1) * ceil_div(case.count("k"), tile)
    return _gemm(case, "gemm_tiled", (tile, tile), (tile, tile), trips)


def _gemm_register(case: Case) -> Program:
    wide, high = case.count("group_n"), case.count("group_m")
    return _gemm(case, "gemm_register", (wide, high), (wide * PATCH, high * PATCH), case.count("k") + 64)


def _gemm_cooperative(case: Case) -> Program:
    """Matrix units: `rows` x `columns` of their tiles a subgroup, `high` x `wide` subgroups a work-group."""
    tile_m, tile_n, tile_k = (case.count(f"tile_{side}") for side in "mnk")
    rows, columns, high, wide = (case.count(name) for name in ("rows", "columns", "high", "wide"))
    m, n, k = (case.count(name) for name in "mnk")
    block = (rows * high * tile_m, columns * wide * tile_n, tile_k)
    if m % block[0] or n % block[1] or k % block[2]:
        raise SimexploreError(f"{case.key}: expected m, n, k to be multiples of {', '.join(map(str, block))}")
    _check_trips(case, k // tile_k)
    threads = case.count("lanes") * high * wide
    constants = (threads, tile_m, tile_n, tile_k, rows, columns, wide, high)
    sums = "int32" if case.dtype == "int8" else "fp32"
    groups = (n // block[1], m // block[0], 1)
    operands = (Buffer("a", (m, k), "in", case.dtype), Buffer("b", (k, n), "in", case.dtype))
    dispatch = Dispatch(f"gemm_cooperative_{case.dtype}", constants, ("a", "b", "c"), groups, (m, n, k))
    return Program((*operands, Buffer("c", (m, n), "out", sums)), (dispatch,))


def _empty(_case: Case) -> Program:
    buffers = (Buffer("x", (1,), "in", "uint32"), Buffer("y", (1,), "out", "uint32"))
    return Program(buffers, (Dispatch("empty", (), ("x", "y"), (1, 1, 1)),))


def _fma(case: Case) -> Program:
    """`groups` work-groups of `threads`, `iterations` trips of 8 multiply-adds, `words` of shared memory each."""
    groups, threads, trips = case.count("groups"), case.count("threads"), case.count("iterations")
    _check_trips(case, trips)
    n = groups * threads
    buffers = (Buffer("x", (n + 2,), "in", case.dtype), Buffer("y", (n,), "out", case.dtype))
    constants = (threads, trips, case.count("words"))
    return Program(buffers, (Dispatch(f"fma_{case.dtype}", constants, ("x", "y"), (groups, 1, 1)),))


def _pointer_chase(case: Case) -> Program:
    trips = case.count("loads") // CHASE_LOADS_PER_TRIP
    _check_trips(case, trips)
    words = case.count("bytes") // 4
    buffers = (Buffer("next", (words,), "in", "uint32"), Buffer("y", (1,), "out", "uint32"))
    return Program(buffers, (Dispatch("pointer_chase", (), ("next", "y"), (1, 1, 1), (trips,)),))


def _shared_read(case: Case) -> Program:
    groups, threads, words = case.count("groups"), case.count("threads"), case.count("words")
    _check_trips(case, case.count("iterations") + ceil_div(words, threads))
    buffers = (Buffer("x", (words,), "in", "uint32"), Buffer("y", (groups * threads,), "out", "uint32"))
    constants = (threads, case.count("stride"), case.count("iterations"), words)
    return Program(buffers, (Dispatch("shared_read", constants, ("x", "y"), (groups, 1, 1)),))


KERNELS: Mapping[str, Callable[[Case], Program]] = MappingProxyType(
    {
        "elementwise": _elementwise,
        "rowwise": _rowwise,
        "gemm_naive": _gemm_naive,
        "gemm_tiled": _gemm_tiled,
        "gemm_register": _gemm_register,
        "gemm_cooperative": _gemm_cooperative,
        "empty": _empty,
        "fma": _fma,
        "pointer_chase": _pointer_chase,
        "shared_read": _shared_read,
        "grid_encoding": neural.grid_encoding,
        "mlp_fused": neural.mlp_fused,
        "mlp_layers": neural.mlp_layers,
        "chain_fused": neural.chain_fused,
        "chain_stages": neural.chain_stages,
    }
)
"""By the name that a case gives its kernel."""


def program_of(case: Case) -> Program:
    """The program of a case. Raises SimexploreError where this backend has no such kernel."""
    if case.kernel not in KERNELS:
        raise SimexploreError(
            f"vulkan: expected a kernel among {', '.join(KERNELS)}, "
            f"found {case.kernel!r}{did_you_mean(case.kernel, KERNELS)}"
        )
    return KERNELS[case.kernel](case)


def _check_trips(case: Case, trips: int) -> None:
    if trips > MOST_TRIPS:
        raise SimexploreError(f"{case.key}: {trips} loop trips, expected at most {MOST_TRIPS}: choose a smaller size")
