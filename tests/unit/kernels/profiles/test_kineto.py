"""Traces of PyTorch: which call a kernel becomes a row of, what is listed, and what is no such trace."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from imported import GEMM_KERNEL, SHARED, needs_shared, reasons, texts

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.profiles import import_profile
from simexplore.kernels.profiles.tally import Imported

DATA = Path(__file__).resolve().parents[3] / "data"


def of(folder: Path, *events: dict[str, Any], **head: Any) -> Imported:
    """What a trace of these events gives."""
    path = folder / "trace.json"
    path.write_text(json.dumps({"deviceProperties": [{"id": 0, "name": "NVIDIA H200"}], **head, "traceEvents": events}))
    return import_profile("kineto", path)


def call(name: str, ts: Any, dur: Any, dims: Any = (), *, pid: int = 1, **args: Any) -> dict[str, Any]:
    given = {"Input Dims": dims, "Input type": ["c10::BFloat16"] * len(dims), **args}
    return {"ph": "X", "cat": "cpu_op", "name": name, "pid": pid, "tid": 1, "ts": ts, "dur": dur, "args": given}


def mm(m: int, ts: Any, dur: Any = 50.0, **more: Any) -> dict[str, Any]:
    return call("aten::mm", ts, dur, [[m, 128], [128, 32]], **more)


def launch(correlation: int, ts: float, name: str = "cudaLaunchKernel", pid: int = 1) -> dict[str, Any]:
    event = {"ph": "X", "cat": "cuda_runtime", "name": name, "pid": pid, "tid": 1, "ts": ts, "dur": 5.0}
    return {**event, "args": {"correlation": correlation}}


def kernel(correlation: int | None, ts: Any, dur: Any, name: str = GEMM_KERNEL, gpu: int = 0, **more: Any) -> Any:
    args = {"device": gpu, "stream": 7, "correlation": correlation, **more}
    return {"ph": "X", "cat": "kernel", "name": name, "pid": gpu, "tid": 7, "ts": ts, "dur": dur, "args": args}


class TestRealTraces:
    def test_a_cpu_trace(self, tmp_path: Path) -> None:
        """`tests/data/kineto-cpu.json` is of torch 2.13 on a CPU; strides and ids of the host are left out."""
        found = import_profile("kineto", DATA / "kineto-cpu.json")
        rows = texts(found)
        assert rows["gemm m=64 n=256 k=128 batch=1"] == pytest.approx((200.51 + 107.059) / 2)
        assert rows["gemm m=32 n=16 k=64 batch=4"] == pytest.approx(28.061)
        assert {"conv2d batch=2 hw=16", "softmax rows=64 cols=256", "attention_prefill batch=2 seq_kv=32"} <= set(rows)
        assert len(rows) == 11
        assert found.unmatched[0].name == "aten::sort"
        assert found.unmatched[0].calls == 2
        assert found.matched_share == pytest.approx(0.5656, abs=1e-4)
        found.frame.to_csv(tmp_path / "rows.csv", index=False)
        assert len(read_measurements(tmp_path / "rows.csv")) == 11

    def test_nothing_is_counted_twice_and_nothing_is_lost(self) -> None:
        """Rows and unmatched together are the time of the outermost calls."""
        found = import_profile("kineto", DATA / "kineto-cpu.json")
        calls = json.loads((DATA / "kineto-cpu.json").read_text())["traceEvents"]
        end, total = 0.0, 0.0
        for event in sorted(calls, key=lambda event: (event["ts"], -event["dur"])):
            if event["ts"] >= end:
                end, total = event["ts"] + event["dur"], total + event["dur"]
        assert found.matched_us + found.unmatched_us == pytest.approx(total, rel=1e-6)

    @needs_shared
    @pytest.mark.parametrize(
        ("name", "outcome"),
        [
            ("extid", {"gemm m=8192 n=8192 k=8192 batch=1": 20000.0}),
            ("nccl", {"gemm m=64 n=64 k=64 batch=1": 10.0}),
            ("v_argsnull", {"gemm m=64 n=64 k=64 batch=1": 10.0}),
            ("v_devnone", {"gemm m=64 n=64 k=64 batch=1": 10.0}),
            ("merged", "several ranks"),
            ("htod", "between host and device"),
            ("copy", "several layouts"),
            ("v_kernodur", "no number above 0"),
            ("v_neg", "no number above 0"),
            ("v_zero", "no number above 0"),
            ("v_nodur", "no duration"),
            ("v_strts", "no duration that is a number"),
        ],
    )
    def test_shared_cases(self, name: str, outcome: dict[str, float] | str) -> None:
        found = import_profile("kineto", SHARED / f"{name}.json")
        if isinstance(outcome, str):
            assert found.frame.empty
            assert any(outcome in reason for reason in reasons(found).values())
        else:
            assert texts(found) == outcome


class TestLinks:
    def test_the_launch_tells_and_an_external_id_does_not(self, tmp_path: Path) -> None:
        """The kernel's External id is its correlation, which is also the id of another call."""
        calls = [mm(16, 0, **{"External id": 5}), mm(8192, 200, **{"External id": 6})]
        found = of(tmp_path, *calls, launch(5, 210), kernel(5, 230, 20.0, **{"External id": 5}))
        assert texts(found) == {"gemm m=8192 n=32 k=128 batch=1": 20.0}

    def test_kernels_of_one_call_are_one_row(self, tmp_path: Path) -> None:
        path = tmp_path / "trace.json.gz"
        nccl = {"Collective name": "allreduce", "In msg nelems": 4096, "Group size": 8, "dtype": "BFloat16"}
        events = [
            call("aten::linear", 0.0, 50.0, [[64, 128], [32, 128]]),
            mm(64, 10.0, 30.0),
            call("aten::sort", 60.0, 5.0, [[64]]),
            *(launch(number, ts) for number, ts in ((2, 12.0), (3, 15.0), (4, 61.0))),
            kernel(2, 20.0, 10.0),
            kernel(3, 30.0, 3.0, "splitKreduce_kernel"),
            kernel(4, 70.0, 2.0, "sort_kernel"),
            kernel(99, 80.0, 1.0, "early_kernel"),
            kernel(98, 90.0, 40.0, "ncclDevKernel_AllReduce_Sum_bf16_RING_LL", **nccl),
        ]
        trace = {"traceEvents": events, "deviceProperties": [{"id": 0, "name": "NVIDIA H200"}]}  # names come last too
        path.write_bytes(gzip.compress(json.dumps(trace).encode()))
        found = import_profile("kineto", path)
        assert texts(found) == {"gemm m=64 n=32 k=128 batch=1": 13.0, "all_reduce elements=4096 num_gpus=8": 40.0}
        assert set(found.frame["device"]) == {"NVIDIA H200"}
        assert set(found.frame["launch"]) == {"profiled"}
        assert reasons(found) == {
            "sort_kernel": "launched by aten::sort",
            "early_kernel": "not launched by a recorded call",
        }

    def test_an_external_id_is_a_hint_where_the_launch_is_missing(self, tmp_path: Path) -> None:
        calls = [mm(64, 0, **{"External id": 5}), mm(128, 100, **{"External id": 6})]
        found = of(tmp_path, *calls, kernel(41, 60, 10.0, **{"External id": 5}))
        assert texts(found) == {"gemm m=64 n=32 k=128 batch=1": 10.0}
        found = of(tmp_path, *calls, kernel(5, 60, 10.0, **{"External id": 5}))
        assert reasons(found) == {GEMM_KERNEL: "not launched by a recorded call"}
        found = of(tmp_path, *calls, kernel(41, 60, 10.0, **{"External id": 6}))
        assert "ended before its launch" in reasons(found)[GEMM_KERNEL]

    def test_the_innermost_call_around_a_launch(self, tmp_path: Path) -> None:
        """A launch at the last moment of a call is its; one at the first moment of the next is the next's."""
        calls = [mm(1, 0, 100.0), call("aten::sort", 20, 10.0), mm(2, 100, 50.0)]
        launches = [launch(11, 10), launch(12, 25), launch(13, 100), launch(14, 150), launch(15, 151)]
        ran = [kernel(number, 200 + number, float(number), f"k{number}") for number in range(11, 16)]
        found = of(tmp_path, *calls, *launches, *ran)
        assert texts(found) == {"gemm m=1 n=32 k=128 batch=1": 23.0, "gemm m=2 n=32 k=128 batch=1": 27.0}
        assert reasons(found) == {"k15": "not launched by a recorded call"}

    def test_ranks_of_one_file_stay_apart(self, tmp_path: Path) -> None:
        """Ids that one rank alone has tell whose a GPU is; an id that two have tells nothing of the kernel."""
        first = [mm(1, 0), mm(2, 100), launch(1, 5), launch(2, 105), launch(3, 106), launch(4, 107)]
        second = [mm(3, 0, pid=2), mm(4, 100, pid=2), launch(4, 5, pid=2), launch(9, 105, pid=2), launch(8, 106, pid=2)]
        mine = [kernel(number, 200, float(number)) for number in (1, 2, 3, 4)]
        others = [kernel(number, 200, float(number), gpu=1) for number in (4, 9, 8)]
        devices = [{"id": 0, "name": "A"}, {"id": 1, "name": "B"}]
        found = of(tmp_path, *first, *second, *mine, *others, deviceProperties=devices)
        assert texts(found) == {
            "gemm m=1 n=32 k=128 batch=1": 1.0,
            "gemm m=2 n=32 k=128 batch=1": 5.0,
            "gemm m=4 n=32 k=128 batch=1": 17.0,
        }
        assert found.frame["device"].tolist() == ["A", "A", "B"]
        assert [(one.reason[:13], one.calls) for one in found.unmatched] == [("several ranks", 2)]

    def test_a_lost_launch_is_not_that_of_another_rank(self, tmp_path: Path) -> None:
        """Both ranks use the numbers 1 to 4; of the second's launches three are lost."""
        first = [mm(1, 0), *(launch(number, 5 + number) for number in (1, 2, 3, 4))]
        second = [mm(2, 0, pid=2), launch(4, 5, pid=2)]
        ran = [kernel(number, 200, 1.0, gpu=gpu) for number in (1, 2, 3, 4) for gpu in (0, 1)]
        assert of(tmp_path, *first, *second, *ran).frame.empty

    def test_a_rank_without_launches_makes_no_link_of_anothers(self, tmp_path: Path) -> None:
        calls = [mm(1, 0), launch(1, 5), mm(2, 0, pid=2)]
        found = of(tmp_path, *calls, kernel(1, 50, 1.0, gpu=1))
        assert "several ranks" in reasons(found)[GEMM_KERNEL]

    @pytest.mark.parametrize("name", ["cudaGraphLaunch", "cuGraphLaunch", "hipGraphLaunch"])
    def test_graphs_are_named_with_the_cure(self, tmp_path: Path, name: str) -> None:
        found = of(tmp_path, mm(1, 0), launch(1, 5, name), kernel(1, 50, 1.0))
        assert "profile the model without graphs" in reasons(found)[GEMM_KERNEL]
        found = of(tmp_path, mm(1, 0), launch(1, 5), kernel(1, 50, 1.0, **{"graph node id": 7}))
        assert "without graphs" in reasons(found)[GEMM_KERNEL]

    def test_two_launches_of_one_id_in_two_calls_tell_nothing(self, tmp_path: Path) -> None:
        found = of(tmp_path, mm(1, 0), mm(2, 100), launch(1, 5), launch(1, 105), kernel(1, 150, 1.0))
        assert reasons(found) == {GEMM_KERNEL: "several calls have its id"}
        found = of(tmp_path, mm(1, 0), launch(1, 5), launch(1, 6, "cuLaunchKernel"), kernel(1, 50, 1.0))
        assert texts(found) == {"gemm m=1 n=32 k=128 batch=1": 1.0}


