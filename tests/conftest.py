"""How hypothesis draws, for all tests: no example has a time limit, which a busy machine would break."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile("default", deadline=None)
settings.register_profile("mutants", deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
"""For `tools/mutants.py`: the same examples every time, and none made smaller once one has failed."""
settings.load_profile("default")
