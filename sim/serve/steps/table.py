"""Step times remembered: by tokens, by sequences and their context, and by pieces of prompts.

Every share of a step is evaluated at nodes and interpolated between them. Kernels change at multiples of tile sizes and
at thresholds of the engine's rules, so nodes come in pairs about multiples of 8, and a cell in whose middle the
straight line is off by more than `TOLERANCE` of the step is halved until it is as small as it gets.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from simexplore.sim.demand import FloatArray
from simexplore.sim.serve.steps.curve import (
    EACH,
    TOLERANCE,
    Counts,
    Curve,
    Levels,
    as_levels,
    between,
    paired,
)
from simexplore.sim.serve.steps.exact import LEVELS, Model, levels_of, settled
from simexplore.workloads.families.decoder.options import Sizes
from simexplore.workloads.families.decoder.step import Share

HEAD_TOLERANCE = 0.05
"""The same of the output head, which is a small part of a step."""
DENSE = 16
"""Pieces of prompts up to which each number is a node."""
BLOCK = 32
"""Numbers of sequences that are evaluated together."""
TOGETHER = 4
"""Numbers of pieces that are evaluated together."""
OCTAVE = 8
"""Contexts evaluated in each doubling, before cells are halved."""
TILE = 64
"""Rows of queries of the smallest tile that attention has for a prompt."""
SHORTEST = 16
"""Context below which attention is as at this one."""


class Row(NamedTuple):
    """Steps of some sequences that decode, by the mean of their contexts; straight between nodes."""

    contexts: list[float]
    times_s: list[float]
    energies_j: list[float]
    time_slopes: list[float]
    """Of the cell from each node to the next [s for each token of context]."""
    energy_slopes: list[float]


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
