"""Machines by their facts and the rules that were read off tables of kernels, without anything fitted on top.

Fitting them again changes no test that works a rule out by hand.
"""

from __future__ import annotations

from simexplore.archs.load import HERE, machine_of, read_document, resolve
from simexplore.archs.merge import Layer, overlay
from simexplore.archs.schema.gpu import Gpu

RULES = {
    "nvidia/l40s": ("nvidia/_derived.yaml", "nvidia/ada/parts/derived.yaml"),
    "nvidia/h200-sxm": ("nvidia/hopper/parts/family.yaml",),
    "nvidia/a100-sxm-80gb": ("nvidia/_derived.yaml", "nvidia/ampere/parts/ga100.yaml"),
}


def ruled(name: str) -> Gpu:
    """A machine of `RULES` by its facts and its rules."""
    layer = resolve(f"{name}@facts")
    for file in RULES[name]:
        rules = read_document(HERE / file).layer()
        kept = {key: value for key, value in rules.data.items() if key in ("library", "links", "sources")}
        layer = overlay(layer, Layer(kept, rules.places, rules.files))
    return machine_of(layer)
