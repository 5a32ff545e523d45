"""Calibration on rows made up by bending the physics: what is learned, what is written, and what is never counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_up_rows import NOISE, UNKNOWN_SOURCE, gemms

import simexplore
from simexplore.archs.load import is_as_calibrated, load_arch, resolved
from simexplore.archs.schema.calibration import Calibration
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import operator_columns
from simexplore.sim.compare.comparison import conditions_in
from simexplore.sim.estimate.correction import by_thirds, sum_of_trees
from simexplore.sim.estimate.operators import physics, predict
from simexplore.sim.learn import calibration
from simexplore.sim.learn import correction as residual_fit
from simexplore.sim.learn.calibration import Calibrated, calibrate
from simexplore.sim.learn.leaving import quantiles
from simexplore.sim.learn.overlay import Provenance, extends_from, write_overlay
from simexplore.sim.report.error_charts import held_by_interval
from simexplore.workloads.ops import Gemm

pytest.importorskip("sklearn", reason="the extra [calibrate] is not installed")

BASE = "nvidia/h100-pcie"
GROUP = "gemm bf16 stream"
OP = Gemm(m=2048, n=1024, k=512)
ROWS = 900
LEARNED = 300


@pytest.fixture(scope="module", autouse=True)
def few_trees() -> Iterator[None]:
    """What is bent here takes fewer trees than real kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(residual_fit, "SETTINGS", (residual_fit.Setting(3, 25, 0.3),))
        patch.setattr(residual_fit, "SLOW_SETTINGS", (residual_fit.Setting(2, 20, 0.1),))
        yield


@pytest.fixture(scope="module")
def base() -> Gpu:
    return load_arch(BASE).physics_only()


@pytest.fixture(scope="module")
def learned(base: Gpu) -> Calibrated:
    return calibrate(BASE, gemms(base, ROWS), rows=0, residual_rows=LEARNED, seed=1)


