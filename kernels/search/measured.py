"""What was measured of search among keys: `measured.json`, which `tools/measure_search.py` writes."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np


def measured() -> dict[str, Any]:
    """The file: `about`, what was measured on which machine and how, and `rows`, one a search that found enough."""
    told: dict[str, Any] = json.loads(
        (files("simexplore.kernels.search") / "measured.json").read_text(encoding="utf-8")
    )
    return told


def visited_keys(keys: int, index: str = "projected") -> float:
    """Keys that a search visits to find what it must among so many, the mean over heads.

    Straight between measured numbers of keys, both as logarithms; beyond them the nearest one's share holds.
    """
    rows = [row for row in measured()["rows"] if row["index"] == index]
    sizes = sorted({row["keys"] for row in rows})
    shares = [np.mean([row["visited"] / row["keys"] for row in rows if row["keys"] == size]) for size in sizes]
    return keys * float(np.exp(np.interp(np.log(keys), np.log(sizes), np.log(shares))))
