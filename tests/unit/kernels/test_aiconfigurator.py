"""The tables of aiconfigurator-core: found, named, and read as ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import aiconfigurator, read_measurements
from simexplore.kernels.records import OperatorColumn, operator_columns
from simexplore.workloads.ops import MlaDecode, MlaDecodeModule, MlaPrefill, MlaPrefillModule, Moe

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "measured"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder of the same layout with two versions of a GEMM table and one of attention."""
    pytest.importorskip("pyarrow")
    root = tmp_path / "data"

    def write(where: str, name: str, **columns: object) -> None:
        folder = root / where
        folder.mkdir(parents=True)
        pd.DataFrame(columns).to_parquet(folder / f"{name}_perf.parquet")

    shape = {"m": [1, 2], "n": [32, 32], "k": [64, 64], "device": "NVIDIA X1", "kernel_source": "torch_flow"}
    for version, latency in (("1.3.0rc9", 0.5), ("1.3.0rc20", 0.25)):
        write(f"x1/gemm/trtllm/{version}", "gemm", gemm_dtype=["bfloat16", "nvfp4"], latency=[latency] * 2, **shape)
    attention = {
        "device": "NVIDIA X1",
        "batch_size": [2],
        "num_heads": [8],
        "num_key_value_heads": [4],
        "head_dim": [64],
        "attn_dtype": ["bfloat16"],
        "kv_cache_dtype": ["fp8"],
    }
    write("x1/attention/vllm/1.0", "context_attention", isl=[16], step=[0], latency=[0.01], **attention)
    generation = pd.DataFrame({**attention, "isl": [1], "step": [31], "window_size": [128], "latency": [0.02]})
    generation.to_parquet(root / "x1/attention/vllm/1.0/generation_attention_perf.parquet")
    layer = {"device": "NVIDIA X1", "num_tokens": 8, "hidden_size": 64, "inter_size": 128, "topk": 2, "num_experts": 8}
    spread = {"distribution": ["balanced", "power_law_1.2", "power_law_1.01"], "latency": [0.1, 0.2, 0.3]}
    kernels = {"moe_dtype": ["bfloat16", "fp8_block", "nvfp4"], "kernel_source": ["cutlass", "x_nongated", "cutlass"]}
    write("x1/moe/trtllm/1.0", "moe", moe_tp_size=[2, 1, 1], moe_ep_size=[1, 4, 1], **layer, **spread, **kernels)
    write("x1/moe/trtllm/0.9", "moe", moe_tp_size=1, moe_ep_size=1, **layer, **{**spread, "distribution": "zipf"})
    latent = {"device": "NVIDIA X1", "mla_dtype": "bfloat16", "kv_cache_dtype": ["fp8"], "num_heads": 16}
    write("x1/mla/sglang/1.0", "context_mla", **latent, batch_size=2, isl=16, step=0, latency=0.01)
    generation = pd.DataFrame({**latent, "batch_size": 4, "isl": 1, "step": 31, "latency": 0.02})
    generation.to_parquet(root / "x1/mla/sglang/1.0/generation_mla_perf.parquet")
    module = {**latent, "gemm_type": "fp8_block", "num_heads": 16}
    of_two = {"architecture": ["DeepseekV3ForCausalLM", "KimiK3ForConditionalGeneration"], "kv_cache_dtype": "bfloat16"}
    write("x1/mla/vllm/1.0", "mla_context_module", **{**module, **of_two, "mla_dtype": "fp8"}, batch_size=2, isl=16,
          step=0, latency=0.01)  # fmt: skip
    generation = pd.DataFrame({**module, **of_two, "batch_size": 4, "isl": 1, "step": 31, "latency": 0.02})
    generation.to_parquet(root / "x1/mla/vllm/1.0/mla_generation_module_perf.parquet")
    (root / "empty").mkdir()
    monkeypatch.setattr(aiconfigurator, "data_folder", lambda: root)
    return root


def test_gemm_rows_of_the_newest_version(package: Path) -> None:
    frame = read_measurements("aiconfigurator:x1/gemm/trtllm").frame
    assert frame["source"].tolist() == ["aic/trtllm1.3.0rc20"] * 2
    assert frame["dtype"].tolist() == ["bf16", "nvfp4"]
    assert frame["time_us"].tolist() == [250.0, 250.0]
    assert frame["device"].tolist() == ["NVIDIA X1"] * 2


def test_a_version_can_be_named(package: Path) -> None:
    assert read_measurements("aiconfigurator:x1/gemm/trtllm/1.3.0rc9").frame["time_us"].tolist() == [500.0, 500.0]


