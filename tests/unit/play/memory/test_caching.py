"""The caching allocator by hand, and what holds of any births and deaths."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simexplore.sim.play.memory.caching import CachingAllocator, reserved_bytes

KIB, MIB = 1 << 10, 1 << 20


@pytest.mark.parametrize(
    ("size", "reserved"),
    [
        (1, 2 * MIB),
        (MIB, 2 * MIB),
        (MIB + 1, 20 * MIB),
        (10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB),
        (10 * MIB + 1, 12 * MIB),
        (31 * MIB, 32 * MIB),
    ],
)
def test_a_first_tensor_takes_a_segment_of_its_size(size: int, reserved: int) -> None:
    assert reserved_bytes([("a", size)]) == reserved


def test_small_tensors_share_a_segment_and_are_rounded_up() -> None:
    two = CachingAllocator()
    assert [two.allocate(size) for size in (1, 513, 512)] == [(512, 0, 0), (1024, 0, 512), (512, 0, 1536)]
    assert two.reserved_bytes == 2 * MIB


def test_the_smallest_free_block_that_fits_is_taken() -> None:
    one = CachingAllocator()
    first, kept, second, _ = (one.allocate(size * KIB) for size in (64, 1, 32, 1))
    one.release(first)
    one.release(second)
    assert one.allocate(30 * KIB) == (30 * KIB, *second[1:])
    assert one.allocate(60 * KIB) == (60 * KIB, *first[1:])
    assert kept == (KIB, 0, 64 * KIB)


def test_free_neighbours_become_one() -> None:
    one = CachingAllocator()
    blocks = [one.allocate(512 * KIB) for _ in range(4)]
    for block in (blocks[0], blocks[2], blocks[1]):
        one.release(block)
    assert one.allocate(MIB) == (MIB, 0, 0)
    assert one.allocate(512 * KIB) == (512 * KIB, 0, MIB)
    assert one.reserved_bytes == 2 * MIB


def test_what_is_left_of_a_large_block_is_split_off_only_above_a_mebibyte() -> None:
    one = CachingAllocator()
    one.release(one.allocate(20 * MIB))
    assert one.allocate(19 * MIB) == (20 * MIB, 0, 0), "one MiB is left, and goes with it"
    two = CachingAllocator()
    two.release(two.allocate(20 * MIB))
    assert two.allocate(18 * MIB) == (18 * MIB, 0, 0)
    assert two.allocate(2 * MIB) == (2 * MIB, 0, 18 * MIB)


def test_a_hole_that_is_too_small_makes_the_reserve_larger_than_the_peak() -> None:
    changes = [("a", 30 * MIB), ("b", 30 * MIB), ("a", -30 * MIB), ("c", 40 * MIB)]
    assert reserved_bytes(changes) == 100 * MIB


def test_operands_go_in_parts() -> None:
    assert reserved_bytes([("o", 30 * MIB), ("o", 20 * MIB), ("o", -40 * MIB), ("x", 20 * MIB)]) == 50 * MIB


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40 * MIB)), max_size=25))
def test_it_reserves_what_is_alive_at_least_and_never_shares_a_byte(moves: list[tuple[int, int]]) -> None:
    allocator, alive, peak = CachingAllocator(), {}, 0  # type: ignore[var-annotated]
    for name, size in moves:
        if name in alive:
            allocator.release(alive.pop(name))
        else:
            alive[name] = allocator.allocate(size)
            assert alive[name][0] >= size
        spans = sorted((number, offset, offset + held) for held, number, offset in alive.values())
        assert all(a[0] != b[0] or a[2] <= b[1] for a, b in itertools.pairwise(spans))
        peak = max(peak, sum(held for held, _, _ in alive.values()))
        assert allocator.reserved_bytes >= peak
    for block in alive.values():
        allocator.release(block)
    free = [block for blocks in allocator._free.values() for block in blocks]
    assert sum(size for size, _, _ in free) == allocator.reserved_bytes
    assert len(free) == len(allocator._segments), "each segment is one free block again"
