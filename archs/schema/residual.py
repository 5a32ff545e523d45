"""The learned part of a machine's calibration, as it lies in one `.npz` beside the overlay: plain arrays, no pickle.

Per group of rows (an operator family with its dtypes and conditions) there are two ensembles of regression trees over
the same features, the ranges that they were trained in, and a factor for the interval. `sim.residual` evaluates them.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from simexplore.archs.files import MIB, file_bytes
from simexplore.archs.schema.arrays import arrays_of, checked
from simexplore.archs.schema.quantities import mistake
from simexplore.archs.units import one_line, show

VERSION = 1
MOST_FILE_BYTES = 32 * MIB
_EXPECTED = "an .npz that simexplore calibrate wrote"
_TREES = {"root": ("i4", 1), "feature": ("i2", 1), "value": ("f4", 1), "left": ("i2", 1), "start": ("f8", 1)}
_KINDS = {"names": ("U", 1), "axis": ("i4", 1), "value": ("i8", 1), "half_width": ("f8", 1), "keep": ("f8", 1)}
"""Files from before kinds were told of have none of these."""
_ARRAYS = {
    "features": ("U", 1),
    "coordinates": ("U", 1),
    "half_width": ("f8", 1),
    "knots": ("f8", 1),
    **{f"{part}/{name}": kind for part in ("shift", "spread") for name, kind in _TREES.items()},
    **{f"kinds/{name}": kind for name, kind in _KINDS.items()},
    "hull/directions": ("f4", 2),
    "hull/low": ("f4", 1),
    "hull/high": ("f4", 1),
}
"""Kind and dimensions of each array of a group, as the file has them."""
_MOST_LOG = 300.0
"""Logarithms beyond this are of no time that anything takes, and their exponential soon overflows."""


@dataclass(frozen=True, eq=False)
class Trees:
    """Regression trees whose leaves add up. Nodes of all trees lie one after another, a right child after its left."""

    root: npt.NDArray[np.int32]
    """Node at which each tree begins."""
    feature: npt.NDArray[np.int16]
    """Position of the feature that a node asks for; -1: a leaf."""
    value: npt.NDArray[np.float32]
    """Threshold (a row goes left where its feature is at most this), or what a leaf adds."""
    left: npt.NDArray[np.int32]
    """Left child; a leaf is its own."""
    start: npt.NDArray[np.float64]
    """Shape (1,): the sum before the first tree."""


@dataclass(frozen=True, eq=False)
class Hull:
    """Where training rows were [octaves]: ranges of the logs of their sizes, and of sums and differences of any two."""

    directions: npt.NDArray[np.float32]
    """Shape (directions, coordinates), of unit length."""
    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    """Shape (directions,)."""


@dataclass(frozen=True, eq=False)
class Kinds:
    """Which kinds the training rows were of, and what is known of others. A kind is a value on an axis.

    Axes are what `sim.estimate.intervals.kinds` tells of an operator, such as the head dimension of an attention.
    """

    names: tuple[str, ...]
    """Of the axes."""
    axis: npt.NDArray[np.int32]
    """Shape (kinds,): position in `names` of the axis that each kind lies on."""
    value: npt.NDArray[np.int64]
    """Shape (kinds,): where on it."""
    half_width: npt.NDArray[np.float64]
    """Shape (axes,): half of the 80 % interval of log time of rows whose kind on that axis was never seen."""
    keep: npt.NDArray[np.float64]
    """Shape (axes,): the share of the shift that such rows keep, 0 to 1."""


def no_kinds() -> Kinds:
    """Of a correction that no kinds were told of: every row is of a kind that it has seen."""
    nothing = np.zeros(0)
    return Kinds((), nothing.astype(np.int32), nothing.astype(np.int64), nothing, nothing)


def _one_knot() -> npt.NDArray[np.float64]:
    return np.zeros(1)


@dataclass(frozen=True, eq=False)
class Correction:
    """What was learned of one group of rows."""

    group: str
    features: tuple[str, ...]
    """Names of the features that the trees ask for, in order."""
    shift: Trees
    """log(measured / physics)."""
    spread: Trees
    """log of the local scale of what remains."""
    half_width: npt.NDArray[np.float64]
    """Shape (knots,): half of the 80 % interval of log time, over the local scale, for kernels as long as each knot."""
    coordinates: tuple[str, ...]
    """Names of the hull's coordinates."""
    hull: Hull
    knots: npt.NDArray[np.float64] = field(default_factory=_one_knot)
    """log2 of times that the physics predicts [s], rising; between them `half_width` is linear, beyond them level."""
    kinds: Kinds = field(default_factory=no_kinds)


