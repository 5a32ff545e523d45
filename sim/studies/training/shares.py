"""Shares in per cent."""

from __future__ import annotations

PERCENT = 100.0


def less(part: float, whole: float) -> float:
    """By how much one is less than the other [%], negative."""
    return PERCENT * (part / whole - 1.0)
