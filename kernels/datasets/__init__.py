"""Measurements by name: a file, or `adaptor:what` for the tables of a public data set.

An adaptor is one module with one line in `ADAPTORS`. It reads the data set's own tables into ours, and says how the
data set ran its kernels (`Conditions`), for rows that it reads and for rows exported from it into files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import aiconfigurator, files, gpubenches, neusight
from simexplore.kernels.measurement import ASSUMED, Conditions, ConditionsOf, Measurements
from simexplore.workloads.hints import did_you_mean


@dataclass(frozen=True)
class Adaptor:
    """One public data set."""

    source_prefix: str
    """Beginning of the `source` of its rows."""
    read: Callable[[str], pd.DataFrame]
    """What follows the colon → a checked table."""
    conditions_of: ConditionsOf


ADAPTORS = {
    "aiconfigurator": Adaptor(aiconfigurator.SOURCE_PREFIX, aiconfigurator.read, aiconfigurator.conditions_of),
    "gpubenches": Adaptor(gpubenches.SOURCE_PREFIX, gpubenches.read, gpubenches.conditions_of),
}


SOURCES = {
    "llmservingsim/": Conditions(launch="profiled"),
    neusight.SOURCE_PREFIX: neusight.CONDITIONS,
    "simexplore/vulkan": Conditions(launch="graph"),
    "simexplore/cuda": Conditions(launch="graph"),
    "simexplore/torch": Conditions(launch="graph"),
}
"""Data sets that come as files alone: beginning of their `source` → how they ran their kernels.

Our own kernels run on the same operands again and again, recorded beforehand.

LLMServingSim (Cho et al., IISWC 2024; github.com/casys-kaist/LLMServingSim) gives a profiler's kernel durations.
"""


def conditions_of(source: str, op: str) -> Conditions:
    """How a source ran its kernels: what its adaptor knows, else `ASSUMED`."""
    for adaptor in ADAPTORS.values():
        if source.startswith(adaptor.source_prefix):
            return adaptor.conditions_of(source, op)
    for prefix, conditions in SOURCES.items():
        if source.startswith(prefix):
            return conditions
    return ASSUMED


def read_measurements(name: str | Path) -> Measurements:
    """The measurements in a `.csv` or `.parquet` file, or in a data set such as `aiconfigurator:h200_sxm/gemm/trtllm`.

    Raises:
        SimexploreError: unknown adaptor, data set or file, or a table with something wrong in it.
    """
    scheme, colon, rest = str(name).partition(":")
    if not colon or Path(name).exists():
        return Measurements(neusight.with_earlier_shapes(files.read(Path(name), gpubenches.with_times)), conditions_of)
    if scheme not in ADAPTORS:
        raise SimexploreError(
            f"{name}: expected a .csv or .parquet file, or one of {', '.join(f'{known}:…' for known in ADAPTORS)}, "
            f"found the unknown data set {scheme!r}{did_you_mean(scheme, ADAPTORS)}"
        )
    return Measurements(ADAPTORS[scheme].read(rest), conditions_of)
