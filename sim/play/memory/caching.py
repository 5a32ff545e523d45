"""What a caching allocator takes from the device for the same tensors.

The rules are those of PyTorch's CUDA allocator (c10/cuda/CUDACachingAllocator.cpp). Sizes are rounded up to 512 B; up
to 1 MiB they share segments of 2 MiB, below 10 MiB segments of 20 MiB, and larger ones have segments of their own in
steps of 2 MiB. The smallest free block that fits is taken, and what is left of it stays free; free neighbours become
one; segments are never given back.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil

ROUND = 512
SMALL = 1 << 20
"""The largest size that shares small segments [B]."""
SMALL_SEGMENT = 2 << 20
MIDDLE = 10 << 20
"""Sizes below it share segments of `MIDDLE_SEGMENT` [B]."""
MIDDLE_SEGMENT = 20 << 20
STEP = 2 << 20
"""Segments of larger sizes are rounded up to it [B]."""
OF_LARGE = 1 << 20
"""What must be left of a block in a large segment for it to be split [B]."""


@dataclass
class _Segment:
    """Memory that was taken from the device, as blocks side by side."""

    small: bool
    blocks: list[list[int]] = field(default_factory=list)
    """Offset and size of each block, in order [B]."""


class CachingAllocator:
    """The state of one allocator: its segments, and which of their blocks are free."""

    def __init__(self) -> None:
        self.reserved_bytes = 0
        """What it has taken from the device [B]."""
        self._segments: list[_Segment] = []
        self._free: dict[bool, list[tuple[int, int, int]]] = {True: [], False: []}
        """Free blocks of small and of large segments: size, number of the segment, offset; the smallest first."""

    def allocate(self, size: float) -> tuple[int, int, int]:
        """A block for so many bytes: its size, the number of its segment, and where in it."""
        asked = max(ceil(size / ROUND), 1) * ROUND
        small = asked <= SMALL
        free = self._free[small]
        index = bisect_left(free, (asked, -1, -1))
        if index == len(free):
            self._take(asked, small)
            index = bisect_left(free, (asked, -1, -1))
        whole, number, offset = free.pop(index)
        left = whole - asked
        if left >= ROUND if small else left > OF_LARGE:
            self._cut(number, offset, asked)
            insort(free, (left, number, offset + asked))
            return asked, number, offset
        return whole, number, offset

    def release(self, block: tuple[int, int, int]) -> None:
        """Let a block be used again, joined with its free neighbours."""
        size, number, offset = block
        segment = self._segments[number]
        free, blocks = self._free[segment.small], segment.blocks
        index = bisect_left(blocks, [offset, 0])
        for beside in (index + 1, index - 1):
            if 0 <= beside < len(blocks):
                other = blocks[beside]
                place = bisect_left(free, (other[1], number, other[0]))
                if place < len(free) and free[place] == (other[1], number, other[0]):
                    free.pop(place)
                    first = min(index, beside)
                    blocks[first] = [min(offset, other[0]), size + other[1]]
                    blocks.pop(first + 1)
                    offset, size = blocks[first]
                    index = first
        insort(free, (size, number, offset))

    def _take(self, asked: int, small: bool) -> None:
        """A new segment, all of it one free block."""
        size = SMALL_SEGMENT if small else MIDDLE_SEGMENT if asked < MIDDLE else ceil(asked / STEP) * STEP
        self.reserved_bytes += size
        self._segments.append(_Segment(small, [[0, size]]))
        insort(self._free[small], (size, len(self._segments) - 1, 0))

    def _cut(self, number: int, offset: int, size: int) -> None:
        blocks = self._segments[number].blocks
        index = bisect_left(blocks, [offset, 0])
        whole = blocks[index][1]
        blocks[index : index + 1] = [[offset, size], [offset + size, whole - size]]


def reserved_bytes(changes: Iterable[tuple[str, float]]) -> float:
    """What a caching allocator has taken in the end, of births (bytes above zero) and deaths in order [B].

    A name that dies in parts, as operands do, has its newest blocks released.
    """
    allocator = CachingAllocator()
    alive: dict[str, list[tuple[float, tuple[int, int, int]]]] = defaultdict(list)
    for name, size in changes:
        if size > 0.0:
            alive[name].append((size, allocator.allocate(size)))
            continue
        left = -size
        while left > 0.0 and alive[name]:
            held, block = alive[name].pop()
            allocator.release(block)
            if held > left:
                alive[name].append((held - left, allocator.allocate(held - left)))
            left -= held
    return float(allocator.reserved_bytes)
