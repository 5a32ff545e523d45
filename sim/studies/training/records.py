"""Records of studies of memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PERCENT = 100.0


def less(part: float, whole: float) -> float:
    """By how much one is less than the other [%], negative."""
    return PERCENT * (part / whole - 1.0)


def record(table: Mapping[str, Any], figure: Mapping[str, Any], simulated: float) -> dict[str, Any]:
    """A published figure of a table of `workloads/published` beside what is simulated."""
    reason = {"reason": figure["reason"]} if "reason" in figure else {}
    return {
        "paper": table["paper"],
        "quantity": figure["quantity"],
        "unit": figure["unit"],
        "published": float(figure["published"]),
        "simulated": simulated,
        "ratio": simulated / float(figure["published"]),
        "status": figure["status"],
        "source": table["sources"][figure["source"]],
        **reason,
    }
