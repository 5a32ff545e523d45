"""Strict YAML, `extends:` and overrides. The only module that imports yaml.

PyYAML alone reads `1e9` as text and `12:30` as 750, keeps the last of two equal keys and follows aliases. Here plain
scalars are null, true, false, JSON-like numbers or text; equal keys, anchors, aliases and tags are errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NoReturn

import yaml
from pydantic import ValidationError

from simexplore.archs.engines import engines_of, of_engine
from simexplore.archs.explain import at, check_is_gpu, explain
from simexplore.archs.files import MIB, file_bytes
from simexplore.archs.merge import KeyPath, Layer, as_text, dotted, overlay, override
from simexplore.archs.names import HERE as HERE
from simexplore.archs.names import arch_path as arch_path
from simexplore.archs.names import list_archs as list_archs
from simexplore.archs.names import parents_of, real_path
from simexplore.archs.provenance import told
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import HasLibrary
from simexplore.archs.schema.machine import Origin, Value
from simexplore.archs.units import one_line, show
from simexplore.archs.views.variants import LeftOut, calibrations, files_left_out, split_variant
from simexplore.errors import SimexploreError

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 18
_MAX_DEPTH = 40
SUFFIXES = (".yaml", ".yml")
MOST_REMEMBERED = 64
"""Shipped machines that are read once."""
MOST_FILE_BYTES = 16 * MIB
MOST_GENERATIONS = 32
"""Files that extend each other in a row. Shipped ones do so four deep."""
MOST_MERGED = 500_000
"""Keys that are merged for one machine, counted each time; the shipped ones take a few thousand."""


@dataclass(frozen=True)
class Document:
    """One YAML file as plain dict, list, str, int, float, bool and None, with the line of every key."""

    path: Path
    data: Any
    lines: Mapping[KeyPath, int]

    def line(self, path: KeyPath) -> int:
        """The line (from 1) of a key or list entry; where it is not written, of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def layer(self) -> Layer:
        """This document as a layer, whose places are told as `file:line`."""
        name = one_line(str(self.path))
        return Layer(self.data, {path: f"{name}:{line}" for path, line in self.lines.items()}, (name,))


def read_document(path: str | Path) -> Document:
    """Read a YAML file strictly. Raises SimexploreError in one line: `file:line: key.path: expected …, found …`."""
    path = Path(path)
    text = _text(path)
    reader = _Reader(str(path))
    data = reader.read(text)
    return Document(path, data, reader.lines)


def parse_value(text: str, source: str) -> Any:
    """A value given on the command line, by the same rules as in a file; `source` names it in errors."""
    return _Reader(source, numbered=False).read(text) if text.strip() else None


def _text(path: Path) -> str:
    try:
        raw = file_bytes(path, MOST_FILE_BYTES)
    except (OSError, ValueError) as error:
        what = "a directory" if isinstance(error, IsADirectoryError) else getattr(error, "strerror", None) or str(error)
        raise SimexploreError(f"{one_line(str(path))}:1: expected a readable file, found: {what}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SimexploreError(
            f"{one_line(str(path))}:{line}: top level: expected UTF-8 text, found the byte 0x{raw[error.start]:02x}"
        ) from None


