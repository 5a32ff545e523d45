"""What measurements have taught about a machine beyond its data sheets: errors, intervals, and a learned correction."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

from simexplore.archs.schema.quantities import Count, Spec, about
from simexplore.archs.schema.residual import Residual

Spread = Annotated[float, Field(gt=0, le=5)]
Pace = Annotated[float, Field(ge=0.2, le=5)]
Shares = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(strict=False)]
Names = Annotated[tuple[str, ...], Field(strict=False)]


def _listed(names: object) -> object:
    return [names] if isinstance(names, str) else names


_TEXT = {"type": "string"}
Machines = Annotated[
    Names, BeforeValidator(_listed), WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]})
]


class HeldOut(Spec):
    """Errors of one group on rows that nothing was fitted on; shares, not per cent."""

    rows: Count = about("rows", "1")
    physics_mape: float = about("mean absolute error of the fitted physics alone", "1")
    full_mape: float = about("mean absolute error with the learned correction", "1")
    coverage: float = about("share of the rows within their 80 % interval", "1")
    coverage_by_size: Shares = about("the same of each third by measured time, shortest first", "1", default=())
    kind_mape: float | None = about(
        "mean absolute error on training rows of a kind (a head dimension, a window…) that the correction left out",
        "1",
        default=None,
    )
    kind_coverage: float | None = about(
        "share of those within the interval of unseen kinds, its width from the other kinds alone", "1", default=None
    )


class Teacher(Spec):
    """Whose rows taught something: enough to say how far another machine is from it."""

    machine: str = about("its name", "text")
    chip: str = about("its die", "text")
    generation: str = about("its architecture generation", "text")
    engine: str = about("the serving engine that ran; absent: unknown", "text", default="")


Teachers = Annotated[tuple[Teacher, ...], Field(strict=False)]


class HeldOutWatts(Spec):
    """Errors of watts, at measured times and clocks, on rows that no energy was fitted on; shares, not per cent."""

    fitted: Count = about("rows that were fitted", "1")
    rows: Count = about("rows that were not", "1")
    mape: float = about("mean absolute error on those", "1")
    sigma_log: float = about("spread of the logarithm of their error: its 80 % quantile over 1.28", "1")


class Calibration(Spec):
    """How a machine was calibrated. A family file may give `sigma_log` alone."""

    of: Machines = about("machines that the rows are of: one name or file, or several", "text", default=())
    date: str = about("day of the fit", "text", default="")
    seed: int | None = about("seed that chose the rows", "1", default=None)
    data: Names = about("data sets", "text", default=())
    rows: dict[str, Count] = about("rows that anything was fitted on, by group", "1", default_factory=dict)
    held_out: dict[str, HeldOut] = about("errors on the other rows, by group", "mapping", default_factory=dict)
    sigma_log: dict[str, Spread] = about(
        "spread of the log error of the physics, by group, operator family or `default`: its 80 % quantile over 1.28",
        "1",
        default_factory=dict,
    )
    teachers: dict[str, Teachers] = about(
        "whose rows `sigma_log` and the fitted values come from, by group and family; absent: the machine's own",
        "mapping",
        default_factory=dict,
    )
    spread: dict[str, Spread] = about(
        "what is added, as squares, to the spread of the log error by where a prediction stands: `other_kind`, "
        "`other_board`, `other_die`, `other_generation`, `other_engine`, alone or after an operator family",
        "1",
        default_factory=dict,
    )
    pace: dict[str, dict[str, Pace]] = about(
        "time of each source's runs over that of all sources', by group: their boards run at clocks of their own",
        "1",
        default_factory=dict,
    )
    watts: HeldOutWatts | None = about("errors of watts", "mapping", default=None)
    machine: str = about("digest of the values that the correction belongs to", "text", default="")
    residual: Residual | None = about("file beside this one with the learned correction", "text", default=None)
