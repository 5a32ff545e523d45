"""From a case to the kernel that computes it: source and macros, grid, and buffers in the order of its arguments.

A kernel takes its outputs, then its inputs, then its scalars. `cycles` is an output that holds clocks of the SM, one
number for each CTA. A variant is one function and one line in `PROGRAMS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.cuda.cublas import types_of
from simexplore.kernels.cuda.instructions import mma_macros, operand_of, wgmma_macros
from simexplore.kernels.cuda.problems import DPX, box_of, boxes_of
from simexplore.kernels.cuda.runtime.compiler import Source
from simexplore.kernels.cuda.runtime.driver import Grid
from simexplore.kernels.cuda.runtime.tensor_maps import Tiled
from simexplore.workloads.dtypes import bytes_of

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """A kernel and how it is launched."""

    source: Source | None
    """None: the library has the kernel."""
    entry: str
    grid: Grid
    block: Grid
    outputs: Mapping[str, tuple[Shape, Any]]
    """Shape and numpy type by name, in the order of the arguments."""
    inputs: tuple[str, ...]
    scalars: tuple[np.generic, ...] = ()
    shared_bytes: int = 0
    """Dynamic shared memory of a CTA."""
    maps: Mapping[str, Tiled] = field(default_factory=dict)
    """Inputs that the kernel takes as a tensor map instead of a pointer."""
    transposed: frozenset[str] = frozenset()
    """Inputs that are stored columns first."""
    result_dtype: str = ""
    """Of results that numpy has no type for: `bf16`."""


_MICRO: Mapping[str, str | int] = {"ITERATIONS": 1, "WORDS": 1, "CACHED": 0}


def _micro(**macros: str | int) -> Source:
    return Source("micro.cu", {**_MICRO, **macros})


def _launch(_case: Case) -> Program:
    return Program(_micro(), "launch", (1, 1, 1), (32, 1, 1), {"y": ((1,), np.uint32)}, ("x",))


def _stream(case: Case) -> Program:
    """copy and triad, 16 bytes a thread at a time."""
    elements, triad = case.count("elements"), case.op == "triad"
    vectors, rest = divmod(int(elements * bytes_of(case.dtype)), 16)
    if rest or (triad and case.dtype != "fp32"):
        raise SimexploreError(f"{case.key}: expected whole vectors of 16 bytes (triad: fp32)")
    kind = np.float16 if case.dtype == "fp16" else np.float32
    ctas = min(max(vectors // (case.count("threads") * 4), 1), 1 << 16)
    return Program(
        _micro(),
        case.op,
        (ctas, 1, 1),
        (case.count("threads"), 1, 1),
        {"z" if triad else "y": ((elements,), kind)},
        ("x", "y") if triad else ("x",),
        (np.uint64(vectors),),
    )


def _chase(case: Case) -> Program:
    """One CTA, or one on every SM (`ctas`), whose first thread walks; `cached` loads may hit L1."""
    options = {**case.params, **case.options}
    ctas = int(options.get("ctas", 1))
    source = _micro(CACHED=int(options.get("cached", 0)))
    outputs = {"y": ((ctas,), np.uint32), "cycles": ((ctas,), np.uint32)}
    scalars = (np.uint32(case.count("loads")), np.uint32(case.count("bytes") // 4))
    return Program(source, "pointer_chase", (ctas, 1, 1), (1024, 1, 1), outputs, ("next",), scalars)


def _fma(case: Case) -> Program:
    groups, threads = case.count("groups"), case.count("threads")
    kinds: dict[str, tuple[str, Any, int]] = {
        "fp32": ("TYPE_FP32", np.float32, 1),
        "fp16": ("TYPE_FP16", np.float16, 2),
        "int32": ("TYPE_INT32", np.int32, 1),
    }
    macro, kind, width = kinds[case.dtype]
    return Program(
        _micro(**{macro: 1, "ITERATIONS": case.count("iterations")}),
        "fma_rate",
        (groups, 1, 1),
        (threads // width, 1, 1),
        {"y": ((groups * threads,), kind)},
        ("x",),
        shared_bytes=4 * case.count("words"),
    )


def _shared_read(case: Case) -> Program:
    words, groups, threads = case.count("words"), case.count("groups"), case.count("threads")
    source = _micro(WORDS=words, ITERATIONS=case.count("iterations"))
    outputs = {"y": ((groups * threads,), np.uint32)}
    stride = (np.uint32(case.count("stride")),)
    return Program(source, "shared_read", (groups, 1, 1), (threads, 1, 1), outputs, ("x",), stride, 4 * words)


def _gemm(case: Case) -> Program:
    """A thread computes one element (naive, tiled) or 4 x 4 (register)."""
    m, n, k = (case.count(name) for name in "mnk")
    side = {"gemm_naive": 16, "gemm_register": 64}.get(case.kernel) or case.count("tile")
    threads = 16 if case.kernel == "gemm_register" else side
    return Program(
        Source("gemm.cu", {"TILE": side if case.kernel == "gemm_tiled" else 16}),
        case.kernel,
        (-(-n // side), -(-m // side), 1),
        (threads, threads, 1),
        {"c": ((m, n), np.float32)},
        ("a", "b"),
        (np.int32(m), np.int32(n), np.int32(k)),
    )


def _library(case: Case) -> Program:
    """cuBLASLt's, on operands as layers hold them."""
    m, n = case.count("m"), case.count("n")
    kinds: dict[str, Any] = {"fp64": np.float64, "fp32": np.float32, "fp16": np.float16, "bf16": np.uint16}
    result = types_of(case.dtype).result_dtype
    outputs = {"c": ((m, n), kinds.get(result, np.int32))}
    one = (1, 1, 1)
    return Program(None, "cublasLtMatmul", one, one, outputs, ("a", "b"), transposed=B_BY_ROWS, result_dtype=result)