class TestCopies:
    DENSE, PERMUTED = [[8, 1], [8, 1], []], [[8, 1], [1, 4], []]

    def copied(
        self, folder: Path, types: list[str], strides: Any, category: str = "kernel", name: str = "k"
    ) -> Imported:
        told = {"Input type": types, **({"Input Strides": strides} if strides else {})}
        ran = {**kernel(1, 50, 4.0, name), "cat": category}
        return of(folder, call("aten::copy_", 0, 20, [[4, 8], [4, 8], []], **told), launch(1, 5), ran)

    @pytest.mark.parametrize(
        ("types", "strides", "category", "name", "plain"),
        [
            (["float", "float"], DENSE, "gpu_memcpy", "Memcpy DtoD (Device -> Device)", True),
            (["float", "float"], None, "gpu_memcpy", "Memcpy DtoD (Device -> Device)", True),
            (["float", "float"], DENSE, "kernel", "copy", True),
            (["float", "float"], PERMUTED, "kernel", "copy", False),
            (["float", "float"], [[9, 1], [9, 1], []], "kernel", "copy", False),
            (["float", "float"], None, "kernel", "copy", False),
            (["float", "c10::BFloat16"], DENSE, "kernel", "copy", False),
            (["float", "float"], DENSE, "gpu_memcpy", "Memcpy HtoD (Pageable -> Device)", False),
            (["float", "float"], DENSE, "gpu_memcpy", "Memcpy DtoH (Device -> Pinned)", False),
        ],
    )
    def test_only_plain_copies_on_the_device_are_rows(
        self, tmp_path: Path, types: list[str], strides: Any, category: str, name: str, plain: bool
    ) -> None:
        found = self.copied(tmp_path, types, strides, category, name)
        assert texts(found) == ({"copy elements=32": 4.0} if plain else {})
        assert found.matched_us + found.unmatched_us == 4.0

    def test_a_copy_to_the_device_is_not_part_of_the_kernels_beside_it(self, tmp_path: Path) -> None:
        host = {**kernel(2, 60, 900.0, "Memcpy HtoD (Pinned -> Device)"), "cat": "gpu_memcpy"}
        found = of(tmp_path, mm(1, 0), launch(1, 5), launch(2, 6), kernel(1, 50, 1.0), host)
        assert texts(found) == {"gemm m=1 n=32 k=128 batch=1": 1.0}


