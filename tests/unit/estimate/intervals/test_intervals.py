"""Where a prediction stands, which kind its rows are of, and that no interval narrows with distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simexplore.archs.load import load_arch
from simexplore.archs.schema.calibration import Calibration, Teacher
from simexplore.archs.schema.residual import Kinds
from simexplore.sim.estimate.intervals.kinds import kinds_of, unseen
from simexplore.sim.estimate.intervals.standing import Standing, distance, sigma_at, standing_of
from simexplore.sim.learn.leaving.few import student_80
from simexplore.sim.learn.leaving.quantiles import Table, covering, covering_groups, drawn_to, rising, share_kept
from simexplore.workloads.ops import AttentionDecode, Gemm

GROUP = "gemm bf16 graph"
STEPS = [step for step in Standing if Standing.OTHER_KIND <= step <= Standing.OTHER_ENGINE]


def test_kinds_of_attention_are_not_lumped() -> None:
    op = AttentionDecode(
        batch=np.full(5, 4), heads=np.array([32, 32, 32, 32, 8]), kv_heads=np.array([8, 8, 8, 32, 8]),
        head_dim=np.array([128, 64, 128, 128, 128]), seq_kv=np.full(5, 512), window=np.array([0, 0, 128, 0, 0]),
    )  # fmt: skip
    kinds = kinds_of(op)
    assert kinds["head_dim"].tolist() == [128, 64, 128, 128, 128]
    assert kinds["window"].tolist() == [0, 0, 1, 0, 0]
    assert kinds["group"].tolist() == [2, 2, 2, 0, 0]


def test_kinds_of_gemm_know_one_row_and_alignment() -> None:
    kinds = kinds_of(Gemm(m=np.array([1, 2, 16, 17]), n=np.array([64, 64, 8, 30]), k=np.array([64, 64, 64, 64])))
    assert kinds["rows"].tolist() == [0, 1, 1, 2]
    assert kinds["alignment"].tolist() == [3, 3, 2, 1]
    first, second = kinds_of(Gemm(m=64, n=64, k=64)), kinds_of(Gemm(m=64, n=64, k=512))
    assert first["corner"] != second["corner"]


def test_an_unseen_kind_keeps_the_least_and_is_the_widest() -> None:
    kinds = Kinds(
        ("head_dim", "window"), np.array([0, 1], dtype=np.int32), np.array([128, 0]),
        np.array([0.2, 0.3]), np.array([0.5, 0.25]),
    )  # fmt: skip
    columns = {"kind head_dim": np.array([128.0, 64.0, 64.0]), "kind window": np.array([0.0, 0.0, 1.0])}
    keep, width = unseen(kinds, columns)
    assert keep.tolist() == [1.0, 0.5, 0.25]
    assert width.tolist() == [0.0, 0.2, 0.3]


@given(
    known=st.floats(0.01, 1.0),
    spread=st.dictionaries(
        st.sampled_from([name for step in STEPS for name in (step.key, f"gemm {step.key}")]), st.floats(0.01, 2.0)
    ),
)
def test_farther_is_never_narrower(known: float, spread: dict[str, float]) -> None:
    widths = [sigma_at(step, known, spread, "gemm") for step in Standing if step is not Standing.NOTHING]
    assert widths == sorted(widths)
    assert widths[0] == known
    assert sigma_at(Standing.NOTHING, known, spread, "gemm") >= known


def test_a_family_has_its_own_spread() -> None:
    spread = {"other_board": 0.3, "gemm other_board": 0.4}
    assert sigma_at(Standing.OTHER_BOARD, 0.3, spread, "gemm") == pytest.approx(0.5)
    assert sigma_at(Standing.OTHER_BOARD, 0.4, spread, "softmax") == pytest.approx(0.5)


def test_standing_follows_from_who_taught() -> None:
    gpu = load_arch("nvidia/h100-sxm@family")
    own = Teacher(machine=gpu.name, chip=gpu.chip, generation=gpu.generation)
    assert distance(own, gpu) is Standing.NEIGHBOUR
    for changed, standing in (
        ({"machine": "X"}, Standing.OTHER_BOARD),
        ({"machine": "X", "chip": "X"}, Standing.OTHER_DIE),
        ({"machine": "X", "generation": "X"}, Standing.OTHER_GENERATION),
        ({"engine": "X"}, Standing.OTHER_ENGINE),
    ):
        assert distance(own.model_copy(update=changed), gpu) is standing
    assert standing_of(GROUP, gpu) is Standing.OTHER_BOARD
    assert standing_of(GROUP, load_arch("nvidia/h200-sxm")) is Standing.NEIGHBOUR
    assert standing_of("gemm fp16 graph", load_arch("nvidia/h200-sxm")) is Standing.OTHER_KIND
    assert standing_of(GROUP, load_arch("nvidia/h100-sxm@facts")) is Standing.NOTHING
    assert standing_of(GROUP, gpu.model_copy(update={"calibration": Calibration()})) is Standing.NOTHING


def test_quantiles_allow_for_how_few_there_are() -> None:
    assert covering(np.arange(1.0, 10.0)) == 9.0
    assert covering(np.arange(1.0, 101.0)) == 81.0
    assert covering_groups([np.ones(1000), np.full(10, 5.0)]) == 5.0
    assert covering_groups([np.ones(1000), np.ones(10), np.ones(10), np.ones(10), np.ones(10), np.full(9, 5.0)]) == 1.0


def test_what_distance_adds_holds_eight_of_ten_and_never_falls() -> None:
    random = np.random.default_rng(0)
    near, far = (Table(random.normal(0.0, sigma, 4000), 0.03) for sigma in (0.05, 0.2))
    added = rising([[near], [far]])
    assert added == pytest.approx([0.04, np.sqrt(0.2**2 - 0.03**2)], rel=0.08)
    together = rising([[far], [near]])
    assert together[0] == together[1]
    assert added[0] < together[0] < added[1]


def test_few_rows_widen_and_are_drawn_to_what_was_known() -> None:
    assert student_80(31) == pytest.approx(1.3104 * np.sqrt(32 / 31), rel=1e-3)
    assert student_80(10) > student_80(30) > student_80(1000) > 1.28
    assert drawn_to(0.01, 0.1, 10) == pytest.approx(np.sqrt(0.01 * 0.1))
    assert drawn_to(0.01, 0.1, 1000) < 0.011


def test_no_more_of_a_shift_is_kept_than_helps() -> None:
    shift = np.linspace(-1.0, 1.0, 21)
    assert share_kept(shift, 0.5 * shift) == 0.5
    assert share_kept(shift, -shift) == 0.0
    assert share_kept(shift, 3.0 * shift) == 1.0