@dataclass(frozen=True, eq=False)
class Residual:
    """All groups of a machine, and which rows they and the physics were fitted on."""

    corrections: Mapping[str, Correction]
    """By group."""
    fingerprints: npt.NDArray[np.uint64]
    """Sorted; of every row that anything was fitted on. Those rows count in no reported error."""
    digest: str
    """Of the file's bytes: equal files are equal residuals."""

    def without_corrections(self) -> Residual:
        """Only the fingerprints, for a machine that the corrections do not fit."""
        return Residual({}, self.fingerprints, f"{self.digest}, corrections left out")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Residual) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        shown = core_schema.plain_serializer_function_ser_schema(lambda residual: f"sha256:{residual.digest}")
        return core_schema.no_info_plain_validator_function(_validated, serialization=shown)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "examples": ["h200.residual.npz"]}


def _validated(value: object) -> Residual:
    """A field's value: a residual as it is, or the path of its file."""
    if isinstance(value, Residual):
        return value
    if not isinstance(value, str):
        raise mistake("the name of a file beside this one such as 'mine.npz'", show(value))
    try:
        return _remembered(file_bytes(Path(value), MOST_FILE_BYTES))
    except OSError as error:
        raise mistake("a file that exists", f"{show(Path(value).name)} ({error.strerror})") from None
    except ValueError as error:
        raise mistake(_EXPECTED, f"{show(Path(value).name)}: {one_line(str(error))}") from None


@lru_cache(maxsize=8)
def _remembered(data: bytes) -> Residual:
    """`from_bytes`, which takes longer than all else of a machine and says the same of the same bytes."""
    return from_bytes(data)


def from_bytes(data: bytes) -> Residual:
    """Read what `to_bytes` wrote. Raises ValueError for anything else."""
    arrays = arrays_of(data)
    version = arrays.get("version", np.zeros(1))
    if version.ndim or int(version) != VERSION:
        raise ValueError(f"version {show(version.tolist())}, this simexplore reads {VERSION}")
    groups = [str(group) for group in np.atleast_1d(arrays.get("groups", np.zeros(0)))]
    for i in range(len(groups)):
        arrays.setdefault(f"{i}/knots", _one_knot())  # intervals that know no sizes leave it out
        for name, array in _of_kinds(no_kinds()).items():
            arrays.setdefault(f"{i}/{name}", array)
    checked(arrays, _expected(len(groups)))
    if len(set(groups)) < len(groups):
        raise ValueError("a group told twice")
    corrections = {group: _correction(group, f"{i}/", arrays) for i, group in enumerate(groups)}
    told = arrays["fingerprints"]
    rising = bool(np.all(told[1:] > told[:-1]))  # as written; np.unique imports much that nobody needs here
    return Residual(corrections, told if rising else np.unique(told), hashlib.sha256(data).hexdigest())


def _expected(groups: int) -> dict[str, tuple[str, int]]:
    """Name of each array, its kind and how many dimensions it has."""
    tables = {f"{i}/{name}": kind for i in range(groups) for name, kind in _ARRAYS.items()}
    return {"version": ("i8", 0), "groups": ("U", 1), "fingerprints": ("u8", 1), **tables}


def to_bytes(corrections: Mapping[str, Correction], fingerprints: npt.NDArray[np.uint64]) -> bytes:
    """The file's content; the same for the same arrays."""
    arrays: dict[str, Any] = {
        "version": np.array(VERSION),
        "groups": np.array(list(corrections), dtype=np.str_),
        "fingerprints": np.unique(fingerprints),
    }
    for i, correction in enumerate(corrections.values()):
        arrays |= {f"{i}/{name}": array for name, array in _arrays(correction).items()}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _arrays(correction: Correction) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {
        "features": np.array(correction.features, dtype=np.str_),
        "coordinates": np.array(correction.coordinates, dtype=np.str_),
        "half_width": correction.half_width,
        "knots": correction.knots,
        **_of_kinds(correction.kinds),
    }
    for part in ("shift", "spread", "hull"):
        record = getattr(correction, part)
        arrays |= {f"{part}/{one.name}": getattr(record, one.name) for one in fields(record)}
    for part in ("shift", "spread"):  # a child lies near its parent: the distance compresses, the position does not
        left = arrays[f"{part}/left"]
        arrays[f"{part}/left"] = (left - np.arange(len(left))).astype(np.int16)
    return arrays