class TestDamagedEvents:
    @pytest.mark.parametrize("dur", [None, "10", -3, 0, float("nan"), float("inf"), True, [], 10**400])
    def test_a_call_with_a_kernel_of_no_duration_is_no_row(self, tmp_path: Path, dur: Any) -> None:
        events = [mm(1, 0), launch(1, 5), launch(2, 6), kernel(1, 50, 7.0), kernel(2, 60, dur, "splitK")]
        found = of(tmp_path, *events)
        assert found.frame.empty
        assert {one.name: one.time_us for one in found.unmatched} == {GEMM_KERNEL: 7.0, "splitK": 0.0}

    def test_a_call_of_unknown_end_hides_those_around_it(self, tmp_path: Path) -> None:
        """Nobody knows whether the launch was in the call without an end, so it is of neither."""
        events = [mm(1, 0, 100.0), call("aten::sort", 10, None), launch(1, 60), kernel(1, 150, 7.0)]
        found = of(tmp_path, *events)
        assert reasons(found) == {GEMM_KERNEL: "aten::sort around it has no duration"}
        events = [mm(1, 0, 100.0), call("aten::sort", 10, None), launch(1, 101), kernel(1, 150, 7.0)]
        assert reasons(of(tmp_path, *events)) == {GEMM_KERNEL: "not launched by a recorded call"}

    def test_a_call_without_a_time_spoils_what_its_thread_has_around_launches(self, tmp_path: Path) -> None:
        lost = call("aten::sort", "10", 5)
        inner = [mm(1, 0, 100.0), call("aten::view", 10, 20.0), launch(1, 15), kernel(1, 150, 7.0)]
        assert texts(of(tmp_path, *inner)) == {"gemm m=1 n=32 k=128 batch=1": 7.0}
        found = of(tmp_path, *inner, lost)
        assert "no place in time" in reasons(found)[GEMM_KERNEL]
        assert "no time" in reasons(found)["aten::sort"]

    def test_other_arguments_than_there_should_be(self, tmp_path: Path) -> None:
        args: list[Any] = [{**mm(3, 300), "args": None}, {**mm(3, 400), "args": []}, {**mm(4, 500), "pid": []}]
        whole: list[Any] = [mm(1, 0), launch(1, 5), kernel(1, 50, 7.0)]
        found = of(tmp_path, *whole, *args, {"ph": "X"}, *[None, 5], deviceProperties=None)  # type: ignore[arg-type]
        assert texts(found) == {"gemm m=1 n=32 k=128 batch=1": 7.0}
        assert set(found.frame["device"]) == {"unknown GPU 0"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "Expecting value"),
            ('{"a": 1', "cut off"),
            ("[]", "other JSON"),
            ("", "an empty file"),
            ('{"traceEvents": []}', "expected cpu_op or kernel events"),
            ('{"traceEvents": 3}', "expected cpu_op or kernel events"),
            ('{"traceEvents": [{"ph": "X"', "expected a Chrome trace in JSON"),
            ('{"traceEvents": [] ]', "instead of one of"),
            ('{"traceEvents": []} x', "behind its end"),
            ('{"a": ' + "[" * 100_000, "nested too deeply"),
            ('{"a": ' + "1" * 5_000, "expected a Chrome trace in JSON"),
        ],
    )
    def test_other_files_are_refused(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(SimexploreError, match=message):
            import_profile("kineto", tmp_path / "x.json")

    @pytest.mark.parametrize("kept", [0.2, 0.7, 0.99])
    def test_a_cut_off_gzip_is_one_line(self, tmp_path: Path, kept: float) -> None:
        raw = gzip.compress((DATA / "kineto-cpu.json").read_bytes())
        (tmp_path / "x.json.gz").write_bytes(raw[: int(kept * len(raw))])
        with pytest.raises(SimexploreError, match="expected a Chrome trace in JSON"):
            import_profile("kineto", tmp_path / "x.json.gz")

    def test_what_unpacks_to_more_than_a_trace_could_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "x.json.gz").write_bytes(gzip.compress(b'{"traceEvents": [' + b" " * (1 << 27)))
        with pytest.raises(SimexploreError, match="which no trace of its size has"):
            import_profile("kineto", tmp_path / "x.json.gz")

    def test_a_value_across_the_windows_of_the_reader(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = import_profile("kineto", DATA / "kineto-cpu.json")
        monkeypatch.setattr("simexplore.kernels.profiles.kineto.chrome.CHUNK", 7)
        assert texts(import_profile("kineto", DATA / "kineto-cpu.json")) == texts(whole)


class TestWithoutKernels:
    def test_calls_on_a_machine_with_gpus_are_no_cpu_rows(self, tmp_path: Path) -> None:
        with pytest.raises(SimexploreError, match="no kernel: profile with"):
            of(tmp_path, mm(1, 0))
        with pytest.raises(SimexploreError, match="no kernel: profile with"):
            of(tmp_path, mm(1, 0), launch(1, 5), deviceProperties=[])
        assert set(of(tmp_path, mm(1, 0), deviceProperties=[]).frame["device"]) == {"CPU"}

    def test_times_of_calls_say_nothing_of_a_launch(self, tmp_path: Path) -> None:
        assert "launch" not in of(tmp_path, mm(1, 0), deviceProperties=[]).frame


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"Group size": 1}, "a group of one"),
        ({"dtype": "Long"}, "allreduce of Long is not modelled"),
        ({"Collective name": "broadcast"}, "broadcast of Float is not modelled"),
        ({"In msg nelems": None}, "does not tell its size"),
        ({"In msg nelems": 0}, "elements is not a positive integer"),
        ({"Group size": []}, "does not tell its size"),
    ],
)
def test_collectives_that_are_no_rows(tmp_path: Path, given: dict[str, Any], reason: str) -> None:
    nccl = {"Collective name": "allreduce", "In msg nelems": 1024, "Group size": 8, "dtype": "Float", **given}
    found = of(tmp_path, mm(1, 0), launch(1, 5), kernel(1, 50, 7.0, "nccl", **nccl))
    assert reason in reasons(found)["nccl"]
    assert found.unmatched_us == 7.0
