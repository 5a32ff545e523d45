"""Published results beside simulated ones: one module a paper, one line here registers it.

A study's module has a function `study` that returns its records: `paper`, `quantity`, `unit`, `published`, `simulated`,
`ratio` (simulated over published), `status` (`enforced`, `known_gap` or `input`) and `source`. What was published is in
`workloads/published/NAME.yaml`, which no model reads.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from simexplore.errors import SimexploreError
from simexplore.workloads.hints import did_you_mean

Record = dict[str, Any]


class Study(NamedTuple):
    """One paper."""

    title: str
    files: tuple[str, ...] = ()
    """Measured tables that it needs; its `study` then takes the folder that they are in."""
    where: str = ""
    """Where a user gets them."""
    caveat: str = ""
    """What whoever reads its figures must know of what was measured."""
    module: str = ""
    """Its module in this folder, where that is not of its name: `training.galore`."""


STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "gpperf": Study(
            "GPPerf: a random forest and the simulator on GEMMs of an RTX 4070 (arXiv 2411.16954)",
            ("gpperf_RTX4070_cutlass_16128.csv", "gpperf_RTX4070_tiled.csv"),
            "github.com/pavlyhalim/GPPerf: cutlass_profiling_20241111_195357.tar.gz of commit 55468e1, and "
            "tiled-matmul-analysis/nohup.out; docs/studies/studies.md says how to make the tables of them",
            "power was read after each CUTLASS run, when the kernel had ended: most readings show a board at rest, the "
            "others another job (docs/studies/studies.md)",
        ),
        "hopper": Study("Hopper micro-benchmarks: tensor cores, DPX, clusters, latencies (arXiv 2402.13499)"),
        "power_limit": Study(
            "GEMMs and prefill attention of an H200 at its power limit and under it (vLLM 0.22, aiconfigurator-core)",
            ("aic_h200_sxm_gemm_POWER_vllm0.22.0.csv", "aic_h200_sxm_attention_prefill_POWER_vllm0.22.0.csv"),
            "the PyPI package aiconfigurator-core, tables of vLLM 0.22.0 on an H200 SXM with power; docs/measuring/"
            "measurements.md says which columns they have",
            "weights were not initialised: rows of equal rates differ by a factor of two in watts, which no size of a "
            "kernel tells",
        ),
        "watts": Study(
            "Watts of FP32 loops of rising intensity on an A100, an A40, an H200 and two L40 boards (gpu-benches)",
            ("gpubenches_roofline_power.csv",),
            "github.com/RRZE-HPC/gpu-benches @1038c5d0, gpu-roofline, the tables with power and clock as one, a row a "
            "loop: source, device, op, dtype, gpu_index, ai_flop_per_byte, gbps, gflops, clock_mhz, power_w, temp_c",
            "what stands as published beside an error is what a constant errs, the mean of the fitted rows; beside a "
            "power or a clock it is the mean reading of the rows that were not fitted",
        ),
        "unseen": Study(
            "Machines never measured: each from what other machines taught, on its own rows (NAME@family)",
            ("llmservingsim_RTX3090_gemm.csv",),
            "github.com/casys-kaist/LLMServingSim, kernels of an RTX 3090 (docs/measuring/measurements.md); "
            "the other tables are those of the PyPI package aiconfigurator-core",
        ),
        "streamdiffusion": Study(
            "StreamDiffusion: frames of Stable Diffusion on an RTX 4090, in a batch of steps (arXiv 2312.12491)",
            caveat="the host's time, one constant, was read from the latency of 1 step, which is an input; of the "
            "machine nothing was fitted",
        ),
        "liveportrait": Study(
            "LivePortrait: its modules on an RTX 4090, compiled and synchronised one by one (arXiv 2407.03168)",
            caveat="the host's time of a call was read from S, which is an input; of the machine nothing was fitted",
        ),
        "fuyou": Study(
            "Fuyou: training steps of 13B and 175B models on an RTX 4090 with drives (arXiv 2403.06504)",
            caveat="two constants of the array of drives were read from two figures, which are inputs; TFLOP/s count "
            "six operations a parameter and token",
            module="systems.fuyou",
        ),
        "area": Study("Areas of NVIDIA dies from their parts"),
        "galore": Study(
            "GaLore: memory of training by low-rank gradients (arXiv 2403.03507)",
            caveat="G is the paper's own: in its tables M elements times 2 B over 1024, of 7B GB times 1.0737; "
            "what is held byte for byte is told beside it",
            module="training.galore",
        ),
        "selene": Study(
            "Selene: steps of Megatron-LM with pipelines on A100 (arXiv 2205.05198)", module="training.selene"
        ),
        "gradnormlorp": Study(
            "GradNormLoRP: memory of training with normalised weights (arXiv 2412.19616)",
            caveat="the paper tells no model, rank or bytes of its figure: each is named by what is counted",
            module="training.gradnormlorp",
        ),
        "moe2": Study(
            "MoE²: which language models to keep ready on edge servers, and which to ask (arXiv 2501.09410)",
            caveat="no figure of the paper beyond its abstract is at hand: a claim stands as published as the share of "
            "cases in which it holds, on a testbed of ours; how often experts are right is a stated synthetic model "
            "(docs/studies/moe2.md)",
            module="systems.moe2",
        ),
        "retrievalattention": Study(
            "RetrievalAttention: decode steps that search for their keys in a CPU's memory (arXiv 2409.10516)",
            caveat="the host's time of a step was read from one row of Table 5, which is an input; the share of keys "
            "that a graph visits and the work of a visit were measured on another CPU, on the keys of a small model "
            "(docs/studies/retrievalattention.md)",
            module="systems.retrievalattention",
        ),
        "ngpc": Study("NGPC: a neural-graphics cluster beside an RTX 3090 (arXiv 2303.05735)"),
    }
)
"""By the name that `simexplore reproduce` takes."""


def record_of(table: Mapping[str, Any], figure: Mapping[str, Any], simulated: float, **own: Any) -> Record:
    """A published figure beside the simulated one, with the keys that `simexplore reproduce --json` has.

    Args:
        table: a file of `workloads/published`.
        figure: its entry there.
        simulated: ours, in the figure's unit.
        own: what the entry leaves to the study: `quantity`, `unit`, or `published` where it is worked out.
    """
    told = {**figure, **own}
    published = float(told["published"])
    reason = {"reason": told["reason"]} if "reason" in told else {}
    return {
        "paper": table["paper"],
        "quantity": told["quantity"],
        "unit": told["unit"],
        "published": published,
        "simulated": simulated,
        "ratio": simulated / published,
        "status": told["status"],
        "source": table["sources"][told["source"]],
        **reason,
    }


def caveat(name: str) -> str:
    """What whoever reads a study's figures must know of what was measured; empty where nothing, or no such study."""
    return STUDIES[name].caveat if name in STUDIES else ""


def reproduce(name: str, measured: Path | None = None) -> list[Record]:
    """The records of a study.

    Args:
        name: a key of `STUDIES`.
        measured: the folder with the measured tables, for studies that need some.

    Raises:
        SimexploreError: an unknown study, or a measured table that is not there; says where it comes from.
    """
    if name not in STUDIES:
        raise SimexploreError(f"study: expected {', '.join(STUDIES)}, found {name!r}{did_you_mean(name, STUDIES)}")
    study = STUDIES[name]
    for file in study.files:
        if measured is None or not (measured / file).is_file():
            folder = "a folder given with --measured" if measured is None else str(measured)
            raise SimexploreError(f"{name}: expected {file} in {folder}, found nothing; it comes from {study.where}")
    run = importlib.import_module(f"simexplore.sim.studies.{study.module or name}").study
    records: list[Record] = run(measured) if study.files else run()
    return records
