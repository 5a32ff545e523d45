"""Machines that several modules look at, as their sources state them: calibrating them again changes no test."""

from __future__ import annotations

import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu


@pytest.fixture(scope="session")
def h200() -> Gpu:
    return load_arch("nvidia/h200-sxm@facts")


@pytest.fixture(scope="session")
def l40s() -> Gpu:
    return load_arch("nvidia/l40s@facts")
