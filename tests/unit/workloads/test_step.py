"""A step of a serving engine as a graph: what is in it, and that its parts add up to it."""

from __future__ import annotations

import numpy as np
import pytest

from simexplore.workloads.catalog import build
from simexplore.workloads.families.decoder.options import Sizes, StepOptions
from simexplore.workloads.families.decoder.step import build_step, parts_of
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill, CustomAllReduce, Gemm, MlaDecode, MlaPrefill

LLAMA = MODELS["llama-3-8b"]
MIXED = Sizes(sequences=8, context=500, pieces=2, queries=100, past=40, tokens=208, sampled=9)


def test_a_step_that_only_decodes_is_a_decode_step() -> None:
    alone = Sizes(64, 1500, 0, 0, 0, 64, 64)
    for name, params in (("llama-3-8b", {}), ("deepseek-v3", {"tensor_parallel": 8}), ("gemma-2-9b", {})):
        step = build_step(MODELS[name], "step", StepOptions(**params), alone)  # type: ignore[arg-type]
        decode = build(f"llm/{name}/decode", {"batch": 64, "context": 1500, **params})
        assert [node.op for node in step.nodes] == [node.op for node in decode.nodes]


def test_sequences_and_pieces_share_the_products_and_have_an_attention_each() -> None:
    ops = {node.name: node.op for node in build_step(LLAMA, "step", StepOptions(), MIXED).nodes}
    assert ops["layer0.prefill_attention"] == AttentionPrefill(2, 32, 8, 128, seq_q=100, seq_kv=140)
    assert ops["layer0.decode_attention"] == AttentionDecode(8, 32, 8, 128, seq_kv=500)
    assert isinstance(ops["layer0.qkv"], Gemm)
    assert ops["layer0.qkv"].m == 208
    assert ops["lm_head"].m == 9  # type: ignore[attr-defined]


def test_keys_of_latents_are_projected_up_for_pieces_alone() -> None:
    options = StepOptions(tensor_parallel=8)
    ops = {node.name: node.op for node in build_step(MODELS["deepseek-v3"], "step", options, MIXED).nodes}
    assert ops["layer0.kv_up"].m == 2 * 140  # type: ignore[attr-defined]
    assert ops["layer0.absorb"].m == 8  # type: ignore[attr-defined]
    assert ops["layer0.expand"].m == 8  # type: ignore[attr-defined]
    assert isinstance(ops["layer0.prefill_attention"], MlaPrefill)
    assert isinstance(ops["layer0.decode_attention"], MlaDecode)


@pytest.mark.parametrize("name", ["llama-3-8b", "gemma-2-9b", "deepseek-v3"])
def test_parts_are_the_nodes_counted(name: str) -> None:
    options = StepOptions(tensor_parallel=8, engine="trtllm")
    nodes = build_step(MODELS[name], "step", options, MIXED).nodes
    parts = parts_of(MODELS[name], "step", options, MIXED)
    assert sum(part.count for part in parts) == len(nodes)
    assert sum(part.count * float(part.op.flops) for part in parts) == pytest.approx(
        sum(float(n.op.flops) for n in nodes)
    )
    assert sum(part.count for part in parts if not part.reads) == sum(not node.reads for node in nodes)
    assert sum(part.count for part in parts if part.module) == sum(node.module for node in nodes)
    shares = {part.name.rpartition(".")[2]: part.share for part in parts}
    assert (shares["lm_head"], shares["prefill_attention"], shares["decode_attention"]) == ("head", "prefill", "decode")
    assert any(isinstance(part.op, CustomAllReduce) for part in parts)


def test_sizes_may_be_columns() -> None:
    column = np.array([1, 2, 3])
    sizes = Sizes(column, 100 * column, column, 10 * column, 7 * column, 20 * column, column)
    whole = parts_of(MODELS["gemma-2-9b"], "step", StepOptions(), sizes)
    for row in range(3):
        one = Sizes(*(int(getattr(sizes, name)[row]) for name in Sizes.__dataclass_fields__))
        alone = parts_of(MODELS["gemma-2-9b"], "step", StepOptions(), one)
        for part, each in zip(whole, alone, strict=True):
            assert np.broadcast_to(part.op.flops, 3)[row] == each.op.flops
            assert np.broadcast_to(getattr(part.op, "window", 0), 3)[row] == getattr(each.op, "window", 0)
