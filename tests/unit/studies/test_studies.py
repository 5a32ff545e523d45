"""Studies: records with the promised keys, statuses that hold, and GPPerf on its own rows and on a twin of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simexplore.archs.load import load_arch, read_document
from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import gpperf as tables
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.estimate.operators import predict
from simexplore.sim.mapping.conv.transforms import with_simt_tiles
from simexplore.sim.studies import STUDIES, caveat, gpperf, reproduce, unseen
from simexplore.workloads.ops import Gemm, NaiveTiledGemm

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "measured"
KEYS = {"paper", "quantity", "unit", "published", "simulated", "ratio", "status", "source"}


def twin(folder: Path) -> None:
    """GPPerf's tables with made-up rows: times that the simulator predicts, 5 % too long, and watts a tenth too few.

    A third of the CUTLASS rows have another job afterwards, and 200 W or a little more; their order is that of no size.
    """
    rng = np.random.default_rng(0)
    m, n, k = (rng.choice([512, 1024, 2048], 400).astype(np.int64) for _ in range(3))
    gpu = with_simt_tiles(load_arch("nvidia/rtx-4070@facts"), gpperf.Tile(128, 128))
    told = predict(Gemm(m, n, k, dtype="fp32"), gpu, Conditions(cache=WARM, launch="stream"))
    seconds = told.time_s * 1.05
    flops = 2.0 * m * n * k
    used = np.arange(400) % 3 == 0
    power = np.where(
        np.arange(400) % 4 == 0, np.nan, np.where(used, 200.0 + np.arange(400) % 7, told.energy_j / told.time_s / 1.1)
    )
    columns = {"m": m, "n": n, "k": k, "blocksize1": 64, "blocksize2": 64, "blocksize3": 32, "runtime": seconds * 1e3}
    columns |= {
        "util": np.where(used, 90, 89),
        "power": power,
        "Energy": power * seconds,
        "TFlops": flops / seconds / 1e9,
    }
    pd.DataFrame(columns).to_csv(folder / gpperf.CUTLASS, index=False)
    tile = np.tile([1, 4, 8, 16, 32], 4)
    side = np.repeat([8192, 16384], 10)
    op, gpu = NaiveTiledGemm(side, side, side, tile), load_arch("nvidia/rtx-4070@facts")
    naive = predict(op, gpu, Conditions(launch="stream"))
    settled = predict(op, gpu, Conditions(launch="stream", runs_before=float("inf")))
    rows = {"source": "gpperf/twin", "device": "RTX4070", "op": "gemm_naive_tiled", "dtype": "fp32"}
    rows |= {"m": side, "n": side, "k": side, "tile": tile, "time_us": naive.time_s * 1e6}
    rows |= {"power_w": settled.energy_j / settled.time_s / 1.1}
    pd.DataFrame(rows).to_csv(folder / gpperf.TILED, index=False)


def test_an_unknown_study_names_the_nearest() -> None:
    with pytest.raises(SimexploreError, match=r"study: expected .*gpperf.*did you mean 'gpperf'"):
        reproduce("gpper")


def test_missing_tables_say_where_they_come_from(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(SimexploreError, match=r"gpperf: expected gpperf_RTX4070_\w+.csv .*github.com/pavlyhalim"):
            reproduce("gpperf", folder)


def test_every_study_has_a_module_and_published_figures() -> None:
    for name, study in STUDIES.items():
        assert study.title
        folder = study.module.rpartition(".")[0].replace(".", "/")  # published figures lie as the modules do
        assert (Path(gpperf.PUBLISHED).parent / folder / f"{name}.yaml").is_file()
        assert bool(study.files) == bool(study.where)


def test_gpperf_on_a_twin_of_its_tables(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the extra [forest] is not installed")
    twin(tmp_path)
    records = {record["quantity"]: record for record in reproduce("gpperf", tmp_path)}
    assert all(set(record) - {"reason"} == KEYS for record in records.values())  # a gap tells its reason
    simulated = {quantity: record["simulated"] for quantity, record in records.items()}
    own = next(value for quantity, value in simulated.items() if quantity.startswith("simulator, nothing fitted: mean"))
    naive = next(value for quantity, value in simulated.items() if "tiles 1 to 32, held-out rows" in quantity)
    assert own == pytest.approx(100 * (1 - 1 / 1.05), rel=1e-6)
    assert naive == pytest.approx(0.0, abs=1e-6)
    assert simulated["random forest: R2 of runtime"] > 0.9
    watts = [value for quantity, value in simulated.items() if "simulator" in quantity and "error of power" in quantity]
    assert watts == pytest.approx([10.0, 10.0], rel=1e-6)
    shown = next(value for quantity, value in simulated.items() if quantity.startswith("readings of power"))
    assert shown == pytest.approx(100 * 200 / 300)  # of 300 rows with a power a third have another job


@pytest.mark.parametrize(
    ("power", "found"), [(np.nan, "10 CUTLASS rows with a power or more, found 0"), (30.0, "all alike")]
)
def test_rows_that_tell_nothing_of_power_are_refused(tmp_path: Path, power: float, found: str) -> None:
    pytest.importorskip("sklearn", reason="the extra [forest] is not installed")
    twin(tmp_path)
    path = tmp_path / gpperf.CUTLASS
    pd.read_csv(path).assign(power=power).to_csv(path, index=False)
    with pytest.raises(SimexploreError, match=f"gpperf: .*{found}"):
        reproduce("gpperf", tmp_path)


def test_a_caveat_is_known_by_its_study() -> None:
    assert "after each CUTLASS run" in caveat("gpperf")
    assert caveat("ngpc") == caveat("gpper") == ""


def test_preparing_clips_before_it_drops_and_keeps_rows_with_a_power() -> None:
    frame = pd.DataFrame({name: np.arange(1.0, 201.0) for name in tables.CUTLASS_COLUMNS})
    frame.loc[100:, "power"] = np.nan
    rows = gpperf.prepared(frame)
    assert len(rows) == 100
    assert rows["runtime"].min() == pytest.approx(frame["runtime"].quantile(0.01))
    assert rows["Energy"].max() == pytest.approx(frame["Energy"][:100].quantile(0.99))


def test_rows_beside_another_job_are_left_out() -> None:
    frame = pd.DataFrame({"m": [128256, 128256, 512], "n": [2048, 2048, 2048], "k": [512, 1024, 1024]})
    assert tables.ran_alone(frame).tolist() == [True, False, True]


def test_a_table_without_its_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("m,n\n1,2\n", encoding="utf-8")
    with pytest.raises(SimexploreError, match="found none named 'k'"):
        tables.read_cutlass(path)
    with pytest.raises(SimexploreError, match="expected GPPerf's table"):
        tables.read_cutlass(tmp_path / "absent.csv")


def test_gpperf_on_its_own_rows() -> None:
    if not (SHARED / gpperf.CUTLASS).is_file():
        pytest.skip(f"no {gpperf.CUTLASS} beside the checkout")
    pytest.importorskip("sklearn", reason="the extra [forest] is not installed")
    figures = read_document(gpperf.PUBLISHED).data["figures"]
    bounds = [figure["ratio"] for figure in figures]
    assert [figure["key"] for figure in figures if figure["status"] == "input"] == ["naive_1", "naive_8"]
    records = reproduce("gpperf", SHARED)
    assert len(records) == len(bounds)
    for record, (least, most) in zip(records, bounds, strict=True):
        inside = least <= record["ratio"] <= most
        assert (record["status"] == "known_gap") != inside, record


def test_unseen_machines_are_predicted_from_their_families(tmp_path: Path) -> None:
    """Rows that the family itself predicts show no error; the machine as fitted would show one."""
    family, own = load_arch("nvidia/rtx-3090@family"), load_arch("nvidia/rtx-3090").physics_only()
    sizes = np.array([256, 1024, 4096])
    op, conditions = Gemm(sizes, sizes, sizes, dtype="bf16"), Conditions(launch="stream")
    rows = {"source": "made up", "device": "RTX 3090", "op": "gemm", "dtype": "bf16"}
    times, fitted = (predict(op, gpu, conditions).time_s for gpu in (family, own))
    assert np.all(np.abs(fitted / times - 1.0) > 1e-4)
    made = pd.DataFrame({**rows, **dict.fromkeys("mnk", sizes), "time_us": times * 1e6})
    impossible = made.tail(1).assign(time_us=1.0)
    pd.concat([made, impossible]).to_csv(tmp_path / "rows.csv", index=False)
    table = unseen.Table("nvidia/rtx-3090", "gemm", "rows.csv", 9.0)
    chosen, too_fast = unseen.sample(table, tmp_path, 2)
    assert (chosen.frame["m"].isin(sizes).sum(), too_fast) == (2, 1)
    (figure,) = unseen.figures([table, unseen.Table("nvidia/l40s", "gemm", "none.csv", 9.0)], tmp_path)
    assert (figure.errors.rows, figure.too_fast) == (3, 1)
    assert figure.errors.mape < 0.3
    with pytest.raises(SimexploreError, match=r"none\.csv"):
        list(unseen.figures([unseen.Table("nvidia/l40s", "gemm", "none.csv", 9.0)], tmp_path))


def test_every_machine_of_the_unseen_study_has_a_family() -> None:
    tables_of = unseen.tables()
    assert {table.arch for table in tables_of} >= {"nvidia/h100-sxm", "nvidia/a100-sxm-80gb", "nvidia/rtx-3090"}
    assert sum(bool(table.cubes) for table in tables_of) == 1
    assert all(table.most > 0 for table in tables_of)