def test_attention_is_prefill_and_decode_and_steps_are_earlier_tokens(package: Path) -> None:
    frame = read_measurements("aiconfigurator:x1/attention/vllm").frame
    assert frame["op"].tolist() == ["attention_prefill", "attention_decode"]
    assert frame["seq_q"].tolist() == [16.0, 1.0]
    assert frame["seq_kv"].tolist() == [16.0, 32.0]
    assert frame["kv_dtype"].tolist() == ["fp8", "fp8"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x1", "expected system/operator/framework"),
        ("x2/gemm/trtllm", "expected as system one of x1, found 'x2'"),
        ("empty/gemm/trtllm", "expected as system one of x1"),
        ("x1/moes/trtllm", "expected as operator one of attention, gemm, mla, moe, found 'moes'"),
        ("x1/gemm/vllm", "expected as framework one of trtllm"),
        ("x1/gemm/trtllm/2.0", "expected as version one of 1.3.0rc20, 1.3.0rc9"),
        ("../data/x1/gemm/trtllm", "expected system/operator/framework"),
        ("../gemm/trtllm", "expected as system one of x1"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(package: Path, name: str, said: str) -> None:
    with pytest.raises(SimexploreError) as raised:
        read_measurements(f"aiconfigurator:{name}")
    assert said in str(raised.value)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiconfigurator.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SimexploreError, match=r"pip install 'simexplore\[measured\]'"):
        read_measurements("aiconfigurator:h200_sxm/gemm/trtllm")


def test_versions_grow_older_as_people_mean_it() -> None:
    versions = ["0.9.1", "1.3.0rc9", "1.3.0rc20", "1.3.0", "1.3.0.post1", "1.10"]
    shuffled = sorted(versions)
    assert sorted(shuffled, key=aiconfigurator._age) == versions


KEYS = {
    "gemm": ["dtype", "m", "n", "k"],
    "attention": ["op", "dtype", "kv_dtype", "batch", "heads", "kv_heads", "head_dim", "seq_q", "seq_kv", "window"],
    "quantize": ["dtype", "rows", "cols"],
}


def test_of_a_shape_on_several_backends_one_is_read(package: Path) -> None:
    """Three rows are of `mha`, two of `triton`: of the context that both have, `mha` is the engine's."""
    path = package / "x1/attention/vllm/1.0/generation_attention_perf.parquet"
    steps, kernels = [7, 15, 31, 31, 63], ["mha", "mha", "triton", "mha", "triton"]
    table = pd.concat([pd.read_parquet(path)] * 5, ignore_index=True)
    table.assign(step=steps, kernel_source=kernels, latency=[1.0, 2.0, 3.0, 4.0, 5.0]).to_parquet(path)
    frame = read_measurements("aiconfigurator:x1/attention/vllm").frame
    decode = frame[frame["op"] == "attention_decode"]
    assert dict(zip(decode["seq_kv"], decode["time_us"], strict=True)) == {8: 1e3, 16: 2e3, 32: 4e3, 64: 5e3}
    assert decode["kernel"].tolist() == ["mha", "mha", "mha", "triton"]


@pytest.mark.parametrize(
    ("exported", "name", "operator"),
    [
        ("aic_h200_sxm_gemm.csv", "h200_sxm/gemm/trtllm", "gemm"),
        ("aic_h200_sxm_attention_prefill.csv", "h200_sxm/attention/trtllm", "attention"),
        ("aic_h200_sxm_attention_decode.csv", "h200_sxm/attention/trtllm", "attention"),
        ("aic_h200_sxm_quantize.csv", "h200_sxm/quantize/trtllm", "quantize"),
        ("aic_l40s_gemm.csv", "l40s/gemm/trtllm", "gemm"),
    ],
)
def test_rows_exported_by_others_have_the_same_times(exported: str, name: str, operator: str) -> None:
    pytest.importorskip("aiconfigurator_core", reason="the extra [measured] is not installed")
    if not (SHARED / exported).is_file():
        pytest.skip(f"no {exported} beside the checkout")
    theirs = read_measurements(SHARED / exported).frame
    ours = read_measurements(f"aiconfigurator:{name}").frame
    if set(theirs["source"]) - set(ours["source"]):
        pytest.skip("the installed package holds another version than was exported")
    both = theirs.merge(ours, on=KEYS[operator], suffixes=("_theirs", "_ours"))
    assert len(both) == len(theirs)
    np.testing.assert_allclose(both["time_us_ours"], both["time_us_theirs"], rtol=1e-4)


def test_layers_of_experts(package: Path) -> None:
    measured = read_measurements("aiconfigurator:x1/moe/trtllm/1.0")
    columns, refused = operator_columns(measured)
    assert [column.record.describe() for column in columns] == [
        "moe(num_tokens=<1 values>,hidden_size=<1 values>,inter_size=<1 values>,topk=<1 values>,num_experts=<1 values>,"
        f"moe_tp_size=<1 values>,moe_ep_size=<1 values>,skew=<1 values>,gated=<1 values>,dtype={dtype})"
        for dtype in ("bf16", "fp8_block", "nvfp4")
    ]
    layers = [layer_of(column) for column in columns]
    told = [np.concatenate([x.skew, x.gated, x.moe_tp_size, x.moe_ep_size]).tolist() for x in layers]  # type: ignore[arg-type]
    assert told == [[0, 1, 2, 1], [120, 0, 1, 4], [101, 1, 1, 1]]
    assert not refused
    assert measured.frame["skew"].tolist() == [0, 120, 101]


def test_modules_of_latent_attention(package: Path) -> None:
    """The model that gates its outputs is refused by name; kernels and modules may stand in one folder."""
    columns, refused = operator_columns(read_measurements("aiconfigurator:x1/mla/vllm"))
    prefill, decode = (column.record for column in columns)
    assert isinstance(prefill, MlaPrefillModule)
    assert isinstance(decode, MlaDecodeModule)
    assert [prefill.dtype, prefill.attention_dtype, decode.dtype, decode.kv_dtype] == [
        "fp8_block",
        "fp8",
        "fp8_block",
        "bf16",
    ]
    assert [prefill.seq_q, prefill.seq_kv, decode.seq_kv] == [[16], [16], [32]]
    named = "operator mla_{}_module of KimiK3ForConditionalGeneration is not modelled"
    assert refused == {named.format("prefill"): 1, named.format("decode"): 1}
    folder = package / "x1/mla/vllm/1.0"
    for phase in ("context", "generation"):
        (folder / f"{phase}_mla_perf.parquet").write_bytes(
            (package / f"x1/mla/sglang/1.0/{phase}_mla_perf.parquet").read_bytes()
        )
    both, _ = operator_columns(read_measurements("aiconfigurator:x1/mla/vllm"))
    assert [column.record.op for column in both] == ["mla_prefill", "mla_decode", prefill.op, decode.op]


def layer_of(column: OperatorColumn) -> Moe:
    assert isinstance(column.record, Moe)
    return column.record


def test_loads_of_an_unknown_name_are_said(package: Path) -> None:
    table = package / "x1/moe/trtllm/0.9/moe_perf.parquet"
    frame = pd.read_parquet(table).assign(moe_dtype="bfloat16", kernel_source="cutlass")
    frame.to_parquet(table)
    with pytest.raises(SimexploreError, match=r"expected as distribution balanced or power_law_1.2, found 'zipf'"):
        read_measurements("aiconfigurator:x1/moe/trtllm/0.9")


def test_latent_attention(package: Path) -> None:
    columns, _ = operator_columns(read_measurements("aiconfigurator:x1/mla/sglang"))
    prefill, decode = (column.record for column in columns)
    assert isinstance(prefill, MlaPrefill)
    assert isinstance(decode, MlaDecode)
    assert (prefill.batch, prefill.heads, prefill.seq_q, prefill.seq_kv, prefill.kv_dtype) == (2, 16, 16, 16, "fp8")
    assert (decode.batch, decode.heads, decode.seq_kv, decode.dtype) == (4, 16, 32, "bf16")


def test_blank_weights_are_those_of_collectors_that_fill_none() -> None:
    found = {source: aiconfigurator.conditions_of(f"aic/{source}", "moe").activity for source in SOURCES}
    assert found == {"trtllm1.3.0rc20": 0.0, "vllm0.24.0": 0.0, "sglang0.5.14": None}
    assert aiconfigurator.conditions_of("aic/trtllm1.3.0rc20", "gemm").activity is None
    assert aiconfigurator.conditions_of("aic/vllm0.22.0", "gemm").activity == 1.0
    assert aiconfigurator.conditions_of("aic/trtllm1.3.0rc20", "mla_decode").attention_module
    assert not aiconfigurator.conditions_of("aic/sglang0.5.14", "mla_decode").attention_module


SOURCES = ("trtllm1.3.0rc20", "vllm0.24.0", "sglang0.5.14")
