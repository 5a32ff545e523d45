"""JSON Schema of arch files, for editors."""

from __future__ import annotations

from typing import Any

from simexplore.archs.schema.gpu import Gpu


def json_schema() -> dict[str, Any]:
    """JSON Schema of arch files, for editors: any key may come from the file that `extends` names, so inner keys
    are all optional, and the top-level ones are required only of a file that stands alone."""
    schema = Gpu.model_json_schema(by_alias=True)
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
    partial = [{"required": ["extends"]}, {"required": ["abstract"]}]
    schema["if"], schema["else"] = {"anyOf": partial}, {"required": required}
    return schema
