"""How sweeps are printed, stopped, moved and kept, whatever the terminal, the disk and the file's words."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import COLUMNS, make_store, metadata
from sweeps import GEMM, SMALL, heed_ctrl_c, write

from simexplore.cli.console import escaped
from simexplore.cli.output import print_json
from simexplore.sim.explore import sampler
from simexplore.sim.explore.spec.file import Options, read_spec
from simexplore.sim.explore.storage.header import Header
from simexplore.sim.explore.store import Chunk, Store
from simexplore.sim.explore.study import Sweep
from simexplore.sim.explore.table import Column
from simexplore.sim.keeping import environment

ONE = ("--jobs", "1")
CALL = "from simexplore.cli.main import main; main()"
TWO_CONSTRAINTS = ("  - area_mm2 <= 800 mm2\n", "  - area_mm2 <= 800 mm2\n  - sm.count  >= 100\n")


def run(*arguments: object, **changes: object) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    command = [sys.executable, "-c", CALL, *(str(argument) for argument in arguments)]
    options: dict[str, object] = {"capture_output": True, "timeout": 120, **changes}
    return subprocess.run(command, check=False, **options)  # type: ignore[call-overload,no-any-return]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small sweep and its store in `out`, finished."""
    folder = tmp_path_factory.mktemp("done")
    Sweep(read_spec(write(folder, SMALL, TWO_CONSTRAINTS))).fill(folder / "out")
    return folder


def test_constraints_are_named(command: Callable[..., Result], done: Path) -> None:
    shown = command("pareto", done / "out").stdout
    said = "small: 24 points, 12 of them against a constraint (4 area_mm2 <= 800 mm2, 8 sm.count >= 100)\n"
    assert shown.startswith(said)
    with Store.open(done / "out") as store:
        table = store.results()
    broken = ~table["meets area_mm2 <= 800 mm2"] | ~table["meets sm.count >= 100"]
    assert list(table["feasible"]) == list(~broken)


def test_a_hypervolume_has_a_unit_and_a_reference(command: Callable[..., Result], done: Path) -> None:
    line = command("pareto", done / "out", "--objectives", "time_s,tokens_per_s").stdout.splitlines()[-1]
    assert line.startswith("hypervolume ")
    assert " in s × 1/s, to the reference time_s = " in line
    with Store.open(done / "out") as store:
        table = store.results()
    feasible = table[table["feasible"]]
    worst = feasible["tokens_per_s"].min()
    margin = 0.01 * (feasible["tokens_per_s"].max() - worst)
    assert f"tokens_per_s = {worst - margin:.6g} 1/s" in line


def test_objectives_are_finite_or_the_point_fails(command: Callable[..., Result], tmp_path: Path) -> None:
    path = write(tmp_path, SMALL.replace("area_mm2: 294 mm2 +", "area_mm2: 294 mm2 * log2(sm.count - 96) +"))
    shown = command("sweep", path, "-o", tmp_path / "out", *ONE).stdout
    assert "8 points failed (1 causes); the first: expected a finite area_mm2, found -inf" in shown
    assert command("pareto", tmp_path / "out", "--json").exit_code == 0


HOSTILE = st.text(min_size=1, max_size=12) | st.sampled_from(
    [
        "=cmd|'/C calc'!A0",
        "+1",
        "-1+1",
        "@SUM(1)",
        "\x1b[31mred",
        "\x9b31m",
        "a\u202eb",
        "\r\n=1",
        "\t=1",
        "\x07",
        "'=1",
    ]
)


@settings(max_examples=60, deadline=None)
@given(words=st.lists(HOSTILE, min_size=2, max_size=3, unique=True), name=HOSTILE)
def test_no_word_of_a_sweep_is_obeyed(tmp_path_factory: pytest.TempPathFactory, words: list[str], name: str) -> None:
    """By a terminal that prints it, or a spreadsheet that opens the export."""
    folder = tmp_path_factory.mktemp("hostile")
    columns = tuple(
        replace(column, words=tuple(words)) if column.kind == "text" and column.role == "axis" else column
        for column in COLUMNS
    )
    values = np.ones((len(columns), len(words)))
    values[[column.name for column in columns].index("workload.dtype")] = np.arange(len(words))
    header = Header({}, "", columns, len(words), {**metadata(), "name": name})
    with Store.create(folder, header) as store:
        store.add(Chunk(0, values, {}))
        store.export(folder / "table.csv")
    shown = run_in_process("pareto", str(folder))
    assert all(line.isprintable() for line in shown.split("\n")), shown
    read = pd.read_csv(folder / "table.csv", keep_default_na=False)
    cells = [*read.columns, *read["workload.dtype"].astype(str)]
    assert not any(str(cell).startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells), cells
    assert all(str(cell).isprintable() for cell in cells)


def run_in_process(*arguments: str) -> str:
    from click.testing import CliRunner

    from simexplore.cli.main import main

    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_errors_are_not_obeyed_either(fails: Callable[..., str], tmp_path: Path) -> None:
    assert fails("pareto", "\x1b[31m\x9b").rstrip("\n").isprintable()
    make_store(tmp_path, 0).close()
    with Store.create(tmp_path / "new", Header({}, "", COLUMNS, 1, metadata())) as store:
        store.add(Chunk(0, np.full((len(COLUMNS), 1), np.nan), {0: "\x1b[31mred"}))
    assert fails("pareto", tmp_path / "new").rstrip("\n").isprintable()


@given(text=st.text())
def test_plain_text_is_printable(text: str) -> None:
    assert all(line.isprintable() for line in escaped(text).split("\n"))


