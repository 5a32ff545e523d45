"""What of a public data set can be predicted: every table's rows, and those refused by the reason why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import aiconfigurator
from simexplore.kernels.datasets.files import parquet_rows
from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import operator_columns

NAMED: Mapping[str, str] = MappingProxyType(
    {
        "computescale": "what finding a scale adds: differences of two times, some of them 0",
        "custom_allreduce": "an engine's own all-reduce",
        "dsa": "DeepSeek's sparse attention, as a module",
        "dsv4": "DeepSeek-V4's compressed attention, as a module",
        "glm5": "GLM-5's sparse attention, as a module",
        "mhc": "hyper-connections, as a module",
        "mla": "multi-head latent attention",
        "moe": "mixtures of experts",
        "msa": "MiniMax's sparse attention, as a module",
        "oneccl": "collectives of Intel's library",
        "trtllm_alltoall": "dispatch to experts",
        "wideep": "experts spread over many nodes",
    }
)
"""What tables hold that no operator here is, by the longest part of their name that is listed."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TableCount:
    """One table of a data set."""

    system: str
    operator: str
    """The folder that the data set keeps it in."""
    table: str
    engine: str
    version: str
    rows: int
    refused: Mapping[str, int]
    """Rows that no operator here can be, by the reason why."""

    @property
    def readable(self) -> int:
        """Rows that can be predicted on a machine that has the units for them."""
        return self.rows - sum(self.refused.values())


def survey(system: str = "", progress: Progress | None = None) -> list[TableCount]:
    """Count the rows of all tables of `aiconfigurator-core`, or of those of one of its systems.

    Raises:
        SimexploreError: the package is not installed, or has no such system.
    """
    paths = aiconfigurator.files(system)
    counts = []
    for done, path in enumerate(paths):
        if progress is not None:
            progress(done, len(paths))
        counts.append(_count(path))
    return counts


def by_kind(counts: list[TableCount]) -> Iterator[tuple[str, str, list[TableCount]]]:
    """The tables by operator and name, those of the most rows first."""
    kinds: dict[tuple[str, str], list[TableCount]] = {}
    for count in counts:
        kinds.setdefault((count.operator, count.table), []).append(count)
    for (operator, table), members in sorted(kinds.items(), key=lambda kind: -sum(each.rows for each in kind[1])):
        yield operator, table, members


def _count(path: Path) -> TableCount:
    system, operator, engine, version = path.parts[-5:-1]
    table = path.stem.removesuffix("_perf")
    rows = parquet_rows(path)
    return TableCount(system, operator, table, engine, version, rows, _refused(path, table, rows))


def _refused(path: Path, table: str, rows: int) -> Mapping[str, int]:
    try:
        frame = aiconfigurator.read_file(path)
    except SimexploreError as error:  # one cell that is wrong makes a table unreadable, and is told
        return {str(error).removeprefix(f"{path}: "): rows}
    if frame is None:
        return {f"{_named(table)} is not modelled": rows}
    _, refused = operator_columns(Measurements(frame, aiconfigurator.conditions_of))
    if len(frame) < rows:
        refused[f"rows of {table} whose time or kernel is not the engine's are left out"] += rows - len(frame)
    return Counter(refused)


def _named(table: str) -> str:
    found = [name for name in NAMED if name in table]
    return f"{table} ({NAMED[max(found, key=len)]})" if found else table
