"""Sweeps' folders on media that are read-only, full or damaged, and exports that are torn."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from reports import make_store
from sweeps import GEMM, SMALL, write

from simexplore.sim.explore.evaluation import executor as executors
from simexplore.sim.explore.spec.file import read_spec
from simexplore.sim.explore.store import FILE, Store
from simexplore.sim.explore.study import Sweep

ONE = ("--jobs", "1")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small sweep and its store in `out`, finished."""
    folder = tmp_path_factory.mktemp("done")
    Sweep(read_spec(write(folder, SMALL))).fill(folder / "out")
    return folder


@pytest.fixture
def media(tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """A folder `out` with a store, and how to make it a place where nothing can be written."""
    folder = tmp_path / "media"
    folder.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True).returncode == 0
    )
    if not mounted and os.geteuid() == 0:
        pytest.skip("root can write everywhere, and may mount nothing here")

    def close() -> Path:
        if mounted:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        else:
            for path in (folder / "out", folder):
                path.chmod(0o555)
        return folder / "out"

    yield close
    if mounted:
        subprocess.run(["umount", "-l", folder], check=True)
    else:
        for path in (folder, folder / "out"):
            path.chmod(0o755)


def test_a_finished_sweep_on_a_medium_that_is_only_read(
    command: Callable[..., Result], fails: Callable[..., str], tmp_path: Path, media: Callable[[], Path], done: Path
) -> None:
    pytest.importorskip("plotly")
    shutil.copytree(done / "out", tmp_path / "media" / "out")
    (tmp_path / "media" / "out" / "sweep.lock").unlink()
    out = media()
    assert command("pareto", out).stdout == command("pareto", done / "out").stdout
    result = command("sweep", done / "sweep.yaml", "-o", out, *ONE, "--export", tmp_path / "table.csv")
    assert result.exit_code == 0
    assert "nothing can be written to" in result.stderr
    assert f"report  simexplore report {out} -o FILE" in result.stdout
    assert len(pd.read_csv(tmp_path / "table.csv")) == 24
    assert command("report", out, "-o", tmp_path / "page.html").exit_code == 0
    assert "the report can't be written" in fails("report", out)


def test_an_unfinished_sweep_on_such_a_medium(
    command: Callable[..., Result], fails: Callable[..., str], tmp_path: Path, media: Callable[[], Path]
) -> None:
    """Killed, its points still in SQLite's log: they can be read, and nothing is left behind elsewhere."""
    live = make_store(tmp_path / "live", 40)
    (tmp_path / "media" / "out").mkdir()
    for name in (FILE, f"{FILE}-wal"):
        shutil.copy(tmp_path / "live" / name, tmp_path / "media" / "out" / name)
    live.close()
    out = media()
    with Store.open(out) as store:
        assert store.count() == 40
    assert "expected a folder to write to" in fails("sweep", write(tmp_path), "-o", out, *ONE)


def test_a_disk_that_is_full(tmp_path: Path, command: Callable[..., Result], fails: Callable[..., str]) -> None:
    """At whatever it comes to write; what is stored is kept, and with room the same command ends it."""
    pytest.importorskip("pyarrow")
    path = write(tmp_path, GEMM.format(steps=8))
    command("sweep", path, "-o", tmp_path / "whole", *ONE)
    small = tmp_path / "small"
    small.mkdir()
    for kib in (8, 32, 100, 200):
        mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(small)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
        try:
            assert str(small) in fails("sweep", path, "-o", small / "out", *ONE)
            subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
            command("sweep", path, "-o", small / "out", *ONE)
            tables = [folder / "results.parquet" for folder in (small / "out", tmp_path / "whole")]
            assert tables[0].read_bytes() == tables[1].read_bytes()
            assert not list((small / "out").glob(".*")), "nothing is left beside the table"
        finally:
            subprocess.run(["umount", "-l", str(small)], check=True)


def test_exports_take_their_place_when_they_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with make_store(tmp_path, 40) as store:
        target = tmp_path / "table.csv"
        store.export(target)
        before = target.read_bytes()

        def torn(self: pd.DataFrame, file: Path, **_: object) -> None:
            Path(file).write_text("half a ta")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(pd.DataFrame, "to_csv", torn)
        with pytest.raises(Exception, match="the table can't be written: No space left on device"):
            store.export(target)
        assert target.read_bytes() == before
        monkeypatch.undo()
        (tmp_path / "link.csv").symlink_to(target)
        target.unlink()
        store.export(tmp_path / "link.csv")
        assert (tmp_path / "link.csv").is_symlink()
        assert target.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "sweep.lock", FILE, "table.csv"]


def test_damaged_stores_are_one_line_of_every_command(fails: Callable[..., str], done: Path, tmp_path: Path) -> None:
    data = bytearray((done / "out" / FILE).read_bytes())
    data[len(data) // 2 :: 4096] = b"x" * len(data[len(data) // 2 :: 4096])
    for size, said in (
        (len(data), "found a damaged one"),
        (5000, "found a damaged one"),
        (0, "found no sweep in it yet"),
    ):
        (tmp_path / FILE).write_bytes(data[:size])
        assert said in fails("pareto", tmp_path)
        assert said in fails("report", tmp_path)
        if size:
            assert said in fails("sweep", done / "sweep.yaml", "-o", tmp_path, *ONE)


def test_a_system_that_has_no_room_for_workers(
    fails: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(executors, "_Processes", no_room)
    said = fails("sweep", write(tmp_path), "-o", tmp_path / "out", "--jobs", "2")
    assert said == "simexplore: workers can't be started: Too many open files\n"
