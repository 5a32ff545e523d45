"""CSV of Nsight Compute: its two pages, its locales, its damage."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imported import GEMM_KERNEL, SHARED, needs_shared, reasons, texts

from simexplore.errors import SimexploreError
from simexplore.kernels.profiles import import_profile
from simexplore.kernels.profiles.decimals import Evidence, decimal_of, number_in
from simexplore.kernels.profiles.tally import Imported

MM = "aten::mm, seq = 1, op_id = 7, sizes = [[64, 128], [128, 32]]"
FIXED = ("ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream", "Block Size", "Grid Size",
         "Device", "CC")  # fmt: skip
TIMED = (*FIXED, "gpu__time_duration.sum")
METRICS = (*FIXED, "Metric Name", "Metric Unit", "Metric Value")
RANGES = "thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg"


def row(number: int, kernel: str, *more: str) -> tuple[str, ...]:
    return (str(number), "123", "python", "127.0.0.1", kernel, "1", "7", "(128, 1, 1)", "(16, 4, 1)", "0", "9.0", *more)


def units(columns: tuple[str, ...], *last: str) -> tuple[str, ...]:
    return ("",) * (len(columns) - len(last)) + last


def of(folder: Path, *rows: tuple[str, ...], before: str = "", after: str = "", encoding: str = "utf-8") -> Imported:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    (folder / "profile.csv").write_text(before + text.getvalue() + after, encoding=encoding)
    return import_profile("ncu", folder / "profile.csv")


class TestPages:
    def test_raw(self, tmp_path: Path) -> None:
        header = (*FIXED, RANGES, "gpu__time_duration.sum")
        rows = [units(header, "usecond"), row(0, GEMM_KERNEL, MM, "1,234.5"), row(1, "mystery_kernel", "", "7.25")]
        found = of(tmp_path, header, *rows, before="==PROF== Connected to process 123 (python)\n")
        assert texts(found) == {"gemm m=64 n=32 k=128 batch=1": 1234.5}
        assert set(found.frame["device"]) == {"GPU 0 (cc 9.0)"}
        assert [(one.name, one.time_us) for one in found.unmatched] == [("mystery_kernel", 7.25)]

    def test_details(self, tmp_path: Path) -> None:
        header = (*FIXED, "Section Name", "Metric Name", "Metric Unit", "Metric Value")
        name, section = "gemm(m=8,n=8,k=64,dtype=fp16)", "GPU Speed Of Light Throughput"
        rows = [
            row(0, name, section, "SM Frequency", "Ghz", "1.7"),
            row(0, name, section, "Duration", "ns", "4,512"),
            row(0, name, "Another Section", "Duration", "ns", "4,512"),
            row(1, "mystery_kernel", section, "Duration", "ms", "2"),
        ]
        found = of(tmp_path, header, *rows)
        assert texts(found) == {"gemm m=8 n=8 k=64 batch=1": pytest.approx(4.512)}
        assert found.frame["calls"].tolist() == [1]
        assert found.unmatched[0].time_us == 2000.0

    def test_exports_in_one_file_are_all_read(self, tmp_path: Path) -> None:
        """Ids begin anew in each, and a page may follow the other."""
        name = "gemm(m=8,n=8,k=64,dtype=fp16)"
        raw = [TIMED, units(TIMED, "ns"), row(0, name, "1,512.5")]
        found = of(tmp_path, *raw, *raw, METRICS, row(0, name, "Duration", "us", "3.5"))
        assert found.frame["calls"].tolist() == [3]
        assert found.frame["time_us"].tolist() == [pytest.approx(1.5125)]

    def test_labels_of_a_domain_and_of_several_operators(self, tmp_path: Path) -> None:
        header = (*FIXED, RANGES, "gpu__time_duration.sum")
        cell = f"<default domain>:{MM}, input_op_ids = [(1,0)]:none:none:none:none:registered"
        both = "<default domain>:gemm(m=1,n=1,k=1):none;gemm(m=2,n=1,k=1):none"
        rows = [units(header, "us"), row(0, GEMM_KERNEL, cell, "1.5"), row(1, "other", both, "2.5")]
        found = of(tmp_path, header, *rows)
        assert texts(found) == {"gemm m=64 n=32 k=128 batch=1": 1.5}
        assert "several operators" in reasons(found)["other"]

    def test_rows_say_that_clocks_were_locked_and_caches_flushed(self, tmp_path: Path) -> None:
        found = of(tmp_path, TIMED, units(TIMED, "us"), row(0, "gemm(m=1,n=1,k=1)", "5"))
        assert found.frame[["launch", "clocks", "caches"]].values.tolist() == [["profiled", "base", "flushed"]]
        path = tmp_path / "profile.csv"
        found = import_profile("ncu", path, taken={"clocks": "boost"})
        assert found.frame[["launch", "clocks", "caches"]].values.tolist() == [["profiled", "boost", "flushed"]]

    def test_what_powershell_redirects_is_utf_16(self, tmp_path: Path) -> None:
        found = of(tmp_path, TIMED, units(TIMED, "us"), row(0, "gemm(m=1,n=1,k=1)", "5"), encoding="utf-16")
        assert len(found.frame) == 1


class TestDamage:
    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([("nothing",)], "run ncu with --csv"),
            ([FIXED, row(0, "k")], "expected a column gpu__time_duration.sum"),
            ([TIMED, units(TIMED, "byte"), row(0, "k", "5")], "a time such"),
            ([METRICS, row(0, "k", "Registers", "", "5")], "Duration"),
            ([("ID", "Name"), ("0", "k")], "expected a column Kernel Name"),
            ([TIMED, units(TIMED, "us"), row(0, "k")], r"csv:3: expected 12 cells as in the header, found 11"),
            ([TIMED, units(TIMED, "us"), row(0, "k", "5", "6")], r"expected 12 cells as in the header, found 13"),
            ([TIMED], "expected kernels"),
            ([TIMED, units(TIMED, "us")], "expected kernels"),
            ([TIMED, units(TIMED, "us"), row(0, "k" * 200_000, "5")], "field larger than field limit"),
        ],
    )
    def test_one_line(self, tmp_path: Path, rows: list[tuple[str, ...]], message: str) -> None:
        with pytest.raises(SimexploreError, match=message):
            of(tmp_path, *rows)

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_bytes(b'"ID","Kernel Name"\n\xff\xfe\xff')
        with pytest.raises(SimexploreError, match="UTF-8"):
            import_profile("ncu", tmp_path / "x.csv")

    def test_a_line_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("simexplore.kernels.profiles.ncu.LONGEST_LINE", 1 << 10)
        with pytest.raises(SimexploreError, match="a line of over"):
            of(tmp_path, TIMED, ("0",) * 5000)

    def test_what_programs_print_between_rows_is_told(self, tmp_path: Path) -> None:
        rows = [TIMED, units(TIMED, "us"), row(0, "gemm(m=1,n=1,k=1)", "5"), ("epoch 1",), row(1, "k", "7")]
        found = of(tmp_path, *rows, after="\n==PROF== Disconnected, from process 123\n")
        assert len(found.frame) == 1
        assert {one.name: one.calls for one in found.unmatched} == {"k": 1, "lines that are no rows": 1}

    @pytest.mark.parametrize("value", ["n/a", "", "nan", "inf", "-5", "0", "1e9", "1.2.3", "0x5"])
    def test_a_time_that_is_none_is_counted_and_no_row(self, tmp_path: Path, value: str) -> None:
        rows = [TIMED, units(TIMED, "us"), row(0, "gemm(m=1,n=1,k=1)", value), row(1, "gemm(m=2,n=1,k=1)", "7.5")]
        found = of(tmp_path, *rows)
        assert texts(found) == {"gemm m=2 n=1 k=1 batch=1": 7.5}
        assert [one.calls for one in found.unmatched] == [1]

    def test_a_hundred_thousand_columns(self, tmp_path: Path) -> None:
        header = (*FIXED, "gpu__time_duration.sum", *(f"metric{i}" for i in range(100_000)))
        values = ("1,234.5",) * 100_000
        rows = [("",) * len(FIXED) + ("us",) + ("byte",) * 100_000, row(0, "gemm(m=1,n=1,k=1)", "7.5", *values)]
        assert texts(of(tmp_path, header, *rows)) == {"gemm m=1 n=1 k=1 batch=1": 7.5}


class TestLocales:
    def times(self, folder: Path, *cells: str) -> list[float]:
        rows = [row(number, f"gemm(m={number + 1},n=1,k=1)", cell) for number, cell in enumerate(cells)]
        return of(folder, TIMED, units(TIMED, "us"), *rows).frame["time_us"].tolist()

    def test_the_whole_file_tells(self, tmp_path: Path) -> None:
        assert self.times(tmp_path, "1.117,44", "117,44", "23.456") == [1117.44, 117.44, 23456.0]
        assert self.times(tmp_path, "23,456", "117.44", "1,117.44") == [23456.0, 117.44, 1117.44]
        assert self.times(tmp_path, "23.456", "7,5") == [23456.0, 7.5]
        assert self.times(tmp_path, "23", "1") == [23.0, 1.0]

    def test_another_metric_may_tell(self, tmp_path: Path) -> None:
        header = (*FIXED, "gpu__time_duration.sum", "sm__cycles.avg")
        rows = [units(header, "us", "cycle"), row(0, "gemm(m=1,n=1,k=1)", "23.456", "1.234,5")]
        assert of(tmp_path, header, *rows).frame["time_us"].tolist() == [23456.0]

    @pytest.mark.parametrize("cells", [("23.456",), ("1,234", "5"), ("1.117,44", "1,117.44"), ("7,5", "7.5")])
    def test_what_can_not_be_told_is_refused(self, tmp_path: Path, cells: tuple[str, ...]) -> None:
        with pytest.raises(SimexploreError, match="expected numbers of one locale"):
            self.times(tmp_path, *cells)

    @needs_shared
    def test_the_shared_case(self) -> None:
        found = import_profile("ncu", SHARED / "ncu-decimal-comma.csv")
        assert found.frame["time_us"].tolist() == [1117.44, 117.44, pytest.approx(23.456)]

    @settings(deadline=None, max_examples=200)
    @given(
        numbers=st.lists(st.decimals(0, 10**7, places=2, allow_nan=False, allow_infinity=False), min_size=1),
        style=st.sampled_from([",.", ".,", " ,", "’.", "\u202f,"]),
    )
    def test_numbers_of_any_locale_are_read_as_they_were_written(self, numbers: list[object], style: str) -> None:
        """Two decimals in each: a mark with two digits behind it can only be the decimal's."""
        group, mark = style
        written = [f"{number:,.2f}".translate(str.maketrans(",.", group + mark)) for number in numbers]
        seen = Evidence()
        for text in written:
            seen.see(text)
        decimal = seen.decimal()
        assert decimal == mark
        assert [number_in(text, mark) for text in written] == [pytest.approx(float(str(number))) for number in numbers]

    @settings(deadline=None)
    @given(st.text("0123456789.,' -+e", max_size=12))
    def test_no_text_is_more_than_it_says(self, text: str) -> None:
        """A text that shows one mark reads as no number with the other, or as a whole one of groups."""
        shown = decimal_of(text)
        assert shown in (".", ",", "?", "")
        for mark in (".", ","):
            value = number_in(text, mark)  # type: ignore[arg-type]
            if value is not None and shown in (".", ",") and shown != mark:
                assert value == int(value)
