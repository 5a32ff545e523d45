"""Field types of the machine schema: floats in SI that YAML writes with a unit, and the base of every record."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from simexplore.archs import units

_UNIT_SUFFIX = re.compile(
    r"_(bytes_per_s|bytes_per_clk|ops_per_s|ops_per_clk|j_per_op|j_per_byte|cycles|bytes|hz|usd_per_byte|usd|m2|m|s|w)$"
)


def yaml_key(python_name: str) -> str:
    """The key in YAML: the Python name without its unit, which the value carries (`capacity_bytes` -> `capacity`)."""
    return _UNIT_SUFFIX.sub("", python_name)


class Spec(BaseModel):
    """A record of a machine: frozen, no unknown keys, no silent conversions, keys as in YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=yaml_key)


def has(record: BaseModel, name: str) -> bool:
    """Whether a record has a value, or a section of its own: not the default that stands for an absent section."""
    absent = isinstance(type(record).model_fields[name].default, Spec) and name not in record.model_fields_set
    return not absent and getattr(record, name) is not None


def stated(record: BaseModel) -> dict[str, Any]:
    """A record as plain data in SI, without the sections and values that it lacks."""
    values = {name: getattr(record, name) for name in type(record).model_fields if has(record, name)}
    dumped = record.model_dump(include=set(values))
    told = {name: value for name, value in values.items() if name in dumped}  # some fields are left out of all dumps
    return {name: stated(value) if isinstance(value, Spec) else dumped[name] for name, value in told.items()}


@dataclass(frozen=True)
class Quantity:
    """Annotation of a float that YAML writes as a number with a unit of `dimension`; `positive` refuses zero."""

    dimension: units.Dimension
    positive: bool = False

    def parse(self, value: object) -> float:
        """The SI value; a PydanticCustomError of type `expected` carries both halves of the message."""
        try:
            number = units.parse(value, self.dimension)
        except units.UnitError as error:
            raise mistake(error.expected, error.found) from None
        if self.positive and number == 0:
            raise mistake(f"{self.dimension.name} above zero such as '{self.dimension.example}'", units.show(value))
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        dimension = self.dimension
        return {
            "type": "string",
            "pattern": dimension.pattern,
            "description": f"{dimension.name} in {dimension.si}",
            "examples": [dimension.example],
        }


def mistake(expected: str, found: str, key: str = "") -> PydanticCustomError:
    """A validation error that says what was expected and found; `key` names the field below the record, if any."""
    return PydanticCustomError(
        "expected", "expected {expected}, found {found}", {"expected": expected, "found": found, "key": key}
    )


def about(description: str, unit: str, **settings: Any) -> Any:
    """A field's documentation: what it is and in which unit ('1' for counts and shares, 'text' for words)."""
    return Field(description=description, json_schema_extra={"unit": unit}, **settings)


Bytes = Annotated[float, Quantity(units.BYTES)]
Capacity = Annotated[float, Quantity(units.BYTES, positive=True)]
Seconds = Annotated[float, Quantity(units.SECONDS)]
Hertz = Annotated[float, Quantity(units.HERTZ, positive=True)]
Cycles = Annotated[float, Quantity(units.CYCLES)]
BytesPerSecond = Annotated[float, Quantity(units.BYTES_PER_SECOND, positive=True)]
BytesPerClk = Annotated[float, Quantity(units.BYTES_PER_CLK, positive=True)]
OpsPerSecond = Annotated[float, Quantity(units.OPS_PER_SECOND, positive=True)]
OpsPerClk = Annotated[float, Quantity(units.OPS_PER_CLK, positive=True)]
SquareMetres = Annotated[float, Quantity(units.SQUARE_METRES, positive=True)]
Metres = Annotated[float, Quantity(units.METRES, positive=True)]
Watts = Annotated[float, Quantity(units.WATTS)]
JoulesPerOp = Annotated[float, Quantity(units.JOULES_PER_OP)]
JoulesPerByte = Annotated[float, Quantity(units.JOULES_PER_BYTE)]
Dollars = Annotated[float, Quantity(units.DOLLARS)]
Count = Annotated[int, Field(gt=0, le=1_000_000_000)]
Share = Annotated[float, Field(gt=0, le=1)]
