"""Public language models of the catalogue: their configurations are data in `configs/`, a family to a key.

An entry holds the keys of a model's `config.json` that its shape follows from, the parameters that its makers
publish, and where both stand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.workloads.families.decoder.graph import build_decode, build_prefill
from simexplore.workloads.families.decoder.options import DecodeOptions, PrefillOptions
from simexplore.workloads.families.decoder.readers import decoder_of
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.graph import Graph
from simexplore.workloads.hints import did_you_mean, found
from simexplore.workloads.training.options import TrainOptions, build_train
from simexplore.workloads.workload import Workload

PHASES: Mapping[str, tuple[type[Any], Callable[..., Graph]]] = MappingProxyType(
    {
        "prefill": (PrefillOptions, build_prefill),
        "decode": (DecodeOptions, build_decode),
        "train": (TrainOptions, build_train),
    }
)
"""What is asked of a model, and the builder of its graph."""


def _read_families() -> dict[str, dict[str, Decoder]]:
    families: dict[str, dict[str, Decoder]] = {}
    folder = files("simexplore.workloads.families") / "configs"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        for family, models in json.loads(file.read_text(encoding="utf-8")).items():
            families[family] = {name: _model(name, entry) for name, entry in models.items()}
    return families


def _model(name: str, entry: Mapping[str, object]) -> Decoder:
    published = float(entry.get("published_parameters", 0.0))  # type: ignore[arg-type]  # a number in our own files
    return replace(decoder_of(entry["config"], name, name), published_parameters=published, source=str(entry["source"]))


FAMILIES: Mapping[str, Mapping[str, Decoder]] = MappingProxyType(_read_families())
"""Models by name, by family."""

MODELS: Mapping[str, Decoder] = MappingProxyType(
    {name: model for models in FAMILIES.values() for name, model in models.items()}
)
"""Models by name."""


def model_named(name: str) -> Decoder:
    """A model of the catalogue by its name, alone or as in a workload's: `llama-3-8b`, `llm/llama-3-8b/train`.

    Raises:
        SimexploreError: there is none; suggests the nearest name.
    """
    word = name.removeprefix("llm/").removesuffix("/train")
    if word not in MODELS:
        raise SimexploreError(f"unknown model {found(name)}{did_you_mean(word, MODELS)} (workload list has all)")
    return MODELS[word]


def workload(model: Decoder, name: str, phase: str, description: str) -> Workload:
    """A phase of a model as an entry of a catalogue, under `name`."""
    options, builder = PHASES[phase]
    return Workload(name, description, options, partial(builder, model, name))


WORKLOADS = tuple(
    workload(model, f"llm/{model.name}/{phase}", phase, f"{phase} of {model.name}: {model.source}")
    for model in MODELS.values()
    for phase in PHASES
)
"""A prefill, a decode step and a training step of every model."""
