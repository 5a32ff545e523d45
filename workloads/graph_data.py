"""A user's own graph: plain data, as a YAML or JSON file holds it, to a `Graph` and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from simexplore.workloads.graph import ACTIVATIONS, Graph, GraphError, Node, find_cycle
from simexplore.workloads.hints import did_you_mean, found, in_words
from simexplore.workloads.operators.parameters import ParameterError, integer
from simexplore.workloads.operators.tensors.elements import elements_read, elements_written, fit
from simexplore.workloads.operators.text import OperatorSyntaxError
from simexplore.workloads.ops import FAMILIES, Operator, make_operator, parse_operator

MAX_OPERATORS = 100_000
"""Most operators in a user's graph, repeats included."""

_GRAPH_KEYS = ("name", "operators", "repeat", "resident_bytes", "resident_elsewhere")
_OF_NODES = ("output_bytes", "group", "place", "module", "fresh", "merged", "merged_bytes", "unread", "kind", "apart")
_NODE_KEYS = ("name", "op", "after", "any_size", "repeat", *_OF_NODES)
_OPERATOR_FORM = f"an operator such as 'gemm(m=16,n=4096,k=4096)' or the name of a family ({', '.join(FAMILIES)})"

KeyPath = tuple[str | int, ...]


class GraphDataError(GraphError):
    """Plain data that describes no graph.

    `key_path` leads to the fault, `("operators", 1, "m")`. Its last key may be one that is missing.
    """

    def __init__(self, key_path: KeyPath, expected: str, found_instead: str) -> None:
        self.key_path, self.expected, self.found = key_path, expected, found_instead
        where = ".".join(in_words(key) for key in key_path) or "graph"
        super().__init__(f"{where}: expected {expected}, found {found_instead}")


def to_data(graph: Graph) -> dict[str, Any]:
    """Plain data, ready for JSON or YAML, from which `from_data` builds an equal graph.

    Exchanges are left out: passes make them for one machine, and no file describes them.
    """
    ops = {node.name: node.op for node in graph.nodes}
    return {
        "name": graph.name,
        "resident_bytes": dict(graph.resident_bytes),
        **({"resident_elsewhere": dict(graph.resident_elsewhere)} if graph.resident_elsewhere else {}),
        "operators": [
            {
                "name": node.name,
                "op": node.op.describe(),
                "after": list(node.after),
                "output_bytes": node.output_bytes,
                "group": node.group,
                **({} if all(fit(ops[name], node.op) for name in node.after) else {"any_size": True}),
                **({} if node.place is None else {"place": node.place}),
                **({"module": True} if node.module else {}),
                **({"fresh": True} if node.fresh else {}),
                **({"merged": [op.describe() for op in node.merged]} if node.merged else {}),
                **({"merged_bytes": node.merged_bytes} if node.merged_bytes else {}),
                **({"unread": list(node.unread)} if node.unread else {}),
                **({} if node.kind == ACTIVATIONS else {"kind": node.kind}),
                **({} if node.apart == 1 else {"apart": node.apart}),
            }
            for node in graph.nodes
        ],
    }


def from_data(data: object, name: str = "graph") -> Graph:
    """A user's graph from plain data: what a YAML or JSON file holds.

    Args:
        data: a mapping with `operators` (a list) and optionally `name`, `repeat`, `resident_bytes` and
            `resident_elsewhere` (the same by place), or only the list. An operator is its text, or a mapping with `op`
            (its text, or the family with the parameters as keys beside it) and optionally `name`, `after` (default: the
            operator before), `any_size` (true: what it reads of these need not be all of it), `repeat`, `output_bytes`,
            `group`, `place`, `module` (true: attention rotates and appends to its cache), `fresh` (true: it reads
            nothing of these), `merged` and `merged_bytes` (what a compiler merged into it), `unread` (of `after`, what
            it only waits for), `kind` (what its result is, for memory) and `apart` (from one GPU of a collective to the
            next).
            A pass of a repeated graph begins when that before has ended.
        name: used when the data names none.

    Raises:
        GraphDataError: with the path of keys to the fault, what was expected there and what was found.
    """
    form = "a mapping with 'operators', or a list of operators"
    whole = {"operators": data} if isinstance(data, list) else _mapping((), data, form)
    _refuse_unknown_keys((), whole, _GRAPH_KEYS)
    items = whole.get("operators")
    if not isinstance(items, list) or not items:
        raise GraphDataError(("operators",), "a list of operators", found(items))
    entries: list[_Entry] = []
    for index, item in enumerate(items):
        entries.append(_read_entry(("operators", index), item, entries[-1].node.name if entries else None))
    _check_names(entries)
    _check_sizes(entries)
    passes = _read_positive((), whole, "repeat")
    total = passes * sum(entry.repeat for entry in entries)
    if total > MAX_OPERATORS:
        path = "repeat" if passes > 1 else "operators"
        raise GraphDataError((path,), f"at most {MAX_OPERATORS} operators, repeats included", found(total))
    resident = _mapping(("resident_bytes",), whole.get("resident_bytes", {}), "bytes by name, {weights: 1000000}")
    resident_bytes = {key: _read_bytes(("resident_bytes", key), value) for key, value in resident.items()}
    graph_name = _read_word(("name",), whole.get("name", name))
    elsewhere = _read_elsewhere(whole)
    try:
        return Graph(graph_name, _expand(entries, passes), resident_bytes, (), elsewhere)
    except GraphError as error:
        raise GraphDataError(("operators",), "names that stay apart when repeats are numbered", str(error)) from None


