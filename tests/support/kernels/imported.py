"""What tests of the importers of profiles share: how rows and reasons are read, and where shared cases lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simexplore.kernels.profiles.tally import Imported

SHARED = Path(__file__).resolve().parents[4] / "shared" / "cases" / "profiles"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/cases/profiles is not here")

GEMM_KERNEL = "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x4_tn"
NAMES = ("m", "n", "k", "batch", "rows", "cols", "elements", "seq_kv", "num_gpus", "hw")


def texts(found: Imported) -> dict[str, float]:
    """`op name=value …` → time of each row."""
    rows: list[dict[str, Any]] = found.frame.astype(object).where(found.frame.notna(), None).to_dict("records")
    given = ([f"{name}={row[name]}" for name in NAMES if row.get(name) is not None] for row in rows)
    return {" ".join([row["op"], *names]): row["time_us"] for row, names in zip(rows, given, strict=True)}


def reasons(found: Imported) -> dict[str, str]:
    """Name → why it became no row."""
    return {one.name: one.reason for one in found.unmatched}
