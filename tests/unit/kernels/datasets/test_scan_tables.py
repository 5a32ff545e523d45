"""Tables of linear attention in aiconfigurator-core: whose kernel a row is, and what it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from simexplore.kernels.datasets import aiconfigurator
from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import OperatorColumn, operator_columns

pytest.importorskip("pyarrow")

DELTA = {"d_conv": 4, "num_k_heads": 2, "head_k_dim": 128, "num_v_heads": 4, "head_v_dim": 64}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package in place of the installed one."""
    monkeypatch.setattr(aiconfigurator, "data_folder", lambda: tmp_path)
    return tmp_path


def rows(package: Path, where: str, name: str, told: list[tuple[str, str, int, int]], **sizes: int) -> Any:
    """The columns by operator, and the reasons of what is refused, of (kernel, phase, batch, tokens)."""
    folder = package / where
    folder.mkdir(parents=True)
    kernels, phases, batches, tokens = (list(column) for column in zip(*told, strict=True))
    table = {"kernel_source": kernels, "phase": phases, "batch_size": batches, "seq_len": tokens}
    frame = pd.DataFrame({**table, **{name: [size] * len(told) for name, size in sizes.items()}})
    frame.assign(op_name=name.split("_")[0], latency=0.01).to_parquet(folder / name)
    read = aiconfigurator.read(where)
    columns, refused = operator_columns(Measurements(read, aiconfigurator.conditions_of))
    return {column.record.op: column for column in columns}, refused


def values(column: OperatorColumn) -> dict[str, Any]:
    told = {name: getattr(column.record, name) for name in column.record.__dataclass_fields__}
    return {name: value.tolist()[0] if hasattr(value, "tolist") else value for name, value in told.items()}


def test_sglang_convolves_queries_keys_and_values_ten_times_a_graph(package: Path) -> None:
    told = [
        ("causal_conv1d_fn", "context", 2, 8),
        ("chunk_gated_delta_rule", "context", 2, 8),
        ("fused_recurrent_gated_delta_rule_packed_decode", "generation", 3, 1),
    ]
    columns, refused = rows(package, "x/linear_attention/sglang/1.0", "gdn_perf.parquet", told, **DELTA)
    assert not refused
    assert values(columns["causal_conv1d"])["channels"] == 2 * 2 * 128 + 4 * 64
    scan = values(columns["gdn_prefill"])
    assert (scan["batch"], scan["seq_q"], scan["heads"], scan["key_heads"]) == (2, 8, 4, 2)
    assert (scan["key_dim"], scan["value_dim"], scan["carried"], scan["normalized"]) == (128, 64, 1, 1)
    step = values(columns["gdn_decode"])
    assert (step["state_dtype"], step["new_state_dtype"], step["kept"]) == ("fp32", None, 1)
    conditions = columns["gdn_decode"].conditions
    assert (conditions.launch, conditions.runs, conditions.engine) == ("graph", 10.0, "sglang")


@pytest.mark.parametrize("engine", ["trtllm", "sglang"])
def test_tensorrt_llm_and_an_older_sglang_convolve_keys_and_begin_without_states(package: Path, engine: str) -> None:
    told = [
        ("causal_conv1d_fn", "context", 2, 8),
        ("chunk_gated_delta_rule", "context", 2, 8),
        ("fused_recurrent_gated_delta_rule", "generation", 3, 1),
    ]
    columns, _ = rows(package, f"x/linear_attention/{engine}/1.0", "gdn_perf.parquet", told, **DELTA)
    assert values(columns["causal_conv1d"])["channels"] == 2 * 128
    scan, step = values(columns["gdn_prefill"]), values(columns["gdn_decode"])
    assert (scan["carried"], scan["normalized"]) == (0, 0)
    assert (step["state_dtype"], step["new_state_dtype"]) == ("bf16", "fp32")
    assert {name: column.conditions.launch for name, column in columns.items()} == {
        "causal_conv1d": "stream",
        "gdn_prefill": "graph",
        "gdn_decode": "stream",
    }


def test_drafts_of_kimi(package: Path) -> None:
    """States after each draft are kept; SGLang's convolution takes each draft as a sequence."""
    sizes = {**DELTA, "num_k_heads": 4}
    told = [
        ("causal_conv1d_fn_qkv3", "context", 2, 8),
        ("chunk_kda", "context", 2, 8),
        ("causal_conv1d_update", "verify", 3, 4),
        ("fused_sigmoid_gating_delta_rule_update", "verify", 3, 4),
        ("kda_fused_decode", "generation", 3, 1),
    ]
    columns, refused = rows(package, "x/kda/sglang/1.0", "kda_perf.parquet", told, **sizes)
    assert refused == {"operator kda_fused_decode is not modelled": 1}
    assert values(columns["causal_conv1d"])["calls"] == 3
    assert values(columns["kda_prefill"])["normalized"] == 1
    update, step = values(columns["causal_conv1d_update"]), values(columns["kda_decode"])
    assert (update["batch"], update["seq_q"]) == (12, 1)
    assert (step["batch"], step["seq_q"], step["kept"]) == (3, 4, 4)


def test_vllms_eager_convolutions_of_kimi_are_left_out(package: Path) -> None:
    told = [("causal_conv1d_fn_qkv3", "context", 2, 8), ("flashkda_fwd", "context", 2, 8)]
    told += [("causal_conv1d_update", "verify", 3, 4)]
    columns, refused = rows(package, "x/kda/vllm/1.0", "kda_perf.parquet", told, **{**DELTA, "num_k_heads": 4})
    assert set(columns) == {"kda_prefill", "causal_conv1d_update"}
    assert not refused
    assert values(columns["kda_prefill"])["normalized"] == 0
    assert values(columns["causal_conv1d_update"])["seq_q"] == 4


def test_mamba_convolves_x_b_and_c(package: Path) -> None:
    sizes = {"d_conv": 4, "nheads": 8, "head_dim": 64, "d_state": 128, "n_groups": 2, "chunk_size": 256}
    told = [("causal_conv1d_fn", "context", 2, 8), ("mamba_chunk_scan_combined", "context", 2, 8)]
    columns, _ = rows(package, "x/linear_attention/trtllm/1.0", "mamba2_perf.parquet", told, **sizes)
    assert values(columns["causal_conv1d"])["channels"] == 8 * 64 + 2 * 2 * 128
    scan = values(columns["ssd_prefill"])
    assert (scan["heads"], scan["state_dim"], scan["groups"], scan["chunk"]) == (8, 128, 2, 256)
