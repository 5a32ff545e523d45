"""Megatron-LM on Selene, a cluster of DGX A100: times of a step with and without selective recomputation.

Calculon (Isaev et al., SC 2023) was validated against the same eight figures, table 5 of Korthikanti et al.
(arXiv:2205.05198). Nothing was fitted on them: kernels are those of the A100 as it ships, and `sim.training` puts
a step together of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.units import BYTES_PER_SECOND, parse
from simexplore.sim.studies.training.records import record
from simexplore.sim.training.parts import PipelinedStep, pipelined_step, seconds_by_group, transfer_seconds
from simexplore.workloads.families.decoder.shape import Decoder, Grouped, Layer, Mlp
from simexplore.workloads.training.options import TrainOptions, build_train
from simexplore.workloads.training.pipeline import Pipeline

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "selene.yaml"
LAYERS_TIMED = 2
"""Layers of the step whose parts are timed."""


def study() -> list[dict[str, Any]]:
    """A record for each published step."""
    table = read_document(PUBLISHED).data
    gpu = load_arch(table["arch"])
    return [record(table, {**figure, "unit": "s"}, step_of(table, figure, gpu).time_s) for figure in table["figures"]]


def step_of(table: Mapping[str, Any], figure: Mapping[str, Any], gpu: Gpu) -> PipelinedStep:
    """A step of a model of the table, as the figure's way of recomputing has it."""
    model, shape = table["models"][figure["model"]], decoder(table["models"][figure["model"]], table["vocabulary"])
    ways = table["ways"][figure["way"]]
    options = TrainOptions(
        batch=model["micro_batch"],
        tokens=table["tokens"],
        dtype="fp16",
        precision="mixed",
        attention="unfused",
        recompute=ways["recompute"],
        sequence=ways["sequence"],
        tensor_parallel=model["tensor"],
        layers=LAYERS_TIMED,
    )
    took = seconds_by_group(build_train(shape, figure["model"], options), gpu)
    pipeline = Pipeline(model["stages"], model["chunks"], model["batch"] // model["micro_batch"])
    transfer_s = transfer_seconds(shape, options, gpu, parse(table["network"], BYTES_PER_SECOND))
    return pipelined_step(took, len(shape.layers), pipeline, transfer_s)


def decoder(model: Mapping[str, Any], vocabulary: int) -> Decoder:
    """A GPT of the table: learned positions, biases, a feed-forward of four times the width."""
    heads, hidden = model["heads"], model["hidden"]
    attention = Grouped(heads, heads, hidden // heads, qkv_bias=True, out_bias=True)
    layer = Layer(attention, Mlp(4 * hidden, gated=False, activation="gelu", bias=True))
    return Decoder(
        "gpt", hidden, vocabulary, (layer,) * model["layers"], norm="layer", learned_positions=2048, tied_head=True
    )
