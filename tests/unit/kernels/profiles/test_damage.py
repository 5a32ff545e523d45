"""Damaged profiles, drawn by seed: rows that are right, or one line, in bounded time and memory.

`tools/fuzz_profiles.py` draws ten thousand.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random
from time import perf_counter

import profile_cases
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.cli.main import main
from simexplore.errors import SimexploreError
from simexplore.kernels.profiles import READERS, import_profile

DATA = Path(__file__).resolve().parents[3] / "data"
KINDS = tuple(profile_cases.DAMAGED)
CASES = 67
"""Of each kind: two hundred and one together."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(4))
def test_rows_of_damaged_profiles_are_right(tmp_path: Path, kind: str, part: int) -> None:
    for seed in range(part * CASES // 4, (part + 1) * CASES // 4):
        path = tmp_path / f"{seed}.{kind}"
        profile_cases.DAMAGED[kind](Random(seed), path)
        begun = perf_counter()
        profile_cases.assert_links(profile_cases.checked(kind, path))
        assert perf_counter() - begun < 10.0


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_were_damaged_are_no_traceback(tmp_path: Path, kind: str) -> None:
    for seed in range(CASES):
        path = tmp_path / f"{seed}.{kind}"
        profile_cases.DAMAGED[kind](Random(seed), path)
        profile_cases.damaged_bytes(Random(seed), path)
        profile_cases.checked(kind, path)


def test_a_real_trace_that_was_damaged(tmp_path: Path) -> None:
    for seed in range(40):
        path = tmp_path / "trace.json"
        path.write_bytes((DATA / "kineto-cpu.json").read_bytes())
        profile_cases.damaged_bytes(Random(seed), path)
        profile_cases.checked("kineto", path)


@pytest.mark.parametrize("kind", KINDS)
def test_undamaged_profiles_are_whole(tmp_path: Path, kind: str) -> None:
    """The drawn profiles are profiles: every call of one is a row."""
    for seed in range(8):
        path, draw = tmp_path / f"{seed}.{kind}", Random(seed)
        if kind == "kineto":
            profile_cases.write_trace(draw, profile_cases.trace(draw), path)
        elif kind == "nsys":
            profile_cases.export(draw, path)
        else:
            profile_cases.write_report(profile_cases.report(draw), path)
        found = import_profile(kind, path)
        profile_cases.assert_links(found)
        assert len(found.frame) >= 6


@settings(deadline=None, max_examples=150)
@given(kind=st.sampled_from(sorted(READERS)), content=st.binary(max_size=300), begun=st.booleans())
def test_any_bytes_are_one_line(
    tmp_path_factory: pytest.TempPathFactory, kind: str, content: bytes, begun: bool
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "x"
    head = {"kineto": b'{"traceEvents": [', "nsys": b"SQLite format 3\0", "ncu": b'"ID","Kernel Name","Duration"\n'}
    path.write_bytes(head[kind] + content if begun else content)
    with suppress(SimexploreError):
        import_profile(kind, path)


def test_the_command_exits_with_two_and_one_line(tmp_path: Path) -> None:
    """What gives no row is one line on stderr and no file."""
    output = tmp_path / "rows.csv"
    for seed in range(60):
        kind = KINDS[seed % 3]
        path = tmp_path / f"{seed}.{kind}"
        profile_cases.DAMAGED[kind](Random(seed), path)
        profile_cases.damaged_bytes(Random(seed), path)
        done = CliRunner().invoke(main, ["import", kind, str(path), "-o", str(output)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        if done.exit_code:
            assert done.exit_code == 2
            assert done.stderr.count("\n") == 1
            assert not output.exists()
        output.unlink(missing_ok=True)
