"""`simexplore report`, and `simexplore compare --report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from click.testing import Result
from reports import make_store


def test_a_sweep_as_a_page(command: Callable[..., Result], tmp_path: Path) -> None:
    make_store(tmp_path / "out", 40).close()
    result = command("report", tmp_path / "out", "-o", tmp_path / "page.html")
    assert result.exit_code == 0
    assert result.stderr == f"simexplore: report written to {tmp_path / 'page.html'}: open it in a browser\n"
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    command("report", tmp_path / "out")
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_comparison_as_a_page(command: Callable[..., Result], tmp_path: Path) -> None:
    rows = "source,device,op,dtype,m,n,k,time_us\nmine,NVIDIA H200,gemm,bf16,512,4096,4096,30\n"
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    page = tmp_path / "page.html"
    arguments = ("--measured", tmp_path / "rows.csv", "--set", "l2.capacity=40 MiB", "--report", page)
    result = command("compare", "--arch", "nvidia/h200-sxm", *arguments)
    assert "1 rows" in result.stdout
    html = page.read_text(encoding="utf-8")
    assert "<dt>l2.capacity</dt><dd>40 MiB</dd>" in html
    assert "gemm(m=512,n=4096,k=4096,dtype=bf16)" in html


def test_mistakes(fails: Callable[..., str], tmp_path: Path) -> None:
    assert "found no sweep.sqlite" in fails("report", tmp_path)
    make_store(tmp_path / "out", 40).close()
    line = fails("report", tmp_path / "out", "-o", tmp_path / "absent" / "page.html")
    assert "page.html: the report can't be written: No such file or directory" in line
