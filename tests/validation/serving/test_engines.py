"""Serving against measured engines: nothing of it was fitted to them, and hosts, schedulers and all are in the figures.

Rows are other people's measurements (`shared/data/e2e`). Settings are the engines' own defaults, and for in-flight
batching what TensorRT-LLM's benchmark chooses by itself.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from simexplore.archs.load import load_arch
from simexplore.sim.serve.asked import Placed
from simexplore.sim.serve.deployment import Deployment
from simexplore.sim.serve.load.request import Request
from simexplore.sim.serve.results import Objectives, Result
from simexplore.sim.serve.steps.table import StepTable
from simexplore.sim.serve.study import Study
from simexplore.workloads.families.llm import MODELS

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "e2e"
ARCHS = {"H100": "nvidia/h100-sxm", "A100": "nvidia/a100-sxm-80gb", "L40S": "nvidia/l40s"}
NAMES = {"Llama-3.1-70B": "llama-3-70b", "Qwen2.5-14B": "qwen2.5-14b", "Qwen3-32B": "qwen3-32b"}
LONGEST = 22_000


def rows(name: str) -> Iterator[dict[str, str]]:
    """Rows of a table that lies beside the checkout."""
    if not (SHARED / name).is_file():
        pytest.skip(f"there is no {SHARED / name}")
    yield from csv.DictReader((SHARED / name).read_text(encoding="utf-8").splitlines())


@cache
def table(gpu: str, model: str, engine: str | None, params: tuple[tuple[str, str], ...]) -> StepTable:
    """One for all rows of a model on a machine."""
    return placed(gpu, model, engine, dict(params), {}, [Request(0.0, 1, 1)]).table(LONGEST)


def placed(
    gpu: str, model: str, engine: str | None, params: dict[str, str], settings: dict[str, str], load: list[Request]
) -> Deployment:
    machine = load_arch(ARCHS[gpu], None, engine)
    (made,) = Placed(params, settings).deployments(MODELS[model], machine, [load]).values()
    return made


def served(
    row: dict[str, str], load: list[Request], settings: dict[str, str], engine: str | None = None, dtype: str = ""
) -> Result:
    """A row's load on its machine."""
    model, dtype = NAMES.get(row["model"], row["model"]), dtype or row["dtype"]
    params = {"dtype": dtype, "tensor_parallel": row["tp"], **({"kv_dtype": "fp8"} if dtype == "fp8" else {})}
    deployment = placed(row["gpu"], model, engine, params, settings, load)
    return Study(deployment, table(row["gpu"], model, engine, tuple(params.items())), Objectives()).run(load)


def mean(errors: list[float]) -> float:
    assert len(errors) >= 3
    return sum(abs(error) for error in errors) / len(errors)


def static(row: dict[str, str]) -> Result:
    batch, prompt, answer = (int(row[key]) for key in ("batch", "input_tokens", "output_tokens"))
    settings = {"batching": "static", "max_sequences": str(batch), "page_tokens": "64", "memory_share": "0.95"}
    return served(row, [Request(0.0, prompt, answer)] * batch, settings)


def test_in_flight_batching_at_saturation() -> None:
    errors = []
    for row in rows("trtllm_inflight_v1.0_8b_h100.csv"):
        count, prompt, answer = (int(row[key]) for key in ("requests", "input_tokens", "output_tokens"))
        load = [Request(0.0, prompt, answer)] * count
        told = served(row, load, {}).to_json()["output_tokens_per_s"]
        errors.append(told / float(row["output_tokens_per_s"]) - 1.0)
    assert mean(errors) < 0.04


def test_static_batches_on_one_gpu() -> None:
    errors = []
    for row in rows("trtllm_static_v0.5.csv"):
        if row["tp"] == "1":
            told = static(row).to_json()["output_tokens_per_s_per_gpu"]
            errors.append(told / float(row["output_tokens_per_s_per_gpu"]) - 1.0)
    assert mean(errors) < 0.05


def test_first_tokens() -> None:
    """The prompt is there as tokens: the engine alone was timed."""
    errors = []
    for row in rows("trtllm_first_token_v0.5.csv"):
        load = [Request(0.0, int(row["input_tokens"]), 1)]
        settings = {"tokenizer_token_s": "0", "detokenizer_s": "0"}
        told = served(row, load, settings).served[0].ttft_s
        errors.append(told * 1e3 / float(row["first_token_ms"]) - 1.0)
    assert mean(errors) < 0.13


def test_runs_of_sglang_with_prompts_of_many_lengths() -> None:
    """All prompts at once, then so many steps of decoding."""
    totals, prefills, decodes = [], [], []
    for row in rows("sglang_a100.csv"):
        lengths, steps = [int(each) for each in row["prompt_lengths"].split()], int(row["decode_steps"])
        load = [Request(0.0, length, steps + 1) for length in lengths]
        settings = {"tokenizer_token_s": "0", "detokenizer_s": "0"}
        result = served(row, load, settings, "sglang", "bf16")
        first_s = max(each.first_s for each in result.served)
        prefills.append(first_s * 1e3 / float(row["prefill_ms"]) - 1.0)
        decodes.append((result.duration_s - first_s) * 1e3 / steps / float(row["decode_step_ms"]) - 1.0)
        totals.append(result.duration_s * 1e3 / float(row["total_ms"]) - 1.0)
    assert mean(totals) < 0.03
    assert mean(prefills) < 0.03
    assert mean(decodes) < 0.07


def test_a_saturated_engine_answers_as_a_formula_of_its_steps_says() -> None:
    """A twin of the rows above, by hand: B sequences of prompts of P and answers of A tokens in a steady state.

    In A steps each of B sequences is answered once, and B prompts are prefilled: every step has B / A of them beside
    the B sequences, whose mean context is P + A / 2.
    """
    load = [Request(0.0, 1000, 1000)] * 1500
    deployment = placed("H100", "llama-3-8b", None, {"dtype": "fp8", "kv_dtype": "fp8"}, {}, load)
    deployment = replace(deployment, settings=replace(deployment.settings, graph_sizes=()))
    steps = table("H100", "llama-3-8b", None, (("dtype", "fp8"), ("tensor_parallel", "1"), ("kv_dtype", "fp8")))
    told = Study(deployment, steps, Objectives()).run(load).to_json()["output_tokens_per_s"]
    sequences = deployment.pages * deployment.settings.page_tokens // 2000
    with_prompt_s, _ = steps.step(sequences, 1500.0, 1, 1000.0, 0.0, sequences + 1)
    row = steps.row(sequences, sequences)
    cell = max(index for index, context in enumerate(row.contexts) if context <= 1500.0)
    decode_s = row.times_s[cell] + (1500.0 - row.contexts[cell]) * row.time_slopes[cell]
    prompts_a_step = sequences / 1000.0
    step_s = decode_s + prompts_a_step * (with_prompt_s - decode_s)
    assert told == pytest.approx(sequences / step_s, rel=0.12)