@pytest.fixture(scope="module")
def overlay(learned: Calibrated, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("overlay") / "mine.yaml"
    write_overlay(path, learned, Provenance(BASE, ("made up",), 0, 1, "2030-01-02"))
    return path


def test_trees_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    x = random.integers(0, 20, size=(400, 4)).astype(np.float32)
    y = np.sin(x[:, 0]) + (x[:, 1] > 7) * x[:, 2]
    models = [residual_fit.booster(residual_fit.Setting(5, 40, 0.1), seed).fit(x, y) for seed in range(2)]
    expected = np.mean([model.predict(x) for model in models], axis=0)
    np.testing.assert_allclose(sum_of_trees(residual_fit.trees_of(models, x), x), expected, atol=1e-5)


def test_each_length_is_covered_for_itself() -> None:
    """Scores of long kernels spread five times as wide: one width for all holds too many short ones, too few long."""
    random = np.random.default_rng(0)
    length = random.uniform(-20.0, -10.0, 20_000)
    scores = np.abs(random.normal(size=length.size)) * np.exp((length + 15.0) / 6.0)
    knots, widths = residual_fit._by_length(scores, length)
    held = scores <= np.interp(length, knots, widths)
    common = scores <= quantiles.covering(scores)
    for part in (length < -17.0, length > -13.0):
        assert np.mean(held[part]) == pytest.approx(quantiles.COVERAGE, abs=0.03)
        assert abs(np.mean(common[part]) - quantiles.COVERAGE) > 0.1


def test_few_rows_and_equal_lengths_share_one_width() -> None:
    scores = np.arange(1.0, 101.0)
    knots, widths = residual_fit._by_length(scores, np.ones(100))
    assert (knots.tolist(), widths.tolist()) == ([0.0], [81.0])
    _, few = residual_fit._by_length(scores[:60], np.arange(60.0))
    own = [quantiles.covering(part) for part in np.array_split(scores[:60], 5)]
    common = quantiles.covering(scores[:60])
    assert np.all(np.abs(np.log(few / common)) < 0.3 * np.abs(np.log(np.array(own) / common)))


def test_left_out_errors_are_scaled_along_the_learning_curve() -> None:
    errors = {rows: np.full(10, rows**-0.3) for rows in (0.5, 0.9, 1.0)}
    assert residual_fit._with_all_rows(errors[0.9], errors[0.5]) == pytest.approx(errors[1.0][0] / errors[0.9][0])
    assert residual_fit._with_all_rows(errors[0.5], errors[0.9]) == 1.0


def test_what_was_bent_is_straightened(learned: Calibrated) -> None:
    group = learned.groups[GROUP]
    assert (group.rows, group.op) == (LEARNED, "gemm")
    held = group.held_out
    assert held is not None
    assert held.rows == ROWS - LEARNED
    assert held.physics_mape > 0.1
    assert NOISE * 0.7 < held.full_mape < 2.0 * NOISE
    assert 0.72 <= held.coverage <= 0.92
    assert np.mean(held.coverage_by_size) == pytest.approx(held.coverage, abs=1e-3)
    assert all(0.68 <= share <= 0.95 for share in held.coverage_by_size)
    assert group.sigma_log is not None
    assert 0.1 < group.sigma_log < 0.5


def test_coverage_is_told_of_each_third_by_size() -> None:
    inside = np.array([True, False, True, True, False, False, True])
    assert by_thirds(inside, np.array([7.0, 1.0, 5.0, 4.0, 2.0, 3.0, 6.0])) == (0.0, 1.0, 1.0)
    assert by_thirds(inside[:2], np.ones(2)) == ()


def test_the_same_seed_learns_the_same(base: Gpu, learned: Calibrated, overlay: Path, tmp_path: Path) -> None:
    again = calibrate(BASE, gemms(base, ROWS), rows=0, residual_rows=LEARNED, seed=1)
    paths = write_overlay(tmp_path / "mine.yaml", again, Provenance(BASE, ("made up",), 0, 1, "2030-01-02"))
    assert [path.read_bytes() for path in paths] == [
        path.read_bytes() for path in (overlay, overlay.with_name("mine.residual.npz"))
    ]


def test_the_overlay_is_a_machine_that_carries_its_correction(base: Gpu, overlay: Path) -> None:
    gpu = load_arch(overlay)
    alone = physics(OP, base, UNKNOWN_SOURCE).time_s[0]
    assert predict(OP, gpu, UNKNOWN_SOURCE).time_s[0] == pytest.approx(1.4 * alone, rel=3 * NOISE)
    assert gpu.calibration is not None
    assert (gpu.calibration.date, gpu.calibration.seed, gpu.calibration.rows) == ("2030-01-02", 1, {GROUP: LEARNED})
    assert "made up" in str(gpu.source_of("calibration.sigma_log"))
    assert overlay.with_name("mine.residual.npz").stat().st_size <= 200_000


def test_rows_that_were_fitted_on_are_not_counted(base: Gpu, overlay: Path) -> None:
    result = simexplore.compare(overlay, gemms(base, ROWS))
    assert (result.fitted_rows, result.total.rows) == (LEARNED, ROWS - LEARNED)
    held = load_arch(overlay).calibration
    assert held is not None
    assert result.total.mape == pytest.approx(held.held_out[GROUP].full_mape, rel=0.01)
    assert result.total.interval_coverage == pytest.approx(held.held_out[GROUP].coverage, abs=0.01)
    assert held.held_out[GROUP].coverage_by_size == pytest.approx(
        by_thirds(held_by_interval(result.table), result.table["time_us"].to_numpy()), abs=0.03
    )
    assert not result.warnings
    alone = simexplore.compare(load_arch(overlay).physics_only(), gemms(base, ROWS))
    assert alone.fitted_rows == LEARNED
    assert alone.total.mape == pytest.approx(held.held_out[GROUP].physics_mape, rel=0.01)


def test_a_machine_that_was_fitted_on_every_row_has_no_error_to_tell(base: Gpu, overlay: Path) -> None:
    known = load_arch(overlay)
    assert known.calibration is not None
    rows = gemms(base, ROWS)
    everything = calibrate(BASE, rows, rows=0, residual_rows=0)
    assert everything.groups[GROUP].correction is None
    fitted = simexplore.compare(known, rows).table[["m", "n", "k"]]
    seen = rows.frame.merge(fitted, how="left", on=["m", "n", "k"], indicator=True)["_merge"] == "left_only"
    only = simexplore.kernels.measurement.Measurements(rows.frame[seen.to_numpy()].reset_index(drop=True))
    with pytest.raises(SimexploreError, match=rf"the machine was fitted on them \({LEARNED} rows\)"):
        simexplore.compare(known, only)


def test_a_variant_keeps_the_correction_faded_and_the_memory(base: Gpu, overlay: Path) -> None:
    other = load_arch(overlay, {"sm.count": "100"})
    assert not is_as_calibrated(other)
    whole, faded = (predict(OP, gpu, UNKNOWN_SOURCE).correction[0] for gpu in (load_arch(overlay), other))
    assert 1.0 < faded < whole
    result = simexplore.compare(other, gemms(base, ROWS))
    assert result.fitted_rows == LEARNED
    assert any("other values than its correction was learned with" in warning for warning in result.warnings)
    renamed = load_arch(overlay, {"name": "Mine"})
    assert predict(OP, renamed, UNKNOWN_SOURCE).correction[0] != 1.0


def test_fitted_values_are_written_with_unit_and_source(
    base: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(gpu: Gpu, *_: Any) -> SimpleNamespace:
        values = {"l2.capacity": 41234567.0, "dram.efficiency": 0.7654321}
        uncertainty = {"l2.capacity": 0.03, "dram.efficiency": 0.1, "sm.l2_port": None}
        return SimpleNamespace(
            gpu=gpu, values=values, uncertainty=uncertainty, fitted_rows=np.arange(40), families=(), optimism={}
        )

    monkeypatch.setattr(calibration, "fit_physics", fit)
    result = calibrate(BASE, gemms(base, 200), rows=40, residual_rows=80)
    assert result.groups[GROUP].rows == 80
    path, _ = write_overlay(tmp_path / "mine.yaml", result, Provenance(BASE, ("a", "b"), 40, 0, "2030-01-02"))
    gpu = load_arch(path)
    assert is_as_calibrated(gpu)
    assert gpu.l2.capacity_bytes == 41.23e6
    assert gpu.dram.efficiency == 0.7654
    assert gpu.source_of("l2.capacity") == "calibrated: a, b, at most 40 rows a family, seed 0, 2030-01-02; ± 3 %"
    text = path.read_text(encoding="utf-8")
    assert "capacity: 41.23 MB" in text
    assert "cannot see, or drive to a bound, sm.l2_port" in text


def test_an_overlay_of_an_overlay_remembers_both(base: Gpu, overlay: Path) -> None:
    """The second calibration is of another family and lies in a folder of its own."""
    second = overlay.parent / "below" / "second.yaml"
    second.parent.mkdir()
    half = calibrate(str(overlay), gemms(base, 200, seed=7, dtype="fp16"), rows=0, residual_rows=100)
    write_overlay(second, half, Provenance(str(overlay), ("more",), 0, 0, "2030-01-03"))
    assert extends_from(second, str(overlay)) == "../mine.yaml"
    gpu = load_arch(second)
    assert gpu.calibration is not None
    assert gpu.calibration.residual is not None
    assert len(gpu.calibration.residual.fingerprints) == LEARNED + 100
    assert set(gpu.calibration.rows) == set(gpu.calibration.held_out) == {GROUP, "gemm fp16 stream"}
    assert set(gpu.calibration.residual.corrections) == {GROUP, "gemm fp16 stream"}
    assert gpu.calibration.data == ("made up", "more")
    assert "calibrated: made up, more," in str(gpu.source_of("calibration.rows"))
    at = predict(OP, load_arch(overlay), UNKNOWN_SOURCE), predict(OP, gpu, UNKNOWN_SOURCE)
    assert at[0].time_s[0] == at[1].time_s[0] != physics(OP, base, UNKNOWN_SOURCE).time_s[0]


@pytest.mark.parametrize(
    ("path", "value", "stays"), [("library.moe.l2_rate", 0.5, True), ("dram.latency", 9e-7, False)]
)
def test_a_correction_stays_where_no_value_that_it_stands_on_was_fitted(
    base: Gpu, overlay: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, value: float, stays: bool
) -> None:
    found = SimpleNamespace(values={path: value}, uncertainty={}, fitted_rows=np.arange(9), families=(), optimism={})
    monkeypatch.setattr(calibration, "fit_physics", lambda *_: found)
    result = calibrate(str(overlay), gemms(base, 100, seed=7, dtype="fp16"), rows=9, residual_rows=0)
    assert list(result.stayed) == ([GROUP] if stays else [])
    second, _ = write_overlay(tmp_path / "second.yaml", result, Provenance(str(overlay), ("more",), 9, 0, "2030-01-03"))
    told = load_arch(second).calibration
    assert told is not None
    assert (GROUP in told.rows, GROUP in told.held_out) == (stays, stays)


def test_other_engines_keep_their_values_where_they_are_apart(
    base: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = "library.moe.l2_rate"
    found = SimpleNamespace(values={moved: 0.5}, uncertainty={}, fitted_rows=np.arange(9), families=(), optimism={})
    monkeypatch.setattr(calibration, "fit_physics", lambda *_: found)
    result = calibrate(BASE, gemms(base, 60), rows=9, residual_rows=0)
    for apart in (False, True):
        told = Provenance(BASE, ("made up",), 9, 0, "2030-01-02", apart=apart)
        path, _ = write_overlay(tmp_path / "mine.yaml", result, told)
        first, other = load_arch(path), load_arch(path, engine="vllm")
        before = load_arch(BASE, engine="vllm")
        assert first.library.moe.l2_rate == 0.5  # type: ignore[union-attr]
        assert other.library.moe.l2_rate == (before.library.moe.l2_rate if apart else 0.5)  # type: ignore[union-attr]
        assert (other.source_of(f"engines.vllm.{moved}") == before.source_of(moved)) is apart


def test_sources_run_at_a_pace_of_their_own(base: Gpu) -> None:
    rows = gemms(base, 400, seed=5)
    frame = rows.frame.copy()
    slow = np.arange(len(frame)) % 4 == 0
    frame.loc[slow, "source"] = "slow"
    frame.loc[slow, "time_us"] *= 1.21
    (group,) = _groups(base, replace(rows, frame=frame)).values()
    paces = calibration._paces(group, group.positions, base)
    assert paces["slow"] / paces["made up"] == pytest.approx(1.21, rel=0.02)
    assert paces["slow"] * paces["made up"] == pytest.approx(1.0, rel=1e-3)
    known = base.model_copy(update={"calibration": Calibration(pace={GROUP: paces})})
    for column in operator_columns(replace(rows, frame=frame))[0]:
        assert conditions_in(column, known).pace == paces[column.source]
    straight = group.at(paces, base)
    both = [np.median(straight.log_ratio[straight.sources == source]) for source in ("slow", "made up")]
    assert both[0] == pytest.approx(both[1], abs=0.02)


def test_one_source_has_no_pace(base: Gpu) -> None:
    (group,) = _groups(base, gemms(base, 60)).values()
    assert calibration._paces(group, group.positions, base) == {}


def test_a_handful_of_rows_learns_no_correction(base: Gpu) -> None:
    result = calibrate(BASE, gemms(base, 14), rows=0)
    group = result.groups[GROUP]
    assert group.rows == 11
    assert group.correction is None


def test_few_rows_learn_one_shift_for_all(base: Gpu) -> None:
    result = calibrate(BASE, gemms(base, 400), rows=0, residual_rows=50)
    group = result.groups[GROUP]
    assert group.correction is not None
    assert group.correction.shift.feature.tolist() == [-1]
    assert group.correction.shift.value[0] > 0.0
    assert group.held_out is not None
    assert group.held_out.full_mape < group.held_out.physics_mape


def test_a_calibration_that_fitted_nothing_of_a_group_loads_and_says_nothing_of_it(base: Gpu, tmp_path: Path) -> None:
    result = calibrate(BASE, gemms(base, 50), rows=0, residual_rows=0)
    assert result.groups[GROUP].rows == 0
    path, _ = write_overlay(tmp_path / "mine.yaml", result, Provenance(BASE, ("made up",), 0, 0, "2030-01-02"))
    told = load_arch(path).calibration
    assert told is not None
    assert (told.rows, told.held_out) == ({}, {})
    assert simexplore.compare(path, gemms(base, 50)).total.rows == 50


def test_progress_ends_at_the_end_and_never_goes_back(base: Gpu) -> None:
    told: list[float] = []
    calibrate(BASE, gemms(base, 120), rows=0, progress=lambda done, total: told.append(done / total))
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


def test_nothing_that_can_be_predicted_is_a_mistake(base: Gpu) -> None:
    rows = gemms(base, 30)
    rows.frame["op"] = "fft2d"
    with pytest.raises(SimexploreError, match="nothing to calibrate"):
        calibrate(BASE, rows, rows=0)


def test_a_residual_that_is_missing_is_told_by_line(overlay: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.yaml"
    alone.write_text(overlay.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(SimexploreError, match=r"alone\.yaml:\d+: calibration\.residual: expected a file that exists"):
        load_arch(alone)
    (tmp_path / "mine.residual.npz").write_bytes(b"nonsense")
    with pytest.raises(SimexploreError, match=r"expected an \.npz that simexplore calibrate wrote"):
        load_arch(alone)


def test_an_engine_is_fitted_on_its_own_rows_and_writes_its_own_section(base: Gpu, tmp_path: Path) -> None:
    machine, mine = tmp_path / "two.yaml", tmp_path / "mine.yaml"
    machine.write_text(
        "extends: nvidia/h100-pcie\nengines: {vllm: {library: {gemm: {setup_round_trips: 20}}}}\n"
        "sources: {engines.vllm: 'assumed: a test'}\n",
        encoding="utf-8",
    )
    table = gemms(base, 200)
    half = table.frame.index % 2 == 0
    frame = table.frame.assign(source=np.where(half, "theirs", "others"))
    known = {"theirs": "vllm", "others": "sglang"}
    told = Measurements(frame, lambda source, op: replace(table.conditions_of(source, op), engine=known[source]))
    result = simexplore.calibrate(str(machine), told, mine, rows=24, residual_rows=0, engine="vllm")
    assert result.refused == {"rows of sglang, not vllm": int(np.sum(~half))}
    assert result.values
    assert all(key.startswith("library.") for key in result.values)
    written = resolved(mine)["engines"]["vllm"]
    assert written["calibration"]["machine"] == load_arch(mine, engine="vllm").digest()
    assert load_arch(mine).library == load_arch(machine).library
    assert load_arch(mine, engine="vllm").library != load_arch(machine, engine="vllm").library


def _groups(gpu: Gpu, rows: Measurements) -> dict[str, Any]:
    return calibration._groups(gpu, rows, np.zeros(0, dtype=np.intp), np.random.default_rng(0))[0]


def test_a_large_table_is_looked_at_in_part_and_fitted_rows_are_in_it(
    base: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "MOST_OF_COLUMN", 20)
    used = np.array([3, 50, 59])
    (group,) = calibration._groups(base, gemms(base, 60), used, np.random.default_rng(0))[0].values()
    assert len(group.positions) == 23 == len(np.unique(group.positions))
    assert set(used) <= set(group.positions.tolist())
