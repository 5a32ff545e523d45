"""Which steps of a recording stand in one loop, and which values are kept for later ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from simexplore.sim.estimate.compiled.recorded import Node, UnrecordableError

APART = frozenset(("repeat", "tile", "join", "at", "search"))
"""Steps that read values of other candidates than the one at hand."""
GIVEN = frozenset(("constant", "input", "lanes"))


class Block(NamedTuple):
    """Statements that stand together."""

    size: int
    """Candidates that they are done for; 1: single numbers."""
    search: int | None = None
    """The node that looks for the best candidate: these statements are done for those that may be it."""


class Plan:
    """Blocks in order, the block of each step, and the place of each value that is kept; `told` are the outputs."""

    def __init__(self, nodes: Sequence[Node], needed: Sequence[int], told: Collection[int]) -> None:
        self.nodes = nodes
        self.blocks: list[Block] = []
        self.block_of: dict[int, int] = {}
        self.place: dict[int, int] = {}
        self.work = 1
        self._rare = _only_for_search(nodes, needed, told)
        for index in needed:
            if nodes[index].word not in GIVEN and index not in self._rare:
                self._put(index)
        for index in needed:
            for read in nodes[index].inputs:
                if self._crosses(index, read) and read not in self.place:
                    self.place[read] = self.work
                    self.work += nodes[read].size

    def _put(self, index: int) -> None:
        """A step in the first block in which everything that it reads is there; in a new one where none is left."""
        node = self.nodes[index]
        if node.word == "search":
            bound, exact = node.inputs
            if exact not in self._rare and self.nodes[exact].size > 1:
                raise UnrecordableError("a search for what is known")
            self.blocks.append(Block(max(self.nodes[bound].size, self.nodes[exact].size), index))
            for each in (*self._rare, index):
                self.block_of[each] = len(self.blocks) - 1
            return
        first = 0
        for read in node.inputs:
            if read in self.block_of:
                together = self.nodes[read].size == node.size and node.word not in APART
                alike = together or self.nodes[read].size == node.size == 1
                alike = alike and self.nodes[read].word != "search"
                first = max(first, self.block_of[read] + (0 if alike else 1))
        for block in range(first, len(self.blocks)):
            if self.blocks[block] == Block(node.size):
                self.block_of[index] = block
                return
        self.blocks.append(Block(node.size))
        self.block_of[index] = len(self.blocks) - 1

    def _crosses(self, index: int, read: int) -> bool:
        if self.nodes[read].size == 1 or read not in self.block_of or read in self._rare:
            return False
        return self.nodes[index].word in APART or self.block_of[index] != self.block_of[read]


def _only_for_search(nodes: Sequence[Node], needed: Sequence[int], told: Collection[int]) -> dict[int, None]:
    """Steps of candidates that nothing but the search for the best asks for, in order."""
    searches = [index for index in needed if nodes[index].word == "search"]
    if len(searches) != 1:
        if searches:
            raise UnrecordableError("several searches")
        return {}
    (search,) = searches
    users: dict[int, set[int]] = defaultdict(set)
    for index in needed:
        for read in nodes[index].inputs:
            users[read].add(index)
    bound, exact = nodes[search].inputs
    asked = {index for index in needed if not users[index] and index not in told}
    found: set[int] = set()
    for index in sorted((each for each in needed if each <= exact), reverse=True):
        inside = nodes[index].size > 1 and nodes[index].word not in GIVEN and index != bound
        others = users[index] - asked
        if inside and others and others <= found | {search}:
            found.add(index)
    # Whether a smooth maximum has all its digits is asked of those candidates alone that it is computed for.
    found |= {index for index in asked if any(read in found for read in nodes[index].inputs)}
    return dict.fromkeys(sorted(found))


def reachable(nodes: Sequence[Node], ends: Iterable[int]) -> set[int]:
    """Nodes that any of `ends` needs."""
    found = set(ends)
    waiting = list(found)
    while waiting:
        for node in nodes[waiting.pop()].inputs:
            if node not in found:
                found.add(node)
                waiting.append(node)
    return found
