"""How hypothesis draws, for all tests, and what runs only when it is asked for.

No example has a time limit, which a busy machine would break.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import tracebacks
from hypothesis import Phase, settings

settings.register_profile("default", deadline=None)
settings.register_profile("mutants", deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
"""For `tools/mutants.py`: the same examples every time, and none made smaller once one has failed."""
settings.register_profile("ci", deadline=None, derandomize=True)
"""Where a change is judged, the same examples every time; elsewhere new ones, which find what these don't."""
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True, scope="session")
def no_tracebacks() -> Iterator[None]:
    """No command of any test may end in a traceback, in this process or in another."""
    with pytest.MonkeyPatch.context() as patch:
        tracebacks.forbid(patch)
        yield


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutation", action="store_true", help="try mutants of the physics too (a quarter of an hour)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--mutation"):
        return
    for item in items:
        if item.get_closest_marker("mutation"):
            item.add_marker(pytest.mark.skip(reason="a quarter of an hour: pytest --mutation tests/mutation"))
