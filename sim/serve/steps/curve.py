"""A share of steps by a number of tokens: nodes, and more of them where a straight line is off."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from simexplore.sim.demand import FloatArray
from simexplore.sim.serve.steps.exact import LEVELS

TOLERANCE = 0.003
"""Of a step's time, that the middle of a cell may be off."""
STRIDE = 8
"""Kernels change at multiples of this many tokens."""
NARROW = 2
"""Width of a cell that is halved no more."""
SMALLEST_RANGE = 64
"""Tokens of the first range of nodes; the next are twice as long each."""
EACH = 256
"""Tokens, and sequences, up to which each number is a node."""

Counts = NDArray[np.int64]
Levels = tuple[float, float, float, float, float, float]
"""Times by level of power, of which there are three, then energies (`exact.levels_of`)."""


NOTHING: Levels = (0.0,) * 6


class Curve:
    """Amounts by a number of tokens: nodes are made range by range, as they are asked for."""

    def __init__(self, evaluate: Callable[[Counts], FloatArray], most: int = 0, tolerance: float = TOLERANCE) -> None:
        """No node is made yet.

        Args:
            evaluate: tells amounts of shape (rows, 2 LEVELS) at numbers of tokens.
            most: number up to which nodes are made together, beyond the first ranges.
            tolerance: share of an amount that the middle of a cell may be off.
        """
        self._evaluate, self._most, self._tolerance = evaluate, most, tolerance
        self._ranges: dict[int, tuple[list[int], list[Levels]]] = {}
        self._known: dict[int, Levels] = {0: NOTHING}

    def __call__(self, tokens: int) -> Levels:
        """The amounts at a number of tokens, 0 or more."""
        found = self._known.get(tokens)
        if found is None:
            nodes, values = self._range_of(tokens)
            right = bisect_left(nodes, tokens)
            left = max(right - 1, 0)
            found = between(nodes[left], values[left], nodes[right], values[right], tokens)
            self._known[tokens] = found
        return found

    def _range_of(self, tokens: int) -> tuple[list[int], list[Levels]]:
        """The nodes of the range that a number is in, with their amounts."""
        first, last = 1, SMALLEST_RANGE
        while last < tokens:
            first, last = last + 1, max(2 * last, self._most if last == EACH else 0)
        if first not in self._ranges:
            nodes = list(range(first, last + 1)) if last <= EACH else seeds(first, last)
            self._ranges[first] = refined(nodes, self._evaluate, self._tolerance)
        return self._ranges[first]


def seeds(first: int, last: int) -> list[int]:
    """The nodes of a range before its cells are halved: pairs at multiples of a width that grows with the numbers."""
    nodes, at = {first, last}, first - 1
    while at < last:
        nodes.add(at + 1)
        at += max(2 * STRIDE, (1 << at.bit_length() - 1) // 64)
        nodes.add(min(at, last))
    return sorted(nodes)


def paired(multiples: Iterable[int], last: int) -> list[int]:
    """Multiples, and the number after each, where kernels change."""
    return [number for each in multiples for number in (each, each + 1) if number <= last]


def refined(
    nodes: list[int], evaluate: Callable[[Counts], FloatArray], tolerance: float
) -> tuple[list[int], list[Levels]]:
    """Nodes with more of them in cells whose middle is off the straight line, and the amounts at each."""
    known = dict(zip(nodes, as_levels(evaluate(np.array(nodes))), strict=True))
    cells = [(a, b) for a, b in pairwise(nodes) if b - a > NARROW]
    while cells:
        middles = {cell: _middle(*cell) for cell in cells}
        new = sorted({number for pair in middles.values() for number in pair if number not in known})
        if new:
            known.update(zip(new, as_levels(evaluate(np.array(new))), strict=True))
        cells = [
            half
            for (a, b), (middle, after) in middles.items()
            if max(_off(a, b, middle, known), _off(a, b, after, known)) > tolerance
            for half in ((a, middle), (after, b))
            if half[1] - half[0] > NARROW
        ]
    ordered = sorted(known)
    return ordered, [known[number] for number in ordered]


def _middle(a: int, b: int) -> tuple[int, int]:
    """A multiple of the stride in a cell, and the number after it."""
    middle = (a + b) // (2 * STRIDE) * STRIDE
    return (middle, middle + 1) if a < middle and middle + 1 < b else ((a + b) // 2,) * 2


def _off(a: int, b: int, middle: int, known: dict[int, Levels]) -> float:
    guess, exact = between(a, known[a], b, known[b], middle)[LEVELS - 1], known[middle][LEVELS - 1]
    return abs(guess - exact) / exact


def as_levels(amounts: FloatArray) -> list[Levels]:
    """Rows as tuples of plain numbers."""
    return list(map(tuple, amounts.tolist()))


def between(a: float, at_a: Levels, b: float, at_b: Levels, x: float) -> Levels:
    """The straight line between two nodes."""
    if b <= a or x >= b:
        return at_b
    share = (x - a) / (b - a)
    # Written out, since this is most of what a step with prompts costs the simulator.
    a0, a1, a2, a3, a4, a5 = at_a
    b0, b1, b2, b3, b4, b5 = at_b
    return (
        a0 + share * (b0 - a0),
        a1 + share * (b1 - a1),
        a2 + share * (b2 - a2),
        a3 + share * (b3 - a3),
        a4 + share * (b4 - a4),
        a5 + share * (b5 - a5),
    )