class _Reader:
    """Turns the parser's events into plain data and fills `lines`; `numbered` is off for values of one line."""

    def __init__(self, source: str, *, numbered: bool = True) -> None:
        self.source = one_line(source)
        self.numbered = numbered
        self.lines: dict[KeyPath, int] = {}
        self.path: KeyPath = ()

    def read(self, text: str) -> Any:
        """Read a text that must hold one document, as plain data."""
        events = self._events(text)
        event = next(events)
        if isinstance(event, yaml.StreamEndEvent):
            self._fail("a mapping", "an empty file", 1)
        data = self._node(next(events), events, ())
        self.path = ()
        next(events)  # the end of the document
        extra = next(events)
        if not isinstance(extra, yaml.StreamEndEvent):
            self._fail("one document", "a second one", extra.start_mark.line + 1)
        return data

    def _events(self, text: str) -> Iterator[Any]:
        """The events after the start of the stream; syntax errors become SimexploreErrors."""
        try:
            events = yaml.parse(text, Loader=_PARSER)
            next(events)
            yield from events
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line if mark else 0
            lines = text.splitlines()
            written = lines[line] if line < len(lines) else ""
            indent = written[: len(written) - len(written.lstrip())]
            found = "a tab" if "\t" in indent else f"{show(written.strip())} ({error.problem})"
            self._fail("spaces as indentation" if "\t" in indent else "YAML", found, line + 1)
        except yaml.YAMLError as error:
            position = getattr(error, "position", 0)
            line = text.count("\n", 0, position if isinstance(position, int) else 0) + 1
            self._fail("printable text", show(getattr(error, "reason", "") or type(error).__name__), line)

    def _node(self, event: Any, events: Iterator[Any], path: KeyPath) -> Any:
        self.path = path
        line = event.start_mark.line + 1
        self.lines.setdefault(path, line)
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            mark = "*" if isinstance(event, yaml.AliasEvent) else "&"
            self._fail("plain YAML without anchors and aliases", show(mark + event.anchor), line)
        if event.tag is not None:
            self._fail("plain YAML without tags", show(event.tag), line)
        if len(path) > _MAX_DEPTH:
            self._fail(f"at most {_MAX_DEPTH} levels", "a deeper one", line)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(events, path)
        return self._mapping(events, path)

    def _list(self, events: Iterator[Any], path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, (*path, len(items))))
        return items

    def _mapping(self, events: Iterator[Any], path: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._key(event, path)
            below = (*path, key)
            line = event.start_mark.line + 1
            self.path = below
            if key in mapping:
                self._fail("each key once", f"{show(key)} again (first on line {self.lines[below]})", line)
            self.lines[below] = line
            mapping[key] = self._node(next(events), events, below)
        return mapping

    def _key(self, event: Any, path: KeyPath) -> str:
        self.path = path
        line = event.start_mark.line + 1
        if not isinstance(event, yaml.ScalarEvent):
            self._fail("a word as key", "an alias" if isinstance(event, yaml.AliasEvent) else "a collection", line)
        if event.anchor or event.tag:
            self._fail("plain YAML without anchors and tags", show(event.anchor or event.tag), line)
        key = self._scalar(event, line)
        if not isinstance(key, str):
            self._fail("a word as key", show(key), line)
        return key

    def _scalar(self, event: Any, line: int) -> Any:
        text: str = event.value
        if event.style not in (None, ""):
            return text
        if text in ("", "~", "null"):
            return None
        if text in ("true", "false"):
            return text == "true"
        if _INTEGER.fullmatch(text):
            if len(text) > _MAX_DIGITS:
                self._fail(f"a number of at most {_MAX_DIGITS} digits", show(text), line)
            return int(text)
        if _FLOAT.fullmatch(text):
            if abs(float(text)) == float("inf"):
                self._fail("a finite number", show(text), line)
            return float(text)
        return text

    def _fail(self, expected: str, found: str, line: int) -> NoReturn:
        where = f"{self.source}:{line}: {dotted(self.path)}" if self.numbered else self.source
        raise SimexploreError(f"{where}: expected {expected}, found {found}")


def resolve(name_or_path: str | Path, overrides: Mapping[str, Value] | None = None, engine: str | None = None) -> Layer:
    """A machine's plain data with what it extends merged in and `overrides` laid over, and the place of each key.

    `NAME@facts` leaves out every file with a `calibration:`, so that nothing in it was fitted to measured times, and
    `NAME@family` those that were fitted to the machine itself. With an `engine` its kernels are those of that one.
    """
    name, variant = split_variant(name_or_path)
    path = arch_path(name)
    left_out = files_left_out(variant, read_document(path).layer(), path) if variant else None
    layer = _Inheritance(left_out).resolve(path, ())
    if variant == "facts":
        layer.data.pop("kin", None)  # what it lends was learned
    return overridden(layer if engine is None else of_engine(layer, engine), overrides or {})


def overridden(layer: Layer, overrides: Mapping[str, Value]) -> Layer:
    """A machine's plain data with values such as `{'l2.capacity': '36 MiB'}` laid over."""
    for key, value in overrides.items():
        layer = override(layer, key, parse_value(as_text(value, key), f"--set {key}"))
    return layer


def resolved(
    name_or_path: str | Path, overrides: Mapping[str, Value] | None = None, engine: str | None = None
) -> dict[str, Any]:
    """The merged plain data of a machine, quantities as written, for people to read."""
    data: dict[str, Any] = resolve(name_or_path, overrides, engine).data
    return data


class _Inheritance:
    """Follows `extends` from one machine. A file that several others name is read and merged once."""

    def __init__(self, left_out: LeftOut | None) -> None:
        self._left_out = left_out
        self._known: dict[Path, Layer] = {}
        self._merged = 0

    def resolve(self, path: Path, children: tuple[Path, ...]) -> Layer:
        """A file over all that it extends; `children` are the files that lead to it."""
        real = real_path(path)
        if real not in self._known:
            self._known[real] = self._resolved(path, (*children, real))
        return self._known[real]

    def _resolved(self, path: Path, chain: tuple[Path, ...]) -> Layer:
        layer = _anchored(read_document(path).layer(), path)
        if not isinstance(layer.data, dict):
            raise SimexploreError(f"{at(layer, ())}: expected a mapping such as 'kind: gpu', found {show(layer.data)}")
        parents = parents_of(layer, path)
        _check(layer, parents, chain)
        if self._left_out is not None and self._left_out(layer, path):
            layer = Layer(
                {key: value for key, value in layer.data.items() if key == "abstract"}, layer.places, layer.files
            )
        if not parents:
            return layer
        merged = overlay(Layer({}, {}), *self._counted(layer, parents, chain), layer)
        merged.data.pop("extends", None)
        if "abstract" not in layer.data:  # a family is abstract, its members are not
            merged.data.pop("abstract", None)
        return merged

    def _counted(self, layer: Layer, parents: list[Path], chain: tuple[Path, ...]) -> Iterator[Layer]:
        """What a file extends, each with everything that it extends itself, as long as that is not too much."""
        for parent in parents:
            above = self.resolve(parent, chain)
            self._merged += 1 + len(above.places)
            if self._merged > MOST_MERGED:
                raise SimexploreError(
                    f"{at(layer, ('extends',))}: expected at most {MOST_MERGED} keys in the files that extend each "
                    "other, found more"
                )
            yield above


def _check(layer: Layer, parents: list[Path], chain: tuple[Path, ...]) -> None:
    """Refuse what leads back, and more generations than anyone means."""
    place = at(layer, ("extends",))
    for parent in parents:
        if real_path(parent) in chain:
            names = " -> ".join(one_line(member.name) for member in (*chain, parent))
            raise SimexploreError(f"{place}: expected a file that does not lead back here, found {names}")
    if len(chain) > MOST_GENERATIONS:
        raise SimexploreError(
            f"{place}: expected at most {MOST_GENERATIONS} files that extend each other in a row, found more"
        )


def _anchored(layer: Layer, path: Path) -> Layer:
    """The layer with the names of files that lie beside it, `calibration.residual` and `kin`, made paths."""
    for calibration in calibrations(layer):
        if isinstance(calibration, dict) and isinstance(name := calibration.get("residual"), str):
            calibration["residual"] = str(path.parent / name)
    kin = layer.data.get("kin") if isinstance(layer.data, dict) else None
    if isinstance(kin, str) and kin.endswith(SUFFIXES):
        layer.data["kin"] = str(path.parent / kin)
    return layer


def load_arch(name_or_path: str | Path, overrides: Mapping[str, Value] | None = None, engine: str | None = None) -> Gpu:
    """A machine by name (`nvidia/h200-sxm`) or from a file, with overrides such as `{'l2.capacity': '36 MiB'}`.

    Overrides are keys of the file and values with its units; counts and shares may be numbers, `{'sm.count': 160}`.
    With an `engine` such as `vllm` its kernels are those of that one, else those of the first that its file tells of.

    Raises SimexploreError in one line, `file:line: key.path: expected …, found …`, or `--set key: expected …` for an
    override; keys that come from a parent name the parent's file and line.
    """
    own = dict(overrides or {})
    gpu = machine_of(resolve(name_or_path, own, engine))
    gpu._origin = Origin(partial(_again, name_or_path, own, engine))
    return gpu


def _again(name_or_path: str | Path, own: Mapping[str, Value], engine: str | None, more: Mapping[str, Value]) -> Gpu:
    return load_arch(name_or_path, {**own, **more}, engine)


@lru_cache(maxsize=MOST_REMEMBERED)
def shipped_arch(name: str) -> Gpu:
    """A machine that comes with simexplore, by name: read once.

    Raises:
        SimexploreError: as `load_arch`.
    """
    return load_arch(name)


def machine_of(layer: Layer) -> Gpu:
    """The machine that merged plain data describes; its sources tell which values are their author's own.

    Raises:
        SimexploreError: as `load_arch`.
    """
    gpu = _as_told(layer)
    engine = layer.data.get("engine")
    kin = None if gpu.kin is None else _lender(gpu.kin, engine, at(layer, ("kin",)))
    if is_as_calibrated(gpu):
        return gpu if kin is None else gpu.lent_by(None, kin)
    place = layer.place(("calibration", "residual")).rpartition(":")[0]
    reference = _lender(place, engine, place) if gpu.lends and place.endswith(SUFFIXES) else None
    return (gpu.physics_only() if reference is None else gpu).lent_by(reference, kin)


def _as_told(layer: Layer) -> Gpu:
    """The machine of the data alone, without those that lend it what was learned of them."""
    if layer.data.get("abstract") is True:
        raise SimexploreError(
            f"{at(layer, ('abstract',))}: expected a machine, found a family that machines extend; "
            "simexplore arch list names the machines"
        )
    check_is_gpu(layer)
    try:
        gpu = Gpu.model_validate(layer.data)
    except ValidationError as error:
        raise explain(error, layer, Gpu) from None
    for engine in () if gpu.is_of_other_engine else gpu.engines:  # they are laid over the first engine's kernels
        _check_engine(layer, engine)
    return gpu.model_copy(update={"sources": told(layer)})


def _lender(name_or_path: str, engine: str | None, place: str) -> Gpu | None:
    """A machine as its file is, with an engine's kernels and nothing laid over them; None where it has none such, or
    is not as it was calibrated: what was learned of it then is of no machine that there is."""
    try:
        layer = resolve(name_or_path)
        if engine not in (None, *engines_of(layer)):
            return None
        gpu = _as_told(layer if engine is None else of_engine(layer, engine))
    except SimexploreError as error:
        raise SimexploreError(f"{place}: {error}") from None
    return gpu if gpu.lends and is_as_calibrated(gpu) else None


def _check_engine(layer: Layer, engine: str) -> None:
    """Refuse a file whose kernels of another engine are none, before anybody asks for that engine."""
    of_library = {key: layer.data[key] for key in ("name", "library", "engines")}
    merged = of_engine(Layer(of_library, layer.places, layer.files), engine)
    try:
        HasLibrary.model_validate({"library": merged.data["library"]})
    except ValidationError as error:
        raise explain(error, merged, Gpu) from None


def is_as_calibrated(gpu: Gpu) -> bool:
    """Whether a machine's values are those that its learned correction was fitted with: others get it faded."""
    return gpu.calibration is None or gpu.calibration.machine in ("", gpu.digest())
