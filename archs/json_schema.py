"""JSON Schema of arch files, for editors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.host.drive import Drive
from simexplore.archs.schema.machine import Machine
from simexplore.archs.schema.system import Device, System

KINDS: Mapping[str, type[Machine | System]] = MappingProxyType(
    {"gpu": Gpu, "cpu": Cpu, "drive": Drive, "system": System}
)
"""What a file may describe."""


def json_schema(kind: str = "gpu") -> dict[str, Any]:
    """JSON Schema of arch files of a kind, for editors: any key may come from the file that `extends` names, so inner
    keys are all optional, and the top-level ones are required only of a file that stands alone."""
    schema = KINDS[kind].model_json_schema(by_alias=True)
    if kind == "system":
        schema["properties"]["devices"] = _devices(schema["properties"]["devices"])
        schema["$defs"] = _needed(schema)
    required = schema.pop("required")
    for definition in schema.get("$defs", {}).values():
        definition.pop("required", None)
        for key in definition.get("properties", {}).values():
            if isinstance(key.get("default"), dict):  # an absent section's own values are no suggestion
                key.pop("default")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "simexplore machine"
    name = {
        "type": "string",
        "description": "name of a machine, or path of a file relative to this one, whose keys this file overrides",
        "examples": ["nvidia/h200-sxm", "parts/facts.yaml"],
    }
    several = {"type": "array", "items": name, "minItems": 1, "description": "later ones override earlier ones"}
    schema["properties"]["extends"] = {"anyOf": [name, several]}
    schema["properties"]["sources"]["additionalProperties"] = {"type": ["string", "null"]}  # null takes one away
    partial = [{"required": ["extends"]}, {"required": ["abstract"]}]
    schema["if"], schema["else"] = {"anyOf": partial}, {"required": required}
    return schema


def _devices(told: dict[str, Any]) -> dict[str, Any]:
    """Devices by name: what a system's file has of its own, the arch by name, and any key of that arch's file."""
    own = Device.model_json_schema(by_alias=True)["properties"]
    arch = {"type": "string", "description": "name or file of a GPU, a CPU or a drive"}
    return {**told, "additionalProperties": {"type": "object", "properties": {**own, "arch": arch}}}


def _needed(schema: dict[str, Any]) -> dict[str, Any]:
    """The definitions that anything refers to."""
    known, found = schema.pop("$defs"), {}
    waiting = [schema]
    while waiting:
        part: Any = waiting.pop()
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        waiting += inner
        name = str(part.get("$ref", "")).rpartition("/")[2] if isinstance(part, dict) else ""
        if name in known and name not in found:
            found[name] = known[name]
            waiting.append(known[name])
    return found
