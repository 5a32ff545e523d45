"""Importers of profiles: what becomes a row, what is listed, and what is no such profile."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.profiles import import_profile
from simexplore.kernels.profiles.labels import dtype_in, operator_in
from simexplore.kernels.profiles.tally import Imported
from simexplore.kernels.profiles.torch_calls import Call, UnmatchedError, operator_of

DATA = Path(__file__).resolve().parents[2] / "data"
MM = "aten::mm, seq = 1, op_id = 7, sizes = [[64, 128], [128, 32]]"
GEMM_KERNEL = "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x4_tn"


NAMES = ("m", "n", "k", "batch", "rows", "cols", "elements", "seq_kv", "num_gpus", "hw")


def texts(found: Imported) -> dict[str, float]:
    """`op name=value …` → time of each row."""
    rows: list[dict[str, Any]] = found.frame.astype(object).where(found.frame.notna(), None).to_dict("records")
    given = ([f"{name}={row[name]}" for name in NAMES if row.get(name) is not None] for row in rows)
    return {" ".join([row["op"], *names]): row["time_us"] for row, names in zip(rows, given, strict=True)}


class TestKineto:
    def test_a_real_cpu_trace(self, tmp_path: Path) -> None:
        """`tests/data/kineto-cpu.json` is of torch 2.13 on a CPU; strides and ids of the host are left out."""
        found = import_profile("kineto", DATA / "kineto-cpu.json")
        rows = texts(found)
        assert rows["gemm m=64 n=256 k=128 batch=1"] == pytest.approx((200.51 + 107.059) / 2)
        assert rows["gemm m=32 n=16 k=64 batch=4"] == pytest.approx(28.061)
        assert {"conv2d batch=2 hw=16", "softmax rows=64 cols=256", "attention_prefill batch=2 seq_kv=32"} <= set(rows)
        assert len(rows) == 11
        assert found.unmatched[0].name == "aten::sort"
        assert found.unmatched[0].calls == 2
        found.frame.to_csv(tmp_path / "rows.csv", index=False)
        assert len(read_measurements(tmp_path / "rows.csv")) == 11

    def test_nothing_is_counted_twice_and_nothing_is_lost(self) -> None:
        """Rows and unmatched together are the time of the outermost calls."""
        found = import_profile("kineto", DATA / "kineto-cpu.json")
        calls = json.loads((DATA / "kineto-cpu.json").read_text())["traceEvents"]
        end, total = 0.0, 0.0
        for call in sorted(calls, key=lambda call: (call["ts"], -call["dur"])):
            if call["ts"] >= end:
                end, total = call["ts"] + call["dur"], total + call["dur"]
        assert found.matched_us + sum(one.time_us for one in found.unmatched) == pytest.approx(total, rel=1e-6)

    def test_kernels_of_one_call_are_one_row(self, tmp_path: Path) -> None:
        path = tmp_path / "trace.json.gz"
        path.write_bytes(gzip.compress(json.dumps(gpu_trace()).encode()))
        found = import_profile("kineto", path)
        assert texts(found) == {"gemm m=64 n=32 k=128 batch=1": 13.0, "all_reduce elements=4096 num_gpus=8": 40.0}
        assert set(found.frame["device"]) == {"NVIDIA H200"}
        assert {one.name: one.reason for one in found.unmatched} == {
            "sort_kernel": "launched by aten::sort",
            "graph_kernel": "not launched by a recorded call",
        }

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "expected a Chrome trace in JSON"),
            ("[]", "found other JSON"),
            ('{"traceEvents": []}', "expected cpu_op or kernel events"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(SimexploreError, match=message):
            import_profile("kineto", tmp_path / "x.json")


def gpu_trace() -> dict[str, Any]:
    """As Kineto writes it on a GPU: calls, kernels that name their call, and NCCL kernels with their sizes."""

    def call(name: str, ts: float, dur: float, number: int, dims: list[list[int]] | None = None) -> dict[str, Any]:
        args = {"External id": number, "Input Dims": dims or [], "Input type": ["c10::BFloat16"] * len(dims or [])}
        return {"ph": "X", "cat": "cpu_op", "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur, "args": args}

    def kernel(name: str, dur: float, number: int, **more: Any) -> dict[str, Any]:
        args = {"External id": number, "device": 0, "stream": 7, "correlation": number, **more}
        return {"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 7, "ts": 0.0, "dur": dur, "args": args}

    nccl = {"Collective name": "allreduce", "In msg nelems": 4096, "Group size": 8, "dtype": "BFloat16"}
    events = [
        call("aten::linear", 0.0, 50.0, 1, [[64, 128], [32, 128]]),
        call("aten::mm", 10.0, 30.0, 2, [[64, 128], [128, 32]]),
        call("aten::sort", 60.0, 5.0, 3, [[64]]),
        kernel(GEMM_KERNEL, 10.0, 2),
        kernel("splitKreduce_kernel", 3.0, 2),
        kernel("sort_kernel", 2.0, 3),
        kernel("graph_kernel", 1.0, 99),
        kernel("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 40.0, 98, **nccl),
    ]
    return {"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "NVIDIA H200"}], "traceEvents": events}


class TestNsys:
    def test_ranges_around_the_launch_tell_the_operator(self, tmp_path: Path) -> None:
        path = nsys_export(tmp_path / "profile.sqlite")
        found = import_profile("nsys", path)
        assert texts(found) == {"gemm m=64 n=32 k=128 batch=1": 13.0, "rmsnorm rows=8 cols=512": 2.0}
        assert set(found.frame["device"]) == {"NVIDIA H200"}
        (lost,) = found.unmatched
        assert (lost.name, lost.calls, lost.time_us) == ("void unknown<float>(float*)", 2, 14.0)
        assert "emit_nvtx" in lost.reason

    def test_a_device_of_ones_own(self, tmp_path: Path) -> None:
        found = import_profile("nsys", nsys_export(tmp_path / "profile.sqlite"), device="my H200")
        assert set(found.frame["device"]) == {"my H200"}

    def test_other_databases_are_refused(self, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "other.sqlite") as database:
            database.execute("CREATE TABLE things (id INTEGER)")
        with pytest.raises(SimexploreError, match="CUPTI_ACTIVITY_KIND_KERNEL"):
            import_profile("nsys", tmp_path / "other.sqlite")
        (tmp_path / "text.sqlite").write_text("no database, but long enough to be read as the header of one, I hope")
        with pytest.raises(SimexploreError, match="SQLite"):
            import_profile("nsys", tmp_path / "text.sqlite")


def nsys_export(path: Path) -> Path:
    """The tables and columns of the User Guide's SQLite schema that matter, with one thread of one process."""
    process = 0x0100_0001_0000_0000
    thread = process | 5
    names = {1: GEMM_KERNEL, 2: "splitKreduce", 3: "void unknown<float>(float*)", 4: "rmsnorm_bf16", 5: MM}
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
        db.execute("CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT)")
        db.execute(
            "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, streamId INT, "
            "correlationId INT, globalPid INT, demangledName INT, shortName INT, gridX INT, blockX INT)"
        )
        db.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, globalTid INT, correlationId INT)")
        db.execute("CREATE TABLE NVTX_EVENTS (start INT, end INT, eventType INT, text TEXT, globalTid INT, textId INT)")
        db.executemany("INSERT INTO StringIds VALUES (?, ?)", names.items())
        db.execute("INSERT INTO TARGET_INFO_GPU VALUES (0, 'NVIDIA H200')")
        kernels = [(1, 10_000, 11), (2, 3_000, 12), (3, 7_000, 13), (4, 2_000, 14), (3, 7_000, 15)]
        for start, (name, duration, correlation) in enumerate(kernels):
            row = (
                start * 100_000,
                start * 100_000 + duration,
                0,
                7,
                correlation,
                process & ~0xFFFFFF,
                name,
                name,
                1,
                1,
            )
            db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            launch = (correlation * 10, correlation * 10 + 5, thread, correlation)
            db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?)", launch)
        ranges = [
            (90, 400, "step", None),
            (105, 126, None, 5),
            (107, 125, "aten::empty, sizes = [[]]", None),
            (135, 145, "my rmsnorm(rows=8,cols=512,dtype=bf16)", None),
        ]
        for start, end, text, text_id in ranges:
            db.execute("INSERT INTO NVTX_EVENTS VALUES (?, ?, 59, ?, ?, ?)", (start, end, text, thread, text_id))
    return path