B_BY_ROWS = frozenset({"b"})
"""B is stored n x k, as the weights of layers are."""


def _sums(case: Case) -> Any:
    return np.int32 if operand_of(case.dtype).accumulator == "int" else np.float32


def _mma_sync(case: Case) -> Program:
    ctas = case.count("ctas")
    macros = mma_macros(case.dtype, case.count("k"))
    source = Source("tensor.cu", {**macros, "CHAINS": case.count("chains"), "ITERATIONS": case.count("iterations")})
    outputs = {"y": ((16, 8), _sums(case)), "cycles": ((ctas,), np.uint32)}
    return Program(source, "mma_sync", (ctas, 1, 1), (32 * case.count("warps"), 1, 1), outputs, ("a", "b"))


def _wgmma(case: Case) -> Program:
    ctas, n = case.count("ctas"), case.count("n")
    macros = wgmma_macros(case.dtype, n, a_in_shared=case.count("a_in_shared") == 1)
    loop = {"ITERATIONS": case.count("iterations"), "WAIT_EACH": case.count("wait_each")}
    outputs = {"y": ((64, n), _sums(case)), "cycles": ((ctas,), np.uint32)}
    return Program(Source("wgmma.cu", {**macros, **loop}), "wgmma", (ctas, 1, 1), (128, 1, 1), outputs, ("a", "b"))


def _dpx(case: Case) -> Program:
    function, threads = str(case.params["function"]), case.count("threads")
    unsigned = function.endswith(("u32", "s16x2", "s16x2_relu"))
    macros: dict[str, str | int] = {
        "FUNCTION": f"__{function}",
        "ELEMENT": "unsigned int" if unsigned else "int",
        "TERNARY": int(DPX[function][0] == 3),
        "ITERATIONS": case.count("iterations"),
    }
    outputs = {"y": ((threads,), np.int32), "cycles": ((1,), np.uint32)}
    return Program(Source("dpx.cu", macros), "dpx", (1, 1, 1), (threads, 1, 1), outputs, ("x",))


def _cluster(**macros: int) -> Source:
    return Source("cluster.cu", {"CLUSTER": 1, "WORDS": 1024, "ITERATIONS": 1, "LOAD_BYTES": 1024, **macros})


def _cluster_chase(case: Case) -> Program:
    cluster = case.count("cluster")
    outputs = {"y": ((cluster,), np.uint32), "cycles": ((cluster,), np.uint32)}
    source = _cluster(CLUSTER=cluster, WORDS=case.count("words"))
    loads = (np.uint32(case.count("loads")),)
    return Program(source, "cluster_chase", (cluster, 1, 1), (128, 1, 1), outputs, ("next",), loads)


def _cluster_read(case: Case) -> Program:
    ctas, threads = case.count("ctas"), case.count("threads")
    source = _cluster(CLUSTER=case.count("cluster"), WORDS=case.count("words"), ITERATIONS=case.count("iterations"))
    outputs = {"y": ((ctas * threads,), np.uint32)}
    return Program(source, "cluster_read", (ctas, 1, 1), (threads, 1, 1), outputs, ("x",))


def _bulk_copy(case: Case) -> Program:
    ctas, load = case.count("ctas"), case.count("load_bytes")
    outputs = {"y": ((ctas * 32,), np.uint32), "cycles": ((ctas,), np.uint32)}
    chunks = (np.uint32(case.count("bytes") // load),)
    return Program(_cluster(LOAD_BYTES=load), "bulk_copy", (ctas, 1, 1), (32, 1, 1), outputs, ("x",), chunks)


def _tensor_copy(case: Case) -> Program:
    """Boxes of a tensor, `stages` of them in flight a CTA."""
    ctas, stages, box, along = case.count("ctas"), case.count("stages"), box_of(case), boxes_of(case)
    macros = {f"BOX_{axis}": side for axis, side in zip("XYZ", (*box, 1), strict=False)}
    macros |= {"BOXES_X": along[0], "BOXES_Y": along[1], "RANK": len(box), "STAGES": stages}
    outputs = {"y": ((ctas * 32,), np.uint32), "cycles": ((ctas,), np.uint32)}
    return Program(
        Source("tensor_map.cu", macros),
        "tensor_copy",
        (ctas, 1, 1),
        (32, 1, 1),
        outputs,
        ("x",),
        (np.uint32(case.count("boxes")),),
        shared_bytes=stages * 4 * int(np.prod(box)),
        maps={"x": Tiled(tuple(n * side for n, side in zip(along, box, strict=True)), box)},
    )


PROGRAMS: Mapping[str, Callable[[Case], Program]] = MappingProxyType(
    {
        "launch": _launch,
        "stream": _stream,
        "pointer_chase": _chase,
        "fma": _fma,
        "shared_read": _shared_read,
        "gemm_naive": _gemm,
        "gemm_tiled": _gemm,
        "gemm_register": _gemm,
        "gemm_library": _library,
        "mma_sync": _mma_sync,
        "wgmma": _wgmma,
        "dpx": _dpx,
        "cluster_chase": _cluster_chase,
        "cluster_read": _cluster_read,
        "bulk_copy": _bulk_copy,
        "tensor_copy": _tensor_copy,
    }
)
"""By the variant's name, the `kernel` of its cases."""


def program_of(case: Case) -> Program:
    """The program of a case. Raises SimexploreError where there is no such variant."""
    if case.kernel not in PROGRAMS:
        raise SimexploreError(f"{case.key}: cuda has no kernel {case.kernel}; it has {', '.join(PROGRAMS)}")
    return PROGRAMS[case.kernel](case)
