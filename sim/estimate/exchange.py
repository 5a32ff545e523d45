"""Two sides that hand each other batches, in closed form.

With g the asking side's time for a batch, n the answering side's, h the doorbell between them and B batches in flight,

    G_i = max(G_(i-1), N_(i-B) + h) + g_i        the asking side uses answers of batch i-B and makes queries of batch i
    N_i = max(N_(i-1), G_i + h) + n_i            the answering side works on batch i

so a batch comes every max(g, n, (g + n + 2 h) / B). `exchange_seconds` follows this recurrence; `sim.play.exchange`
plays it as events, in which both sides also share resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from simexplore.sim.estimate.alone import Alone
from simexplore.workloads.graph import Exchange

LONGEST_PLAYED = 1024
"""Batches that are played one by one; of more, the middle is one stretch at the period that those show."""


@dataclass(frozen=True)
class Side:
    """One side of an exchange: what comes before its first batch, and what a full batch takes it."""

    latency_s: float
    batch_s: float
    takes: dict[str, float]
    """Of each shared resource [s of the whole resource]."""
    spends: dict[str, float]
    """Dynamic energy by where it goes [J]."""


def side_of(told: Sequence[Alone], exchange: Exchange) -> Side:
    """A side by what the demands of its node cost alone.

    Raises:
        ValueError: that is not one phase of one demand, so no share of it is a batch.
    """
    phases = [phase for part in told for phase in part.as_numbers().phases]
    if len(phases) != 1:
        raise ValueError(f"a node of an exchange has one phase, not {len(phases)}")
    latency_s, run_s, full = float(phases[0].latency_s), float(phases[0].run_s), exchange.full_batches
    takes, spends = (
        {name: float(amount) / full for name, amount in amounts.items()}
        for amounts in (phases[0].takes, phases[0].spends)
    )
    return Side(latency_s, run_s / full, takes, spends)


def batch_share(batch: int, exchange: Exchange) -> float:
    """Size of a batch over a full one; 0 of those before the first and after the last."""
    if 0 <= batch < exchange.batches:
        return exchange.last_share if batch == exchange.batches - 1 else 1.0
    return 0.0


def phase_share(phase: int, exchange: Exchange) -> float:
    """Work of a phase of the asking side over a full one: half makes queries, half uses answers."""
    return 0.5 * (batch_share(phase, exchange) + batch_share(phase - exchange.in_flight, exchange))


def steady_marks(phases: int) -> tuple[int, int]:
    """The phases between whose ends the steady period is found."""
    return phases // 2, phases * 3 // 4


def period_of(marks: Sequence[float], phases: int) -> float:
    """Mean time between the asking side's phases in the steady state, by when they ended, up to three quarters [s]."""
    middle, late = steady_marks(phases)
    return (marks[late] - marks[middle]) / (late - middle) if late > middle else 0.0


def exchange_seconds(asks: Side, answers: Side, exchange: Exchange) -> float:
    """Time until the last answer is used [s], latencies included, without contention beyond resources' totals."""
    played = replace(exchange, batches=min(exchange.batches, LONGEST_PLAYED))
    asks_end, answered_s = asks.latency_s, answers.latency_s
    answers_end: list[float] = []
    marks: list[float] = []
    for phase in range(played.batches + played.in_flight):
        if 0 <= (used := phase - played.in_flight) < played.batches:
            asks_end = max(asks_end, answers_end[used] + exchange.doorbell_s)
        asks_end += phase_share(phase, played) * asks.batch_s
        if phase < played.batches:
            begun_s = max(answered_s, asks_end + exchange.doorbell_s)
            answered_s = begun_s + batch_share(phase, played) * answers.batch_s
            answers_end.append(answered_s)
            marks.append(asks_end)
    skipped = exchange.batches - played.batches
    return max(asks_end + skipped * period_of(marks, played.batches), exchange.batches * _shared_s(asks, answers))


def _shared_s(asks: Side, answers: Side) -> float:
    """The most that a full batch takes of a resource that both sides use [s]."""
    both = asks.takes.keys() & answers.takes.keys()
    return max((asks.takes[name] + answers.takes[name] for name in both), default=0.0)
