"""What of Vulkan needs no Vulkan: shaders and their manifest, suites, and what is said where it is missing."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from vulkan_here import a_cpu, a_gpu

from simexplore.errors import SimexploreError
from simexplore.kernels.backend import Report, backend_of, no_device
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
    assert {path.stem for path in shaders.FOLDER.glob("*.spv")} == set(shaders.VARIANTS)
    assert {path.name for path in shaders.FOLDER.glob("*.comp")} == {source for source, _ in shaders.VARIANTS.values()}


@pytest.mark.skipif(shutil.which(shaders.COMPILER) is None, reason="apt-get install glslang-tools")
@pytest.mark.parametrize("shader", shaders.VARIANTS)
def test_sources_compile(shader: str, tmp_path: Path) -> None:
    assert len(shaders.compile_shader(shader, tmp_path / "shader.spv")) > 100


@pytest.mark.skipif(shutil.which(shaders.COMPILER) is None, reason="apt-get install glslang-tools")
def test_a_mistake_in_a_shader_is_the_compilers_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.comp").write_text("#version 450\nvoid main() { y = 1; }\n")
    monkeypatch.setattr(shaders, "FOLDER", tmp_path)
    monkeypatch.setattr(shaders, "VARIANTS", {"wrong": ("wrong.comp", ())})
    with pytest.raises(SimexploreError, match=r"wrong\.comp: .*'y' : undeclared"):
        shaders.compile_shader("wrong", tmp_path / "wrong.spv")


@pytest.mark.parametrize("device", [a_cpu(), a_gpu()], ids=["cpu", "gpu"])
@pytest.mark.parametrize("suite", suites_of("vulkan"))
def test_suites_are_complete(suite: str, device) -> None:  # type: ignore[no-untyped-def]
    able, unable = cases_of(suite, device, seed=1)
    assert all(case.requires == {"fp16"} for case in unable)
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
        "from simexplore.kernels.backend import backend_of\n"
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