def _read_elsewhere(whole: Mapping[str, object]) -> dict[str, dict[str, float]]:
    """What is resident at places beside the first GPU."""
    path, form = ("resident_elsewhere",), "bytes by name for each place, {cpu: {states: 1000000}}"
    found = {}
    for place, held in _mapping(path, whole.get("resident_elsewhere", {}), form).items():
        inside = _mapping((*path, place), held, form)
        found[place] = {name: _read_bytes((*path, place, name), size) for name, size in inside.items()}
    return found


@dataclass(frozen=True, slots=True)
class _Entry:
    """An operator of the user's list before repeats are written out."""

    node: Node
    repeat: int
    path: KeyPath
    any_size: bool
    """Whether what it reads may be of other sizes than what it comes after makes."""


def _read_entry(path: KeyPath, data: object, previous: str | None) -> _Entry:
    op_path = path if isinstance(data, str) else (*path, "op")
    fields = (
        {"op": data} if isinstance(data, str) else _mapping(path, data, f"{_OPERATOR_FORM}, or a mapping with 'op'")
    )
    op = _read_operator(path, op_path, fields)
    name = _read_word((*path, "name"), fields.get("name", f"{op.op}_{path[-1]}"))
    node = Node.of(name, op, _read_after(path, fields, previous))
    if "group" in fields:
        node = replace(node, group=_read_word((*path, "group"), fields["group"], empty=True))
    if "place" in fields:
        node = replace(node, place=_read_word((*path, "place"), fields["place"]))
    if "output_bytes" in fields:
        node = replace(node, output_bytes=_read_bytes((*path, "output_bytes"), fields["output_bytes"]))
    module, fresh = (_read_flag(path, fields, name) for name in ("module", "fresh"))
    node = replace(node, merged=_read_merged(path, fields), module=module, fresh=fresh)
    if "kind" in fields:
        node = replace(node, kind=_read_word((*path, "kind"), fields["kind"]))
    if "unread" in fields:
        node = replace(node, unread=_read_unread(path, fields, node))
    node = replace(node, apart=_read_positive(path, fields, "apart"))
    if "merged_bytes" in fields:
        node = replace(node, merged_bytes=_read_bytes((*path, "merged_bytes"), fields["merged_bytes"]))
    return _Entry(node, _read_positive(path, fields, "repeat"), path, _read_flag(path, fields, "any_size"))


def _read_operator(path: KeyPath, op_path: KeyPath, fields: Mapping[str, object]) -> Operator:
    text = fields.get("op")
    if not isinstance(text, str):
        raise GraphDataError(op_path, _OPERATOR_FORM, found(text))
    values = {key: value for key, value in fields.items() if key not in _NODE_KEYS}
    as_keys = "(" not in text
    if values and not as_keys:
        _refuse_unknown_keys(path, fields, _NODE_KEYS)
    try:
        return make_operator(text.strip(), values) if as_keys else parse_operator(text)
    except OperatorSyntaxError as error:
        raise GraphDataError(op_path, f"{error.expected} at column {error.column}", error.found) from None
    except ParameterError as error:
        if error.parameter is None:
            raise GraphDataError(op_path, error.expected, error.found) from None
        if as_keys:
            raise GraphDataError((*path, error.parameter), error.expected, error.found) from None
        raise GraphDataError(op_path, f"{in_words(error.parameter)} = {error.expected}", error.found) from None


def _read_merged(path: KeyPath, fields: Mapping[str, object]) -> tuple[Operator, ...]:
    texts = fields.get("merged", [])
    if not isinstance(texts, list):
        raise GraphDataError((*path, "merged"), "a list of operators", found(texts))
    at = (*path, "merged")
    return tuple(_read_operator((*at, index), (*at, index), {"op": text}) for index, text in enumerate(texts))


def _read_unread(path: KeyPath, fields: Mapping[str, object], node: Node) -> tuple[str, ...]:
    names = fields["unread"]
    if not isinstance(names, list) or not set(map(str, names)) <= set(node.after):
        raise GraphDataError((*path, "unread"), f"a list of names in 'after' ({', '.join(node.after)})", found(names))
    return tuple(names)


