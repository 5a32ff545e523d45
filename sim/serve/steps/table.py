"""Step times remembered: by tokens, by sequences and their context, and by pieces of prompts.

Every share of a step is evaluated at nodes and interpolated between them. Kernels change at multiples of tile sizes and
at thresholds of the engine's rules, so nodes come in pairs about multiples of 8, and a cell in whose middle the
straight line is off by more than `TOLERANCE` of the step is halved until it is as small as it gets.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.sim.demand import FloatArray
from simexplore.sim.serve.steps.exact import LEVELS, Model, levels_of, settled
from simexplore.workloads.families.decoder.options import Sizes
from simexplore.workloads.families.decoder.step import Share

TOLERANCE = 0.003
"""Of a step's time, that the middle of a cell may be off."""
HEAD_TOLERANCE = 0.05
"""The same of the output head, which is a small part of a step."""
SMALLEST_RANGE = 64
"""Tokens of the first range of nodes; the next are twice as long each."""
STRIDE = 8
"""Kernels change at multiples of this many tokens."""
NARROW = 2
"""Width of a cell that is halved no more."""
DENSE = 16
"""Pieces of prompts up to which each number is a node."""
BLOCK = 32
"""Numbers of sequences that are evaluated together."""
EACH = 256
"""Tokens, and sequences, up to which each number is a node."""
TOGETHER = 4
"""Numbers of pieces that are evaluated together."""
OCTAVE = 8
"""Contexts evaluated in each doubling, before cells are halved."""
TILE = 64
"""Rows of queries of the smallest tile that attention has for a prompt."""
SHORTEST = 16
"""Context below which attention is as at this one."""

Counts = NDArray[np.int64]
Levels = tuple[float, float, float, float, float, float]
"""Times by level of power, of which there are three, then energies (`exact.levels_of`)."""


NOTHING: Levels = (0.0,) * 6


class Row(NamedTuple):
    """Steps of some sequences that decode, by the mean of their contexts; straight between nodes."""

    contexts: list[float]
    times_s: list[float]
    energies_j: list[float]
    time_slopes: list[float]
    """Of the cell from each node to the next [s for each token of context]."""
    energy_slopes: list[float]


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


