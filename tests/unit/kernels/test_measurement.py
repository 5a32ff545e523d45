"""The table of measurements: what is read, what is refused, and in which words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import conditions_of, read_measurements
from simexplore.kernels.measurement import ASSUMED, Conditions, Measurements, join
from simexplore.kernels.records import operator_columns
from simexplore.workloads.operators.parameters import parameters_of
from simexplore.workloads.ops import FAMILIES, AttentionPrefill, Gelu, Gemm, parse_operator

GEMM = """source,device,op,dtype,m,n,k,time_us,remark
mine,H200,gemm,bf16,1,4096,4096,8.5,first
mine,H200,gemm,bf16,512,4096,4096,30,
"""


def table(tmp_path: Path, text: str, name: str = "rows.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_read_with_their_types(tmp_path: Path) -> None:
    frame = read_measurements(table(tmp_path, GEMM)).frame
    assert frame["m"].tolist() == [1.0, 512.0]
    assert frame["time_us"].tolist() == [8.5, 30.0]
    assert frame["op"].tolist() == ["gemm", "gemm"]


def test_unknown_columns_are_kept_and_blank_lines_skipped(tmp_path: Path) -> None:
    frame = read_measurements(table(tmp_path, GEMM + "\n")).frame
    assert frame["remark"].tolist() == ["first", ""]


def test_parquet_gives_the_same_table_as_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from_csv = read_measurements(table(tmp_path, GEMM)).frame
    from_csv.to_parquet(tmp_path / "rows.parquet")
    again = read_measurements(tmp_path / "rows.parquet").frame
    pd.testing.assert_frame_equal(again, from_csv, check_dtype=False)


def test_a_table_may_mix_families_with_columns_of_their_own(tmp_path: Path) -> None:
    text = "source,device,op,dtype,m,n,k,elements,time_us\nx,d,gemm,fp16,2,3,4,,5\nx,d,gelu,fp16,,,,1024.0,6\n"
    columns, refused = operator_columns(read_measurements(table(tmp_path, text)))
    assert not refused
    gemm, gelu = (column.record for column in columns)
    assert isinstance(gemm, Gemm)
    assert isinstance(gelu, Gelu)
    np.testing.assert_array_equal(gelu.elements, [1024])


HEAD = "source,device,op,dtype,m,n,k,time_us\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: expected a header"),
        (HEAD, ":1: expected rows below the header, found none"),
        ("source,device,op,m,n,k,time_us\na,b,gemm,1,1,1,1\n", ":1: expected a column 'dtype', found source"),
        ("source,device,op,dtype,m,n,k,time_ms\na,b,gemm,bf16,1,1,1,1\n", "did you mean 'time_ms'?"),
        ("source,device,op,dtype,m,k,time_us\na,b,gemm,bf16,1,1,1\n", "expected a column 'n' for gemm rows"),
        (HEAD + "a,b,gemm,bf16,1,1,1,2\na,b,gemm,bf16,1,,1,2\n", ":3: n: expected a positive integer"),
        (HEAD + "a,b,gemm,bf16,1,1,1,2\n\na,b,gemm,bf16,1,x,1,2\n", ":4: n: expected a whole number, or nothing"),
        (HEAD + "a,b,gemm,bf16,1.5,1,1,2\n", ":2: m: expected a whole number"),
        (HEAD + "a,b,gemm,bf16,0,1,1,2\n", ":2: m: expected a positive integer"),
        (HEAD + "a,b,gemm,bf16,-4,1,1,2\n", ":2: m: expected a whole number"),
        (HEAD + "a,b,gemm,bf16,1e40,1,1,2\n", ":2: m: expected a whole number"),
        (HEAD + "a,b,gemm,bf16,1,1,1,0\n", ":2: time_us: expected a time above 0 in microseconds, found '0'"),
        (HEAD + "a,b,gemm,bf16,1,1,1,-3\n", ":2: time_us: expected a time above 0"),
        (HEAD + "a,b,gemm,bf16,1,1,1,nan\n", ":2: time_us: expected a time above 0 in microseconds, found 'nan'"),
        (HEAD + "a,b,gemm,bf16,1,1,1,inf\n", ":2: time_us: expected a time above 0"),
        (HEAD + "a,b,gemm,bf16,1,1,1,\n", ":2: time_us: expected a time above 0 in microseconds, found nothing"),
        (HEAD + "a,b,,bf16,1,1,1,1\n", ":2: op: expected text, found nothing"),
        (HEAD + "a,b,gemm,bf16,1,1,1\n", ":2: expected 8 cells as in the header, found 7"),
        ("m,m\n1,1\n", ":1: expected each column once, found 'm' again"),
        ("source,device,op,dtype,elements,time_us,power_w\na,b,gelu,fp32,8,1,-5\n", ":2: power_w: expected a power"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(SimexploreError) as raised:
        read_measurements(path)
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    binary = tmp_path / "noise.csv"
    binary.write_bytes(b"\xff\xfe\x00rubbish")
    (tmp_path / "noise.parquet").write_bytes(b"rubbish")
    (tmp_path / "folder.csv").mkdir()
    for name, said in (
        ("noise.csv", "expected CSV in UTF-8"),
        ("noise.parquet", "noise.parquet"),
        ("rows.xlsx", "ends in .csv or .parquet, found '.xlsx'"),
        ("absent.csv", "expected a file, found nothing"),
        ("folder.csv", "found a directory"),
    ):
        with pytest.raises(SimexploreError, match=said.replace(".", r"\.")):
            read_measurements(tmp_path / name)


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(SimexploreError, match="did you mean 'aiconfigurator'"):
        read_measurements("aiconfig:h200_sxm/gemm/trtllm")


def test_select_keeps_what_is_asked_for_and_names_what_there_is(tmp_path: Path) -> None:
    rows = read_measurements(table(tmp_path, GEMM + "mine,H200,softmaxx,fp16,,,,3,\n"))
    assert len(rows.select(op="gemm", dtype="bf16")) == 2
    with pytest.raises(SimexploreError, match="no measured row has dtype 'bf17'; did you mean 'bf16'"):
        rows.select(dtype="bf17")


def test_what_no_record_can_hold_is_refused_by_name_and_counted(tmp_path: Path) -> None:
    text = HEAD + "a,b,fft2d,bf16,1,1,1,1\na,b,fft2d,bf16,1,1,1,1\na,b,gemm,int7,1,1,1,1\na,b,gemm,bf16,1,1,1,1\n"
    columns, refused = operator_columns(read_measurements(table(tmp_path, text)))
    assert refused == {"operator fft2d is not modelled": 2, "gemm with dtype int7 is not modelled": 1}
    assert [column.rows.tolist() for column in columns] == [[3]]


def test_rows_that_contradict_themselves_are_refused_alone(tmp_path: Path) -> None:
    text = (
        "source,device,op,dtype,batch,heads,kv_heads,head_dim,seq_q,seq_kv,time_us\n"
        "a,b,attention_prefill,bf16,1,32,8,128,64,64,9\n"
        "a,b,attention_prefill,bf16,1,32,5,128,64,64,9\n"
    )
    columns, refused = operator_columns(read_measurements(table(tmp_path, text)))
    assert sum(refused.values()) == 1
    assert "kv_heads" in next(iter(refused))
    assert columns[0].rows.tolist() == [0]
    assert isinstance(columns[0].record, AttentionPrefill)


def test_weight_only_names_become_the_dtype_of_the_weights(tmp_path: Path) -> None:
    columns, _ = operator_columns(read_measurements(table(tmp_path, HEAD + "a,b,gemm,int4_wo,1,2,3,1\n")))
    record = columns[0].record
    assert isinstance(record, Gemm)
    assert (record.dtype, record.weight_dtype) == ("bf16", "int4")


def test_a_part_of_a_column_has_its_rows(tmp_path: Path) -> None:
    columns, _ = operator_columns(read_measurements(table(tmp_path, GEMM)))
    part = columns[0].part(1, 2)
    assert part.rows.tolist() == [1]
    assert isinstance(part.record, Gemm)
    np.testing.assert_array_equal(part.record.m, [512])


def test_conditions_come_from_the_adaptor_of_the_source() -> None:
    gemm = conditions_of("aic/trtllm1.3.0rc20", "gemm")
    assert (gemm.launch, gemm.weight_copies, gemm.until_l2_is_full) == ("graph", 5, True)
    assert gemm.activation_dtype == "bf16"
    early = conditions_of("aic/trtllm1.0.0", "gemm")
    assert (early.weight_copies, early.until_l2_is_full, early.activation_copies) == (5, False, 1)
    sglang = conditions_of("aic/sglang0.5.10", "gemm")
    assert (sglang.weight_copies, sglang.until_l2_is_full, sglang.activation_copies) == (6, False, 6)
    vllm = conditions_of("aic/vllm0.22.0", "gemm")
    assert (vllm.weight_copies, vllm.activation_copies, vllm.runs_before) == (6, 1, np.inf)
    decode = conditions_of("aic/trtllm1.3.0rc20", "attention_decode")
    assert (decode.weight_copies, decode.attention_module) == (1, True)
    assert conditions_of("aic/nccl2.29.2", "all_reduce").launch == "stream"
    assert conditions_of("my-profiler", "gemm") == ASSUMED


def test_activations_are_quantised_only_where_they_arrive_wider(tmp_path: Path) -> None:
    text = HEAD + "aic/trtllm1,b,gemm,fp8,1,2,3,1\naic/trtllm1,b,gemm,bf16,1,2,3,1\nmine,b,gemm,fp8,1,2,3,1\n"
    columns, _ = operator_columns(read_measurements(table(tmp_path, text)))
    arriving = {int(c.rows[0]): c.record.activation_dtype for c in columns if isinstance(c.record, Gemm)}
    assert arriving == {0: "bf16", 1: None, 2: None}


def test_rows_may_say_themselves_how_they_were_run(tmp_path: Path) -> None:
    text = (
        "source,device,op,dtype,elements,time_us,launch,clocks,caches\n"
        "mine,d,relu,bf16,8,1,profiled,base,flushed\nmine,d,relu,bf16,9,1,,,\n"
        "simexplore/cuda,d,relu,bf16,8,1,,boost,warm\nsimexplore/cuda,d,relu,bf16,9,1,stream,,\n"
    )
    columns, refused = operator_columns(read_measurements(table(tmp_path, text)))
    assert not refused
    told = {int(column.rows[0]): column.conditions for column in columns}
    assert told == {
        0: replace(ASSUMED, launch="profiled", base_clocks=True, cold_caches=True),
        1: ASSUMED,
        2: Conditions(launch="graph"),
        3: Conditions(launch="stream"),
    }


@pytest.mark.parametrize(("column", "expected"), [("launch", "stream, graph"), ("clocks", "base"), ("caches", "warm")])
def test_other_words_for_how_a_row_was_run_are_refused(tmp_path: Path, column: str, expected: str) -> None:
    text = f"source,device,op,dtype,elements,time_us,{column}\nmine,d,relu,bf16,8,1,\nmine,d,relu,bf16,8,1,cold\n"
    with pytest.raises(SimexploreError, match=rf"csv:3: {column}: expected .*{expected}.*, or nothing, found 'cold'"):
        read_measurements(table(tmp_path, text))


def test_joined_tables_keep_their_conditions(tmp_path: Path) -> None:
    first = read_measurements(table(tmp_path, GEMM))
    second = Measurements(first.frame.assign(source="other"), lambda source, op: conditions_of("aic/x", op))
    both = join([first, second])
    assert len(both) == 4
    assert both.conditions_of("mine", "gemm") == ASSUMED
    assert both.conditions_of("other", "gemm").weight_copies == 5


@given(
    cells=st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=9), max_size=3),
    keep=st.integers(0, len(GEMM)),
    junk=st.text(max_size=20),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_a_table_or_one_line(tmp_path: Path, cells: list[list[str]], keep: int, junk: str) -> None:
    path = tmp_path / "any.csv"
    text = GEMM[:keep] + junk + "\n".join(",".join(row) for row in cells)
    path.write_text(text, encoding="utf-8", errors="replace", newline="")
    try:
        frame = read_measurements(path).frame
    except SimexploreError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - either outcome is right
    else:
        assert len(frame) > 0
        assert (frame["time_us"] > 0).all()


PARAMETERS = sorted({name for family in FAMILIES.values() for name in parameters_of(family)} - {"dtype"})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(PARAMETERS), st.text("abcXYZ 019.-_/", min_size=1, max_size=9), max_size=5))
def test_columns_that_another_operator_has_hold_what_they_like(tmp_path: Path, foreign: dict[str, str]) -> None:
    """As `hw` does, the hardware of one data set and an image's height in another."""
    foreign = {name: text for name, text in foreign.items() if name not in parameters_of(FAMILIES["gemm"])}
    head = ",".join(["source,device,op,dtype,m,n,k,time_us", *foreign])
    row = ",".join(["kb,L40S,gemm,fp32,2048,2048,2048,392.0", *foreign.values()])
    read = read_measurements(table(tmp_path, f"{head}\n{row}\n"))
    (column,), refused = operator_columns(read)
    assert not refused
    np.testing.assert_array_equal(column.record.m, [2048])


