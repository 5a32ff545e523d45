"""Reading machines: strict YAML, inheritance, names, and where each key came from."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simexplore.archs import load
from simexplore.archs.load import list_archs, load_arch, read_document, resolve, resolved
from simexplore.archs.merge import leaf_paths
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.units import nearest
from simexplore.errors import SimexploreError

DOCS = Path(__file__).resolve().parents[3] / "docs" / "arch-files.md"


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_plain_scalars_are_what_they_look_like(tmp_path: Path) -> None:
    document = read_document(
        _write(
            tmp_path / "x.yaml",
            "a: 1\nb: -1.5\nc: 1e9\nd: 12:30\ne: yes\nf: true\ng: ~\nh: '1'\ni: 0x10\nj: 010\nk: 1_0\nl: .inf\n"
            "m: 2026-01-01\nn: =\no: 0\np: on\nq:\nr: 1.5e-3\n",
        )
    )
    assert document.data == {
        "a": 1, "b": -1.5, "c": 1e9, "d": "12:30", "e": "yes", "f": True, "g": None, "h": "1", "i": "0x10", "j": "010",
        "k": "1_0", "l": ".inf", "m": "2026-01-01", "n": "=", "o": 0, "p": "on", "q": None, "r": 0.0015,
    }  # fmt: skip
    assert type(document.data["c"]) is float
    assert type(document.data["a"]) is int


def test_lines_are_those_of_keys_and_entries(tmp_path: Path) -> None:
    document = read_document(_write(tmp_path / "x.yaml", "# head\na:\n  b: 1\n  c:\n  - x\n  - y: 2\n"))
    assert document.data == {"a": {"b": 1, "c": ["x", {"y": 2}]}}
    assert [document.line(path) for path in [("a",), ("a", "b"), ("a", "c", 1), ("a", "c", 1, "y")]] == [2, 3, 6, 6]
    assert document.line(("a", "b", "nowhere")) == 3
    assert document.line(("nowhere",)) == document.line(())


def test_a_list_is_a_document_too(tmp_path: Path) -> None:
    assert read_document(_write(tmp_path / "x.yaml", "- 1\n- a: b\n")).data == [1, {"a": "b"}]


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_document(path).data == {"a": 1, "b": 2}


def test_the_slower_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = resolved("nvidia/h200-sxm")
    monkeypatch.setattr(load, "_PARSER", yaml.SafeLoader)
    assert resolved("nvidia/h200-sxm") == fast


def test_a_child_overrides_by_key_and_replaces_lists(tmp_path: Path) -> None:
    _write(tmp_path / "parent.yaml", "a: {x: 1, y: 2}\nl: [1, 2]\ngone: 1\nkept: 1\nabstract: true\n")
    child = _write(tmp_path / "child.yaml", "extends: parent.yaml\na: {y: 3, z: 4}\nl: [9]\ngone: null\n")
    layer = resolve(child)
    assert layer.data == {"a": {"x": 1, "y": 3, "z": 4}, "l": [9], "kept": 1}
    parent = tmp_path / "parent.yaml"
    assert layer.place(("a", "x")) == f"{parent}:1"
    assert layer.place(("a", "y")) == f"{child}:2"
    assert layer.place(("l", 0)) == f"{child}:3"
    assert layer.place(("l", 1)) == f"{child}:3"
    assert layer.place(("gone",)) == f"{child}:4"
    assert layer.place(("kept",)) == f"{parent}:4"


def test_extends_takes_names_families_and_paths_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    _write(tmp_path / "top.yaml", "extends: nvidia/h200-sxm\nname: Top\n")
    inner = _write(tmp_path / "inner" / "x.yaml", "extends: ../top.yaml\nl2: {capacity: 1 MiB}\n")
    gpu = load_arch(inner)
    assert (gpu.name, gpu.l2.capacity_bytes) == ("Top", 1024**2)
    assert gpu.dram == load_arch("nvidia/h200-sxm").dram
    family = resolve(_write(tmp_path / "y.yaml", "extends: nvidia/hopper\n"))
    assert family.data["generation"] == "hopper"


def test_by_name_and_by_path() -> None:
    path = load.arch_path("nvidia/h200-sxm")
    assert load_arch(path) == load_arch(str(path)) == load_arch("nvidia/h200-sxm")


@pytest.mark.parametrize(
    ("name", "near"),
    [("nvidia/h200", "nvidia/h200-sxm"), ("h200-sxm", "nvidia/h200-sxm"), ("nvidia/rtx4090", "nvidia/rtx-4090"),
     ("NVIDIA/H200-SXM", "nvidia/h200-sxm"), ("H100-SXM", "nvidia/h100-sxm"), ("AMD/mi300", "amd/mi300x")],
)  # fmt: skip
def test_unknown_names_suggest_the_nearest(name: str, near: str) -> None:
    with pytest.raises(SimexploreError) as caught:
        load_arch(name)
    assert f"found '{name}' (did you mean '{near}'?)" in str(caught.value)


@pytest.mark.parametrize("name", ["", "nvidia", "../../etc/passwd", "x\ny"])
def test_no_name_at_all(name: str) -> None:
    with pytest.raises(SimexploreError) as caught:
        load_arch(name)
    assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=200)
@given(st.sampled_from(list_archs()), st.data())
def test_any_case_and_one_slip_find_the_machine(name: str, data: st.DataObject) -> None:
    """Letters in any case, and a character lost or doubled."""
    cased = "".join(data.draw(st.sampled_from((char.lower(), char.upper()))) for char in name)
    assert f"(did you mean {name!r}?)" in nearest(cased, list_archs())
    at = data.draw(st.integers(0, len(name) - 1))
    slipped = data.draw(st.sampled_from((name[:at] + name[at + 1 :], name[:at] + name[at] + name[at:])))
    assert "did you mean" in nearest(slipped, list_archs())


def test_a_folder_or_another_file_is_told_as_that(tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(SimexploreError) as caught:
            load_arch(str(path))
        return str(caught.value)

    assert told(tmp_path).endswith(f"found the folder {str(tmp_path)!r} without any .yaml file in it")
    inside = _write(tmp_path / "mine.yaml", "extends: nvidia/t4\n")
    assert told(tmp_path).endswith(f"found the folder {str(tmp_path)!r} (did you mean {str(inside)!r}?)")
    other = _write(tmp_path / "mine.txt", "extends: nvidia/t4\n")
    assert told(other).endswith(f"found the file {str(other)!r}, whose name does not end in .yaml")


def test_families_are_not_machines() -> None:
    with pytest.raises(SimexploreError, match=r"family\.yaml:\d+: abstract: expected a machine, found a family"):
        load_arch("nvidia/hopper")
    assert "nvidia/hopper" not in list_archs()


def test_a_machine_is_frozen_and_goes_to_other_processes() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    with pytest.raises(ValidationError):
        gpu.name = "x"
    assert pickle.loads(pickle.dumps(gpu)) == gpu


def test_the_citation_of_a_key_is_that_of_its_longest_prefix() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    assert gpu.source_of("l2.bandwidth") == gpu.sources["l2.bandwidth"]
    assert gpu.source_of("sm.max_warps") == gpu.sources["sm"]
    assert gpu.source_of("nonsense.key") is None


def test_unsupported_dtypes_are_named() -> None:
    gpu = load_arch("nvidia/v100-sxm")
    with pytest.raises(SimexploreError, match=r"V100 .* has no tensor rate for bf16; expected one of fp16"):
        gpu.tensor_peak_ops_per_s("bf16")
    with pytest.raises(SimexploreError, match=r"has no FMA rate for int8"):
        gpu.fma_peak_ops_per_s("int8")


def test_every_key_has_a_place() -> None:
    layer = resolve("nvidia/a40")
    assert all(re.search(r"\.yaml:\d+$", layer.place(path)) for path in leaf_paths(layer.data))


def test_the_example_in_the_documentation_loads(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    example = next(block for block in blocks if block.startswith("# mine.yaml"))
    gpu = load_arch(_write(tmp_path / "mine.yaml", example))
    parent = load_arch("nvidia/h200-sxm")
    assert isinstance(gpu, Gpu)
    assert gpu.l2.capacity_bytes == 2 * parent.l2.capacity_bytes
    assert gpu.links.nvlink is None
    assert gpu.sm == parent.sm


def test_the_errors_in_the_documentation_are_real(tmp_path: Path) -> None:
    (told,) = re.findall(r"```\nmine\.yaml:(\d+): (.*?)\n```", DOCS.read_text())
    path = _write(tmp_path / "mine.yaml", "extends: nvidia/h200-sxm\nl2:\n  capacity: 100\n")
    with pytest.raises(SimexploreError) as caught:
        load_arch(path)
    assert str(caught.value) == f"{path}:{told[0]}: {told[1]}"
