"""Random loads and engines, and an engine whose pages are counted after each step."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st

from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.engine.settings import Settings
from simexplore.sim.serve.load.request import Request

requests = st.lists(
    st.builds(
        Request,
        st.floats(0.0, 30.0),
        st.integers(1, 40),
        st.integers(1, 30),
        st.integers(0, 2),
        st.lists(st.integers(0, 3), max_size=5).map(tuple),
    ),
    min_size=1,
    max_size=25,
)
engines = st.builds(
    Settings,
    max_tokens=st.integers(4, 64),
    max_sequences=st.integers(1, 12),
    pages=st.integers(20, 60),
    page_tokens=st.just(4),
    mixed=st.booleans(),
    reserve=st.sampled_from([0.0, 0.5, 1.0]),
    eviction=st.sampled_from(["recompute", "swap"]),
    swap_s=st.just(0.125),
    block_tokens=st.sampled_from([0, 8]),
)


class Watched(Engine):
    """An engine whose pages are counted after each step."""

    def _end(self, answered: list) -> None:  # type: ignore[type-arg]
        super()._end(answered)
        self.check()

    def _schedule(self) -> tuple:  # type: ignore[type-arg]
        self.check()
        planned = super()._schedule()
        self.check()
        return planned

    def check(self) -> None:
        """Every page has one owner, and each sequence as many as its tokens need."""
        own = Counter(page for sequence in self.sequences for page in sequence.own)
        blocks = Counter(page for block in self.pages.blocks.values() for page in block.pages)
        owned = own + blocks
        assert not [page for page, owners in owned.items() if owners > 1 or not 0 <= page < self.pages.total]
        idle = sum(len(block.pages) for block in self.pages.blocks.values() if not block.users)
        assert self.pages.free == self.pages.total - owned.total() + idle
        assert self._committed == sum(sequence.committed for sequence in self.sequences) <= self.pages.total
        for sequence in self._running:
            held = len(sequence.own) * 4 + len(sequence.shared) * self.settings.block_tokens
            assert held >= sequence.cached(self._step) > held - 8