FIXED = ",".join(
    f'"{name}"'
    for name in ("ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream", "Block Size",
                 "Grid Size", "Device", "CC")
)  # fmt: skip
TIMED = FIXED + ',"gpu__time_duration.sum"'
METRICS = FIXED + ',"Metric Name","Metric Unit","Metric Value"'
RANGES = '"thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg"'


def ncu_row(number: int, kernel: str, *more: str) -> str:
    cells = [
        str(number),
        "123",
        "python",
        "127.0.0.1",
        kernel,
        "1",
        "7",
        "(128, 1, 1)",
        "(16, 4, 1)",
        "0",
        "9.0",
        *more,
    ]
    return ",".join(f'"{cell}"' for cell in cells)


class TestNcu:
    def test_raw_page(self, tmp_path: Path) -> None:
        lines = [
            "==PROF== Connected to process 123 (python)",
            FIXED
            + ',"thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg","gpu__time_duration.sum"',
            ",".join(['""'] * 12 + ['"usecond"']),
            ncu_row(0, GEMM_KERNEL, MM, "1,234.5"),
            ncu_row(1, "mystery_kernel", "", "7.25"),
        ]
        found = self.of(tmp_path, lines)
        assert texts(found) == {"gemm m=64 n=32 k=128 batch=1": 1234.5}
        assert set(found.frame["device"]) == {"GPU 0 (cc 9.0)"}
        assert [(one.name, one.time_us) for one in found.unmatched] == [("mystery_kernel", 7.25)]

    def test_details_page(self, tmp_path: Path) -> None:
        lines = [
            FIXED + ',"Section Name","Metric Name","Metric Unit","Metric Value"',
            ncu_row(0, "gemm(m=8,n=8,k=64,dtype=fp16)", "GPU Speed Of Light Throughput", "SM Frequency", "Ghz", "1.7"),
            ncu_row(0, "gemm(m=8,n=8,k=64,dtype=fp16)", "GPU Speed Of Light Throughput", "Duration", "ns", "4,512"),
            ncu_row(1, "mystery_kernel", "GPU Speed Of Light Throughput", "Duration", "ms", "2"),
        ]
        found = self.of(tmp_path, lines)
        assert texts(found) == {"gemm m=8 n=8 k=64 batch=1": pytest.approx(4.512)}
        assert found.unmatched[0].time_us == 2000.0

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            (["nothing"], "run ncu with --csv"),
            ([FIXED, ncu_row(0, "k")], "expected a column gpu__time_duration.sum"),
            ([TIMED, ",".join(['""'] * 11 + ['"byte"']), ncu_row(0, "k", "5")], "a time such"),
            ([METRICS, ncu_row(0, "k", "Registers", "", "5")], "Duration"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path: Path, lines: list[str], message: str) -> None:
        with pytest.raises(SimexploreError, match=message):
            self.of(tmp_path, lines)

    def of(self, folder: Path, lines: list[str]) -> Imported:
        (folder / "profile.csv").write_text("\n".join(lines) + "\n")
        return import_profile("ncu", folder / "profile.csv")


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    [
        (GEMM_KERNEL, "bf16"),
        ("ampere_fp16_s16816gemm_fp16_64x64_sliced1x2_ldg8_f2f_stages_64x5_nn", "fp16"),
        ("sm90_xmma_gemm_e4m3bf16_e4m3f32_f32_tn_n_tilesize128x128x128", "fp8"),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_nn_n_tilesize64x64x32", "tf32"),
        ("volta_sgemm_128x64_nn", "fp32"),
        ("mystery", None),
    ],
)
def test_types_in_names_of_kernels(kernel: str, dtype: str | None) -> None:
    assert dtype_in(kernel) == dtype


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (Call("aten::sort", [[4]], "fp32"), "no operator family"),
        (Call("aten::mm", [], "fp32"), "record_shapes"),
        (Call("aten::mm", [[4, 5], [6, 7]], "fp32"), "are not those of aten::mm"),
        (Call("aten::mm", [[4, 5]], "fp32"), "are not those of aten::mm"),
        (Call("aten::mm", [[4, 0], [0, 7]], "fp32"), "k is not a positive integer"),
        (Call("aten::mm", [[4, 5], [5, 7]], ""), "dtype is not"),
        (Call("aten::add", [[4, 5], [5]], "fp32"), "broadcasting"),
        (Call("aten::conv2d", [[1, 3, 8, 8], [4, 3, 3, 3]], "fp32"), "does not tell input 3"),
        (Call("aten::scaled_dot_product_attention", [[1, 2, 8, 16]] * 2, "bf16", [""] * 5 + ["False"]), "not causal"),
    ],
)
def test_calls_that_no_operator_holds(call: Call, reason: str) -> None:
    with pytest.raises(UnmatchedError, match=reason):
        operator_of(call)


def test_one_query_is_decoding_whatever_its_mask() -> None:
    call = Call("aten::scaled_dot_product_attention", [[2, 8, 1, 64], [2, 4, 99, 64], [2, 4, 99, 64]], "bf16")
    assert operator_of(call).describe() == (
        "attention_decode(batch=2,heads=8,kv_heads=4,head_dim=64,seq_kv=99,dtype=bf16)"
    )


def test_a_wrong_operator_text_is_a_reason() -> None:
    with pytest.raises(UnmatchedError, match="expected"):
        operator_in("gemm(m=4,n=4)", GEMM_KERNEL)


def test_unknown_kinds_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(SimexploreError, match="did you mean 'nsys'"):
        import_profile("nsis", tmp_path)
    with pytest.raises(SimexploreError, match="found nothing"):
        import_profile("nsys", tmp_path / "absent")
