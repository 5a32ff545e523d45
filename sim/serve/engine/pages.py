"""The pages of an engine's KV cache: who has which, and blocks of prompts that later ones may share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

FRESH = 1024
"""Pages that are numbered at once."""


@dataclass(slots=True)
class Block:
    """A block of prompts in the cache."""

    pages: list[int]
    users: int = 0
    """Sequences that read it now."""


@dataclass(slots=True)
class Pages:
    """Pages by number. What no sequence uses any more but others may ask for stays until its pages are needed.

    Args:
        total: pages that there are.
    """

    total: int
    free: int = field(init=False)
    """Pages that may be taken, those of blocks that nobody uses among them."""
    blocks: dict[int, Block] = field(default_factory=dict)
    """Blocks by name."""
    _idle: dict[int, Block] = field(default_factory=dict)
    """Those that nobody uses, the longest unused first."""
    _returned: list[int] = field(default_factory=list)
    _fresh: int = 0
    """Pages from this number on have never been taken."""

    def __post_init__(self) -> None:
        self.free = self.total

    @property
    def used(self) -> int:
        """Pages of sequences."""
        return self.total - self.free

    def take(self, count: int) -> list[int]:
        """Some pages, of which `free` must be as many."""
        self.free -= count
        while len(self._returned) < count:
            self._add()
        start = len(self._returned) - count
        taken = self._returned[start:]
        del self._returned[start:]
        return taken

    def take_one(self) -> int:
        """A page, of which one must be free."""
        self.free -= 1
        if not self._returned:
            self._add()
        return self._returned.pop()

    def _add(self) -> None:
        """More pages to take: some that were never taken, or else those of a block that nobody uses."""
        if self._fresh < self.total:
            after = min(self._fresh + FRESH, self.total)
            self._returned += range(self._fresh, after)
            self._fresh = after
        else:
            self._forget()

    def _forget(self) -> None:
        """Give up the block that nobody has used for longest."""
        name = next(iter(self._idle))
        self._returned += self._idle.pop(name).pages
        del self.blocks[name]

    def give_back(self, pages: Sequence[int]) -> None:
        """What a sequence alone had."""
        self._returned += pages
        self.free += len(pages)

    def known(self, names: Sequence[int]) -> int:
        """How many of a prompt's first blocks are there."""
        count = 0
        while count < len(names) and names[count] in self.blocks:
            count += 1
        return count

    def idle_pages(self, names: Sequence[int]) -> int:
        """Pages of those blocks that nobody uses: what sharing them takes from what is free."""
        return sum(len(self._idle[name].pages) for name in names if name in self._idle)

    def share(self, names: Sequence[int]) -> None:
        """A sequence begins to use blocks that are there."""
        for name in names:
            block = self.blocks[name]
            if not block.users:
                del self._idle[name]
                self.free -= len(block.pages)
            block.users += 1

    def publish(self, name: int, pages: list[int]) -> bool:
        """Make a sequence's own pages a block that it uses and others may; False where there is one already."""
        if name in self.blocks:
            return False
        self.blocks[name] = Block(pages, users=1)
        return True

    def leave(self, names: Sequence[int]) -> None:
        """A sequence no longer uses blocks; the last ones of a prompt are the first to go."""
        for name in reversed(names):
            block = self.blocks[name]
            block.users -= 1
            if not block.users:
                self._idle[name] = block
                self.free += len(block.pages)
