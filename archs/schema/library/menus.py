"""What the menus of a library are made of: tiles, patches and ranges of sizes as text, and bounds of numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from simexplore.archs.schema.quantities import Count, mistake

Parsed = TypeVar("Parsed")
_TILE_PATTERN = r"^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$"
_PATCH_PATTERN = r"^[1-9][0-9]{0,3}(x[1-9][0-9]{0,3}){2}$"
_RANGE_PATTERN = r"^(m|n|k|mnk) \d{1,15}-\d{0,15}( (m|n|k|mnk) \d{1,15}-\d{0,15}){0,3}$"


def written(pattern: str, example: str) -> Callable[[type[Parsed]], type[Parsed]]:
    """Make a class with a classmethod `parse` one that YAML writes as text; the arguments are for the JSON schema."""

    def core(cls: Any, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ARG001 - pydantic's signature
        return core_schema.no_info_plain_validator_function(cls.parse)

    def told(cls: Any, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:  # noqa: ARG001
        return {"type": "string", "pattern": pattern, "examples": [example]}

    def add(cls: type[Parsed]) -> type[Parsed]:
        hooks: dict[str, Any] = {"__get_pydantic_core_schema__": core, "__get_pydantic_json_schema__": told}
        for name, hook in hooks.items():
            setattr(cls, name, classmethod(hook))
        return cls

    return add


@written(_TILE_PATTERN, "128x256")
class Tile(NamedTuple):
    """Rows and columns of the output that one CTA computes; `128x256` in YAML."""

    m: int
    n: int

    @classmethod
    def parse(cls, value: object, _info: ValidationInfo | None = None) -> Tile:
        """A tile from its text."""
        if isinstance(value, Tile):
            return value
        rows, times, columns = value.partition("x") if isinstance(value, str) else ("", "", "")
        if not (times and rows.isdecimal() and columns.isdecimal() and 0 < int(rows) < 10000 > int(columns) > 0):
            raise mistake("a tile, rows x columns such as '128x256'", repr(value))
        return cls(int(rows), int(columns))


@written(_PATCH_PATTERN, "4x8x4")
class Patch(NamedTuple):
    """Outputs that one CTA of a convolution computes, by image, row and column; `4x8x4` in YAML."""

    images: int
    rows: int
    columns: int

    @classmethod
    def parse(cls, value: object, _info: ValidationInfo | None = None) -> Patch:
        """A patch from its text."""
        if isinstance(value, Patch):
            return value
        sides = value.split("x") if isinstance(value, str) else []
        if not (len(sides) == 3 and all(side.isdecimal() and 0 < int(side) < 10000 for side in sides)):
            raise mistake("a patch, images x rows x columns such as '4x8x4'", repr(value))
        return cls(*(int(side) for side in sides))


@written(_RANGE_PATTERN, "m 8-16 n 2048- k 512-768")
class ShapeRange(NamedTuple):
    """GEMMs of some sizes, from the least to the most of m, n, k and of m n k; `m 8-16 n 2048- k 512-768` in YAML."""

    m: tuple[float, float] = (0.0, inf)
    n: tuple[float, float] = (0.0, inf)
    k: tuple[float, float] = (0.0, inf)
    mnk: tuple[float, float] = (0.0, inf)

    @property
    def limits(self) -> tuple[tuple[str, tuple[float, float]], ...]:
        """Each size with its least and most."""
        return tuple(self._asdict().items())

    @classmethod
    def parse(cls, value: object, _info: ValidationInfo | None = None) -> ShapeRange:
        """A range from its text."""
        if isinstance(value, ShapeRange):
            return value
        words = value.split(" ") if isinstance(value, str) and re.fullmatch(_RANGE_PATTERN, value) else []
        bounds = [word.split("-") for word in words[1::2]]
        limits = {
            name: (float(least), float(most or inf)) for name, (least, most) in zip(words[::2], bounds, strict=True)
        }
        if not limits or 2 * len(limits) != len(words) or any(least > most for least, most in limits.values()):
            raise mistake(
                "sizes of m, n, k and mnk from least to most, such as 'm 8-16 n 2048- k 512-768'", repr(value)
            )
        return cls(**limits)


Patches = Annotated[tuple[Patch, ...], Field(min_length=1, strict=False)]
Tiles = Annotated[tuple[Tile, ...], Field(min_length=1, strict=False)]
ShapeRanges = Annotated[tuple[ShapeRange, ...], Field(strict=False)]
Splits = Annotated[tuple[Count, ...], Field(min_length=1, strict=False)]
HeadDims = Annotated[tuple[Count, ...], Field(strict=False)]
Portion = Annotated[float, Field(ge=0, le=1)]
Exponent = Annotated[float, Field(ge=1, le=64)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Instructions = Annotated[float, Field(ge=0, le=100_000)]
Trips = Annotated[float, Field(ge=0, le=1000)]
Shapes = Annotated[float, Field(ge=1, le=1e9)]
