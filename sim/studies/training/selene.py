"""Megatron-LM on Selene, a cluster of DGX A100: times of a step, and activations, by what is done again.

Calculon (Isaev et al., SC 2023) was validated against the same eight times, table 5 of Korthikanti et al.
(arXiv:2205.05198), and against its figures 1 and 7 of memory, which are the authors' formulas. Nothing was fitted on
them: kernels are those of the A100 as it ships, and `sim.training` puts a step together of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.units import BYTES_PER_SECOND, parse
from simexplore.sim.studies import record_of
from simexplore.sim.studies.training.shares import PERCENT
from simexplore.sim.training.step import TrainingStep, held_on_first_stage, step_on
from simexplore.workloads.families.decoder.shape import Decoder, Grouped, Layer, Mlp
from simexplore.workloads.training.kept import kept_bytes
from simexplore.workloads.training.options import TrainOptions, build_train
from simexplore.workloads.training.pipeline import Pipeline

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "training" / "selene.yaml"
GIB = 2.0**30
LAYERS = 2
"""Of a step whose activations are counted; all layers of these models are alike."""


def study() -> list[dict[str, Any]]:
    """A record for each published step, and for each published figure of memory."""
    table = read_document(PUBLISHED).data
    gpu = load_arch(table["arch"])
    steps = [record_of(table, figure, step_of(table, figure, gpu).time_s, unit="s") for figure in table["figures"]]
    return [*steps, *_memory(table), *_shares(table)]


def step_of(table: Mapping[str, Any], figure: Mapping[str, Any], gpu: Gpu, *, events: bool = False) -> TrainingStep:
    """A step of a model of the table, as the figure's way of recomputing has it; `events` as of `step_on`."""
    return step_on(*_asked(table, figure), gpu, parse(table["network"], BYTES_PER_SECOND), events=events)


def _asked(table: Mapping[str, Any], figure: Mapping[str, Any]) -> tuple[Decoder, str, TrainOptions, Pipeline]:
    model = table["models"][figure["model"]]
    pipeline = Pipeline(model["stages"], model["chunks"], model["batch"] // model["micro_batch"])
    return decoder(model, table["vocabulary"]), figure["model"], _options(table, model, figure["way"]), pipeline


def _options(table: Mapping[str, Any], model: Mapping[str, Any], way: str) -> TrainOptions:
    return TrainOptions(
        batch=model["micro_batch"],
        tokens=table["tokens"],
        dtype="fp16",
        precision="mixed",
        attention="unfused",
        tensor_parallel=model["tensor"],
        **table["ways"][way],
    )


def _memory(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Figure 1: what a GPU of the first stage keeps of its layers' forward passes [GiB]."""
    for figure in table["memory"]:
        held = held_on_first_stage(*_asked(table, figure))["activations"] - _ends(table, figure)
        yield record_of(table, figure, held / GIB, unit="GiB")


def _ends(table: Mapping[str, Any], figure: Mapping[str, Any]) -> float:
    """What is kept beside layers, which the figures leave out [B]."""
    model = table["models"][figure["model"]]
    kept = _kept(table, figure["model"], figure["way"])
    return kept["embedding"] + (kept["head"] if model["stages"] == 1 else 0.0)


def _shares(table: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Figure 7: what a layer keeps over what it keeps where nothing is done again or in parts [%]."""
    for name, shares in table["shares"].items():
        whole = _kept(table, name, "nothing")["layer1"]
        for way, published in shares.items():
            figure = {"quantity": f"{name}, {way}: activations of a layer", "published": published, "unit": "%"}
            figure |= {"source": "figure7", "status": "enforced"}
            yield record_of(table, figure, PERCENT * _kept(table, name, way)["layer1"] / whole)


def _kept(table: Mapping[str, Any], name: str, way: str) -> Mapping[str, float]:
    model = table["models"][name]
    options = replace(_options(table, model, way), layers=LAYERS)
    return kept_bytes(build_train(decoder(model, table["vocabulary"]), name, options))


def decoder(model: Mapping[str, Any], vocabulary: int) -> Decoder:
    """A GPT of the table: learned positions, biases, a feed-forward of four times the width."""
    heads, hidden = model["heads"], model["hidden"]
    attention = Grouped(heads, heads, hidden // heads, qkv_bias=True, out_bias=True)
    layer = Layer(attention, Mlp(4 * hidden, gated=False, activation="gelu", bias=True))
    return Decoder(
        "gpt", hidden, vocabulary, (layer,) * model["layers"], norm="layer", learned_positions=2048, tied_head=True
    )
