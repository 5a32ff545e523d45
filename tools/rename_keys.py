"""Rewrite arch files, overlays and sweep specifications whose keys have other names now, in place.

    python tools/rename_keys.py mine.yaml overlay.yaml sweep.yaml

Comments, order and formatting stay, but that renamed keys move under the section that they belong to now. A learned
correction stays valid: where `calibration.machine` is the digest that the machine had under its old keys, it becomes
the one that it has now. Files that a file extends must be rewritten with it, or before.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from simexplore.archs.load import load_arch
from simexplore.archs.renamed import ADDED_KEYS, NEW_KEYS, NOW_SECTIONS
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.quantities import yaml_key
from simexplore.errors import SimexploreError

SECTIONS = {old.rpartition(".")[0] for old in NEW_KEYS}
Path_ = tuple[str, ...]


@dataclass
class Group:
    """A section that renamed keys move to: the lines that it had already, and what is put in it."""

    lines: list[str] = field(default_factory=list)
    entries: dict[str, Group | list[str]] = field(default_factory=dict)


def rewritten(text: str) -> str:
    """The text of a file with its keys as they are called now; the same text where all are.

    Raises yaml.YAMLError for what is no YAML, and ValueError for a mapping in braces that has comments.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return text
    former = {old for old in NOW_SECTIONS if _holds_value(root, old)}
    edits = [
        edit for path, node in _mappings(root, ()) if ".".join(path) in SECTIONS for edit in _moved(text, path, node)
    ]
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    for old in sorted(NEW_KEYS, key=len, reverse=True):
        if old not in NOW_SECTIONS or old in former:
            text = re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w]|\.\w*[a-z])", NEW_KEYS[old], text)
    return text


def _mappings(node: yaml.Node, path: Path_) -> Iterator[tuple[Path_, yaml.MappingNode]]:
    """Every mapping of a document with the keys that lead to it, but those of `sources`, whose keys are paths."""
    if not isinstance(node, yaml.MappingNode) or path == ("sources",):
        return
    yield path, node
    for key, value in node.value:
        yield from _mappings(value, (*path, key.value))


def _holds_value(root: yaml.Node, old: str) -> bool:
    """Whether a key that is a section now holds a value, or is an axis of a sweep."""
    section, _, leaf = old.rpartition(".")
    for path, node in _mappings(root, ()):
        for key, value in node.value:
            if key.value == old:
                return True
            if ".".join(path) == section and key.value == leaf and not isinstance(value, yaml.MappingNode):
                return True
    return False


def _new_steps(path: Path_, key: yaml.Node, value: yaml.Node) -> Path_ | None:
    """Where a key of a section belongs now, from that section on; None where it stays."""
    old = ".".join((*path, key.value))
    if old not in NEW_KEYS or (old in NOW_SECTIONS and isinstance(value, yaml.MappingNode)):
        return None
    return tuple(NEW_KEYS[old].split(".")[len(path) :])


def _moved(text: str, path: Path_, node: yaml.MappingNode) -> list[tuple[int, int, str]]:
    """The replacement (start, end, new text) of a section's inside, or nothing where no key moves."""
    if all(_new_steps(path, key, value) is None for key, value in node.value):
        return []
    return [_moved_in_braces(text, path, node) if node.flow_style else _moved_lines(text, path, node)]


def _moved_in_braces(text: str, path: Path_, node: yaml.MappingNode) -> tuple[int, int, str]:
    start, end = node.start_mark.index, node.end_mark.index
    if "#" in text[start:end]:
        raise ValueError(f"{'.'.join(path)}: a mapping in braces with a comment; write it in lines first")
    tree: dict[str, Any] = {}
    for key, value in node.value:
        written = text[value.start_mark.index : value.end_mark.index]
        steps = _new_steps(path, key, value)
        if steps is None and isinstance(value, yaml.MappingNode) and value.flow_style:
            tree.setdefault(key.value, {}).update(_entries(text, value))
        else:
            *above, leaf = steps or (text[key.start_mark.index : key.end_mark.index],)
            below = tree
            for step in above:
                below = below.setdefault(step, {})
            below[leaf] = written
    return start, end, _in_braces(tree)


def _entries(text: str, node: yaml.MappingNode) -> dict[str, str]:
    return {
        text[key.start_mark.index : key.end_mark.index]: text[value.start_mark.index : value.end_mark.index]
        for key, value in node.value
    }


def _in_braces(tree: Mapping[str, Any]) -> str:
    parts = [f"{key}: {_in_braces(value) if isinstance(value, dict) else value}" for key, value in tree.items()]
    return "{" + ", ".join(parts) + "}"


