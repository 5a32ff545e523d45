"""How a comparison looks in a Python session: a line, a table in notebooks, a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import pandas as pd

from simexplore.sim.estimate.op_run import html_table


class Figures(Protocol):
    """The error figures of some rows that are shown."""

    @property
    def rows(self) -> int: ...
    @property
    def mape(self) -> float: ...
    @property
    def bias(self) -> float: ...
    @property
    def interval_coverage(self) -> float | None: ...


class Shown:
    """What a comparison shows of the figures that it has."""

    arch: str
    total: Figures
    by_dtype: Mapping[str, Figures]

    @property
    def _figures(self) -> Mapping[str, Figures]:
        """Of all rows, then by operator and type."""
        return {"all": self.total, **self.by_dtype}

    def __repr__(self) -> str:
        total = self.total
        held = "" if total.interval_coverage is None else f", {total.interval_coverage:.0%} within the 80 % interval"
        return f"<Comparison {self.arch}: {total.rows} rows, {total.mape:.1%} off in the mean{held}>"

    def to_frame(self) -> pd.DataFrame:
        """Error figures, a row for all and for each operator and type; `table` has the compared rows themselves."""
        return pd.DataFrame([vars(errors) for errors in self._figures.values()], index=list(self._figures))

    def _repr_html_(self) -> str:
        """For notebooks: the error by operator and type."""
        rows = [
            (name, str(errors.rows), f"{errors.mape:.1%}", f"{errors.bias:+.1%}")
            for name, errors in self._figures.items()
        ]
        return html_table(f"Comparison, {self.arch}", ("rows of", "rows", "mean error", "bias"), rows)
