"""What of aiconfigurator-core can be predicted, counted on a package folder of three tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import aiconfigurator, read_measurements
from simexplore.kernels.datasets.survey import by_kind, survey
from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import operator_columns
from simexplore.workloads.ops import Bmm, EncoderAttention


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("pyarrow")
    root = tmp_path / "data"

    def write(where: str, name: str, **columns: object) -> None:
        folder = root / where
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"device": "NVIDIA X1", **columns}).to_parquet(folder / f"{name}_perf.parquet")

    shape = {"m": [1, 2, 3], "n": [32] * 3, "k": [64] * 3, "latency": [0.5] * 3}
    for framework in ("vllm", "trtllm"):
        write(f"x1/gemm/{framework}/1.0", "gemm", gemm_dtype=["nvfp4", "fp8_block", "int7"], **shape)
    write("x2/moe/sglang/0.5", "moe", num_tokens=[1, 2], latency=[0.1, 0.2])
    write("x2/comm/sglang/0.5", "wideep_deepep_ll", num_token=[1], combine_avg_t_us=[3])
    encoder = {"batch_size": [2], "isl": [100], "num_heads": [16], "head_dim": [72], "attn_dtype": ["bfloat16"]}
    write("x2/encoder_attention/vllm/1.0", "encoder_attention", **encoder, latency=[0.1])
    kernels = ["trtllm_fp8_block_scaling_bmm_out", "trtllm_bmm_out_dequant_bf16", "trtllm_bmm_out"]
    write("x2/mla_bmm/trtllm/1.3", "mla_bmm", op_name=["mla_gen_pre", "mla_gen_post", "mla_gen_pre"],
          kernel_source=kernels, bmm_dtype=["fp8", "fp8", "bfloat16"], num_tokens=[8] * 3, num_heads=[16] * 3,
          latency=[0.1] * 3)  # fmt: skip
    monkeypatch.setattr(aiconfigurator, "data_folder", lambda: root)
    return root


def test_rows_are_counted_and_what_is_refused_is_named(package: Path) -> None:
    counts = survey()
    told = {(each.operator, each.engine): (each.rows, each.readable, dict(each.refused)) for each in counts}
    assert told == {
        ("gemm", "vllm"): (3, 2, {"gemm with dtype int7 is not modelled": 1}),
        ("gemm", "trtllm"): (3, 2, {"gemm with dtype int7 is not modelled": 1}),
        ("moe", "sglang"): (2, 0, {"expected a column 'moe_dtype', found device, num_tokens, latency": 2}),
        ("comm", "sglang"): (1, 0, {"wideep_deepep_ll (experts spread over many nodes) is not modelled": 1}),
        ("encoder_attention", "vllm"): (1, 1, {}),
        ("mla_bmm", "trtllm"): (3, 3, {}),
    }
    assert next(table for _, table, _ in by_kind(counts)) == "gemm"


def test_of_one_system_and_of_none(package: Path) -> None:
    assert {each.system for each in survey("x1")} == {"x1"}
    with pytest.raises(SimexploreError, match="expected as system one of x1, x2, found 'x3'"):
        survey("x3")


def test_a_table_with_a_wrong_cell_is_refused_whole(package: Path) -> None:
    path = package / "x1/gemm/vllm/1.0/gemm_perf.parquet"
    pd.read_parquet(path).assign(latency=[0.5, 0.0, 0.5]).to_parquet(path)
    (count,) = (each for each in survey("x1") if each.engine == "vllm")
    assert count.readable == 0
    assert dict(count.refused) == {"row 2: time_us: expected a time above 0 in microseconds, found '0.0'": 3}


def test_encoders_see_their_own_tokens_with_a_head_of_keys_each(package: Path) -> None:
    (column,), _ = operator_columns(read_measurements("aiconfigurator:x2/encoder_attention/vllm"))
    assert isinstance(column.record, EncoderAttention)
    assert (column.record.kv_heads.tolist(), column.record.seq_kv.tolist()) == ([16], [100])  # type: ignore[union-attr]


def test_products_of_absorbed_heads(package: Path) -> None:
    frame = read_measurements("aiconfigurator:x2/mla_bmm/trtllm").frame
    assert frame[["op", "dtype", "batch", "m", "n", "k"]].to_numpy().tolist() == [
        ["bmm", "fp8_block", 16, 8, 512, 128],
        ["bmm", "bf16", 16, 8, 128, 512],
        ["bmm", "bf16", 16, 8, 512, 128],
    ]
    columns, _ = operator_columns(Measurements(frame, aiconfigurator.conditions_of))
    assert all(isinstance(column.record, Bmm) for column in columns)
    assert {column.record.activation_dtype for column in columns} == {None, "bf16"}  # type: ignore[attr-defined]
    assert {column.conditions.weight_copies for column in columns} == {1}


def test_block_scaled_rows_of_vllm_are_eager_or_of_one_copy(package: Path) -> None:
    frame = read_measurements("aiconfigurator:x1/gemm/vllm").frame
    assert frame["source"].tolist() == ["aic/vllm1.0/one_copy", "aic/vllm1.0/eager", "aic/vllm1.0"]
    kept, eager, other = (aiconfigurator.conditions_of(source, "gemm") for source in frame["source"])
    assert (kept.weight_copies, kept.launch, kept.eager) == (1, "graph", False)
    assert (eager.weight_copies, eager.launch, eager.eager) == (1, "stream", True)
    assert (other.weight_copies, other.launch, other.eager) == (6, "graph", False)
    assert set(read_measurements("aiconfigurator:x1/gemm/trtllm").frame["source"]) == {"aic/trtllm1.0"}


@pytest.mark.parametrize(
    ("source", "engine"),
    [("aic/trtllm1.3.0rc20", "trtllm"), ("aic/vllm0.24.0/eager", "vllm"), ("aic/nccl2.2", "nccl")],
)
def test_a_source_names_its_engine(source: str, engine: str) -> None:
    assert aiconfigurator.engine_of(source) == engine
