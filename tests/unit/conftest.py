"""Machines that several modules look at, by their sources and rules: calibrating them again changes no test."""

from __future__ import annotations

import pytest
from ruled import ruled

from simexplore.archs.schema.gpu import Gpu


@pytest.fixture(scope="session")
def h200() -> Gpu:
    return ruled("nvidia/h200-sxm")


@pytest.fixture(scope="session")
def l40s() -> Gpu:
    return ruled("nvidia/l40s")
