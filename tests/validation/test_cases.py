"""Public cases as an exam: small tables of others, on which nothing is fitted. `pytest -s` prints each error.

A case is `enforced` while its error is within its bar, and a `known_gap` where it is not: a gap that closes fails until
it is promoted, and so does one that grows. The tables are looked for beside the checkout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import pytest

import simexplore

CASES = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
GROWN = 1.15
"""How much larger than when it was last seen the error of a known gap may be."""


class Case(NamedTuple):
    """A table, the machine, and what its mean absolute error must be within."""

    file: str
    arch: str
    bar: float
    seen: float
    """The error when it was last looked at."""
    status: Literal["enforced", "known_gap"] = "enforced"
    op: str | None = None
    reason: str = ""


SMALL = (
    "cubes of 1,024 in 16 bits take 12 us beside 7 predicted, the pace of the host's calls maybe, which no source tells"
)
EXAM = (
    Case("zzc-h100-sxm.csv", "nvidia/h100-sxm", 0.08, 0.119, "known_gap", reason=f"{SMALL}; FP32 is 15 % too slow"),
    Case("zzc-a40.csv", "nvidia/a40", 0.076, 0.060),
    Case("zzc-rtx-3070.csv", "nvidia/rtx-3070", 0.088, 0.096, "known_gap", reason="small cubes: the host's pace"),
    Case(
        "zzc-a100-pcie-40gb.csv",
        "nvidia/a100-pcie-40gb",
        0.10,
        0.115,
        "known_gap",
        reason="FP32 cubes up to 2,048 run at half the rate of larger ones, those in 16 bits of 2,048 differ by a half",
    ),
    Case("flashmla-h100.csv", "nvidia/h100-sxm", 0.30, 0.040),
    Case(
        "ort-paged-h100.csv",
        "nvidia/h100-sxm",
        0.12,
        0.150,
        "known_gap",
        reason="32 and 64 keys take 50 us beside 31 to 35 predicted, from 256 keys on all are within 7 %",
    ),
    Case("vidur-a100.csv", "nvidia/a100-sxm-80gb", 0.08, 0.070, op="gemm"),
    Case("vidur-a100.csv", "nvidia/a100-sxm-80gb", 0.15, 0.149, op="add"),
    Case(
        "vidur-a100.csv",
        "nvidia/a100-sxm-80gb",
        0.20,
        0.473,
        "known_gap",
        op="silu_mul",
        reason="vLLM's kernels of 2023 are slower than PyTorch's, which are predicted; their launch is not modelled",
    ),
    Case(
        "vidur-a100.csv",
        "nvidia/a100-sxm-80gb",
        0.20,
        0.465,
        "known_gap",
        op="rmsnorm",
        reason="vLLM's kernels of 2023 are slower than PyTorch's, which are predicted; their launch is not modelled",
    ),
    Case("kernelbench-l40s.csv", "nvidia/l40s", 0.14, 0.134, op="gemm"),
    Case(
        "kernelbench-l40s.csv",
        "nvidia/l40s",
        0.20,
        0.643,
        "known_gap",
        op="layernorm",
        reason="16 rows of 4 million elements are predicted near the rate of DRAM, and took three times that",
    ),
)


@pytest.mark.parametrize("case", EXAM, ids=lambda case: f"{case.file} {case.op or ''}".strip())
def test_case(case: Case) -> None:
    if not (CASES / case.file).is_file():
        pytest.skip(f"no {case.file} beside the checkout")
    found = simexplore.compare(case.arch, CASES / case.file, op=case.op)
    assert found.total.rows > 0
    assert not found.fitted_rows
    error = found.total.mape
    print(f"{case.file} {case.op or ''}: {error:.1%} of {case.bar:.1%}, {found.total.rows} rows, {case.status}")  # noqa: T201
    if case.status == "enforced":
        assert error <= case.bar
    else:
        assert case.reason
        assert error > case.bar, "a gap that has closed is to be promoted"
        assert error <= GROWN * case.seen, "the gap has grown"


def test_every_row_of_flashmla_is_within_thirty_percent() -> None:
    """Of 128 sequences over a latent cache, for 16, 32 and 64 heads: the bar is of each row."""
    if not (CASES / "flashmla-h100.csv").is_file():
        pytest.skip("no flashmla-h100.csv beside the checkout")
    table = simexplore.compare("nvidia/h100-sxm", CASES / "flashmla-h100.csv").table
    assert len(table) == 3
    assert table["error"].abs().max() <= 0.30


def test_a_known_gap_says_why() -> None:
    assert all(bool(case.reason) == (case.status == "known_gap") for case in EXAM)
