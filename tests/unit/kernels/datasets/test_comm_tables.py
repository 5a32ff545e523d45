"""Tables of collectives in aiconfigurator-core: what their columns mean, which rows are read, and as whose kernel."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from simexplore.kernels.datasets import aiconfigurator
from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import operator_columns
from simexplore.workloads.ops import AllReduce, CustomAllReduce

pytest.importorskip("pyarrow")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package in place of the installed one."""
    monkeypatch.setattr(aiconfigurator, "data_folder", lambda: tmp_path)
    return tmp_path


def put(folder: Path, name: str, **columns: list[object]) -> None:
    folder.mkdir(parents=True)
    pd.DataFrame(columns).to_parquet(folder / name)


def test_nccls_message_size_counts_elements(package: Path) -> None:
    put(
        package / "h200_sxm" / "comm" / "nccl" / "2.29.2",
        "nccl_perf.parquet",
        op_name=["all_reduce", "all_reduce"],
        nccl_dtype=["half", "int8"],
        num_gpus=[8, 8],
        message_size=[1024, 1024],
        latency=[0.017, 0.016],
    )
    frame = aiconfigurator.read("h200_sxm/comm/nccl")
    columns, refused = operator_columns(Measurements(frame, aiconfigurator.conditions_of))
    assert not refused
    records = [column.record for column in columns]
    assert [type(record) for record in records] == [AllReduce, AllReduce]
    assert sorted(float(record.size_bytes[0]) for record in records) == [1024.0, 2048.0]  # type: ignore[attr-defined]
    assert all(column.conditions.launch == "stream" for column in columns)


def test_engines_rows_are_replays_of_their_own_kernels_within_a_node(package: Path) -> None:
    for engine, kernels in {
        "vllm": ["vLLM_custom_eager", "vLLM_custom_graph"],
        "trtllm": ["TRTLLM", "TRTLLM_MNNVL_oneshot"],
    }.items():
        put(
            package / "b200_sxm" / "comm" / engine / "1.0",
            "custom_allreduce_perf.parquet",
            kernel_source=kernels,
            allreduce_dtype=["bfloat16", "bfloat16"],
            num_gpus=[4, 4],
            message_size=[4096, 4096],
            latency=[0.02, 0.005],
        )
        frame = aiconfigurator.read(f"b200_sxm/comm/{engine}")
        ((column,), refused) = operator_columns(Measurements(frame, aiconfigurator.conditions_of))
        assert not refused
        assert isinstance(column.record, CustomAllReduce)
        assert (column.record.engine, column.record.dtype, len(column.rows)) == (engine, "bf16", 1)
        assert column.conditions.launch == "graph"
        assert not column.conditions.attention_module
    assert frame["kernel"].tolist() == ["TRTLLM"]


LINKS_GB_S = 450.0
"""An H200's NVLink in each direction."""


def test_sizes_of_the_installed_table_are_elements_and_no_more_than_the_links_carry() -> None:
    """Equal bytes take equal times whatever their type, and an all-gather's bus bandwidth is under the links' rate.

    Were sizes bytes, fp16 would move half of it at its best; were they divided by the width once more, a quarter.
    """
    pytest.importorskip("aiconfigurator_core", reason="the extra [measured] is not installed")
    frame = aiconfigurator.read("h200_sxm/comm/nccl/2.29.2")
    rows = frame[(frame["op"] == "all_gather") & (frame["num_gpus"] == 8)].assign(
        bytes=lambda table: table["elements"] * table["dtype"].map({"fp16": 2, "int8": 1})
    )
    by_type = rows.pivot_table(index="bytes", columns="dtype", values="time_us")
    both = by_type.dropna().loc[2**20 :]  # what smaller ones take scatters by up to a fifth
    assert len(both) >= 8
    assert (both["fp16"] / both["int8"] - 1.0).abs().median() < 0.05
    largest = both.index.max()
    bus_gb_s = largest * 7 / 8 / both.loc[largest, "fp16"] / 1e3
    assert 0.7 * LINKS_GB_S < bus_gb_s < LINKS_GB_S