def _moved_lines(text: str, path: Path_, node: yaml.MappingNode) -> tuple[int, int, str]:
    lines = text.splitlines(keepends=True)
    if not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    first = node.value[0][0].start_mark.line
    indent = node.value[0][0].start_mark.column
    top, begin = Group(), first
    for key, value in node.value:
        end = _last_line(key, value) + 1
        chunk = lines[begin:end]
        steps = _new_steps(path, key, value)
        if steps is not None:
            row = key.start_mark.line - begin
            rest = chunk[row][indent + len(text[key.start_mark.index : key.end_mark.index]) :]
            chunk[row] = f"{chunk[row][:indent]}{steps[-1]}{rest}"
            _put(top, steps, chunk)
        elif isinstance(value, yaml.MappingNode) and not value.flow_style:
            group = top.entries.setdefault(key.value, Group())
            assert isinstance(group, Group)
            group.lines = chunk
        else:
            top.entries[key.value] = chunk
        begin = end
    start_index = sum(map(len, lines[:first]))
    end_index = min(sum(map(len, lines[:begin])), len(text))
    new = "".join(_lines_of(top, indent, 0))
    return start_index, end_index, new if text[:end_index].endswith("\n") else new.removesuffix("\n")


def _put(top: Group, steps: Path_, chunk: list[str]) -> None:
    for step in steps[:-1]:
        below = top.entries.setdefault(step, Group())
        if not isinstance(below, Group):
            raise ValueError(f"{step}: old and new keys beside each other in braces; write them in lines first")
        top = below
    top.entries[steps[-1]] = chunk


def _lines_of(group: Group, indent: int, depth: int) -> Iterator[str]:
    for name, entry in group.entries.items():
        deeper = "  " * depth
        if isinstance(entry, list):
            yield from (deeper + line if line.strip() else line for line in entry)
            continue
        if entry.lines:
            yield from (deeper + line if line.strip() else line for line in entry.lines)
        else:
            yield f"{' ' * indent}{deeper}{name}:\n"
        yield from _lines_of(entry, indent, depth + 1)


def _last_line(key: yaml.Node, value: yaml.Node) -> int:
    """The last line of an entry; a block's own end mark lies behind the comments that follow it."""
    if isinstance(value, yaml.CollectionNode) and not value.flow_style and value.value:
        last = value.value[-1]
        return _last_line(*last) if isinstance(value, yaml.MappingNode) else _last_line(last, last)
    end = value.end_mark
    return max(key.start_mark.line, end.line - 1 if end.column == 0 else end.line)


def former_digest(gpu: Gpu) -> str:
    """The digest that a machine had while its keys had their old names."""
    values = gpu.values_of_the_kernels()
    found: dict[str, Any] = {}
    for old, new in NEW_KEYS.items():
        *above, leaf = new.split(".")
        holder: Any = values
        for step in above:
            holder = holder.get(step, {}) if isinstance(holder, dict) else {}
        name = next((name for name in holder if yaml_key(name) == leaf), None)
        if name is not None:
            found[old + name[len(leaf) :]] = holder[name]
    for new in NEW_KEYS.values():
        section = values
        depth = next(len(path.split(".")) for path in SECTIONS if new.startswith(f"{path}."))
        for step in new.split(".")[:depth]:
            section = section.get(step, {})
        section.pop(new.split(".")[depth], None)
    for path in ADDED_KEYS:
        *above, leaf = path.split(".")
        holder = values
        for step in above:
            holder = holder.get(step, {})
        holder.pop(leaf, None)
    for old, value in found.items():
        *above, leaf = old.split(".")
        section = values
        for step in above:
            section = section.setdefault(step, {})
        section[leaf] = value
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def restamp(path: Path) -> str:
    """Give the correction of a rewritten file the machine's digest as it is now; what to tell of it."""
    text = path.read_text(encoding="utf-8")
    written = re.search(r"^  machine: [\"']?([0-9a-f]{16})[\"']?$", text, flags=re.MULTILINE)
    if written is None:
        return ""
    gpu = load_arch(path)
    if written[1] == gpu.digest():
        return ""
    if written[1] != former_digest(gpu):
        return "; its learned correction was fitted with other values and stays off: calibrate anew"
    path.write_text(text.replace(written[1], gpu.digest()), encoding="utf-8")
    return "; its learned correction has the machine's new digest"


def main(names: list[str]) -> int:
    """Rewrite the files; 2 where one can't be read."""
    failed = 0
    changed = []
    for path in map(Path, names):
        try:
            old = path.read_text(encoding="utf-8")
            new = rewritten(old)
        except (OSError, ValueError, yaml.YAMLError) as error:
            print(f"{path}: {' '.join(str(error).split())}", file=sys.stderr)
            failed = 2
            continue
        path.write_text(new, encoding="utf-8")
        changed.append((path, new != old))
    for path, differs in changed:
        try:
            told = restamp(path)
        except SimexploreError as error:
            told = f"; {error}"
        print(f"{path}: {'rewritten' if differs else 'nothing to rename'}{told}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if sys.argv[1:] else print(__doc__) or 2)