class StepTable:
    """The steps of a model on a machine, remembered as they are asked for."""

    def __init__(
        self, model: Model, longest: int, most: int = 0, gpus: int = 1, send: Callable[[float], float] | None = None
    ) -> None:
        """Nothing is remembered yet.

        Args:
            model: on each of its GPUs.
            longest: context of any sequence [tokens]; longer ones are as at this one.
            most: tokens of a step, as far as that is known.
            gpus: that share a step, each of which takes as much energy.
            send: time that a step's tokens take from one stage of a pipeline to the next, for all of them [s].
        """
        self._model, self._gpus, self._send = model, gpus, send
        self._held_w = float(model.board.held_w)
        self._longest = max(longest, 2 * SHORTEST)
        self._body = Curve(lambda tokens: self._column(tokens, "body"), most)
        self._head = Curve(lambda tokens: self._column(tokens, "head"), 0, HEAD_TOLERANCE)
        self._rows: dict[int, Row] = {}
        self._attention: dict[int, tuple[list[float], list[Levels]]] = {}
        self._pieces: dict[tuple[int, int], list[Levels]] = {}
        self._queries: list[int] = []

    def _column(self, tokens: Counts, share: Share) -> FloatArray:
        none = np.zeros_like(tokens)
        sizes = Sizes(none, none, none, none, none, tokens, tokens)
        return levels_of(self._model, sizes, share)

    def row(self, sequences: int, filled: int) -> Row:
        """Steps in which sequences decode and nothing else happens; all but attention is done for `filled` of them."""
        found = self._rows.get(sequences)
        if found is None:
            contexts, values = self._attention_of(sequences)
            constant = _added(self._body(filled), self._head(filled))
            steps = [self._whole(_added(constant, value), filled) for value in values]
            found = self._rows[sequences] = row_of(contexts, steps)
        return found

    def step(
        self, sequences: int, context: float, pieces: int, queries: float, past: float, sampled: int
    ) -> tuple[float, float]:
        """Time [s] and energy of all GPUs [J] of a step of sequences and of pieces of prompts.

        Args:
            sequences: that decode.
            context: the mean of their contexts [tokens].
            pieces: of prompts, at least one.
            queries: the mean number of tokens of a piece.
            past: earlier tokens of each piece, so that the pairs of query and key are as many as they are.
            sampled: tokens that go through the output head.
        """
        tokens = sequences + round(pieces * queries)
        total = _added(self._body(tokens), self._head(sampled))
        total = _added(total, self._prefill(pieces, queries, past))
        if sequences:
            total = _added(total, _at(self._attention_of(sequences), context))
        return self._whole(total, tokens)

    def _whole(self, levels: Levels, tokens: int) -> tuple[float, float]:
        """Time [s] and energy of all GPUs [J] of a step."""
        time_s, energy_j = settled(levels, self._held_w)
        return time_s + (self._send(tokens) if self._send else 0.0), self._gpus * energy_j

    def _attention_of(self, sequences: int) -> tuple[list[float], list[Levels]]:
        """Attention of sequences that decode: contexts, and the amounts at each."""
        found = self._attention.get(sequences)
        if found is None:
            few, many = _enclosing(sequences)
            if few == many:
                self._fill_attention(sequences)
                return self._attention[sequences]
            rows = [self._attention_of(count) for count in (few, many)]
            contexts = sorted({*rows[0][0], *rows[1][0]})
            ends = ([_at(row, context) for context in contexts] for row in rows)
            values = [between(few, low, many, high, sequences) for low, high in zip(*ends, strict=True)]
            found = self._attention[sequences] = (contexts, values)
        return found

    def _fill_attention(self, sequences: int) -> None:
        """The rows of a block of numbers of sequences."""
        first = (sequences - 1) // BLOCK * BLOCK + 1
        block = range(first, first + BLOCK)
        if sequences > EACH:
            power = 1 << (sequences - 1).bit_length() - 1
            block = range(power + power // BLOCK, 2 * power + 1, power // BLOCK)
        known = self._decode([(count, context) for count in block for context in self._contexts()])
        least = {count: 1.5 * TOLERANCE * self._body(count)[LEVELS - 1] for count in block}
        cells = [(count, a, b) for count in block for a, b in pairwise(self._contexts())]
        while cells:
            middles = [(count, (a + b) // 2) for count, a, b in cells]
            known.update(self._decode(middles))
            cells = [
                half
                for (count, a, b), (_, middle) in zip(cells, middles, strict=True)
                if self._bent(known, count, (a, middle, b), least[count])
                for half in ((count, a, middle), (count, middle, b))
                if half[2] - half[1] > 1
            ]
        by_count: dict[int, list[int]] = {count: [] for count in block}
        for count, context in sorted(known):
            by_count[count].append(context)
        for count, contexts in by_count.items():
            values = [known[count, context] for context in contexts]
            self._attention[count] = ([float(context) for context in contexts], values)

    @staticmethod
    def _bent(known: dict[tuple[int, int], Levels], count: int, cell: tuple[int, int, int], least: float) -> bool:
        """Whether the middle of a cell is off the straight line by more than is allowed of the whole step."""
        a, middle, b = (known[count, context][LEVELS - 1] for context in cell)
        straight = a + (b - a) * (cell[1] - cell[0]) / (cell[2] - cell[0])
        return abs(middle - straight) > least + 1.5 * TOLERANCE * middle

    def _contexts(self) -> list[int]:
        """The contexts of all rows before their cells are halved."""
        doublings = np.log2(self._longest / SHORTEST)
        steps = np.arange(0, int(np.ceil(doublings * OCTAVE)) + 1)
        return sorted({round(SHORTEST * 2.0 ** (step / OCTAVE)) for step in steps} | {self._longest})

    def _decode(self, points: list[tuple[int, int]]) -> dict[tuple[int, int], Levels]:
        """Attention of sequences at contexts."""
        sequences, contexts = (np.array(column) for column in zip(*points, strict=True))
        none = np.zeros_like(sequences)
        sizes = Sizes(sequences, contexts, none, none, none, sequences, sequences)
        return dict(zip(points, as_levels(levels_of(self._model, sizes, "decode")), strict=True))

    def _prefill(self, pieces: int, queries: float, past: float) -> Levels:
        """Attention of pieces, straight between nodes of each of its three sizes."""
        few, many = _around(pieces)
        at_few = self._of_pieces(few, queries, past)
        return at_few if few == many else between(few, at_few, many, self._of_pieces(many, queries, past), pieces)

    def _of_pieces(self, pieces: int, queries: float, past: float) -> Levels:
        near, far = _past_nodes(past)
        at_near = self._at_past(pieces, near, queries)
        return at_near if near == far else between(near, at_near, far, self._at_past(pieces, far, queries), past)

    def _at_past(self, pieces: int, past: int, queries: float) -> Levels:
        while not self._queries or self._queries[-1] < queries:
            self._more_queries()
        values = self._pieces.get((pieces, past), [])
        if len(values) < len(self._queries):
            self._evaluate_pieces(pieces, past)
            values = self._pieces[pieces, past]
        right = bisect_left(self._queries, queries)
        left = max(right - 1, 0)
        return between(self._queries[left], values[left], self._queries[right], values[right], queries)

    def _more_queries(self) -> None:
        """Lengths of pieces up to twice the last: pairs, between which attention has as many tiles of queries."""
        last = self._queries[-1] if self._queries else 0
        if not last:
            self._queries = [1, *paired(range(TILE, 4 * TILE + 1, TILE), 4 * TILE)]
            return
        width = max(TILE, last // (4 * OCTAVE))
        self._queries += paired(range(last, 2 * last + 1, width), 2 * last)[1:]

    def _evaluate_pieces(self, pieces: int, past: int) -> None:
        """Attention of pieces of all lengths, and of a few more pieces with it, since calls cost more than rows."""
        first = (pieces - 1) // TOGETHER * TOGETHER + 1
        counts = range(first, first + TOGETHER) if pieces <= DENSE else (pieces,)
        new = [
            (count, queries)
            for count in counts
            for queries in self._queries[len(self._pieces.get((count, past), [])) :]
        ]
        many, queries = (np.array(column) for column in zip(*new, strict=True))
        none, before = np.zeros_like(queries), np.full_like(queries, past)
        sizes = Sizes(none, none, many, queries, before, many * queries, many)
        for (count, _), levels in zip(new, as_levels(levels_of(self._model, sizes, "prefill")), strict=True):
            self._pieces.setdefault((count, past), []).append(levels)


def row_of(contexts: list[float], steps: list[tuple[float, float]]) -> Row:
    """A row from its nodes and the time and energy at each; one of a single node is level."""
    times, energies = ([step[index] for step in steps] for index in (0, 1))

    def slopes(values: list[float]) -> list[float]:
        told = [(b - a) / (y - x) for (x, y), (a, b) in zip(pairwise(contexts), pairwise(values), strict=True)]
        return [*told, told[-1] if told else 0.0]

    return Row(contexts, times, energies, slopes(times), slopes(energies))


def cell_of(row: Row, context: float) -> int:
    """The cell of a row that a context is in; one before the first node is in the first cell."""
    return max(bisect_right(row.contexts, context) - 1, 0)


def _at(row: tuple[list[float], list[Levels]], context: float) -> Levels:
    """Amounts of a row at a context; before the first node and after the last they are as there."""
    contexts, values = row
    right = min(bisect_left(contexts, context), len(contexts) - 1)
    left = max(right - 1, 0)
    return between(contexts[left], values[left], contexts[right], values[right], max(context, contexts[left]))


def _enclosing(sequences: int) -> tuple[int, int]:
    """The numbers of sequences among the nodes that enclose one: each up to `EACH`, then `BLOCK` in a doubling."""
    if sequences <= EACH:
        return sequences, sequences
    width = (1 << (sequences - 1).bit_length() - 1) // BLOCK
    return (
        (sequences, sequences)
        if sequences % width == 0
        else (sequences // width * width, -(-sequences // width) * width)
    )


def _added(a: Levels, b: Levels) -> Levels:
    a0, a1, a2, a3, a4, a5 = a
    b0, b1, b2, b3, b4, b5 = b
    return a0 + b0, a1 + b1, a2 + b2, a3 + b3, a4 + b4, a5 + b5


def _around(pieces: int) -> tuple[int, int]:
    """The numbers of pieces among the nodes that enclose one: each up to 16, then eight in every doubling."""
    if pieces <= DENSE:
        return pieces, pieces
    width = (1 << (pieces.bit_length() - 1)) // OCTAVE
    few = pieces // width * width
    return (few, few) if few == pieces else (few, few + width)


def _past_nodes(past: float) -> tuple[int, int]:
    """The earlier tokens among the nodes that enclose some: none, 64, and four in every doubling."""
    if past <= 0.0:
        return 0, 0
    if past <= 64.0:
        return 0, 64
    power = 1 << (int(past).bit_length() - 1)
    quarter = power // 4
    near = power + int((past - power) // quarter) * quarter
    return (near, near) if near == past else (near, near + quarter)