def _read_after(path: KeyPath, fields: Mapping[str, object], previous: str | None) -> tuple[str, ...]:
    if "after" not in fields:
        return () if previous is None else (previous,)
    value = fields["after"]
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise GraphDataError((*path, "after"), "the name of an operator or a list of names", found(value))
    if len(set(names)) < len(names):
        raise GraphDataError((*path, "after"), "each name once", found(value))
    return tuple(names)


def _check_names(entries: list[_Entry]) -> None:
    """Names used once, dependencies that exist, no cycle."""
    path_of: dict[str, KeyPath] = {}
    for entry in entries:
        first = path_of.setdefault(entry.node.name, entry.path)
        if first != entry.path:
            where = ".".join(map(str, first))
            raise GraphDataError((*entry.path, "name"), "a name of its own", f"{entry.node.name!r}, as {where}")
    for entry in entries:
        for name in entry.node.after:
            if name not in path_of:
                known = "the name of an operator in this graph"
                raise GraphDataError((*entry.path, "after"), known, f"{found(name)}{did_you_mean(name, path_of)}")
    cycle = find_cycle({entry.node.name: entry.node.after for entry in entries})
    if cycle:
        raise GraphDataError((*path_of[cycle[0]], "after"), "no operator to wait for itself", " -> ".join(cycle))


def _check_sizes(entries: list[_Entry]) -> None:
    """What an operator makes is of a size that those after it read, unless they say that it need not be."""
    ops = {entry.node.name: entry.node.op for entry in entries}
    for entry in entries:
        reader = entry.node.op
        for name in entry.node.after if not entry.any_size else ():
            if not fit(ops[name], reader):
                made, read = (
                    " and ".join(f"{size:.15g}" for size in sizes)
                    for sizes in (elements_written(ops[name]), elements_read(reader))
                )
                raise GraphDataError(
                    (*entry.path, "after"),
                    f"results of a size that {reader.op} reads ({read} elements)",
                    f"{made} of {name!r}; write 'any_size: true' if it reads a part, 'after: []' if it reads none",
                )


def _expand(entries: list[_Entry], passes: int) -> tuple[Node, ...]:
    """Repeats written out: `up` becomes `up.0`, `up.1`, …, one after the other; pass number before repeat number."""
    nodes: list[Node] = []
    ends: tuple[str, ...] = ()
    for index in range(passes):
        one_pass = _expand_pass(entries, f".{index}" if passes > 1 else "")
        nodes += [node if node.after else replace(node, after=ends) for node in one_pass]
        needed = {name for node in one_pass for name in node.after}
        ends = tuple(node.name for node in one_pass if node.name not in needed)
    return tuple(nodes)


def _expand_pass(entries: list[_Entry], suffix: str) -> list[Node]:
    copies = {
        entry.node.name: [
            f"{entry.node.name}{suffix}" + (f".{copy}" if entry.repeat > 1 else "") for copy in range(entry.repeat)
        ]
        for entry in entries
    }
    nodes = []
    for entry in entries:
        after = tuple(copies[name][-1] for name in entry.node.after)
        unread = tuple(copies[name][-1] for name in entry.node.unread)
        for name in copies[entry.node.name]:
            nodes.append(replace(entry.node, name=name, after=after, unread=unread))
            after, unread = (name,), ()
    return nodes


def _mapping(path: KeyPath, data: object, expected: str) -> dict[str, object]:
    if not isinstance(data, dict):
        raise GraphDataError(path, expected, found(data))
    for key in data:
        if not isinstance(key, str):
            raise GraphDataError((*path, in_words(key)), "a key that is text", found(key))
    return data


def _refuse_unknown_keys(path: KeyPath, data: Mapping[str, object], known: tuple[str, ...]) -> None:
    for key in data:
        if key not in known:
            raise GraphDataError((*path, key), f"one of {', '.join(known)}", f"{found(key)}{did_you_mean(key, known)}")


def _read_flag(path: KeyPath, fields: Mapping[str, object], key: str) -> bool:
    value = fields.get(key, False)
    if not isinstance(value, bool):
        raise GraphDataError((*path, key), "true or false", found(value))
    return value


def _read_positive(path: KeyPath, data: Mapping[str, object], key: str) -> int:
    number = integer(data.get(key, 1))
    if number is None or number < 1:
        raise GraphDataError((*path, key), "a positive integer", found(data[key]))
    return number


def _read_bytes(path: KeyPath, value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e300:
        return float(value)
    raise GraphDataError(path, "a number of bytes, not negative", found(value))


def _read_word(path: KeyPath, value: object, empty: bool = False) -> str:
    if isinstance(value, str) and len(value) <= 200 and value.isprintable() and (empty or value.strip()):
        return value
    raise GraphDataError(path, "a text on one line", found(value))
