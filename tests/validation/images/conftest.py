"""What the studies of image models share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest


@pytest.fixture
def check_bound() -> Callable[[Mapping[str, Any], Mapping[str, Any]], None]:
    """A figure is within its bound, an input comes back, or a known gap is still open and has its reason."""

    def check(figure: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        error = abs(record["ratio"] - 1.0)
        if figure["status"] == "known_gap":
            assert error > figure["within"], "the gap has closed: enforce it"
            assert record["reason"]
        elif figure["status"] == "input":
            assert record["ratio"] == pytest.approx(1.0)
        else:
            assert error <= figure["within"]

    return check
