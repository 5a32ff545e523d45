"""gpu-benches' FP32 loops of rising intensity with the board's power (github.com/RRZE-HPC/gpu-benches, gpu-roofline).

A row has the flops of each byte read, the rates that the loop reached, and the SM clock and watts read meanwhile. The
loop streams an array far larger than L2 again and again, so power and clocks had settled. It is nobody's library
kernel: how fast it runs is its own affair (an H200 reaches 42 of 66 TFLOPS), what it draws at that rate the machine's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import files
from simexplore.kernels.measurement import ASSUMED, TIME, Conditions, Place, numbers
from simexplore.workloads.dtypes import DTYPES, bytes_of
from simexplore.workloads.ops import StreamFma

SOURCE_PREFIX = "gpu-benches"
INTENSITY, RATE, BOARD = "ai_flop_per_byte", "gbps", "gpu_index"
ELEMENTS = 2**28
"""Of one pass, of which a row's time is told; the watts do not depend on it, and the table does not tell it."""
EXPECTED = "FILE:DEVICE or FILE:DEVICE/BOARD, such as roofline.csv:h200 or roofline.csv:genoa_l40/1"


def conditions_of(source: str, op: str) -> Conditions:  # noqa: ARG001 - the signature of ConditionsOf
    """How the loops were run; of the suite's other programs nothing is known."""
    return Conditions(runs_before=np.inf, own_rate=True) if op == StreamFma.op else ASSUMED


def with_times(frame: pd.DataFrame, place: Place) -> pd.DataFrame:
    """A table of such loops with the columns that every table has; any other as it is.

    Raises:
        SimexploreError: a rate or an intensity that is no number above 0.
    """
    if TIME in frame or not {INTENSITY, RATE, "dtype"} <= set(frame.columns):
        return frame
    rate = numbers(frame[RATE], RATE, "a rate above 0 in GB/s", place, above=0.0)
    intensity = numbers(frame[INTENSITY], INTENSITY, "flops above 0 of each byte", place, above=0.0)
    element = frame["dtype"].map(lambda dtype: bytes_of(dtype) if dtype in DTYPES else np.nan)
    return frame.assign(
        elements=ELEMENTS,
        flops_per_element=(intensity * element).round(),
        **{TIME: ELEMENTS * element / rate * 1e-3},
    )


def read(name: str) -> pd.DataFrame:
    """The rows of one device of a table, or of one of its boards: `roofline.csv:genoa_l40/1`.

    Raises:
        SimexploreError: no such file, device or board; says which there are.
    """
    path, colon, wanted = name.rpartition(":")
    if not colon:
        raise SimexploreError(f"gpubenches:{name}: expected {EXPECTED}")
    frame = files.read(Path(path), with_times)
    device, slash, board = wanted.partition("/")
    rows = frame["device"] == device
    if slash:
        rows &= frame[BOARD].astype(str) == board if BOARD in frame else False
    if not rows.any():
        raise SimexploreError(f"gpubenches:{name}: expected one of {', '.join(_devices(frame))}, found {wanted!r}")
    return frame[rows].reset_index(drop=True)


def _devices(frame: pd.DataFrame) -> list[str]:
    devices = frame["device"] if BOARD not in frame else frame["device"] + "/" + frame[BOARD].astype(str)
    return sorted({*frame["device"], *devices})
