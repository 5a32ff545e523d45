"""What the columns of a sweep's table are: name, role and unit, and how a column of floats is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from simexplore.archs.units import one_line

if TYPE_CHECKING:  # workers make no tables, and start faster without
    import pandas as pd

FloatArray = NDArray[np.float64]
Index = NDArray[np.int64]
Role = Literal["axis", "derived", "objective", "metric", "interval", "bound", "constraint", "feasible"]
Kind = Literal["float", "int", "bool", "text"]
Direction = Literal["min", "max"]

POINT = "point"
"""Name of the column that numbers the points from 0."""
RESERVED = (POINT, "error", "status", "feasible", "bound")
"""Columns that tables of points have, whatever a sweep's file says."""
MEETS = "meets "
"""What the name of a constraint's column begins with; the constraint follows."""
_FORMULA = ("=", "+", "-", "@")
"""What spreadsheets take for the begin of a formula."""


@dataclass(frozen=True)
class Column:
    """One column of the table. It is stored as floats; of text, the positions in `words`."""

    name: str
    role: Role
    """`axis`: what the sampler chooses; `derived`: an axis that is an expression of others; `objective`: what is to be
    best; `metric`: any other result; `interval`: an end of a metric's interval; `bound`: what takes the most time;
    `constraint`: whether one constraint holds; `feasible`: whether all do."""
    unit: str = "1"
    """SI unit, `1` for counts and shares, `text` for words."""
    kind: Kind = "float"
    words: tuple[str, ...] = ()
    direction: Direction | None = None
    """Of an objective: which way is better."""

    def decode(self, values: FloatArray) -> Any:
        """The stored floats as the column's own type."""
        if self.kind == "text":
            import pandas as pd

            return pd.Categorical.from_codes(values.astype(np.int64), categories=pd.Index(self.words))
        if self.kind == "int":
            return values.astype(np.int64)
        return values.astype(np.bool_) if self.kind == "bool" else values

    def to_json(self) -> dict[str, Any]:
        """Plain data from which `from_json` makes the column."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Column:
        """The column of `to_json`."""
        return cls(**{**data, "words": tuple(data["words"])})


def interval_name(name: str, end: str) -> str:
    """Name of the column of an interval's end: `time_s` -> `time_low_s`, `tokens_per_s` -> `tokens_per_s_low`."""
    if name.rpartition(".")[2] == "time_s":
        return f"{name.removesuffix('_s')}_{end}_s"
    return f"{name}_{end}"


def decode(columns: Sequence[Column], points: NDArray[np.int64], values: FloatArray) -> pd.DataFrame:
    """A table of points from an array of shape (columns, points), whose memory it uses."""
    import pandas as pd

    data: dict[str, Any] = {POINT: points}
    for column, stored in zip(columns, values, strict=True):
        data[column.name] = column.decode(stored)
    return pd.DataFrame(data, copy=False)


def harmless(table: pd.DataFrame) -> pd.DataFrame:
    """The table with text that neither a spreadsheet nor a terminal obeys: a quote before what looks like a formula."""
    changed = {
        str(name): column.astype(str).map(_harmless)
        for name, column in table.items()
        if column.dtype == "category" and any(_harmless(word) != word for word in column.cat.categories)
    }
    return table.assign(**changed).rename(columns=_harmless)


def _harmless(text: str) -> str:
    plain = one_line(text)
    return f"'{plain}" if plain.startswith(_FORMULA) else plain


def distinct_rows(values: NDArray[Any]) -> tuple[Index, Index]:
    """The first of each distinct row, in the order of their values, and for every row which of these it is.

    It is what `np.unique(values, axis=0)` knows. That compares rows as records, and makes a TypeError of a Ctrl-C that
    comes meanwhile (numpy 2.4).
    """
    order = np.lexsort(values.T[::-1])
    ordered = values[order]
    new = np.ones(len(values), dtype=np.bool_)
    new[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    which = np.empty(len(values), dtype=np.int64)
    which[order] = np.cumsum(new) - 1
    return order[new], which
