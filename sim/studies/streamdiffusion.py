"""StreamDiffusion (Kodaira et al., arXiv:2312.12491): latencies of frames, and what the similarity filter saves.

A latency is the graph of a frame (`workloads.families.diffusion.stream`) as a compiler makes it, its kernels launched
one by one on a stream (`utilities.py` there: `use_cuda_graph=False`), and the host's time around it: one constant for
all of them, read from one published latency. What the similarity filter saves is a static scene played as events, with
the filter and without (`sim.play.streams`). Nothing of the RTX 4090 was fitted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import simexplore.workloads
from simexplore.archs.load import load_arch, read_document
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.estimate.graphs import called_by_host, estimate_graph, paused_w
from simexplore.sim.hardware.duty import Period
from simexplore.sim.play.execute import execute
from simexplore.sim.play.streams.pipeline import Pipeline, StreamRun, Work, play_stream
from simexplore.sim.play.streams.similarity import SimilarityFilter
from simexplore.sim.studies import record_of
from simexplore.workloads import catalog
from simexplore.workloads.compilers import COMPILERS
from simexplore.workloads.graph import Graph

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "streamdiffusion.yaml"
PARAMETERS = ("steps", "guidance", "task", "stream_batch")
"""Keys of a latency that are parameters of its workload."""
MS = 1e3
SCENE_FRAMES = 240
"""Of a static scene: twenty rounds of the filter."""
ENERGY_STEPS = 2
"""Denoising steps of the frames whose watts were read (section 4.3)."""


def study() -> list[dict[str, Any]]:
    """A record for each published figure; `input` is the latency that the host's time was read from."""
    table = read_document(PUBLISHED).data
    gpu = load_arch(table["arch"])
    worked = {figure["quantity"]: work_ms(figure, gpu) for figure in table["latencies"]}
    (given,) = (figure for figure in table["latencies"] if figure["quantity"] == table["host"])
    host_ms = given["published"] - worked[table["host"]]
    latencies = {quantity: work + host_ms for quantity, work in worked.items()}
    records = [
        record_of(table, figure, latencies[figure["quantity"]], unit="ms")
        for figure in table["latencies"]
        if "published" in figure
    ]
    for figure in table["ratios"]:
        top = latencies[figure["of"]] if "of" in figure else MS
        records.append(record_of(table, figure, top / latencies[figure["over"]]))
    for figure in table["energies"]:
        saved = saving(load_arch(figure["arch"]), host_ms / MS)
        records.append(record_of(table, figure, saved, unit="1"))
    return records


def work_ms(figure: dict[str, Any], gpu: Gpu) -> float:
    """What the GPU takes for a frame, and in eager mode the host that calls it [ms]."""
    graph = _frame(figure["model"], {name: figure[name] for name in PARAMETERS if name in figure}, figure["compiler"])
    told = estimate_graph(graph, gpu, launch="stream")
    if COMPILERS[figure["compiler"]].called:
        told = called_by_host(told, gpu.launch.eager_s, paused_w(graph, gpu))
    return told.time_s * MS


def saving(gpu: Gpu, host_s: float) -> float:
    """Mean power of frame after frame over that of a static scene with the similarity filter."""
    graph = _frame("sd-1.5", {"steps": ENERGY_STEPS}, "tensorrt")
    every, still = (_streamed(graph, gpu, host_s, rule) for rule in (None, SimilarityFilter()))
    return every.mean_power_w / still.mean_power_w


def _streamed(graph: Graph, gpu: Gpu, host_s: float, rule: SimilarityFilter | None) -> StreamRun:
    """A static scene, played twice: the first time tells the rhythm, so what pauses leave of the board's budget."""
    pipeline, scene, idle_w = Pipeline(rule=rule), (1.0,) * SCENE_FRAMES, paused_w(graph, gpu)
    done = execute(graph, gpu, launch="stream", power="sustained")
    rhythm = play_stream(Work(done.time_s, done.energy_j, idle_w, host_s), pipeline, scene)
    done = execute(graph, gpu, launch="stream", power=Period(rhythm.between_s))
    return play_stream(Work(done.time_s, done.energy_j, idle_w, host_s), pipeline, scene)


def _frame(model: str, params: dict[str, Any], compiler: str) -> Graph:
    return COMPILERS[compiler].compiled(catalog.build(f"diffusion/{model}", params))
