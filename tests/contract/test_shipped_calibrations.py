"""Calibrations that come with simexplore: they belong to the values beside them, are small, and say what they know."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import yaml

from simexplore.archs.load import is_as_calibrated, load_arch
from simexplore.archs.schema.residual import from_bytes, to_bytes
from simexplore.sim.estimate.intervals.standing import Standing, standing_of

MOST_ROWS = 4000
MOST_BYTES = 200_000
ARCHS = Path(__file__).parents[2] / "archs"
SUFFIX = ".residual.npz"
CALIBRATED = [str(each)[: -len(SUFFIX)] + ".yaml" for each in sorted(ARCHS.rglob(f"*{SUFFIX}"))]
"""Files with a correction of their own."""
NAMES = [str(Path(each).relative_to(ARCHS)) for each in CALIBRATED]


def engine_of(path: str) -> str | None:
    """Whose correction lies beside a file; None: that of the machine's first engine."""
    told = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    (engine,) = (
        name
        for name, data in {None: told, **told.get("engines", {})}.items()
        if "residual" in data.get("calibration", {})
    )
    return None if engine is None else str(engine)


def test_each_case_of_the_tool_of_spreads_is_a_machine_that_stands_elsewhere() -> None:
    """Files move and fits come: a case whose own rows were fitted tells nothing of what stands on others'."""
    tool = runpy.run_path(str(ARCHS.parent / "tools" / "fitting" / "calibrate-spread"))
    groups = "gemm bf16 graph", "attention_decode bf16 graph attention_module"
    for case in tool["CASES"]:
        gpu = tool["machine"](case, case.engines[0])
        assert all(standing_of(group, gpu) >= Standing.OTHER_BOARD for group in groups), case


def test_there_are_corrections() -> None:
    """Else the tests below would have nothing to say."""
    assert len(CALIBRATED) >= 12


@pytest.mark.parametrize("name", CALIBRATED, ids=NAMES)
def test_a_correction_belongs_to_the_values_beside_it(name: str) -> None:
    """Whoever changes a value must calibrate again: tools/fitting/calibrate-shipped."""
    assert is_as_calibrated(load_arch(name, engine=engine_of(name)))


@pytest.mark.parametrize("name", CALIBRATED, ids=NAMES)
def test_corrections_are_small_and_tell_their_rows_and_errors(name: str) -> None:
    calibration = load_arch(name, engine=engine_of(name)).calibration
    assert calibration is not None
    assert calibration.residual is not None
    assert calibration.date
    assert calibration.seed is not None
    assert calibration.data
    for group, correction in calibration.residual.corrections.items():
        assert 0 < calibration.rows[group] <= MOST_ROWS
        held_out = calibration.held_out[group]
        assert held_out.full_mape < held_out.physics_mape
        alone = to_bytes({group: correction}, calibration.residual.fingerprints[:0])
        assert len(alone) <= MOST_BYTES
        assert from_bytes(alone).corrections[group].features == correction.features
