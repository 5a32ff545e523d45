"""CUDA sources compile for four architectures without a GPU, where NVRTC is installed; and their index maps cover."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device
from simexplore.kernels.cuda.device import architecture_of, features_of
from simexplore.kernels.cuda.instructions import MMA_DEPTHS, OPERANDS, mma_macros, wgmma_macros
from simexplore.kernels.cuda.problems import DPX, PROBLEMS
from simexplore.kernels.cuda.programs import PROGRAMS, program_of
from simexplore.kernels.cuda.runtime.compiler import ARCHITECTURES, Source, compiled, nvrtc_version
from simexplore.kernels.cuda.runtime.encode import e4m3_values, encode
from simexplore.kernels.problems import draw, problem_of
from simexplore.kernels.suites import cases_of

CAPABILITIES = ((8, 0), (8, 6), (8, 9), (9, 0))
LIMITS = {"cores": 16.0, "l2_bytes": float(6 << 20), "shared_memory_bytes": 232448.0}


def gpu(major: int, minor: int) -> Device:
    return Device("cuda", 0, "any GPU", "discrete GPU", "none", features_of(major, minor) | {"cublas"}, LIMITS)


@cache
def all_cases(major: int, minor: int) -> list[Case]:
    return [case for suite in ("micro", "gemm", "hopper") for case in cases_of(suite, gpu(major, minor), 0)[0]]


def have_nvrtc() -> bool:
    try:
        nvrtc_version()
    except SimexploreError:
        return False
    return True


needs_nvrtc = pytest.mark.skipif(not have_nvrtc(), reason="NVRTC is not installed: pip install 'simexplore[cuda]'")


def extreme(case: Case) -> bool:
    """Of the widths of wgmma and the tiles of a GEMM, which differ by a number alone, the least and the largest."""
    if case.op == "wgmma":
        return case.count("n") in (8, 256)
    return case.params.get("tile", 1) in (1, 32)


@needs_nvrtc
@pytest.mark.parametrize("capability", CAPABILITIES, ids=ARCHITECTURES)
def test_every_source_of_every_suite_compiles(capability: tuple[int, int]) -> None:
    architecture = architecture_of(*capability)
    assert architecture in ARCHITECTURES
    programs = [program_of(case) for case in all_cases(*capability) if extreme(case)]
    sources = {(program.source.text, program.entry): program.source for program in programs if program.source}
    assert len(sources) > 15
    for (_, entry), source in sources.items():
        code = compiled(source, architecture)
        assert code.startswith(b"\x7fELF")
        assert entry.encode() in code


C_TYPES = {"u32": np.uint32, "u64": np.uint64, "int": np.int32}


def test_kernels_are_given_the_parameters_that_they_declare() -> None:
    """Pointers for outputs and inputs, scalars of the declared width, a map by value; and launches that an SM takes."""
    seen = set()
    for case in all_cases(9, 0):
        program = program_of(case)
        if program.source is None:
            continue
        declared = re.search(rf"\b{program.entry}\(([^)]*)\)", program.source.text)
        assert declared is not None, program.entry
        parameters = [text.strip().rsplit(" ", 1)[0] for text in declared.group(1).split(",")]
        operands = [*program.outputs, *program.inputs]
        assert len(parameters) == len(operands) + len(program.scalars), program.entry
        for name, kind in zip(operands, parameters, strict=False):
            assert kind.endswith("TensorMap" if name in program.maps else "*"), (program.entry, name, kind)
            assert kind.startswith("const") == (name in program.inputs), (program.entry, name, kind)
        for scalar, kind in zip(program.scalars, parameters[len(operands) :], strict=True):
            assert isinstance(scalar, C_TYPES[kind]), (program.entry, kind)
        assert np.prod(program.block) <= 1024
        assert program.shared_bytes <= LIMITS["shared_memory_bytes"]
        seen.add(program.entry)
    assert len(seen) > 15


@needs_nvrtc
def test_a_mistake_is_told_with_the_compilers_log() -> None:
    with pytest.raises(SimexploreError, match=r"(?s)micro.cu does not compile for sm_80: .*ITERATIONS"):
        compiled(Source("micro.cu"), "sm_80")


def test_every_kernel_and_problem_is_used_by_a_suite() -> None:
    cases = all_cases(9, 0)
    assert {case.kernel for case in cases} == set(PROGRAMS)
    assert {case.op for case in cases} == {*PROBLEMS, "copy", "gemm"}
    assert {case.op for case in all_cases(8, 0)} == {*PROBLEMS, "copy", "gemm"} - {
        "wgmma", "cluster_chase", "cluster_read", "bulk_copy", "tensor_copy",
    }  # fmt: skip
    assert not any(case.dtype == "fp8" for case in all_cases(8, 6))


@pytest.mark.parametrize(
    "case",
    {case.op: case for case in all_cases(9, 0) if case.work_bytes < 1 << 25 and case.work_flops < 1e9}.values(),
    ids=lambda case: case.op,
)
def test_references_have_the_shapes_of_the_outputs(case: Case) -> None:
    problem, program = problem_of(case, PROBLEMS), program_of(case)
    inputs = problem.inputs(case, np.random.default_rng(0))
    assert set(program.inputs) == set(inputs)
    for name, wanted in problem.expected(case, inputs).items():
        assert program.outputs[name][0] == wanted.shape


@pytest.mark.parametrize(("dtype", "k"), [(dtype, k) for dtype, depths in MMA_DEPTHS.items() for k in depths])
def test_fragments_of_mma_cover_their_matrices_once(dtype: str, k: int) -> None:
    """The index maps of tensor.cu, lane by lane."""
    macros = mma_macros(dtype, k)
    elements, a_registers, b_registers = (int(macros[name]) for name in ("ELEMENTS", "A_REGISTERS", "B_REGISTERS"))
    a, b, d = Counter[int](), Counter[int](), Counter[int]()
    for lane in range(32):
        g, t = divmod(lane, 4)
        for r in range(a_registers):
            at = (g + 8 * (r % 2)) * k + t * elements + 4 * elements * (r // 2)
            a.update(range(at, at + elements))
        for r in range(b_registers):
            b.update((t * elements + 4 * elements * r + i) * 8 + g for i in range(elements))
        d.update((g + 8 * (i // 2)) * 8 + t * 2 + i % 2 for i in range(4))
    assert a == Counter(range(16 * k))
    assert b == Counter(range(k * 8))
    assert d == Counter(range(16 * 8))


@pytest.mark.parametrize("n", [8, 64, 256])
def test_layouts_of_wgmma_cover_their_matrices_once(n: int) -> None:
    cores = Counter(row // 8 * 16 + half * 8 + row % 8 for row in range(n) for half in range(2))
    assert cores == Counter(range(2 * n))
    results = Counter(
        (16 * warp + lane // 4 + 8 * (i // 2 % 2)) * n + i // 4 * 8 + lane % 4 * 2 + i % 2
        for warp in range(4) for lane in range(32) for i in range(n // 2)
    )  # fmt: skip
    assert results == Counter(range(64 * n))


def test_instructions_that_do_not_exist_are_refused() -> None:
    with pytest.raises(SimexploreError, match="k of"):
        mma_macros("fp16", 32)
    with pytest.raises(SimexploreError, match="steps of 8"):
        wgmma_macros("fp16", 12, a_in_shared=True)
    with pytest.raises(SimexploreError, match="not fp64"):
        wgmma_macros("fp64", 8, a_in_shared=True)
    with pytest.raises(SimexploreError, match="cuda has no kernel"):
        program_of(Case("gemm", {"m": 8, "n": 8, "k": 8, "dtype": "fp32"}, "gemm_magic"))
    with pytest.raises(SimexploreError, match="whole vectors"):
        program_of(Case("copy", {"elements": 3, "dtype": "fp32"}, "stream", {"threads": 32}))


@pytest.mark.parametrize("dtype", OPERANDS)
def test_stored_operands_have_their_size_and_value(dtype: str) -> None:
    numbers = draw(np.random.default_rng(0), 1000, dtype)
    stored = encode(numbers, dtype)
    assert stored.itemsize == OPERANDS[dtype].bytes
    if dtype == "bf16":
        assert np.array_equal((stored.astype(np.uint32) << 16).view(np.float32), numbers)
    if dtype == "fp8":
        values = e4m3_values()[stored & 127] * np.where(stored & 128, -1.0, 1.0)
        assert np.array_equal(values, numbers)


def test_e4m3_is_that_of_its_specification() -> None:
    values = e4m3_values()
    assert (values[0], values[1], values[8], values[56], values[126]) == (0.0, 2.0**-9, 2.0**-6, 1.0, 448.0)
    assert np.all(np.diff(values) > 0)
    with pytest.raises(ValueError, match="does not hold"):
        encode(np.array([0.3], dtype=np.float32), "fp8")


def test_dpx_references_wrap_and_work_on_halves() -> None:
    a, b, c = (np.array([word], dtype=np.int32) for word in (0x7FFF0001, 0x00010002, 0x00000000))
    assert DPX["viaddmax_s16x2"][1](a, b, c)[0] == 0x00000003, "32767 + 1 wraps to -32768, and 0 is more"
    assert DPX["viaddmax_s32"][1](a, b, c)[0] == 0, "the sum wraps below zero"
    assert DPX["viaddmax_u32"][1](a, b, c).view(np.uint32)[0] == 0x80000003
    negative = np.array([-5], dtype=np.int32)
    assert DPX["vimax_s32_relu"][1](negative, negative)[0] == 0
    assert DPX["vimax3_s32"][1](negative, negative - 1, negative + 2)[0] == -3
