"""Operator records as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def column(value: Any) -> NDArray[np.float64]:
    """An operator's field as an array of shape (rows, 1), ready to meet candidates of shape (1, candidates)."""
    return np.atleast_1d(np.asarray(value, dtype=np.float64))[:, None]
