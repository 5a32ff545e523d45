"""Bars and colours of tables on a terminal."""

from __future__ import annotations

import re

import pytest

from simexplore.cli import marks, output
from simexplore.sim.estimate.traits import BOUNDS

HEADERS = ["name", "bound", "share"]
ROWS = [["attention", "dram", "50.0 %"], ["norm", "launch", "12.5 %"], ["idle", "", ""]]


@pytest.mark.parametrize(
    ("cell", "drawn"),
    [
        ("100.0 %", "████████"),
        ("50.0 %", "████"),
        ("12.5 %", "█"),
        ("14.1 %", "█▏"),  # 9.02 eighths
        ("0.8 %", "▏"),  # 0.51 eighths
        ("0.7 %", ""),
        ("120.0 %", "████████"),
        ("−5.0 %", ""),
        ("–", ""),
        ("", ""),
    ],
)
def test_a_bar_is_as_long_as_its_share(cell: str, drawn: str) -> None:
    assert marks.bar(cell) == drawn


def test_every_bound_has_a_colour() -> None:
    assert set(marks.COLOURS) == set(BOUNDS)


def test_bars_come_where_words_keep_their_room() -> None:
    """Text of 20 characters keeps 16, and is followed by 6 of the share, 8 of the bar, and two spaces between them."""
    lines = [["name", "share"], ["a name of many words", "50.0 %"]]
    assert marks.has_room(lines, 1, 34)
    assert not marks.has_room(lines, 1, 33)
    assert not marks.has_room([["name", "time"], ["a", "1"]], 1, 80)


def test_a_bar_stands_behind_its_share() -> None:
    assert marks.with_bars([["name", "share", "energy"], ["a", "25.0 %", "3"]]) == [
        ["name", "share", "", "energy"],
        ["a", "25.0 %", "██", "3"],
    ]


def drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, **extra: str) -> list[str]:
    """The lines of a table on a terminal of this width."""
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": str(width), "TERM": "xterm-256color", "FORCE_COLOR": "1", **extra}.items():
        monkeypatch.setenv(name, value)
    output.print_table(HEADERS, ROWS, left=2)
    return capsys.readouterr().out.splitlines()


def test_a_terminal_has_bars_in_the_colour_of_the_bound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, attention, norm, idle = drawn(monkeypatch, capsys, 80)
    assert "\x1b[35mdram" in attention
    assert "\x1b[35m████" in attention
    assert "\x1b[33mlaunch" in norm
    assert "\x1b[33m█" in norm
    assert "\x1b" not in idle
    assert attention.startswith("attention  ")


def test_no_color_leaves_the_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = drawn(monkeypatch, capsys, 80, NO_COLOR="1")
    assert not re.search(r"\x1b\[3\dm", "".join(lines))
    assert "████" in lines[1]


def test_a_narrow_terminal_has_the_words_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [re.sub(r"\x1b\[\d*m", "", line).rstrip() for line in drawn(monkeypatch, capsys, 27)]
    assert lines == [
        "name       bound    share",
        "attention  dram    50.0 %",
        "norm       launch  12.5 %",
        "idle",
    ]


def test_what_is_piped_has_neither(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    output.print_table(HEADERS, ROWS, left=2)
    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "█" not in told