def _of_kinds(kinds: Kinds) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {f"kinds/{name}": getattr(kinds, name) for name in _KINDS}
    return {**arrays, "kinds/names": np.array(kinds.names, dtype=np.str_)}


def _correction(group: str, prefix: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Correction:
    def trees(part: str) -> Trees:
        got = {one.name: arrays[f"{prefix}{part}/{one.name}"] for one in fields(Trees)}
        left: npt.NDArray[np.int32] = np.arange(len(got["left"]), dtype=np.int32) + got.pop("left").astype(np.int32)
        read = Trees(**got, left=left)
        _check(read, len(arrays[f"{prefix}features"]))
        return read

    half_width, knots = arrays[f"{prefix}half_width"], arrays[f"{prefix}knots"]
    _check_interval(half_width, knots)
    hull = Hull(**{one.name: arrays[f"{prefix}hull/{one.name}"] for one in fields(Hull)})
    coordinates = tuple(str(name) for name in arrays[f"{prefix}coordinates"])
    _check_hull(hull, len(coordinates))
    return Correction(
        group=group,
        features=tuple(str(name) for name in arrays[f"{prefix}features"]),
        shift=trees("shift"),
        spread=trees("spread"),
        half_width=half_width,
        coordinates=coordinates,
        hull=hull,
        knots=knots,
        kinds=_kinds({name: arrays[f"{prefix}kinds/{name}"] for name in _KINDS}),
    )


def _kinds(arrays: Mapping[str, npt.NDArray[Any]]) -> Kinds:
    """Read kinds. Raises ValueError where they lie on axes that are none, or say nothing that can be used."""
    names = tuple(str(name) for name in arrays["names"])
    kinds = Kinds(names, *(arrays[name] for name in _KINDS if name != "names"))
    if kinds.axis.shape != kinds.value.shape or np.any((kinds.axis < 0) | (kinds.axis >= len(names))):
        raise ValueError("kinds on axes that are none")
    if not (kinds.half_width.shape == kinds.keep.shape == (len(names),)):
        raise ValueError("kinds of unequal arrays")
    if not np.all((kinds.half_width > 0.0) & (kinds.half_width <= _MOST_LOG)):
        raise ValueError("an interval without a width")
    if not np.all((kinds.keep >= 0.0) & (kinds.keep <= 1.0)):
        raise ValueError("kinds that keep less than nothing or more than all")
    return kinds


def _check(trees: Trees, features: int) -> None:
    """Refuse trees that point outside themselves or backwards, which no walk would leave, or add up to no factor."""
    nodes = np.arange(len(trees.feature))
    inner = trees.feature >= 0
    if not (len(nodes) == len(trees.value) == len(trees.left)) or trees.start.shape != (1,):
        raise ValueError("trees of unequal arrays")
    if np.any(trees.feature >= features) or np.any((trees.root < 0) | (trees.root >= len(nodes))):
        raise ValueError("trees that point outside their arrays")
    if np.any(trees.left[~inner] != nodes[~inner]) or np.any(
        (trees.left <= nodes)[inner] | (trees.left + 1 >= len(nodes))[inner]
    ):
        raise ValueError("trees that lead nowhere")
    largest = np.abs(trees.value[~inner]).max(initial=0.0)
    if len(trees.root) * float(largest) + abs(float(trees.start[0])) > _MOST_LOG:
        raise ValueError("trees whose leaves are no logarithms of factors")


def _check_hull(hull: Hull, coordinates: int) -> None:
    """Refuse a hull in other coordinates than it names, or with an inside that is none."""
    directions = len(hull.directions)
    if hull.directions.shape != (directions, coordinates) or not (len(hull.low) == len(hull.high) == directions):
        raise ValueError("a hull of unequal arrays")
    if np.any(hull.low > hull.high):
        raise ValueError("a hull without an inside")


def _check_interval(half_width: npt.NDArray[np.float64], knots: npt.NDArray[np.float64]) -> None:
    """Refuse an interval that is nowhere, or told of no point or of points out of order."""
    if half_width.shape != knots.shape or not len(knots):
        raise ValueError("an interval of unequal arrays")
    if not np.all((half_width > 0.0) & (half_width <= _MOST_LOG)):
        raise ValueError("an interval without a width")
    if not np.all(np.diff(knots) > 0.0):
        raise ValueError("an interval whose knots do not rise")
