"""Traces of requests: the formats that there are, and what is wrong with those that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simexplore.errors import SimexploreError
from simexplore.sim.serve.load.request import Request
from simexplore.sim.serve.load.traces import parse_trace, read_trace

OWN = "arrival_s,input_tokens,output_tokens\n"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def line(**changes: object) -> str:
    """A line of Mooncake's."""
    entry = {"timestamp": 1000, "input_length": 700, "output_length": 5, "hash_ids": [1, 2], **changes}
    return json.dumps({key: value for key, value in entry.items() if value is not None})


def test_our_own_format_is_sorted_and_begins_at_zero() -> None:
    text = "output_tokens, arrival_s ,input_tokens,priority,note\n3,7.5,20,,x\n\n4,5,30,-1,y\n"
    assert parse_trace(text, "t") == [Request(0.0, 30, 4, -1), Request(2.5, 20, 3)]


def test_azures_format_has_moments_of_seven_digits() -> None:
    text = AZURE + "2023-11-16 18:17:03.9799600,4808,10\n2024-05-12 00:00:00+00:00,8,9\r\n"
    later = Request((176 * 86400 + 5 * 3600 + 42 * 60 + 56.02004) + 86400, 8, 9)
    first, second = parse_trace(text, "t")
    assert first == Request(0.0, 4808, 10)
    assert second.arrival_s == pytest.approx(177 * 86400 + 5 * 3600 + 42 * 60 + 56.02004, abs=1e-6)
    assert second == later._replace(arrival_s=second.arrival_s)


def test_mooncakes_format_names_blocks() -> None:
    text = line() + "\n\n" + line(timestamp=1500, hash_ids=None) + "\n"
    assert parse_trace(text, "t") == [Request(0.0, 700, 5, 0, (1, 2)), Request(0.5, 700, 5)]


def test_only_the_first_requests_are_read_where_no_more_are_wanted(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("\ufeff" + OWN + "1,2,3\n2,2,3\nbroken", encoding="utf-8")
    assert read_trace(file, 2) == [Request(0.0, 2, 3), Request(1.0, 2, 3)]


BROKEN = {
    "nothing": ("", "t: expected a CSV"),
    "blank": ("\n \n", "expected a CSV"),
    "no rows": (OWN, "t: expected requests, found none"),
    "words": ("hello there\n", "found the first line 'hello there'"),
    "other columns": ("a,b,c\n1,2,3\n", "expected a CSV"),
    "a column missing": ("arrival_s,input_tokens\n1,2\n", "expected a CSV"),
    "a column twice": ("arrival_s,input_tokens,output_tokens,arrival_s\n1,2,3,4\n", "t:1: expected each column once"),
    "too few cells": (OWN + "1,2\n", "t:2: expected 3 cells, found 2"),
    "too many cells": (OWN + "1,2,3,4\n", "t:2: expected 3 cells, found 4"),
    "a quote open": (OWN + '1,2,"3\n', "t:2: expected a line of CSV"),
    "no arrival": (OWN + ",2,3\n", "t:2: arrival_s: expected a number"),
    "arrival as a word": (OWN + "soon,2,3\n", "arrival_s: expected a number that is not negative, found 'soon'"),
    "arrival before zero": (OWN + "-1,2,3\n", "arrival_s"),
    "arrival without end": (OWN + "inf,2,3\n", "arrival_s"),
    "no number": (OWN + "nan,2,3\n", "arrival_s"),
    "no prompt": (OWN + "1,,3\n", "input_tokens: expected an integer"),
    "a prompt of nothing": (OWN + "1,0,3\n", "input_tokens: expected an integer from 1"),
    "half a token": (OWN + "1,2.5,3\n", "input_tokens: expected an integer"),
    "a negative answer": (OWN + "1,2,-3\n", "output_tokens"),
    "an answer without end": (OWN + "1,2,99999999999\n", "output_tokens: expected an integer from 1 to 10,000,000"),
    "digits of elsewhere": (OWN + "1,2,x3\n", "output_tokens"),
    "a priority of a half": (
        "arrival_s,input_tokens,output_tokens,priority\n1,2,3,0.5\n",
        "priority: expected an integer",
    ),
    "second line": (OWN + "1,2,3\n2,x,3\n", "t:3: input_tokens"),
    "no moment": (AZURE + ",1,2\n", "t:2: TIMESTAMP: expected a moment"),
    "a moment as a number": (AZURE + "12.5,1,2\n", "TIMESTAMP"),
    "a month too many": (AZURE + "2023-13-01 00:00:00,1,2\n", "TIMESTAMP"),
    "azure without a prompt": (AZURE + "2023-11-16 18:17:03.97,,2\n", "ContextTokens"),
    "azure with an answer of nothing": (AZURE + "2023-11-16 18:17:03.97,5,0\n", "GeneratedTokens"),
    "no JSON": (line() + "\n{oops\n", "t:2: expected a JSON object, found '{oops'"),
    "a list": (line() + "\n[1]\n", "t:2: expected a JSON object"),
    "a word": (line() + "\nnull\n", "t:2: expected a JSON object"),
    "no timestamp": (line(timestamp=None), "t:1: timestamp: expected a number"),
    "a timestamp as true": (line(timestamp=True), "timestamp"),
    "a timestamp as a list": (line(timestamp=[1]), "timestamp"),
    "no length": (line(input_length=None), "input_length: expected an integer"),
    "a length as a float": (line(input_length=7.0), "input_length"),
    "a length as true": (line(output_length=True), "output_length"),
    "a length of nothing": (line(output_length=0), "output_length"),
    "blocks as a number": (line(hash_ids=3), "hash_ids: expected a list of integers"),
    "blocks as words": (line(hash_ids=["a"]), "hash_ids"),
    "deep": ("{" + '"a":[' * 100_000, "expected a JSON object"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_with_a_trace_is_told_in_a_line(name: str) -> None:
    text, words = BROKEN[name]
    with pytest.raises(SimexploreError) as told:
        parse_trace(text, "t")
    assert words in str(told.value)
    assert "\n" not in str(told.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, words in (
        (tmp_path / "gone.csv", "can't be read"),
        (tmp_path, "can't be read"),
        (binary, "expected text"),
    ):
        with pytest.raises(SimexploreError, match=words):
            read_trace(path)
