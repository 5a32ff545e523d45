"""What the public face does with measured kernels: it takes names and files where the rooms take objects.

It stands apart from predictions, which need no tables and so none of what reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from simexplore.api import AnyArch, machine
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.kernels.datasets import conditions_of, read_measurements
from simexplore.kernels.measurement import Measurements, checked, join
from simexplore.kernels.measuring import measure_suite
from simexplore.sim.compare import comparison as comparing
from simexplore.sim.compare.machines import WithEngine

if TYPE_CHECKING:
    from simexplore.sim.learn.calibration import Calibrated

AnyMeasured = Measurements | pd.DataFrame | str | Path


def compare(
    arch: AnyArch,
    measured: AnyMeasured | Iterable[AnyMeasured],
    op: str | None = None,
    dtype: str | None = None,
    progress: comparing.Progress | None = None,
    predictor: str = "full",
    held_out_seed: int | None = None,
    with_engine: WithEngine | None = None,
) -> comparing.Comparison:
    """Predictions of a machine against measurements, one table or several; see `sim.compare.compare`.

    Args:
        arch: a machine, its name or its file.
        measured: tables, data frames with the same columns, files, or names such as
            `aiconfigurator:h200_sxm/gemm/trtllm`.
        op: only this operator family.
        dtype: only this value of the `dtype` column.
        progress: told how many rows are done.
        predictor: `full`, `physics`, `roofline` or `random-forest`.
        held_out_seed: compare only the rows that a random forest of this seed is not fitted on.
        with_engine: gives the machine with an engine's kernels, for rows of that engine. By default a name or a file
            does; with a machine as it is, all rows are predicted with the kernels that it has.
    """
    tables = _tables(measured)
    if with_engine is None and not isinstance(arch, Gpu):
        with_engine = partial(load_arch, arch, None)
    return comparing.compare(machine(arch), join(tables), op, dtype, progress, predictor, held_out_seed, with_engine)


def calibrate(
    arch: str,
    measured: AnyMeasured | Iterable[AnyMeasured],
    output: str | Path,
    *,
    rows: int = 400,
    residual_rows: int = 1000,
    seed: int = 0,
    date: str = "",
    family: bool = False,
    progress: comparing.Progress | None = None,
    engine: str | None = None,
    apart: bool = False,
) -> Calibrated:
    """Fit a machine to measurements and write it as an overlay, its learned correction beside it.

    Args:
        arch: name or file of the machine to begin with.
        measured: as in `compare`.
        output: the overlay, a .yaml file that extends `arch`.
        rows: most rows of an operator family that the physics is fitted on; 0 leaves the physics as it is.
        residual_rows: most rows of a family and dtype that the correction is learned from; 0: no correction.
        seed: chooses the rows.
        date: of today, for the sources of the fitted values.
        family: write what the machine's generation shares instead, for machines that were never measured.
        progress: told how much is done.
        engine: whose kernels are fitted, on its rows alone; by default the machine's first.
        apart: the machine's other engines keep their values of what is fitted of the first; else they share it.

    Raises:
        SimexploreError: no row can be predicted, a package is missing, the files cannot be written, what would be
            extended is no file of its own (`NAME@facts`), or `apart` is asked where nothing is shared.
    """
    from simexplore.sim.learn.calibration import calibrate as fit
    from simexplore.sim.learn.overlay import Provenance, check_apart, check_target, write_family, write_overlay

    check_target(Path(output), arch, family=family)
    check_apart(Provenance(arch, (), rows, seed, date, engine, apart), family=family)
    table = join(_tables(measured))
    data = tuple(dict.fromkeys(str(source) for source in table.frame["source"]))
    result = fit(arch, table, rows, 0 if family else residual_rows, seed, progress, engine)
    write = write_family if family else write_overlay
    write(Path(output), result, Provenance(arch, data, rows, seed, date, engine, apart))
    return result


def _tables(measured: AnyMeasured | Iterable[AnyMeasured]) -> list[Measurements]:
    """One table or several, read where they are named and checked where they are frames."""
    one = isinstance(measured, Measurements | pd.DataFrame | str | Path)
    several: list[Any] = [measured] if one else list(measured)  # type: ignore[arg-type]
    return [_table(each) for each in several]


def _table(given: Any) -> Measurements:
    if isinstance(given, pd.DataFrame):
        return Measurements(checked(given, "the table", lambda row: f"row {row}"), conditions_of)
    return given if isinstance(given, Measurements) else read_measurements(given)


measure = measure_suite
