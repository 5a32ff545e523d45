"""What several teachers share is found, and given to a pupil over its own facts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simexplore.archs.fields import field_of, with_columns
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import Measurements
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.estimate.operators import physics
from simexplore.sim.learn.family import teach
from simexplore.sim.learn.overlay import Provenance, write_taught
from simexplore.workloads.ops import Add

pytest.importorskip("scipy", reason="the extra [calibrate] is not installed")

PATH = "library.elementwise.setup_round_trips"
H200, L40S, PUPIL = (load_arch(f"nvidia/{name}@facts") for name in ("h200-sxm", "l40s", "a100-sxm-80gb"))


def read(gpu: Gpu) -> float:
    return float(field_of(PATH, gpu).read(gpu))


def rows(gpu: Gpu, factor: float, pace: float = 1.0) -> Measurements:
    """Sums that a machine would take if its starts were so many times as long, on a board of such a pace."""
    field = field_of(PATH, gpu)
    slower = with_columns(gpu, {field: factor * float(field.read(gpu))})
    assert isinstance(slower, Gpu)
    elements = np.unique(np.geomspace(1e3, 1e8, 80).astype(np.int64))
    seconds = physics(Add(elements=elements, dtype="fp32"), slower, Conditions(cache=WARM, launch="stream")).time_s
    text = {"source": "made up", "device": gpu.name, "op": "add", "dtype": "fp32"}
    return Measurements(
        pd.DataFrame({**text, "elements": elements.astype(np.float64), "time_us": pace * seconds * 1e6})
    )


def test_a_factor_of_all_teachers_is_the_pupils() -> None:
    taught = teach(PUPIL, [(H200, rows(H200, 6.0)), (L40S, rows(L40S, 6.0))], rows=80)
    assert taught.values[PATH] == pytest.approx(6.0 * read(PUPIL), rel=0.15)
    assert read(taught.gpu) == pytest.approx(taught.values[PATH])
    assert taught.sigma_log["add"] < 0.05


def test_what_boards_differ_in_teaches_nothing() -> None:
    taught = teach(PUPIL, [(H200, rows(H200, 6.0, 1.1)), (L40S, rows(L40S, 6.0, 0.9))], rows=80)
    assert taught.values[PATH] == pytest.approx(6.0 * read(PUPIL), rel=0.2)
    assert not [path for path in taught.values if path.startswith(("dram.", "sm.", "l2.", "power.", "clock."))]


def own(gpu: Gpu, factor: float) -> Gpu:
    """A machine whose own fit has starts that are so many times as long as its facts say."""
    fitted = with_columns(gpu, {field_of(PATH, gpu): factor * read(gpu)})
    assert isinstance(fitted, Gpu)
    return fitted


@pytest.mark.parametrize(
    ("factors", "expected", "deviation"),
    [
        # One that asks for far more than the others is not heard.
        ((3.0, 6.0, 24.0), 6.0, (np.log(2.0) + np.log(4.0)) / 3.0),
        # Where one kept its source, the source has a voice.
        ((3.0, 6.0, 1.0), 3.0, (np.log(2.0) + np.log(3.0)) / 3.0),
        ((4.0, 0.5, 1.0), None, None),
        ((1.0, 1.0, 4.0), None, None),
    ],
)  # fmt: skip
def test_the_median_of_own_fits_is_the_pupils(
    factors: tuple[float, float, float], expected: float | None, deviation: float | None
) -> None:
    teachers = (H200, L40S, load_arch("nvidia/rtx-3090@facts"))
    pairs = [(teacher, rows(teacher, 1.0)) for teacher in teachers]
    fits = [own(teacher, factor) for teacher, factor in zip(teachers, factors, strict=True)]
    if expected is None:
        with pytest.raises(SimexploreError, match="nothing to teach"):
            teach(PUPIL, pairs, rows=80, own=fits)
        return
    taught = teach(PUPIL, pairs, rows=80, own=fits)
    assert set(taught.values) == {PATH}
    assert taught.values[PATH] == pytest.approx(expected * read(PUPIL))
    assert taught.uncertainty[PATH] == pytest.approx(deviation)
    assert taught.uncertainty["library.elementwise.l2_rate"] is None
    assert taught.sigma_log["add"] > 0.01


def test_a_median_stays_within_the_bounds_of_its_parameter() -> None:
    taught = teach(PUPIL, [(H200, rows(H200, 1.0))] * 3, rows=80, own=[own(H200, 1e4)] * 3)
    assert taught.values[PATH] == pytest.approx(60.0 * read(PUPIL))


def test_the_file_tells_whose_rows_and_of_which_types(tmp_path: Path) -> None:
    taught = teach(PUPIL, [(H200, rows(H200, 6.0)), (L40S, rows(L40S, 6.0))], rows=40)
    assert {op: [gpu.name for gpu in gpus] for op, gpus in taught.teachers.items()} == {"add": [H200.name, L40S.name]}
    names, provenance = ["nvidia/h200-sxm", "nvidia/l40s"], Provenance("mine", ("made up",), 40, 0, "2026")
    path = write_taught(tmp_path / "taught.yaml", taught, "mine", names, provenance)
    told = read_document(path).data["calibration"]
    assert {name.split()[1] for name in told["sigma_log"]} == {"bf16", "fp16"}
    assert told["teachers"].keys() == told["sigma_log"].keys()
    first, second = told["teachers"]["add bf16 graph"]
    assert (first["machine"], first["generation"], second["chip"]) == (H200.name, "hopper", "AD102")


def test_without_rows_nothing_is_taught() -> None:
    with pytest.raises(SimexploreError, match="nothing to teach"):
        teach(PUPIL, [])
