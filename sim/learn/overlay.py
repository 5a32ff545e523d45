"""A calibration as files: an overlay in YAML that extends the machine it began with, and one .npz beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from simexplore.archs.fields import field_of
from simexplore.archs.load import arch_path, load_arch, read_document
from simexplore.archs.merge import dotted
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.residual import to_bytes
from simexplore.archs.views.variants import fitted_machines, split_variant
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Launch
from simexplore.sim.learn.calibration import Calibrated, in_yaml, sigma_by_name
from simexplore.sim.learn.energy import EnergyFit
from simexplore.sim.learn.family import Taught

OF_THE_BOARD = ("dram.", "launch.", "clock.", "power.idle")
"""Beginnings of values that a board's memory, host, cooling and regulators set, not its generation."""
OF_KERNELS = "library."
"""Beginning of values that an engine has of its own."""
OVER_STREAMS = ".dram_rate"
"""End of values that are over what streams reach of DRAM."""

Nested = dict[str, "Nested | str | None"]
"""YAML as it is written here: mappings, and text that is already a scalar."""


@dataclass(frozen=True)
class Provenance:
    """What the overlay says of where its numbers come from."""

    arch: str
    """The machine that the calibration began with: a name or a file."""
    data: tuple[str, ...]
    """Data sets."""
    rows: int
    seed: int
    date: str
    engine: str | None = None
    """Whose kernels were fitted; None: the machine's first."""
    apart: bool = False
    """Whether the machine's other engines keep their values of what is fitted of the first, which they else share."""

    @property
    def section(self) -> str:
        """Beginning of the keys that the fit writes: an engine beside the first has a section of its own."""
        other = self.engine is not None and self.engine in load_arch(self.arch).engines
        return f"engines.{self.engine}." if other else ""