@given(text=st.text())
def test_json_is_not_obeyed(text: str) -> None:
    import json

    from click.testing import CliRunner

    with CliRunner().isolation() as (out, *_):
        print_json({text: text})
        written = out.getvalue().decode("utf-8", "surrogatepass")
    assert "\x9b" not in written
    assert "\u202e" not in written
    if text.isprintable():
        assert json.loads(written) == {text: text}


def test_a_terminal_of_another_encoding(done: Path) -> None:
    for encoding in ("latin-1", "ascii", "cp1252"):
        environment_of_it = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        found = run("pareto", done / "out", env=environment_of_it)
        assert (found.returncode, found.stderr) == (0, b"")
        assert b"hypervolume" in found.stdout


def test_an_output_that_is_closed_or_full(done: Path) -> None:
    closed = run("pareto", done / "out", preexec_fn=lambda: os.close(1), capture_output=False, stderr=subprocess.PIPE)
    assert (closed.returncode, closed.stderr) == (0, b"")
    with open("/dev/full", "wb") as full:
        for options in ((), ("--json", "--all")):
            found = run("pareto", done / "out", *options, capture_output=False, stdout=full, stderr=subprocess.PIPE)
            assert found.returncode == 2
            assert found.stderr.startswith(b"simexplore: ")
            assert found.stderr.endswith(b": No space left on device\n")
            assert found.stderr.count(b"\n") == 1


def test_a_reader_that_has_had_enough(tmp_path: Path) -> None:
    path = write(tmp_path, GEMM.format(steps=20))
    arguments = [sys.executable, "-c", CALL, "sweep", str(path), "-o", str(tmp_path), "--jobs", "1", "--json"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"{")
    process.stdout.close()
    said = process.stderr.read()
    process.wait()
    assert b"Traceback" not in said


@pytest.mark.parametrize("seed", range(6))
def test_ctrl_c_at_any_moment_of_the_start(tmp_path: Path, seed: int) -> None:
    """Before there is a store too; the only lines are those of the command."""
    path = write(tmp_path, GEMM.format(steps=60))
    ready = "import sys; from simexplore.cli.main import main; print('ready', file=sys.stderr, flush=True); main()"
    arguments = [sys.executable, "-c", ready, "sweep", str(path), "-o", str(tmp_path / "out"), "--jobs", "2"]
    process = subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    time.sleep(0.02 + 0.3 * seed)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.startswith(("simexplore: stopped", "simexplore: interrupted")), said
    assert said.count("\n") == 1


def test_a_moved_folder_goes_on(command: Callable[..., Result], tmp_path: Path) -> None:
    """The sweep's file, those it reads, and its store, all in one folder, half done."""
    here, there = tmp_path / "here", tmp_path / "elsewhere" / "there"
    here.mkdir()
    (here / "mine.yaml").write_text("extends: nvidia/h200-sxm\n")
    (here / "work.yaml").write_text("- gemm(m=1024,n=4096,k=4096)\n")
    text = (
        GEMM.format(steps=8).replace("nvidia/h200-sxm", "mine.yaml").replace("gemm(m=1024,n=4096,k=4096)", "work.yaml")
    )
    path = write(here, text)
    sweep = Sweep(read_spec(path))
    expected = sweep.run()

    class EnoughError(Exception):
        pass

    class Stop:
        def begin(self, store: Store, done: int) -> None:
            """Nothing yet."""

        def chunk(self, chunk: Chunk) -> None:
            raise EnoughError

    with contextlib.suppress(EnoughError):
        sweep.fill(here / "out", listener=Stop())
    there.parent.mkdir()
    shutil.move(here, there)
    moved = (there / "sweep.yaml").rename(there / "renamed.yaml")
    assert "goes on with 64 of 896 points done" in command("sweep", moved, "-o", there / "out", *ONE).stderr
    with Store.open(there / "out") as store:
        pd.testing.assert_frame_equal(store.results(), expected)


def test_an_edited_workload_is_another_sweep(
    command: Callable[..., Result], fails: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "work.yaml").write_text("- gemm(m=1024,n=4096,k=4096)\n")
    path = write(tmp_path, GEMM.format(steps=2).replace("gemm(m=1024,n=4096,k=4096)", "work.yaml"))
    command("sweep", path, "-o", tmp_path / "out", *ONE)
    (tmp_path / "work.yaml").write_text("- gemm(m=2048,n=4096,k=4096)\n")
    assert "holds another sweep (its workloads were others)" in fails("sweep", path, "-o", tmp_path / "out", *ONE)


@pytest.mark.parametrize(("kind", "library"), [("nsga2", "optuna"), ("sobol", "scipy")])
def test_another_version_of_the_samplers_library_is_another_sweep(
    command: Callable[..., Result],
    fails: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    library: str,
) -> None:
    pytest.importorskip(library)
    assert sampler.LIBRARIES[kind] == (library,)
    arguments = ("sweep", write(tmp_path), "-o", tmp_path / "out", *ONE, "--sampler", kind, "--budget", "12")
    command(*arguments)
    real = environment.version
    monkeypatch.setattr(environment, "version", lambda name: "99" if name == library else real(name))
    assert f"its version of {library} was {real(library)}, and is 99 now" in fails(*arguments)


def test_a_grid_depends_on_no_samplers_library(tmp_path: Path) -> None:
    versions = Sweep(read_spec(write(tmp_path))).header.metadata["versions"]
    assert set(versions) == {"simexplore", "code", "python", "numpy"}
    found = Sweep(read_spec(write(tmp_path), Options(sampler="random", budget=10))).header.metadata["versions"]
    assert found == versions


def test_a_column_of_a_role_that_is_new(tmp_path: Path) -> None:
    """Constraints have columns of their own, which say so."""
    spec = read_spec(write(tmp_path))
    assert Column("meets area_mm2 <= 800 mm2", "constraint", "1", "bool") in spec.problem.columns
