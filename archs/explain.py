"""Validation errors in one line: `file:line: key.path: expected …, found …`."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from simexplore.archs.merge import KeyPath, Layer, dotted, nearest_path
from simexplore.archs.renamed import NEW_KEYS, NOW_SECTIONS, expected_name, told
from simexplore.archs.schema.quantities import Quantity
from simexplore.archs.units import nearest, show
from simexplore.errors import SimexploreError

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text (in quotes if it looks like a number)",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than": ("a number above {}", "gt"),
    "greater_than_equal": ("a number of at least {}", "ge"),
    "less_than": ("a number below {}", "lt"),
    "less_than_equal": ("a number of at most {}", "le"),
    "literal_error": ("{}", "expected"),
    "enum": ("{}", "expected"),
    "too_short": ("at least {} entries", "min_length"),
    "too_long": ("at most {} entries", "max_length"),
}


NO_GPUS = {
    "system": "a system, which run, sweep and arch take",
    "cpu": "a CPU, which a system's devices name",
    "drive": "a drive, which a system's devices name",
}
"""What else a file may describe, and where it belongs."""


def check_is_gpu(layer: Layer) -> None:
    """Refuse a file that says of itself that it is of another kind.

    Raises:
        SimexploreError: it is a CPU, a drive or a system.
    """
    kind = layer.data.get("kind")
    if isinstance(kind, str) and kind in NO_GPUS:
        raise SimexploreError(f"{at(layer, ('kind',))}: expected a machine of kind gpu, found {NO_GPUS[kind]}")


def explain(error: ValidationError, layer: Layer, model: type[BaseModel]) -> SimexploreError:
    """The most telling of the errors: an unknown key comes before the missing one that it was meant to be."""
    details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return SimexploreError(_line(details[0], layer, model) + more)


def _line(detail: ErrorDetails, layer: Layer, model: type[BaseModel]) -> str:
    path: KeyPath = tuple(step for step in detail["loc"] if step != "[key]")
    context = detail.get("ctx", {})
    if context.get("key"):
        path = (*path, *context["key"].split("."))
    kind = detail["type"]
    hint = ""
    renamed = _renamed(kind, path)
    if renamed is not None:
        expected, found = renamed, show(path[-1])
    elif kind == "extra_forbidden":
        keys = sorted(_keys(model, path[:-1]))
        expected, found = f"one of the keys {', '.join(keys)}", show(path[-1])
        hint = nearest(str(path[-1]), keys) or nearest_path(path, layer.data)
    elif kind == "missing":
        expected, found = _due(model, path), "nothing"
    elif kind == "expected":
        expected, found = context["expected"], context["found"]
    else:
        expected, found = _expected(detail), show(detail["input"])
        if kind == "literal_error":
            hint = nearest(
                str(detail["input"]), [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
            )
    return f"{at(layer, path)}: expected {expected}, found {found}{hint}"


def _renamed(kind: str, path: KeyPath) -> str | None:
    """What is expected in place of a key that has another name now."""
    key = dotted(path)
    if kind in ("model_type", "model_attributes_type") and key in NOW_SECTIONS:
        return told(NEW_KEYS[key])
    return expected_name(key) if kind == "extra_forbidden" else None


def at(layer: Layer, path: KeyPath) -> str:
    """`file:line: key.path`, or `--set key` alone when it names that very key."""
    place = layer.place(path)
    return place if place == f"--set {dotted(path)}" else f"{place}: {dotted(path)}"


def _expected(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind in _BOUNDS:
        text, key = _BOUNDS[kind]
        return text.format(detail["ctx"][key])
    message = detail["msg"]
    return "a value for which: " + " ".join(message.split())


def _keys(model: type[BaseModel], path: KeyPath) -> list[str]:
    """The YAML keys that a record has."""
    record = _annotation(model, path)
    return [info.alias or name for name, info in record.model_fields.items()] if _is_model(record) else []


def _due(model: type[BaseModel], path: KeyPath) -> str:
    """The key or value that a file must have at a path, where it has none."""
    annotation = _annotation(model, path)
    for extra in _metadata(model, path):
        if isinstance(extra, Quantity):
            return extra.dimension.expected
    if annotation is int:
        return "a whole number"
    if annotation is float:
        return "a number"
    if annotation is str:
        return "text"
    if _is_model(annotation) or get_origin(annotation) is dict:
        return "a mapping"
    words = [repr(word) for word in get_args(annotation) if isinstance(word, str)]
    return " or ".join(words) or "a value"


def _field(model: type[BaseModel], path: KeyPath) -> FieldInfo | None:
    record = _annotation(model, path[:-1])
    if not path or not _is_model(record):
        return None
    return next((info for name, info in record.model_fields.items() if (info.alias or name) == path[-1]), None)


def _metadata(model: type[BaseModel], path: KeyPath) -> list[Any]:
    field = _field(model, path)
    if field is None:
        return []
    nested = [extra for part in get_args(field.annotation) for extra in getattr(part, "__metadata__", ())]
    return [*field.metadata, *nested]


def _annotation(model: type[BaseModel], path: KeyPath) -> Any:
    """The type at a path, optional and annotated wrappers taken off; None where the schema says nothing."""
    current: Any = model
    for length in range(1, len(path) + 1):
        if _is_model(current):
            field = _field(model, path[:length])
            current = _bare(field.annotation) if field else None
        elif get_origin(current) in (dict, list, tuple):
            current = _bare(get_args(current)[-1 if get_origin(current) is dict else 0])
        else:
            return None
    return current


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _bare(parts[0])
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