def check_target(path: Path, arch: str, *, family: bool) -> None:
    """See before a fit, which takes minutes, that its result can be written.

    Raises:
        SimexploreError: the machine is a variant such as `NAME@facts`, which no file can extend; or the path is a
            folder, lies in none, or does not end in .yaml.
    """
    if "@" in arch and not family:
        raise SimexploreError(f"expected a machine that an overlay can extend, found {arch!r}: leave out @…")
    if path.suffix not in (".yaml", ".yml"):
        raise SimexploreError(f"expected a name that ends in .yaml, found {path.name!r}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        why = "it is a folder" if path.is_dir() else "there is no such folder"
        raise SimexploreError(f"{path}: the overlay can't be written: {why}")


def check_apart(provenance: Provenance, *, family: bool) -> None:
    """Refuse to keep other engines apart where nothing is fitted that they would share.

    Raises:
        SimexploreError: a family is written, which no engine of the machine extends; or the kernels of another engine
            than the first are fitted, which has a section of its own.
    """
    if provenance.apart and family:
        raise SimexploreError("apart: expected an overlay of the machine, found a family: leave one of the two out")
    if provenance.apart and provenance.section:
        raise SimexploreError(
            f"apart: expected the machine's first engine, found {provenance.engine!r}, whose values no other engine "
            "shares: leave it out"
        )


def write_overlay(path: Path, calibrated: Calibrated, provenance: Provenance) -> tuple[Path, Path]:
    """Write the overlay and, beside it, `<name>.residual.npz`; returns both paths.

    Raises SimexploreError where they cannot be written.
    """
    beside = residual_of(path)
    learned = {name: group.correction for name, group in calibrated.groups.items() if group.correction is not None}
    corrections = {**calibrated.stayed, **learned}
    text = overlay_text(path, calibrated, provenance)
    try:
        beside.write_bytes(to_bytes(corrections, calibrated.fitted))
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SimexploreError(f"{path}: the overlay can't be written: {error.strerror}") from None
    return path, beside


def overlay_text(path: Path, calibrated: Calibrated, provenance: Provenance) -> str:
    """The overlay: `extends`, fitted values with their units, their sources, and the calibration itself."""
    data: Nested = {"extends": _text(extends_from(path, provenance.arch))}
    for key, value in calibrated.values.items():
        _put(data, f"{provenance.section}{key}", value)
    kept = tuple(_kept_by_others(calibrated.values, provenance))
    for key, value, _ in kept:
        _put(data, key, value)
    _put(data, f"{provenance.section}calibration", _calibration(path, calibrated, provenance))
    data["sources"] = _sources(calibrated, provenance) | {key: _text(source) for key, _, source in kept}
    unseen = [key for key, error in calibrated.uncertainty.items() if error is None]
    head = ["# Written by simexplore calibrate."]
    if unseen:
        head.append(f"# The rows cannot see, or drive to a bound, {', '.join(unseen)}: sourced values are kept.")
    return "\n".join([*head, *_lines(data, 0)]) + "\n"


def _kept_by_others(fitted: Iterable[str], provenance: Provenance) -> Iterator[tuple[str, str, str]]:
    """Of each other engine, the values of its kernels that are fitted of the first: key, value, source."""
    for engine in load_arch(provenance.arch).engines if provenance.apart else ():
        other = load_arch(provenance.arch, engine=engine)
        for key in fitted:
            value = field_of(key, other).read(other) if key.startswith(OF_KERNELS) else None
            if value is not None:
                source = other.source_of(f"engines.{engine}.{key}") or other.source_of(key) or "as before the fit"
                yield f"engines.{engine}.{key}", field_of(key, other).write(value), source


def write_family(path: Path, calibrated: Calibrated, provenance: Provenance) -> Path:
    """Write what a machine's generation shares of its calibration: values, and how far off such values are.

    A file to extend beside the facts of a machine that was never measured, `extends: [_family.yaml, _calibrated.yaml]`.
    What belongs to one board (`OF_THE_BOARD`) and the learned correction stay out. A kernel's DRAM rate over that of
    streams is at most 1 here: above that it makes up for the board's own fitted `dram.efficiency`, which stays out.
    Raises SimexploreError where it cannot be written.
    """
    shared = {
        key: str(min(float(value), 1.0)) if key.endswith(OVER_STREAMS) else value
        for key, value in calibrated.values.items()
        if not key.startswith(OF_THE_BOARD)
    }
    data: Nested = {"abstract": "true"}
    for key, value in shared.items():
        _put(data, f"{provenance.section}{key}", value)
    sigmas = {name: f"{sigma:.4g}" for name, sigma in sigma_by_name(calibrated.groups)}
    known: Nested = {
        "of": fitted_to(path, provenance.arch),
        "date": _text(provenance.date),
        "seed": str(provenance.seed),
        "sigma_log": {**sigmas},
    }
    known["teachers"] = dict.fromkeys(sigmas, f"[{_teacher(calibrated.gpu)}]")
    _put(data, f"{provenance.section}calibration", known)
    data["sources"] = _sources(replace(calibrated, values=shared), provenance)
    head = f"# What {provenance.arch} taught of its generation. Written by simexplore calibrate --family."
    try:
        path.write_text("\n".join([head, *_lines(data, 0)]) + "\n", encoding="utf-8")
    except OSError as error:
        raise SimexploreError(f"{path}: the family can't be written: {error.strerror}") from None
    return path


def residual_of(path: Path) -> Path:
    """The file beside an overlay that holds its learned correction."""
    return path.with_name(f"{path.stem}.residual.npz")


def fitted_to(path: Path, *archs: str) -> str:
    """What `calibration.of` says in `path` of fits to machines' rows: their names, files as seen from there."""
    names = [name for arch in archs for name in _fitted_machines(arch)]
    written = [_text(extends_from(path, name)) for name in dict.fromkeys(names)]
    return written[0] if len(written) == 1 else f"[{', '.join(written)}]"


def _fitted_machines(arch: str) -> list[str]:
    file = arch_path(split_variant(arch)[0])
    return fitted_machines(read_document(file).layer(), file)


def write_taught(path: Path, taught: Taught, pupil: str, teachers: Sequence[str], provenance: Provenance) -> Path:
    """Write what other machines taught a pupil: a file for it to extend between its facts and its own fits.

    Raises SimexploreError where it cannot be written.
    """
    names = ", ".join(dict.fromkeys(name for arch in teachers for name in _fitted_machines(arch)))
    data: Nested = {"abstract": "true"}
    for key, value in in_yaml(taught.values, taught.gpu).items():
        _put(data, key, value)
    data["calibration"] = {
        "of": fitted_to(path, *teachers),
        "date": _text(provenance.date),
        "seed": str(provenance.seed),
        "sigma_log": {name: f"{sigma:.4g}" for op, sigma in taught.sigma_log.items() for name in _groups_taught(op)},
        "teachers": {
            name: f"[{', '.join(map(_teacher, gpus))}]"
            for op, gpus in taught.teachers.items()
            for name in _groups_taught(op)
        },
    }
    times = f"calibrated: {', '.join(provenance.data)}, at most {provenance.rows} rows a family of {names}, "
    times += f"seed {provenance.seed}, {provenance.date}"
    sources: Nested = {"calibration": _text(times)}
    for key in taught.values:
        error = taught.uncertainty[key]
        assert error is not None
        sources[key] = _text(f"{times}; ± {_percent(error)}")
    data["sources"] = sources
    head = f"# What {names} taught {pupil}, whose rows are not among them. Written by tools/fitting/teach."
    try:
        path.write_text("\n".join([head, *_lines(data, 0)]) + "\n", encoding="utf-8")
    except OSError as error:
        raise SimexploreError(f"{path}: the family can't be written: {error.strerror}") from None
    return path


def _groups_taught(op: str) -> list[str]:
    """The groups that lessons are of: wide types alone, for of narrow ones teachers show no rows."""
    return [f"{op} {dtype} {launch}" for dtype in ("bf16", "fp16") for launch in get_args(Launch)]


def extends_from(path: Path, arch: str) -> str:
    """What `extends` must say in `path` for a machine: its name, or its file as seen from there."""
    file = arch_path(arch)
    if not arch.endswith((".yaml", ".yml")):
        return arch
    return Path(os.path.relpath(file.resolve(), path.resolve().parent)).as_posix()


def _calibration(path: Path, calibrated: Calibrated, provenance: Provenance) -> Nested:
    groups = calibrated.groups
    old = load_arch(provenance.arch, engine=provenance.engine).calibration
    written: Nested = {
        "of": fitted_to(path, provenance.arch),
        "date": _text(provenance.date),
        "seed": str(provenance.seed),
        "data": f"[{', '.join(_text(name) for name in _all_data(calibrated, provenance))}]",
        "rows": {name: str(group.rows) for name, group in groups.items() if group.rows},
        "held_out": {
            name: "{"
            + ", ".join(
                f"{key}: {_figure(value)}" for key, value in group.held_out.model_dump(exclude_none=True).items()
            )
            + "}"
            for name, group in groups.items()
            if group.held_out is not None
        },
        "sigma_log": {name: f"{sigma:.4g}" for name, sigma in sigma_by_name(groups)},
        "pace": {
            name: {source: f"{pace:.4g}" for source, pace in paces.items()} for name, paces in calibrated.pace.items()
        },
        "watts": _watts(calibrated.watts),
        "machine": _text(calibrated.gpu.digest()),
        "residual": _text(residual_of(path).name),
    }
    for key in ("rows", "held_out"):  # what an earlier calibration said of groups that moved held of its own values
        section = written[key]
        assert isinstance(section, dict)
        for name in getattr(old, key, {}):
            if name not in calibrated.stayed:
                section.setdefault(name, None)
    return written


def _all_data(calibrated: Calibrated, provenance: Provenance) -> tuple[str, ...]:
    """The data sets of the fit, after those of what stayed."""
    old = load_arch(provenance.arch, engine=provenance.engine).calibration if calibrated.stayed else None
    return tuple(dict.fromkeys((*(old.data if old is not None else ()), *provenance.data)))


def _teacher(gpu: Gpu) -> str:
    """Whose rows these are, in one line."""
    told = {"machine": gpu.name, "chip": gpu.chip, "generation": gpu.generation, "engine": gpu.engine}
    return "{" + ", ".join(f"{key}: {_text(value)}" for key, value in told.items() if value) + "}"


def _watts(fit: EnergyFit | None) -> str | None:
    """Errors of watts on rows that were not fitted; nothing where none were."""
    if fit is None or not fit.held_out:
        return None
    figures = {"fitted": fit.rows, "rows": fit.held_out, "mape": fit.mape, "sigma_log": fit.spread}
    return "{" + ", ".join(f"{key}: {_figure(value)}" for key, value in figures.items()) + "}"


def _sources(calibrated: Calibrated, provenance: Provenance) -> Nested:
    def origin(data: tuple[str, ...], what: str) -> str:
        return f"calibrated: {', '.join(data)}, {what}, seed {provenance.seed}, {provenance.date}"

    watts = calibrated.watts
    times = origin(provenance.data, f"at most {provenance.rows} rows a family")
    section = provenance.section
    every = origin(_all_data(calibrated, provenance), f"at most {provenance.rows} rows a family")
    sources: Nested = {f"{section}calibration": _text(every)}
    for key in calibrated.values:
        error = calibrated.uncertainty.get(key)
        text = times
        if watts is not None and key in watts.values:
            measured = watts.by_width.get(key)
            text = origin(watts.sources, f"watts of {watts.rows} rows")
            text += f", {measured} by the width of operands" if measured else ""
        sources[f"{section}{key}"] = _text(f"{text}; ± {_percent(error)}" if error is not None else text)
    return sources


def _put(data: Nested, key: str, value: str | Nested) -> None:
    """Set a dotted path in nested mappings."""
    *above, last = key.split(".")
    for step in above:
        inner = data.setdefault(step, {})
        assert isinstance(inner, dict), f"{dotted(tuple(above))} is a value and a mapping"
        data = inner
    data[last] = value


def _lines(data: Mapping[str, Nested | str | None], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, value in data.items():
        name = key if key.replace("_", "").replace(".", "").isalnum() else _text(key)
        if isinstance(value, dict):
            if value:
                yield f"{indent}{name}:"
                yield from _lines(value, depth + 1)
        else:
            yield f"{indent}{name}: {'null' if value is None else value}"


def _figure(value: int | float | tuple[float, ...]) -> str:
    """A count as it is, a share in four digits, shares as a list."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_figure, value))}]"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _text(value: str) -> str:
    """A quoted scalar: JSON's strings are YAML's."""
    return json.dumps(value, ensure_ascii=False)


def _percent(share: float) -> str:
    """A share to two digits, without an exponent: `4.5 %`, `110 %`."""
    return f"{float(f'{100.0 * share:.2g}'):g} %"
