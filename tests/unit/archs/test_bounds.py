"""Arch files of any size and any web of `extends`: loaded, or one line, in bounded time and memory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.archs.load import MOST_FILE_BYTES, MOST_GENERATIONS, load_arch
from simexplore.errors import SimexploreError

LEAF = "nvidia/t4"


def told(path: Path) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(SimexploreError) as caught:
        load_arch(path)
    line = str(caught.value)
    assert line.isprintable()
    assert line.startswith(str(path.parent))
    return line


def web(folder: Path, extends: dict[str, list[str]]) -> Path:
    """Files by name with what each extends; the first of them."""
    for name, parents in extends.items():
        (folder / f"{name}.yaml").write_text(f"extends: [{', '.join(parents)}]\n", encoding="utf-8")
    return folder / f"{next(iter(extends))}.yaml"


def test_a_chain_of_ten_thousand(tmp_path: Path) -> None:
    chain = {f"c{i}": [f"c{i + 1}.yaml"] for i in range(10_000)}
    assert f"at most {MOST_GENERATIONS} files that extend each other" in told(
        web(tmp_path, {**chain, "c10000": [LEAF]})
    )
    assert load_arch(tmp_path / "c9980.yaml").sm.count == load_arch(LEAF).sm.count


def test_a_diamond_of_many_levels_is_merged_once_a_file(tmp_path: Path) -> None:
    levels = {f"d{i}": [f"d{i + 1}.yaml"] * 2 for i in range(24)}
    assert load_arch(web(tmp_path, {**levels, "d24": [LEAF]})).sm.count == load_arch(LEAF).sm.count


def test_a_wide_web_of_large_files_is_refused(tmp_path: Path) -> None:
    keys = "".join(f"  l2.k{i}: somewhere\n" for i in range(2000))
    (tmp_path / "large.yaml").write_text(f"extends: {LEAF}\nsources:\n{keys}", encoding="utf-8")
    assert "found more" in told(web(tmp_path, {"wide": ["large.yaml"] * 5000}))


@pytest.mark.parametrize("line", ["k{}: 1\n", "k{}: {{}}\n", "? [{}]\n: 1\n", "- {}\n"], ids=str.strip)
def test_megabytes_of_keys(line: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    text = "".join(line.format(i) for i in range(100_000))
    path.write_text(text if line.startswith("-") else f"extends: {LEAF}\n{text}", encoding="utf-8")
    begin = time.process_time()
    told(path)
    assert time.process_time() - begin < 60.0
    path.write_bytes(b"#" * (MOST_FILE_BYTES + 1))
    assert told(path) == f"{path}:1: expected a readable file, found: more than 16 MiB"


ODD: dict[str, Callable[[Path], object]] = {
    "device": lambda path: path.symlink_to("/dev/zero"),
    "pipe": lambda path: os.mkfifo(path),
    "folder": lambda path: path.mkdir(),
    "itself": lambda path: path.symlink_to(path),
    "nowhere": lambda path: path.symlink_to(path.with_name("absent")),
}


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes among files")
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_ordinary_file(kind: str, tmp_path: Path) -> None:
    ODD[kind](tmp_path / "odd.yaml")
    assert "expected a readable file, found: " in told(tmp_path / "odd.yaml")
    assert "expected a" in told(web(tmp_path, {"child": ["odd.yaml"]}))


@settings(max_examples=40)
@given(st.lists(st.lists(st.integers(0, 14), min_size=1, max_size=6), min_size=15, max_size=15), st.booleans())
def test_any_web_loads_or_is_one_line(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[list[int]], forwards: bool
) -> None:
    """Files that extend any others, backwards and themselves too; who only leads forwards loads."""
    edges = {i: {j for j in ends if j > i or not forwards} for i, ends in enumerate(drawn)}
    files = {f"f{i}": [LEAF, *(f"f{j}.yaml" for j in ends)] for i, ends in edges.items()}
    first = web(tmp_path_factory.mktemp("web"), files)
    leads = dict(edges)
    for _ in edges:
        leads = {i: ends.union(*(leads[j] for j in ends)) for i, ends in leads.items()}
    if any(i in leads[i] for i in {0} | leads[0]):
        assert "does not lead back here" in told(first)
    else:
        assert load_arch(first).sm.count == load_arch(LEAF).sm.count
