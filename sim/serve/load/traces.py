"""Requests from files: our own CSV, Azure's traces of inference, and Mooncake's with the blocks that prompts share.

Own: `arrival_s,input_tokens,output_tokens`, and `priority` if wanted. Azure (AzurePublicDataset, AzureLLMInference
2023 and 2024): `TIMESTAMP,ContextTokens,GeneratedTokens`. Mooncake (Qin et al. 2024, arXiv:2407.00079): a JSON object a
line, `timestamp` [ms], `input_length`, `output_length`, `hash_ids` of blocks of 512 tokens. The format is known by its
first line, and time begins with the first request.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Any

from simexplore.errors import SimexploreError
from simexplore.sim.serve.load.arrivals import MOST_REQUESTS, MOST_TOKENS
from simexplore.sim.serve.load.request import Request
from simexplore.workloads.hints import found

OWN = ("arrival_s", "input_tokens", "output_tokens")
AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
MOONCAKE = ("timestamp", "input_length", "output_length")
BLOCK_TOKENS = 512
"""Of a block of a Mooncake trace."""
MOST_BYTES = 2_000_000_000
_FORMS = f"a CSV with {','.join(OWN)} or {','.join(AZURE)}, or JSON lines with {', '.join(MOONCAKE)}"
_EPOCH = datetime(2000, 1, 1)

Entry = Mapping[str, Any]


def read_trace(path: Path, limit: int | None = None) -> list[Request]:
    """The requests of a file in the order of their arrival, the first at time 0.

    Args:
        path: the file.
        limit: requests to read; None: all.

    Raises:
        SimexploreError: there is no such file, it is of no format that is known, or a line of it is no request.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise SimexploreError(
                f"{path}: expected a trace of at most {MOST_BYTES:,} bytes, found {path.stat().st_size:,}"
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SimexploreError(f"{path}: expected text in UTF-8, found other bytes") from None
    except OSError as error:
        raise SimexploreError(f"{path}: the trace can't be read: {error.strerror}") from None
    return parse_trace(text, str(path), limit)


def parse_trace(text: str, where: str, limit: int | None = None) -> list[Request]:
    """As `read_trace`, of a text; `where` is its name in messages."""
    requests: list[Request] = []
    for line, request in _requests(text, where):
        if len(requests) >= MOST_REQUESTS:
            raise SimexploreError(f"{where}:{line}: expected at most {MOST_REQUESTS:,} requests")
        requests.append(request)
        if limit is not None and len(requests) >= limit:
            break
    if not requests:
        raise SimexploreError(f"{where}: expected requests, found none")
    first_s = min(request.arrival_s for request in requests)
    shifted = [request._replace(arrival_s=request.arrival_s - first_s) for request in requests]
    return sorted(shifted, key=lambda request: request.arrival_s)


def _requests(text: str, where: str) -> Iterator[tuple[int, Request]]:
    lines = text.splitlines()
    head = next((line for line in lines if line.strip()), "")
    if head.lstrip().startswith("{"):
        yield from _of_mooncake(lines, where)
        return
    columns = [name.strip() for name in head.split(",")]
    readers: dict[tuple[str, ...], Callable[[Entry, str], Request]] = {OWN: _own, AZURE: _azure}
    for names, reader in readers.items():
        if set(names) <= set(columns):
            yield from _of_table(lines, where, reader)
            return
    raise SimexploreError(f"{where}: expected {_FORMS}, found the first line {found(head)}")


def _of_table(lines: list[str], where: str, reader: Callable[[Entry, str], Request]) -> Iterator[tuple[int, Request]]:
    rows = csv.reader(lines, strict=True)
    names: list[str] = []
    try:
        for row in rows:
            place = f"{where}:{rows.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if not names:
                names = [name.strip() for name in row]
                if len(set(names)) < len(names):
                    raise SimexploreError(f"{place}: expected each column once, found {found(','.join(names))}")
                continue
            if len(row) != len(names):
                raise SimexploreError(f"{place}: expected {len(names)} cells, found {len(row)}")
            yield rows.line_num, reader(dict(zip(names, row, strict=True)), place)
    except csv.Error as error:
        raise SimexploreError(f"{where}:{rows.line_num}: expected a line of CSV, found: {error}") from None


def _own(entry: Entry, place: str) -> Request:
    arrival_s = _number(entry, "arrival_s", place)
    priority = _whole(entry, "priority", place, least=-MOST_TOKENS) if entry.get("priority", "").strip() else 0
    return Request(arrival_s, _whole(entry, OWN[1], place), _whole(entry, OWN[2], place), priority)


def _azure(entry: Entry, place: str) -> Request:
    text = entry["TIMESTAMP"].strip()
    whole, _, fraction = text.partition(".")
    try:
        # Seven digits of a second are one more than Python reads, and time zones are not everywhere.
        digits = re.match(r"\d{0,6}", fraction)
        moment = datetime.fromisoformat(whole + (f".{digits[0]}" if digits and digits[0] else "")).replace(tzinfo=None)
    except ValueError:
        raise _wrong(place, "TIMESTAMP", "a moment such as 2023-11-16 18:17:03.9799600", text) from None
    return Request(
        (moment - _EPOCH) / timedelta(seconds=1), _whole(entry, AZURE[1], place), _whole(entry, AZURE[2], place)
    )


def _of_mooncake(lines: list[str], where: str) -> Iterator[tuple[int, Request]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{where}:{number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            raise SimexploreError(f"{place}: expected a JSON object, found {found(line)}") from None
        if not isinstance(entry, dict):
            raise SimexploreError(f"{place}: expected a JSON object, found {found(line)}")
        blocks = entry.get("hash_ids", [])
        if not isinstance(blocks, list) or not all(type(block) is int for block in blocks):
            raise _wrong(place, "hash_ids", "a list of integers", blocks)
        arrival_s = _number(entry, "timestamp", place) / 1000.0
        prompt, answer = _whole(entry, MOONCAKE[1], place), _whole(entry, MOONCAKE[2], place)
        yield number, Request(arrival_s, prompt, answer, 0, tuple(blocks))


def _number(entry: Entry, key: str, place: str) -> float:
    value = entry.get(key)
    try:
        number = float(value) if not isinstance(value, bool | None) else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    if not (isfinite(number) and number >= 0.0):
        raise _wrong(place, key, "a number that is not negative", value)
    return number


def _whole(entry: Entry, key: str, place: str, least: int = 1) -> int:
    value = entry.get(key)
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if type(number) is not int or not least <= number <= MOST_TOKENS:
        raise _wrong(place, key, f"an integer from {least:,} to {MOST_TOKENS:,}", value)
    return number


def _wrong(place: str, key: str, expected: str, value: object) -> SimexploreError:
    return SimexploreError(f"{place}: {key}: expected {expected}, found {found(value)}")
