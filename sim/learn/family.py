"""What other machines teach one that was never measured: factors on its own sourced values that all teachers share.

Each teacher is predicted with its own facts times exp(x), and one x is fitted to the rows of all. So x is what their
kernels have in common, not what one board has of its own; the pupil's values are its own facts times exp(x). Where
teachers are unlike the pupil, a fit of all bends some factors to make up for others. Then each teacher's own fit may
speak instead, and x is their median: what one board alone asks for does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import OperatorColumn, operator_columns
from simexplore.sim.estimate.correction import NORMAL_80
from simexplore.sim.learn.groups import groups_of
from simexplore.sim.learn.parameters import Group
from simexplore.sim.learn.physics import (
    Fit,
    Floats,
    Member,
    Progress,
    columns_of,
    measured_s,
    parameters_of_group,
    sample_of,
)

OF_THE_BOARD = ("dram.", "launch.", "clock.", "power.", "energy.", "sm.", "l2.")
"""Beginnings of values that a board or its die sets. What kernels have in common is all that others teach."""
ENOUGH_VOICES = 3
"""Teachers from which on the median is theirs alone."""


@dataclass(frozen=True)
class Taught:
    """What teachers say of a pupil's kernels."""

    gpu: Gpu
    """The pupil with the taught values."""
    values: dict[str, float]
    """Taught values [SI] by dotted path."""
    uncertainty: dict[str, float | None]
    """Relative standard error of each; None where the teachers' rows do not tell it."""
    sigma_log: dict[str, float]
    """By operator family, the spread of the log error that its teachers keep: its 80 % quantile over 1.28."""
    teachers: dict[str, tuple[Gpu, ...]]
    """By operator family, the machines that had rows of it."""


@dataclass(frozen=True)
class _Teacher:
    gpu: Gpu
    columns: Sequence[OperatorColumn]
    times_s: Floats

    def member(self, group: Group, rows: int, seed: int) -> Member | None:
        """The teacher's part in a fit; None where it has no rows of the group."""
        mine = columns_of(self.columns, group, self.gpu)
        sample = sample_of(mine, rows, np.random.default_rng(seed)) if mine else []
        return Member(self.gpu, sample, self.times_s) if sample else None


def teach(
    pupil: Gpu,
    teachers: Sequence[tuple[Gpu, Measurements]],
    rows: int = 400,
    seed: int = 0,
    progress: Progress | None = None,
    own: Sequence[Gpu] | None = None,
) -> Taught:
    """Fit the factors that teachers share, and give them to a pupil.

    Args:
        pupil: the machine that was never measured, with its facts.
        teachers: other machines with their facts, and rows of each.
        rows: most rows of an operator family that a fit uses, of all teachers together.
        seed: chooses them.
        progress: told of each family's steps.
        own: the teachers with their own fits. Nothing is fitted then: the median of their factors is what they teach.

    Raises:
        SimexploreError: no teacher has a row of a family that has parameters, or scipy is not installed.
    """
    known = [_Teacher(gpu, operator_columns(table)[0], measured_s(table)) for gpu, table in teachers]
    fits = None if own is None else list(zip(own, (gpu for gpu, _ in teachers), strict=True))
    values: dict[str, float] = {}
    uncertainty: dict[str, float | None] = {}
    sigmas: dict[str, float] = {}
    told_by: dict[str, tuple[Gpu, ...]] = {}
    for group in groups_of(pupil):
        share = round(rows * group.share / max(len(known), 1))
        members = [teacher.member(group, share, seed) for teacher in known]
        present = [member for member in members if member is not None]
        if not present:
            continue
        columns = [column for member in present for column in member.sample]
        shared = [p for p in parameters_of_group(group, columns, pupil) if not p.path.startswith(OF_THE_BOARD)]
        if fits is not None:  # an own fit has one value, whichever family told it
            shared = [parameter for parameter in shared if parameter.path not in uncertainty]
        fit = Fit([Member(pupil, [], np.zeros(0)), *present], shared)
        if not fit.paths:
            continue
        x, errors = fit.run(progress, group.ops[0]) if fits is None else median_of(fit, fits)
        values.update(fit.values(x, errors, pupil))
        told = zip(fit.paths, errors, strict=True)
        uncertainty.update({path: error for path, error in told if error is not None or path not in values})
        left = float(np.quantile(np.abs(fit.errors_of_rows(x)), 0.8)) / NORMAL_80
        for op in sorted({column.record.op for column in columns}):
            sigmas[op] = max(left, sigmas.get(op, 0.0))
            told_by[op] = tuple(old.gpu for old in known if any(column.record.op == op for column in old.columns))
        known = [_Teacher(fit.machine(x, old.gpu), old.columns, old.times_s) for old in known]
        pupil = fit.machine(x, pupil)
    if not values:
        raise SimexploreError(f"nothing to teach {pupil.name}: no teacher has rows of a family that has parameters")
    return Taught(pupil, values, uncertainty, sigmas, told_by)


def median_of(fit: Fit, fits: Sequence[tuple[Gpu, Gpu]]) -> tuple[Floats, list[float | None]]:
    """The median of teachers' own factors, and how far they lie from it (None: they teach none).

    `fits` are the teachers, each with its own fits and with its facts alone. A teacher has a voice where its rows moved
    the value. The sourced value has the voices that are missing to three, so that one teacher alone moves nothing.
    """
    logs = np.array([fit.logs_of(fitted, facts) for fitted, facts in fits])
    x, errors = np.zeros(logs.shape[1]), list[float | None]()
    for at, told in enumerate(logs.T):
        voices = told[told != 0.0]
        heard = np.append(voices, np.zeros(max(ENOUGH_VOICES - len(voices), 0)))
        x[at] = np.median(heard)
        errors.append(float(np.mean(np.abs(heard - x[at]))) if x[at] else None)
    return fit.within(x), errors
