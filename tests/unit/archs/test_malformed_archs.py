"""Whatever is wrong with an arch file, its author reads one line: file, line, key, expected, found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simexplore.archs.load import load_arch, resolved
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError

HEAD = "extends: nvidia/h200-sxm\nname: Mine\n"

# text after HEAD (so its first line is line 3), line, key, what the message must contain after "expected"
CASES: dict[str, tuple[str, int, str, str]] = {
    "no unit": ("l2: {capacity: 50}", 3, "l2.capacity", "a size such as '50 MiB', found 50 (no unit)"),
    "no unit in text": ("l2:\n  capacity: '50'", 4, "l2.capacity", "a size such as '50 MiB', found '50' (no unit)"),
    "wrong dimension": ("l2: {capacity: 5 GB/s}", 3, "l2.capacity", "a size such as '50 MiB', found '5 GB/s' (a band"),
    "unknown unit": ("clock: {boost: 2 Gz}", 3, "clock.boost", "found '2 Gz' (unknown unit: did you mean 'GHz'?)"),
    "negative": ("dram: {bandwidth: -1 TB/s}", 3, "dram.bandwidth", "found '-1 TB/s' (negative)"),
    "zero bandwidth": ("dram: {bandwidth: 0 TB/s}", 3, "dram.bandwidth", "a bandwidth above zero such as '4.8 TB/s'"),
    "nan": ("dram: {bandwidth: .nan}", 3, "dram.bandwidth", "found '.nan'"),
    "infinite": ("dram: {efficiency: 1e999}", 3, "dram.efficiency", "a finite number, found '1e999'"),
    "share above one": ("dram: {efficiency: 1.5}", 3, "dram.efficiency", "a number of at most 1.0, found 1.5"),
    "share as text": ("dram: {efficiency: 90 %}", 3, "dram.efficiency", "a number, found '90 %'"),
    "sexagesimal": ("sm: {count: 12:30}", 3, "sm.count", "a whole number, found '12:30'"),
    "octal": ("sm: {count: 0132}", 3, "sm.count", "a whole number, found '0132'"),
    "underscores": ("sm: {count: 1_32}", 3, "sm.count", "a whole number, found '1_32'"),
    "a fraction of an SM": ("sm: {count: 132.5}", 3, "sm.count", "a whole number, found 132.5"),
    "float for a count": ("sm: {count: 1.32e2}", 3, "sm.count", "a whole number, found 132.0"),
    "no SMs": ("sm: {count: 0}", 3, "sm.count", "a number above 0, found 0"),
    "huge integer": ("sm: {count: " + "9" * 5000 + "}", 3, "sm.count", "a number of at most 18 digits"),
    "true for a count": ("sm: {count: true}", 3, "sm.count", "a whole number, found True"),
    "yes for a truth": ("abstract: yes", 3, "abstract", "true or false, found 'yes'"),
    "number as text": ("compute_capability: 9.0", 3, "compute_capability", "text (in quotes if it looks like a nu"),
    "nothing for a mapping": ("l2:", 3, "l2", "a mapping, found nothing"),
    "scalar for a mapping": ("l2: 50 MiB", 3, "l2", "a mapping, found '50 MiB'"),
    "list for a mapping": ("l2:\n- 50 MiB", 3, "l2", "a mapping, found a list"),
    "mapping for a quantity": ("l2:\n  capacity:\n    near: 1 B", 4, "l2.capacity", "a size such as '50 MiB', found a"),
    "unknown key": ("l2:\n  capasity: 5 B", 4, "l2.capasity", "found 'capasity' (did you mean 'capacity'?)"),
    "unknown top key": ("clocks: {}", 3, "clocks", "found 'clocks' (did you mean 'clock'?)"),
    "key of another part": ("boost: 2 GHz", 3, "boost", "found 'boost' (did you mean 'clock.boost'?)"),
    "Python name": ("l2: {capacity_bytes: 5 B}", 3, "l2.capacity_bytes", "(did you mean 'capacity'?)"),
    "unknown dtype": ("sm:\n  tensor:\n    bf61: 1 op/clk", 5, "sm.tensor.bf61", "found 'bf61' (did you mean 'bf16'?)"),
    "removed what is needed": ("l2:\n  capacity: null", 4, "l2.capacity", "a size such as '50 MiB', found nothing"),
    "wrong kind": ("kind: cpu", 3, "kind", "a machine of kind gpu, found a CPU, which a system's devices name"),
    "no kind": ("kind: gpx", 3, "kind", "'gpu', found 'gpx'"),
    "duplicate key": ("l2: {}\nl2: {}", 4, "l2", "each key once, found 'l2' again (first on line 3)"),
    "duplicate inner key": ("l2:\n  capacity: 1 B\n  capacity: 2 B", 5, "l2.capacity", "each key once"),
    "duplicate name": ("name: Other", 3, "name", "each key once, found 'name' again (first on line 2)"),
    "number as key": ("8: x", 3, "top level", "a word as key, found 8"),
    "list as key": ("? [a]\n: x", 3, "top level", "a word as key, found a collection"),
    "anchor": ("l2: &here {}", 3, "l2", "plain YAML without anchors and aliases, found '&here'"),
    "alias": ("l2: *there", 3, "l2", "plain YAML without anchors and aliases, found '*there'"),
    "recursive alias": ("l2: &a [*a]", 3, "l2", "plain YAML without anchors"),
    "merge key": ("<<: {}", 3, "'<<'", "found '<<'"),
    "tag": ("l2: !!python/object:os.system {}", 3, "l2", "plain YAML without tags"),
    "tagged scalar": ("sm: {count: !!int '3'}", 3, "sm.count", "plain YAML without tags"),
    "tab": ("l2:\n\tcapacity: 5 B", 4, "l2", "spaces as indentation, found a tab"),
    "unclosed bracket": ("l2: {capacity: 5 B", 4, "", "YAML, found"),
    "unclosed quote": ("description: 'abc", 4, "", "YAML, found"),
    "two documents": ("---\nname: x", 3, "top level", "one document, found a second one"),
    "control character": ("description: a\x00b", 3, "", "printable text"),
    "deep": ("l2: " + "[" * 60 + "]" * 60, 3, "", "at most 40 levels"),
    "base above boost": ("clock:\n  base: 3 GHz", 4, "clock.base", "at most clock.boost, '1.98 GHz', found '3 GHz'"),
    "near behind far": ("l2:\n  near_latency: 900 clk", 4, "l2.near_latency", "at most l2.far_latency, '"),
    "reserved above all": ("sm: {shared_memory_reserved: 1 MiB}", 3, "sm.shared_memory_reserved", "at most sm.shared"),
    "one CTA above all": ("sm: {shared_memory_per_cta: 1 MiB}", 3, "sm.shared_memory_per_cta", "at most sm.shared_mem"),
    "odd warps": ("sm:\n  max_warps: 63", 4, "sm.max_warps", "a multiple of sm.schedulers, 4, found 63"),
    "graph above stream": ("launch: {graph: 1 ms}", 3, "launch.graph", "at most launch.stream, '"),
    "idle above limit": ("power: {idle: 1 kW}", 3, "power.idle", "at most power.tdp, '700 W'"),
    "DRAM before L2": ("dram: {latency: 1 ns}", 3, "dram.latency", "at least l2.near_latency, '"),
    "rate without energy": ("sm:\n  tensor:\n    fp4: 9 op/clk", 0, "energy.tensor.fp4", "an energy, since sm.tenso"),
    "link in part": ("links: {nvlink: {bandwidth: null}}", 3, "links.nvlink.bandwidth", "a bandwidth such as"),
    "source not text": ("sources: {sm: [a]}", 3, "sources.sm", "text"),
    "bad key on one line": ('"a\\nb": 1', 3, "'a\\nb'", "found 'a\\nb'"),
}  # fmt: skip


def _message(path: Path) -> str:
    with pytest.raises(SimexploreError) as caught:
        load_arch(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize(("text", "line", "key", "says"), CASES.values(), ids=CASES.keys())
def test_one_line_names_file_line_key_expected_and_found(
    tmp_path: Path, text: str, line: int, key: str, says: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(HEAD + text + "\n")
    match = re.fullmatch(r"(?P<file>.+?):(?P<line>\d+): (?P<key>.+?): expected (?P<rest>.+, found.+)", _message(path))
    assert match is not None
    if line:  # 0: the fault lies in what the parent lacks
        assert (match["file"], int(match["line"])) == (str(path), line)
    assert match["key"] == key or not key
    assert says in match["rest"]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "1: top level: expected a mapping, found an empty file"),
        (b"# only a comment\n", "1: top level: expected a mapping, found an empty file"),
        (b"- 1\n- 2\n", "1: top level: expected a mapping such as 'kind: gpu', found a list"),
        (b"hello\n", "1: top level: expected a mapping such as 'kind: gpu', found 'hello'"),
        (b"name: caf\xe9\n", "1: top level: expected UTF-8 text, found the byte 0xe9"),
        ("kind: gpu".encode("utf-16"), "1: top level: expected UTF-8 text, found the byte 0xff"),
        (b"extends: [3]\n", "1: extends.0: expected a name or path in one word, found 3"),
        (b"extends: nvidia/h200\n", "found 'nvidia/h200' (did you mean 'nvidia/h200-sxm'?)"),
        (b"extends: parent.yaml\n", "1: extends: expected a file that exists, found 'parent.yaml'"),
        (b'extends: "a\\0.yaml"\n', "1: extends: expected a file that exists, found 'a\\x00.yaml'"),
        (b"extends: " + b"a" * 5000 + b".yaml\n", "1: extends: expected a file that exists, found 'aaa"),
        (b"extends: bad.yml\n", "1: extends: expected a file that exists, found 'bad.yml' (did you mean 'bad.yaml'?)"),
        (
            b"extends: bad.yaml\n",
            "1: extends: expected a file that does not lead back here, found bad.yaml -> bad.yaml",
        ),
        (b"extends: nvidia/hopper\nabstract: true\n", "2: abstract: expected a machine, found a family"),
        (b"kind: gpu\n", "1: name: expected text, found nothing"),
        (b"extends: nvidia/hopper\n", "1: name: expected text, found nothing"),
    ],
)
def test_files_that_are_no_machine(tmp_path: Path, raw: bytes, says: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(raw)
    message = _message(path)
    assert message.startswith((f"{path}:1: ", f"{path}:2: "))
    assert says in message


def test_missing_files_and_directories(tmp_path: Path) -> None:
    assert _message(tmp_path / "none.yaml").startswith(f"{tmp_path}/none.yaml:1: expected a readable file, found: ")
    assert "found: a directory" in _message(tmp_path)
    with pytest.raises(SimexploreError, match="expected a readable file"):
        load_arch("a\x00b.yaml")


def test_a_longer_cycle_is_named(tmp_path: Path) -> None:
    for child, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{child}.yaml").write_text(f"extends: {parent}.yaml\n")
    assert _message(tmp_path / "a.yaml") == (
        f"{tmp_path}/c.yaml:1: extends: expected a file that does not lead back here, "
        "found a.yaml -> b.yaml -> c.yaml -> a.yaml"
    )


def test_a_fault_inherited_from_a_parent_names_the_parent(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(HEAD + "\nl2:\n  capacity: 50\n")
    (tmp_path / "child.yaml").write_text("extends: parent.yaml\nname: Child\n")
    assert _message(tmp_path / "child.yaml").startswith(f"{tmp_path}/parent.yaml:5: l2.capacity: expected a size")


GOOD = yaml.safe_dump(resolved("nvidia/h200-sxm"), sort_keys=False, width=1000)
_TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["\t", "\n", ": ", "- ", "&a ", "*a", "!!int ", "{", "}", "[", "'", '"', "null", "~", "#", "<<: "]),
)
_EDITS = st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), _TEXTS), min_size=1, max_size=4)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=_EDITS)
def test_any_edit_of_a_good_file_loads_or_is_one_line(tmp_path: Path, edits: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for start, length, put in edits:
        text = text[:start] + put + text[start + length :]
    _loads_or_explains(tmp_path / "fuzz.yaml", text.encode("utf-8", "surrogatepass"))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_lines_lost_doubled_or_exchanged_load_or_are_one_line(tmp_path: Path, data: st.DataObject) -> None:
    lines = GOOD.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        here, there = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match data.draw(st.sampled_from(["lose", "double", "exchange", "indent"])):
            case "lose":
                del lines[here]
            case "double":
                lines.insert(there, lines[here])
            case "exchange":
                lines[here], lines[there] = lines[there], lines[here]
            case "indent":
                lines[here] = "  " + lines[here]
    _loads_or_explains(tmp_path / "fuzz.yaml", "\n".join(lines).encode())


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=60))
def test_any_bytes_load_or_are_one_line(tmp_path: Path, raw: bytes) -> None:
    _loads_or_explains(tmp_path / "fuzz.yaml", raw)


def _loads_or_explains(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    try:
        outcome: Gpu | str = load_arch(path)
    except SimexploreError as error:
        outcome = str(error)
    assert isinstance(outcome, Gpu) or outcome.startswith(f"{path}:")
    assert isinstance(outcome, Gpu) or len(outcome.splitlines()) == 1
