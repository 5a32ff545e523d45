"""One neural-field processor played clock by clock: every engine, bank, FIFO and the MLP array, in plain loops.

The reference that the event model is held to. It knows nothing of that model: it moves requests and queries.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from simexplore.archs.schema.ngpc import EncodingEngines, MlpEngine

Requests = list[list[list[int]]]
"""Bank of every request: [query][engine][request]."""


@dataclass
class Engine:
    """One encoding engine."""

    banks: list[deque[int]]
    """The query of every request that waits at a bank."""
    waiting_for: dict[int, int] = field(default_factory=dict)
    """Requests of each issued query that no bank has served."""
    pipeline: deque[tuple[int, int]] = field(default_factory=deque)
    """(clock at which its features are there, query)."""
    output: deque[int] = field(default_factory=deque)
    next_query: int = 0
    next_issue: int = 0

    def serve(self, ports: int) -> None:
        for bank in self.banks:
            for _ in range(min(ports, len(bank))):
                self.waiting_for[bank.popleft()] -= 1

    def collect(self, clock: int, latency: int) -> None:
        while self.waiting_for and next(iter(self.waiting_for.values())) == 0:
            query = next(iter(self.waiting_for))
            del self.waiting_for[query]
            self.pipeline.append((clock + latency, query))
        while self.pipeline and self.pipeline[0][0] <= clock:
            self.output.append(self.pipeline.popleft()[1])

    def issue(self, clock: int, requests: list[int], engines: EncodingEngines, joined: int) -> None:
        """Take the next query if its requests find room and it does not run too far ahead of the slowest engine."""
        wanted = [requests.count(bank) for bank in range(engines.banks)]
        room = all(
            len(bank) + count <= max(engines.bank_fifo, count) for bank, count in zip(self.banks, wanted, strict=True)
        )
        if clock < self.next_issue or not room or self.next_query - joined >= engines.output_fifo:
            return
        for bank in requests:
            self.banks[bank].append(self.next_query)
        self.waiting_for[self.next_query] = len(requests)
        self.next_query += 1
        self.next_issue = clock + -(-len(requests) // engines.lanes)


@dataclass
class Array:
    """The MLP engine: slices of queries gather in one of two buffers while the other is worked on."""

    layers: tuple[tuple[int, int], ...]
    mlp: MlpEngine
    gathering: int = 0
    full: deque[int] = field(default_factory=deque)
    work_left: int = 0
    slice_ends: list[int] = field(default_factory=list)

    def steps(self, queries: int) -> int:
        """Clocks of a slice, counted row by row of the array."""
        clocks = 0
        for inputs, outputs in self.layers:
            copies = 1
            if self.mlp.packing == "packed" and inputs <= self.mlp.rows and outputs <= self.mlp.columns:
                copies = (self.mlp.rows // inputs) * (self.mlp.columns // outputs)
            passes = -(-inputs // self.mlp.rows) * -(-outputs // self.mlp.columns)
            clocks += -(-queries // copies) * passes + int(self.mlp.switch_cycles)
        return clocks

    def tick(self, clock: int) -> None:
        if self.work_left:
            self.work_left -= 1
            if not self.work_left:
                self.full.popleft()
                self.slice_ends.append(clock + 1)
        if not self.work_left and self.full:
            self.work_left = self.steps(self.full[0])

    @property
    def has_room(self) -> bool:
        return len(self.full) < 2


def play_clock_by_clock(
    requests: Requests, side_by_side: int, layers: tuple[tuple[int, int], ...], engines: EncodingEngines, mlp: MlpEngine
) -> list[int]:
    """Clocks at which each slice has left the array; `requests` has an entry for each step of `side_by_side`."""
    units = [Engine([deque() for _ in range(engines.banks)]) for _ in requests[0]]
    array = Array(layers, mlp)
    joined, clock, steps = 0, 0, len(requests)
    per_slice = max(mlp.slice // side_by_side, 1)
    slices = -(-steps // per_slice)
    while len(array.slice_ends) < slices:
        array.tick(clock)
        for number, unit in enumerate(units):
            unit.serve(engines.ports)
            unit.collect(clock, int(engines.latency_cycles))
            if unit.next_query < steps:
                unit.issue(clock, requests[unit.next_query][number], engines, joined)
        if joined < steps and array.has_room and all(unit.output for unit in units):
            for unit in units:
                unit.output.popleft()
            joined += 1
            array.gathering += 1
            if array.gathering == per_slice or joined == steps:
                array.full.append(array.gathering * side_by_side)
                array.gathering = 0
        clock += 1
    return array.slice_ends
