"""A Chrome trace as tables of SQLite with the names and columns that Perfetto's trace processor gives them."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from typing import Any

TABLES = """
CREATE TABLE process (upid INTEGER PRIMARY KEY, pid INTEGER, name TEXT);
CREATE TABLE thread (utid INTEGER PRIMARY KEY, tid INTEGER, name TEXT, upid INTEGER);
CREATE TABLE thread_track (id INTEGER PRIMARY KEY, utid INTEGER);
CREATE TABLE slice (
    id INTEGER PRIMARY KEY, ts INTEGER, dur INTEGER, track_id INTEGER, category TEXT, name TEXT, depth INTEGER,
    parent_id INTEGER, arg_set_id INTEGER
);
CREATE TABLE args (arg_set_id INTEGER, told TEXT);
CREATE TABLE flow (id INTEGER PRIMARY KEY, slice_out INTEGER, slice_in INTEGER);
CREATE TABLE process_counter_track (id INTEGER PRIMARY KEY, name TEXT, upid INTEGER);
CREATE TABLE counter (id INTEGER PRIMARY KEY, ts INTEGER, track_id INTEGER, value REAL);
"""


class Tables:
    """A trace, to be asked in SQL; slices, arrows and counters in the order of the file."""

    def __init__(self, trace: dict[str, Any]) -> None:
        self._of = sqlite3.connect(":memory:")
        self._of.executescript(TABLES)
        self._of.create_function("extract_arg", 2, self._arg, deterministic=True)
        self._args: dict[int, dict[str, Any]] = {}
        self._open: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._arrows: dict[int, int] = {}
        for event in trace["traceEvents"]:
            getattr(self, f"_on_{event['ph']}")(event)
        assert not any(self._open.values()), "slices that never end"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query answers."""
        return self._of.execute(sql).fetchall()

    def _arg(self, arg_set: int, key: str) -> Any:
        value = self._args[arg_set].get(key.removeprefix("args."))
        return json.dumps(value) if isinstance(value, list | dict) else value

    def _on_m(self, event: dict[str, Any]) -> None:
        if event["name"] == "process_name":
            self._add("process", upid=event["pid"], pid=event["pid"], name=event["args"]["name"])
        elif event["name"] == "thread_name":
            name = event["args"]["name"]
            self._add("thread", utid=event["tid"], tid=event["tid"], name=name, upid=event["pid"])
            self._add("thread_track", id=event["tid"], utid=event["tid"])

    _on_M = _on_m  # noqa: N815 - the format's letter

    def _on_b(self, event: dict[str, Any]) -> None:
        stack, number = self._open[event["tid"]], len(self._args)
        self._args[number] = event["args"]
        self._add(
            "slice", id=number, ts=_ns(event), dur=-1, track_id=event["tid"], category=event["cat"], name=event["name"],
            depth=len(stack), parent_id=stack[-1][0] if stack else None, arg_set_id=number,
        )  # fmt: skip
        stack.append((number, _ns(event)))

    _on_B = _on_b  # noqa: N815

    def _on_e(self, event: dict[str, Any]) -> None:
        number, begin_ns = self._open[event["tid"]].pop()
        self._of.execute("UPDATE slice SET dur = ? WHERE id = ?", (_ns(event) - begin_ns, number))

    _on_E = _on_e  # noqa: N815

    def _on_s(self, event: dict[str, Any]) -> None:
        self._arrows[event["id"]] = self._open[event["tid"]][-1][0]

    def _on_f(self, event: dict[str, Any]) -> None:
        self._add("flow", id=event["id"], slice_out=self._arrows[event["id"]], slice_in=self._open[event["tid"]][-1][0])

    def _on_c(self, event: dict[str, Any]) -> None:
        for unit, value in event["args"].items():
            name = f"{event['name']} {unit}"
            tracks = self.rows(f"SELECT id FROM process_counter_track WHERE name = '{name}' AND upid = {event['pid']}")
            if not tracks:
                self._add("process_counter_track", id=None, name=name, upid=event["pid"])
                tracks = self.rows("SELECT last_insert_rowid()")
            self._add("counter", id=None, ts=_ns(event), track_id=tracks[0][0], value=value)

    _on_C = _on_c  # noqa: N815

    def _add(self, table: str, **columns: Any) -> None:
        marks = ", ".join("?" * len(columns))
        self._of.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values()))


def slices(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """Slices in the order in which they begin, each as an event with the duration [us] of its end."""
    found: list[dict[str, Any]] = []
    begun: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for event in trace["traceEvents"]:
        if event["ph"] == "B":
            found.append(dict(event))
            begun[event["tid"]].append(found[-1])
        elif event["ph"] == "E":
            of = begun[event["tid"]].pop()
            of["dur"] = (_ns(event) - _ns(of)) / 1000
    return found


def _ns(event: dict[str, Any]) -> int:
    return round(event["ts"] * 1000)
