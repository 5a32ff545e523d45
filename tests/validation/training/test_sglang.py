"""Whole prefills and decode steps of SGLang on one, two and four A100, on which nothing is fitted: an exam.

A prefill is of ragged prompts: what works on tokens sees all of them, and attention as many sequences of one length
that have the same pairs of query and key. The table is looked for beside the checkout.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from checkout import ROOT

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.workloads import catalog
from simexplore.workloads.graph import Graph
from simexplore.workloads.ops import AttentionPrefill

TABLE = ROOT.parent / "shared" / "data" / "e2e" / "sglang_a100.csv"
MODELS = {"Llama-3.1-70B": "llama-3-70b", "Qwen3-32B": "qwen3-32b", "Qwen2.5-14B": "qwen2.5-14b"}
PREFILL_WITHIN, DECODE_WITHIN = 0.06, 0.08
RUNS = [
    ("Llama-3.1-70B", "arxiv_16"),
    ("Llama-3.1-70B", "splitwise_64"),
    ("Qwen3-32B", "arxiv_12"),
    ("Qwen3-32B", "splitwise_48"),
    ("Qwen2.5-14B", "arxiv_8"),
    ("Qwen2.5-14B", "splitwise_32"),
]
DECODE_GAPS = {("Qwen2.5-14B", "arxiv_8"): 0.10}
"""Known gaps of a decode step, with what they stay within: 8.6 % too slow, of which the table tells no part."""


@cache
def machine() -> Gpu:
    return load_arch("nvidia/a100-sxm-80gb", None, "sglang")


def ragged_prefill(model: str, prompts: list[int], gpus: int) -> Graph:
    graph = catalog.build(f"llm/{model}/prefill", {"batch": 1, "prompt": sum(prompts), "tensor_parallel": gpus})
    length = round(float(np.sqrt(np.mean(np.square(prompts, dtype=np.float64)))))
    nodes = [
        replace(node, op=replace(node.op, batch=len(prompts), seq_q=length, seq_kv=length))
        if isinstance(node.op, AttentionPrefill)
        else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


def test_ragged_prompts_keep_their_tokens_and_their_pairs() -> None:
    graph = ragged_prefill("qwen3-32b", [100, 700], 2)
    (attention, *_) = [node.op for node in graph.nodes if isinstance(node.op, AttentionPrefill)]
    assert (attention.batch, attention.seq_q, attention.seq_kv) == (2, 500, 500)  # 100^2 + 700^2 = 2 * 500^2
    embedding = next(node.op for node in graph.nodes if node.name == "embedding")
    assert embedding.tokens == 800  # type: ignore[attr-defined]  # an embedding has them


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], pd.Series]:
    if not TABLE.is_file():
        pytest.skip("../shared/data/e2e is not here")
    return {(row["model"], row["workload"]): row for _, row in pd.read_csv(TABLE).iterrows()}


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_a_prefill_is_within_its_bar(run: tuple[str, str], rows: dict[tuple[str, str], pd.Series]) -> None:
    row = rows[run]
    prompts = [int(length) for length in row["prompt_lengths"].split()]
    told_ms = 1e3 * estimate_graph(ragged_prefill(MODELS[run[0]], prompts, int(row["tp"])), machine()).time_s
    print(f"{' '.join(run)}: prefill {told_ms:.0f} ms beside {row['prefill_ms']:.0f}")  # noqa: T201
    assert told_ms == pytest.approx(row["prefill_ms"], rel=PREFILL_WITHIN)


@pytest.mark.parametrize("run", RUNS, ids=" ".join)
def test_a_decode_step_is_within_its_bar_or_a_known_gap(
    run: tuple[str, str], rows: dict[tuple[str, str], pd.Series]
) -> None:
    row = rows[run]
    params = {"batch": int(row["batch"]), "context": int(row["mean_context"]), "tensor_parallel": int(row["tp"])}
    told_ms = 1e3 * estimate_graph(catalog.build(f"llm/{MODELS[run[0]]}/decode", params), machine()).time_s
    print(f"{' '.join(run)}: decode step {told_ms:.2f} ms beside {row['decode_step_ms']:.2f}")  # noqa: T201
    error = abs(told_ms / row["decode_step_ms"] - 1.0)
    if run in DECODE_GAPS:
        assert DECODE_WITHIN < error <= DECODE_GAPS[run], "the gap has closed or grown"
    else:
        assert error <= DECODE_WITHIN


def test_every_run_of_the_table_is_asked_for(rows: dict[tuple[str, str], pd.Series]) -> None:
    assert set(rows) == set(RUNS)
