"""Measurements from a CSV or Parquet file, read strictly."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import Place, checked

INSTALL = "pip install 'simexplore[measured]'"


Prepare = Callable[[pd.DataFrame, Place], pd.DataFrame]
"""What a data set adds to its table before that is checked: the table as it was read, and where its rows are."""


def _as_it_is(frame: pd.DataFrame, place: Place) -> pd.DataFrame:  # noqa: ARG001 - the signature of Prepare
    return frame


def read(path: Path, prepare: Prepare = _as_it_is) -> pd.DataFrame:
    """The checked table of a `.csv` or `.parquet` file.

    Raises:
        SimexploreError: no such file, an unknown file type, a file that is not what its name says, a missing column,
            a bad cell. Names file, line (Parquet: row), column, what was expected and what was found.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SimexploreError(f"{path}: expected a file that ends in .csv or .parquet, found {path.suffix!r}")
    if not path.is_file():
        raise SimexploreError(f"{path}: expected a file, found {'a directory' if path.is_dir() else 'nothing'}")
    return reader(path, prepare)


def _read_csv(path: Path, prepare: Prepare) -> pd.DataFrame:
    header: list[str] | None = None
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if header is None:
                    header = _header(path, cells)
                elif len(cells) == len(header):
                    rows.append(cells)
                    lines.append(reader.line_num)
                elif cells:
                    raise SimexploreError(
                        f"{path}:{reader.line_num}: expected {len(header)} cells as in the header, found {len(cells)}"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SimexploreError(f"{path}:{len(rows) + 1}: expected CSV in UTF-8, found: {error}") from None
    if header is None:
        raise SimexploreError(f"{path}:1: expected a header such as source,device,op,dtype,…, found an empty file")
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    frame = pd.DataFrame(dict(zip(header, columns, strict=True)), dtype=object)

    def place(row: int) -> str:
        return f"{path}:{lines[row]}"

    return checked(prepare(frame, place), f"{path}:1", place)


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SimexploreError(f"{path}:1: expected each column once, found {twice!r} again")
    return names


def _read_parquet(path: Path, prepare: Prepare) -> pd.DataFrame:
    def place(row: int) -> str:
        return f"{path}: row {row + 1}"

    return checked(prepare(parquet(path), place), str(path), place)


def parquet_rows(path: Path) -> int:
    """How many rows a Parquet file has, told by its footer. Raises SimexploreError as `parquet` does."""
    try:
        from pyarrow import ArrowInvalid
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise SimexploreError(f"{path}: reading Parquet needs pyarrow: {INSTALL}") from None
    try:
        return int(ParquetFile(path).metadata.num_rows)
    except (OSError, ArrowInvalid) as error:
        raise SimexploreError(f"{path}: expected a Parquet file, found: {error}") from None


def parquet(path: Path) -> pd.DataFrame:
    """A Parquet file as it is. Raises SimexploreError where it can't be read, or where pyarrow is missing."""
    try:
        return pd.read_parquet(path, engine="pyarrow")
    except ImportError:
        raise SimexploreError(f"{path}: reading Parquet needs pyarrow: {INSTALL}") from None
    except (OSError, ValueError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SimexploreError(f"{path}: expected a Parquet file, found: {first_line}") from None
