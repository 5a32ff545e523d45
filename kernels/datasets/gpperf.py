"""GPPerf's measured kernels of an RTX 4070 (Liu and Halim, arXiv 2411.16954; github.com/pavlyhalim/GPPerf).

Two tables: what the CUTLASS profiler ran, in GPPerf's own columns (`m`, `n`, `k`, `runtime` in ms, `power` in W, `util`
in percent, …), and the naive tiled kernel in ours (`gemm_naive_tiled`).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from simexplore.errors import SimexploreError

SIZES = ("m", "n", "k", "blocksize1", "blocksize2", "blocksize3")
CUTLASS_COLUMNS = (*SIZES, "runtime", "power", "util", "Energy", "TFlops")


def read_cutlass(path: Path) -> pd.DataFrame:
    """The CUTLASS rows as float64, NaN where nothing was recorded.

    Raises:
        SimexploreError: no such file, not CSV, or a column is missing.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise SimexploreError(f"{path}: expected GPPerf's table of CUTLASS runs, found: {error}") from None
    missing = [column for column in CUTLASS_COLUMNS if column not in frame]
    if missing:
        raise SimexploreError(
            f"{path}:1: expected the columns {', '.join(CUTLASS_COLUMNS)}, found none named {missing[0]!r}"
        )
    chosen = pd.DataFrame(
        {column: pd.to_numeric(frame[column], errors="coerce") for column in CUTLASS_COLUMNS}, dtype=float
    )
    return chosen[chosen["runtime"].notna()].reset_index(drop=True)


def ran_alone(frame: pd.DataFrame) -> pd.Series[bool]:
    """Rows that shared the GPU with no other job: those of 128256 x 2048 with k from 1024 ran two to three times slower
    than their neighbours, at 67 to 78 degrees and full use of the GPU while the run's power was sampled afterwards."""
    return ~((frame["m"] == 128256) & (frame["n"] == 2048) & (frame["k"] >= 1024))
