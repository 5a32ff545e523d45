"""Profiles drawn by seed, and damage to them, for the importers' tests.

Every call of a drawn profile has a shape of its own, and its kernels are named after it (`gemm_k7_bf16` is of the call
with m = 7), so that a row tells whether its link is right, whatever was done to the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import read_measurements
from simexplore.kernels.profiles import import_profile
from simexplore.kernels.profiles.tally import Imported

ODD = (None, "", "x", "12", -1, -3.5, 0, True, 1e400, float("nan"), 2**63, 2**70, [], {}, [[]], "\x1b[31m", "=1+1")
"""What a cell may hold in a file that was damaged, or written by another program."""

Trace = dict[str, Any]


def kernel_of(m: int) -> str:
    """Name of a kernel of the call with this m."""
    return f"gemm_k{m}_bf16"


def checked(kind: str, path: Path) -> Imported | str:
    """What an import gives: rows whose links, times and cells are right, or one line.

    Raises whatever else comes out of the importer, and AssertionError where a row is wrong.
    """
    try:
        found = import_profile(kind, path)
    except SimexploreError as error:
        return str(error)
    if found.frame.empty:
        return "no row"
    times = found.frame["time_us"]
    assert np.isfinite(times).all()
    assert (times > 0).all()
    table = path.with_suffix(".rows.csv")
    found.frame.to_csv(table, index=False)
    read_measurements(table)
    return found


def assert_links(found: Imported | str) -> None:
    """Every row of a drawn profile is of the call that its kernel is named after."""
    if isinstance(found, str):
        return
    for m, kernel in zip(found.frame["m"], found.frame["kernel"], strict=True):
        assert kernel in (kernel_of(m), "unnamed", "unnamed kernel"), f"{kernel} became a row of m = {m}"


# Kineto


def trace(draw: Random, calls: int = 6, ranks: int = 1) -> Trace:
    """A trace of one or several ranks, with wrappers around calls, two threads, several kernels a call."""
    events: list[Any] = []
    by_call = draw.random() < 0.5
    m = 0
    for rank in range(ranks):
        number, external, now = draw.choice((100, 100 + 5000 * rank)), 1000 + draw.choice((0, 900 * rank)), 0.0
        for _ in range(calls):
            m += 1
            thread = draw.choice((1, 2))
            event = {"ph": "X", "pid": 500 + rank, "tid": thread}
            dims = [[m, 64], [64, 32]]
            args = {"External id": external, "Input Dims": dims, "Input type": ["c10::BFloat16"] * 2}
            if draw.random() < 0.5:
                wrapper = {**event, "cat": "cpu_op", "name": "aten::linear", "ts": now, "dur": 60.0, "args": {}}
                events.append(wrapper)
            events.append({**event, "cat": "cpu_op", "name": "aten::mm", "ts": now + 5, "dur": 40.0, "args": args})
            for kernel in range(draw.choice((1, 1, 2))):
                launch = {"correlation": number, "cbid": 211}
                begun = now + 10 + kernel
                name = draw.choice(("cudaLaunchKernel", "cuLaunchKernelEx"))
                category = draw.choice(("cuda_runtime", "cuda_driver"))
                events.append({**event, "cat": category, "name": name, "ts": begun, "dur": 1.0, "args": launch})
                given = {"External id": external if by_call else number, "correlation": number, "device": rank}
                ran = {"ph": "X", "cat": "kernel", "name": kernel_of(m), "pid": rank, "tid": 7, "args": given}
                events.append({**ran, "ts": begun + 30.0, "dur": 1.0 + m / 7.0})
                number += 1
            external += 1
            now += 100.0
    devices = [{"id": rank, "name": f"NVIDIA H{rank}00"} for rank in range(ranks)]
    return {"schemaVersion": 1, "deviceProperties": devices, "traceEvents": events}


def _lose_event(draw: Random, made: Trace) -> None:
    if made["traceEvents"]:
        made["traceEvents"].pop(draw.randrange(len(made["traceEvents"])))


def _lose_member(draw: Random, made: Trace) -> None:
    event = draw.choice(made["traceEvents"] or [{}])
    place = event if draw.random() < 0.6 or not isinstance(event.get("args"), dict) else event["args"]
    if place:
        place.pop(draw.choice(sorted(place)))


def _lose_kind(draw: Random, made: Trace) -> None:
    lost = draw.choice(("cuda_runtime", "cuda_driver", "cpu_op", "kernel"))
    made["traceEvents"] = [event for event in made["traceEvents"] if event.get("cat") != lost]


def _shuffle(draw: Random, made: Trace) -> None:
    draw.shuffle(made["traceEvents"])


def _odd_member(draw: Random, made: Trace) -> None:
    """Anything but another id or time that could as well be right."""
    event = draw.choice(made["traceEvents"] or [{}])
    place = event if draw.random() < 0.5 or not isinstance(event.get("args"), dict) else event["args"]
    if place:
        name = draw.choice(sorted(place))
        odd = [value for value in ODD if name not in ("ts", "dur") or not isinstance(value, int | float)]
        place[name] = draw.choice([value for value in odd if name != "name" or not isinstance(value, str)])


def _odd_event(draw: Random, made: Trace) -> None:
    made["traceEvents"].insert(draw.randint(0, len(made["traceEvents"])), draw.choice(ODD))


def _odd_head(draw: Random, made: Trace) -> None:
    made["deviceProperties"] = draw.choice((*ODD, [None], [{"id": None, "name": 3}], [{"name": "A"}]))


TRACE_DAMAGE: tuple[Callable[[Random, Trace], None], ...] = (
    _lose_event,
    _lose_member,
    _lose_kind,
    _shuffle,
    _odd_member,
    _odd_head,
)
"""None of these makes an event that looks right and is wrong, which no reader could tell."""


def write_trace(draw: Random, made: Trace, path: Path) -> None:
    """As Kineto writes it, gzipped or not."""
    raw = json.dumps(made).encode()
    path.write_bytes(gzip.compress(raw) if draw.random() < 0.3 else raw)


def damaged_trace(draw: Random, path: Path) -> None:
    """A trace to which one to three things were done."""
    made = trace(draw, draw.randint(1, 6), draw.choice((1, 1, 2)))
    for _ in range(draw.randint(0, 3)):
        draw.choice(TRACE_DAMAGE)(draw, made)
    if draw.random() < 0.2:
        _odd_event(draw, made)
    write_trace(draw, made, path)


# nsys


def export(draw: Random, path: Path, calls: int = 6) -> None:
    """An export as mk_nsys.py of the shared cases makes them, of one or two processes."""
    ranges = draw.choice(("NVTX_EVENTS", "NVTX_EVENTS_V2", "NVTX_EVENTS_V3"))
    with sqlite3.connect(path) as db:
        db.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
            "CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT);"
            "CREATE TABLE TARGET_INFO_GPU (id INT, name TEXT);"
            "INSERT INTO TARGET_INFO_GPU VALUES (0, 'NVIDIA H100');"
            "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, streamId INT, "
            "correlationId INT, globalPid INT, demangledName INT, shortName INT, graphNodeId INT);"
            "CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, globalTid INT, correlationId INT, "
            "nameId INT);"
            "CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, copyKind INT);"
            f"CREATE TABLE {ranges} (start INT, end INT, eventType INT, text TEXT, globalTid INT, textId INT);"
        )
        m = 0
        for process in range(draw.choice((1, 1, 2))):
            owner, number, now = (process + 1) << 28, draw.choice((10, 10 + 900 * process)), 0
            for _ in range(calls):
                m += 1
                label = f"gemm(m={m},n=64,k=64,dtype=bf16)"
                if draw.random() < 0.5:
                    label = f"aten::mm, op_id = {m}, sizes = [[{m}, 64], [64, 64]], input_op_ids = [({m},0), (2,1)]"
                db.execute("INSERT INTO StringIds VALUES (?, ?), (?, ?)", (m, kernel_of(m), 5000 + m, label))
                text, text_id = draw.choice(((label, None), (None, 5000 + m)))
                thread = owner | draw.choice((1, 2))
                db.execute(f"INSERT INTO {ranges} VALUES (?, ?, 59, ?, ?, ?)", (now, now + 500, text, thread, text_id))
                launch = (now + 100, now + 200, thread, number, 99)
                db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?, ?)", launch)
                ran = (now + 600, now + 900 + m, 0, 7, number, owner, m, m, None)
                db.execute(f"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES ({', '.join('?' * 9)})", ran)
                number, now = number + 1, now + 1000
        db.execute("INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (0, 77000, 1)")
    db.close()


def damaged_export(draw: Random, path: Path) -> None:
    """An export to which one to three things were done, none of which makes a row that looks right and is wrong."""
    export(draw, path, draw.randint(1, 6))
    with sqlite3.connect(path) as db:
        db.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        for _ in range(draw.randint(0, 3)):
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            if not tables:
                break
            table = draw.choice(tables)
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            column = draw.choice(columns)
            way = draw.randrange(5)
            some = f"rowid IN (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET {draw.randrange(6)})"
            if way == 0 and len(columns) > 1 and column != "id":
                db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
            elif way == 1:
                db.execute(f"DELETE FROM {table} WHERE {some}")
            elif way == 2 and draw.random() < 0.3:
                db.execute(f"DROP TABLE {table}")
            elif column not in ("id", "value", "text"):
                odd = draw.choice((None, "x", b"\xff", 1.5, b""))
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {some if way == 3 else '1'}", (odd,))
            elif column in ("value", "text"):
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {some}", (draw.choice((None, b"\xff\xfe")),))
    db.close()


# ncu

_FIXED = ("ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream", "Device", "CC")
_RANGE = "thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg"


def report(draw: Random, calls: int = 6) -> list[list[str]]:
    """Rows of a CSV, raw or details page, in English or German."""
    details, german = draw.random() < 0.5, draw.random() < 0.5
    more = (_RANGE, "Metric Name", "Metric Unit", "Metric Value") if details else (_RANGE, "gpu__time_duration.sum")
    rows = [[*_FIXED, *more]]
    if not details:
        rows.append([""] * len(_FIXED) + ["", "us"])
    for m in range(1, calls + 1):
        label = f"<default domain>:gemm(m={m},n=64,k=64,dtype=bf16):none:none:none:none:registered"
        fixed = [str(m), "77", "python", "host", kernel_of(m), "1", "7", "0", "9.0", label]
        time = f"{1000.0 + m * 1.25:,.2f}"
        time = time.translate(str.maketrans(".,", ",.")) if german else time
        if details:
            rows.append([*fixed, "SM Frequency", "Ghz", "1,75" if german else "1.75"])
            rows.append([*fixed, "Duration", "us", time])
        else:
            rows.append([*fixed, time])
    return rows


def write_report(rows: list[list[str]], path: Path) -> None:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    path.write_text("==PROF== Connected to process 77\n" + text.getvalue(), encoding="utf-8")


def damaged_report(draw: Random, path: Path) -> None:
    """A CSV to which one to three things were done."""
    rows = report(draw, draw.randint(1, 6))
    for _ in range(draw.randint(0, 3)):
        row = draw.choice(rows)
        way = draw.randrange(5)
        if way == 0 and row:
            row.pop()
        elif way == 1:
            rows.insert(draw.randint(0, len(rows)), draw.choice((["==PROF== note"], ["epoch 1"], [], ["a", "b"])))
        elif way == 2 and len(rows) > 1:
            rows.pop(draw.randrange(1, len(rows)))
        elif way == 3 and row and row is not rows[0]:
            row[-1] = draw.choice(("", "n/a", "nan", "inf", "-1,5", "1.2.3,4,5", "1e9", "９", "0"))
        elif way == 4:
            rows.insert(draw.randint(0, len(rows)), list(rows[0]))
    write_report(rows, path)


def damaged_bytes(draw: Random, path: Path) -> None:
    """Bytes of a file flipped, lost, doubled or cut off; what they say may still look right."""
    raw = bytearray(path.read_bytes())
    for _ in range(draw.randint(1, 8)):
        if not raw:
            break
        at = draw.randrange(len(raw))
        way = draw.randrange(5)
        if way == 0:
            raw[at] = draw.randrange(256)
        elif way == 1:
            del raw[at : at + draw.randint(1, 200)]
        elif way == 2:
            raw[at:at] = raw[at : at + draw.randint(1, 200)]
        elif way == 3 and draw.random() < 0.3:
            del raw[at:]
        else:
            raw[at:at] = draw.randbytes(draw.randint(1, 8))
    path.write_bytes(raw)


DAMAGED: dict[str, Callable[[Random, Path], None]] = {
    "kineto": damaged_trace,
    "nsys": damaged_export,
    "ncu": damaged_report,
}
"""A drawn profile of each kind, damaged so that rows still tell whether they are right."""
