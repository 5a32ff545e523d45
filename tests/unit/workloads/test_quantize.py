"""Activations of 8-bit models: narrowed by the operator that makes them, or by kernels of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import simexplore
from simexplore.errors import SimexploreError
from simexplore.workloads.operators.tensors.elements import fit
from simexplore.workloads.ops import Gemm, Norm, SiluMul, parse_operator

SIZES = st.integers(1, 10**6)


@given(SIZES, SIZES, st.sampled_from(["rmsnorm", "layernorm"]), st.integers(0, 1))
def test_a_narrow_result_saves_half_of_what_is_written(rows: int, cols: int, family: str, residual: int) -> None:
    text = f"{family}(rows={rows},cols={cols},residual={residual}"
    wide, narrow = parse_operator(f"{text})"), parse_operator(f"{text},output_dtype=fp8)")
    assert wide.output_bytes - narrow.output_bytes == rows * cols
    assert wide.min_bytes - narrow.min_bytes == rows * cols
    assert (wide.flops, wide.special_ops) == (narrow.flops, narrow.special_ops)


@given(SIZES, st.sampled_from(["add", "mul", "relu", "gelu", "silu_mul", "copy"]))
def test_elementwise_too(elements: int, family: str) -> None:
    wide, narrow = (
        parse_operator(f"{family}(elements={elements},dtype=fp32{out})") for out in ("", ",output_dtype=fp16")
    )
    assert wide.output_bytes - narrow.output_bytes == wide.min_bytes - narrow.min_bytes == 2 * elements
    assert wide.flops == narrow.flops


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("model", ["llama-3-8b", "gpt-3-13b"])
def test_norms_and_activations_write_what_the_next_gemm_reads(model: str, phase: str) -> None:
    graph = simexplore.load_workload(f"llm/{model}/{phase}", {"dtype": "fp8", "layers": 2})
    ops = {node.name: node.op for node in graph.nodes}
    gemms = [node for node in graph.nodes if isinstance(node.op, Gemm) and node.op.dtype == "fp8"]
    assert len(gemms) == 8
    for node in gemms:
        (before,) = (ops[name] for name in node.after)
        own = node.name.endswith("projection")
        assert (node.op.activation_dtype == "bf16") == own
        assert own or before.output_dtype == "fp8"  # type: ignore[attr-defined]
        assert fit(before, node.op)
        assert node.op.output_dtype == "bf16"  # type: ignore[attr-defined]
    assert isinstance(ops["norm"], Norm)
    assert ops["norm"].output_dtype is None, "the output head is not narrow"


def test_kernels_of_their_own_where_asked_and_none_in_wide_models() -> None:
    apart = simexplore.load_workload("llm/llama-3-8b/decode", {"dtype": "fp8", "layers": 1, "quantize": "kernels"})
    assert {
        node.op.activation_dtype for node in apart.nodes if isinstance(node.op, Gemm) and node.op.dtype == "fp8"
    } == {"bf16"}
    wide = simexplore.load_workload("llm/llama-3-8b/decode", {"layers": 1})
    for graph in (apart, wide):
        assert {node.op.output_dtype for node in graph.nodes if isinstance(node.op, Norm | SiluMul)} == {None}
    with pytest.raises(SimexploreError, match="quantize: expected fused or kernels, found 'never'"):
        simexplore.load_workload("llm/llama-3-8b/decode", {"quantize": "never"})


@pytest.mark.parametrize("batch", [1, 16, 64])
@pytest.mark.parametrize("gpu", ["nvidia/b200", "nvidia/h200-sxm", "nvidia/l40s", "nvidia/rtx-4090"])
def test_a_narrow_decode_step_is_shorter(gpu: str, batch: int) -> None:
    times = {
        (dtype, quantize): simexplore.estimate(
            "llm/llama-3-8b/decode", gpu, {"dtype": dtype, "quantize": quantize, "batch": batch, "layers": 8}
        ).time_s
        for dtype, quantize in (("bf16", "fused"), ("fp8", "fused"), ("fp8", "kernels"))
    }
    assert times["fp8", "fused"] < times["bf16", "fused"]
    assert times["fp8", "fused"] < times["fp8", "kernels"]