def test_a_parameter_of_its_own_operator_is_still_checked(tmp_path: Path) -> None:
    head = "source,device,op,dtype,m,n,k,batch,cin,cout,ksize,hw,time_us\n"
    gemm, conv = "kb,L40S,gemm,fp32,8,8,8,,,,,RTX 9,3.0\n", "kb,L40S,conv2d,fp32,,,,1,8,8,3,RTX 9,3.0\n"
    assert len(read_measurements(table(tmp_path, head + gemm))) == 1
    with pytest.raises(SimexploreError, match=r":3: hw: expected a whole number, or nothing, found 'RTX 9'"):
        read_measurements(table(tmp_path, head + gemm + conv))


@pytest.mark.parametrize("dtype", ["mxfp6"])
def test_types_without_a_rate_are_refused_by_name(tmp_path: Path, dtype: str) -> None:
    read = read_measurements(table(tmp_path, HEAD + f"a,b,gemm,{dtype},128,128,128,3\n"))
    columns, refused = operator_columns(read)
    assert (columns, dict(refused)) == ([], {f"gemm with dtype {dtype} is not modelled": 1})
    with pytest.raises(SimexploreError, match=f"found '{dtype}' .*, is not modelled"):
        parse_operator(f"gemm(m=1,n=1,k=1,dtype={dtype})")
