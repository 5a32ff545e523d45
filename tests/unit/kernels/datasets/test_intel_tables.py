"""Tables of Intel's GPUs in aiconfigurator-core: eager calls in a queue, 8-bit weights that are widened."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import aiconfigurator, read_measurements
from simexplore.kernels.datasets.survey import survey
from simexplore.kernels.records import operator_columns
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill, Gemm, Moe

pytest.importorskip("pyarrow")
INTEL, OTHER = "Intel(R) Arc(TM) Pro B60 Graphics", "NVIDIA X1"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package in place of the installed one."""
    monkeypatch.setattr(aiconfigurator, "data_folder", lambda: tmp_path)
    return tmp_path


def put(package: Path, operator: str, name: str, device: str = INTEL, **columns: list[object]) -> None:
    folder = package / "x1" / operator / "vllm" / "0.26.0"
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame({"device": device, **columns}).to_parquet(folder / f"{name}_perf.parquet")


def gemms(package: Path, device: str) -> None:
    shape: dict[str, list[object]] = {"m": [1, 1], "n": [32, 32], "k": [64, 64], "latency": [0.03, 0.02]}
    put(package, "gemm", "gemm", device, gemm_dtype=["bfloat16", "fp8"], **shape)


def test_weights_alone_have_eight_bits(package: Path) -> None:
    gemms(package, INTEL)
    columns, refused = operator_columns(read_measurements("aiconfigurator:x1/gemm/vllm"))
    assert not refused
    types = {(each.record.dtype, each.record.weight_dtype, each.record.activation_dtype)  # type: ignore[attr-defined]
             for each in columns}  # fmt: skip
    assert types == {("bf16", None, None), ("bf16", "fp8", None)}
    conditions = columns[0].conditions
    assert (conditions.launch, conditions.eager, conditions.weight_copies) == ("queued", False, 6)
    assert conditions.engine == "vllm"
    assert columns[0].source == "aic/vllm0.26.0/xpu"


def test_elsewhere_they_are_multiplied_in_eight_bits_and_replayed(package: Path) -> None:
    gemms(package, OTHER)
    columns, _ = operator_columns(read_measurements("aiconfigurator:x1/gemm/vllm"))
    assert {(each.record.dtype, each.conditions.launch) for each in columns} == {("bf16", "graph"), ("fp8", "graph")}
    assert all(isinstance(each.record, Gemm) and each.record.weight_dtype is None for each in columns)
    assert columns[0].source == "aic/vllm0.26.0"


def test_attention_is_its_kernels_alone(package: Path) -> None:
    shape: dict[str, list[object]] = {"batch_size": [2], "isl": [1], "num_heads": [8], "num_key_value_heads": [2],
        "head_dim": [64], "attn_dtype": ["bfloat16"], "kv_cache_dtype": ["fp8"], "step": [15], "latency": [0.1],
        "window_size": [128], "kernel_source": ["vllm_flash_attn"]}  # fmt: skip
    for name in ("context_attention", "generation_attention"):
        put(package, "attention", name, **shape)
    columns, refused = operator_columns(read_measurements("aiconfigurator:x1/attention/vllm"))
    assert not refused
    assert {type(each.record) for each in columns} == {AttentionPrefill, AttentionDecode}
    for each in columns:
        assert (each.record.dtype, each.record.kv_dtype) == ("bf16", "fp8")  # type: ignore[attr-defined]
        assert (each.conditions.launch, each.conditions.attention_module) == ("queued", False)


def test_experts_in_eight_bits_are_widened_too(package: Path) -> None:
    layer: dict[str, list[object]] = {"num_tokens": [4], "hidden_size": [64], "inter_size": [32], "topk": [1],
        "num_experts": [2], "moe_tp_size": [1], "moe_ep_size": [1], "latency": [0.2], "moe_dtype": ["fp8"],
        "distribution": ["power_law_1.2"], "kernel_source": ["vllm_xpu_moe"]}  # fmt: skip
    put(package, "moe", "moe", **layer)
    (column,), _ = operator_columns(read_measurements("aiconfigurator:x1/moe/vllm"))
    assert isinstance(column.record, Moe)
    assert (column.record.dtype, column.record.weight_dtype) == ("bf16", "fp8")
    assert column.conditions.launch == "queued"


def test_collectives_are_refused_by_name(package: Path) -> None:
    eager: dict[str, list[object]] = {"kernel_source": ["vLLM_custom_eager"] * 2, "allreduce_dtype": ["bfloat16"] * 2,
        "num_gpus": [2, 4], "message_size": [128, 128], "latency": [0.05, 0.06]}  # fmt: skip
    put(package, "comm", "custom_allreduce", **eager)
    put(package, "comm", "oneccl", op_name=["all_gather"], latency=[0.02])
    refused = {each.table: dict(each.refused) for each in survey("x1")}
    told = "an all-reduce of eager calls, with no kernel of the engine's own, is not modelled"
    assert refused == {
        "custom_allreduce": {told: 2},
        "oneccl": {"oneccl (collectives of Intel's library) is not modelled": 1},
    }
    with pytest.raises(SimexploreError, match="eager calls"):
        read_measurements("aiconfigurator:x1/comm/vllm")
