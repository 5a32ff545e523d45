"""Other engines of a machine: what their sections change, what they leave, and how a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from simexplore.archs.engines import engines_of
from simexplore.archs.load import is_as_calibrated, load_arch, resolve
from simexplore.archs.schema.residual import to_bytes
from simexplore.errors import SimexploreError

KEY = "library.gemm.tensor.quantize_kernels"
FILE = """
extends: nvidia/h200-sxm
engines:
  mine:
    library: {gemm: {tensor: {quantize_kernels: 2.5}}}
    calibration: {sigma_log: {gemm: 0.11}, residual: vllm.npz}
  plain:
    library: {attention: null}
sources: {engines.mine: 'counted: a test', engines.plain: 'assumed: a test'}
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text(FILE, encoding="utf-8")
    (tmp_path / "vllm.npz").write_bytes(to_bytes({}, load_fingerprints()))
    return file


def load_fingerprints() -> npt.NDArray[np.uint64]:
    residual = load_arch("nvidia/h200-sxm").calibration.residual  # type: ignore[union-attr]
    assert residual is not None
    return residual.fingerprints[:3]


def test_an_engine_changes_what_its_section_says_and_nothing_else(machine: Path) -> None:
    first, other = load_arch(machine), load_arch(machine, engine="mine")
    assert (first.engine, other.engine) == ("trtllm", "mine")
    assert other.library.gemm.tensor.quantize_kernels == 2.5 != first.library.gemm.tensor.quantize_kernels
    assert other.library.gemm.simt == first.library.gemm.simt
    assert other.sm == first.sm
    assert load_arch(machine, engine="trtllm") == first
    assert other.is_of_other_engine
    assert not first.is_of_other_engine


def test_what_measurements_taught_of_other_kernels_is_left_out(machine: Path) -> None:
    first, other, plain = (load_arch(machine, engine=name) for name in (None, "mine", "plain"))
    assert first.calibration is not None
    assert first.calibration.residual is not None
    assert other.calibration is not None
    assert other.calibration.sigma_log == {"gemm": 0.11}
    assert other.calibration.residual is not None
    assert len(other.calibration.residual.fingerprints) == 3
    assert plain.calibration is not None
    assert plain.calibration.residual is None
    assert plain.calibration.sigma_log == {}
    assert plain.library.attention is None
    assert first.library.attention is not None


def test_a_source_of_an_engine_covers_its_values_alone(machine: Path) -> None:
    assert load_arch(machine, engine="mine").source_of(KEY) == "counted: a test"
    assert "counted" not in str(load_arch(machine).source_of(KEY))


def test_values_of_ones_own_come_after_the_engines(machine: Path) -> None:
    assert load_arch(machine, {KEY: "7"}, "mine").library.gemm.tensor.quantize_kernels == 7.0
    assert load_arch(machine, {KEY: "7"}, "plain").library.gemm.tensor.quantize_kernels == 7.0


def test_a_correction_of_the_first_engine_stays_its_own(machine: Path) -> None:
    """Engines that a file adds change no kernel of the first one."""
    assert is_as_calibrated(load_arch(machine))
    assert load_arch(machine).digest() == load_arch("nvidia/h200-sxm").digest()
    assert load_arch(machine, engine="mine").digest() != load_arch(machine).digest()


def test_facts_have_no_engine_that_was_fitted(machine: Path) -> None:
    assert engines_of(resolve(f"{machine}")) == ("trtllm", "vllm", "sglang", "torch", "mine", "plain")
    assert engines_of(resolve(f"{machine}@facts")) == ("trtllm", "vllm", "sglang", "torch")


def test_an_engine_that_a_machine_lacks_is_told_with_those_that_it_has(machine: Path) -> None:
    with pytest.raises(
        SimexploreError, match=r"one of its engines trtllm, vllm, sglang, torch, mine, plain, found 'vlm' \(did"
    ):
        load_arch(machine, engine="vlm")
    with pytest.raises(SimexploreError, match="none: its file lists no engines, found 'vllm'"):
        load_arch("cpu/lavapipe", engine="vllm")


def test_a_wrong_key_of_an_engine_is_found_before_anybody_asks_for_it(machine: Path) -> None:
    machine.write_text(FILE.replace("quantize_kernels", "quantise_kernels"), encoding="utf-8")
    with pytest.raises(SimexploreError, match=r"mine.yaml:5: library.gemm.tensor.quantise_kernels: expected one of"):
        load_arch(machine)
