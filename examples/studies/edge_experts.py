"""Which language models to keep ready on edge servers, by budgets of energy and delay: MoE² and simpler ways.

    python examples/studies/edge_experts.py

The fleet is that of `simexplore reproduce moe2`; docs/studies/moe2.md says what is ours in it. It needs SciPy:
`pip install 'simexplore[edge]'`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from simexplore.sim.edge.problem import Problem
from simexplore.sim.edge.tradeoff import WAYS, Reached, trade_off
from simexplore.sim.studies.systems.moe2 import every_expert_j, table, testbed

ENERGY_SHARES = (0.25, 0.4, 0.55, 0.7, 1.0)
"""Budgets of energy over what all experts take."""
DELAY_SHARES = (0.2, 1.0)
"""Budgets of delay over what the slowest experts take."""


def rows(problem: Problem) -> Iterator[tuple[str, ...]]:
    """By pair of budgets: the budgets, what each way of selecting leaves open, and accuracy and cost of the best."""
    most_j = every_expert_j(problem)
    reached = trade_off(problem, [share * most_j for share in ENERGY_SHARES], DELAY_SHARES)
    for first in range(0, len(reached), len(WAYS)):
        yield _row(reached[first : first + len(WAYS)])


def _row(ways: Sequence[Reached]) -> tuple[str, ...]:
    best = ways[0]
    open_nat = [f"{way.cross_entropy:.3f}" if way.within else "over budget" for way in ways]
    budgets = (f"{best.energy_budget_j / 1e3:.1f} kJ", f"{best.delay_budget:.0%}")
    return (*budgets, *open_nat, f"{best.accuracy:.1%}", f"{best.energy_j / 1e3:.1f} kJ", f"{best.delay_s:.1f} s")


def as_markdown(problem: Problem) -> str:
    """The rows as a table in Markdown."""
    heads = ("energy", "delay", *WAYS, "accuracy", "takes", "delay of a request")
    lines = [heads, ("---",) * len(heads), *rows(problem)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(as_markdown(testbed(table()["testbed"])))
