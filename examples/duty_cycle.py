"""A neural volume-rendering frame every 33.3 ms: what a lower power limit does for a board that idles in between.

    python examples/duty_cycle.py [MACHINE]

A board that races to idle pays for its clock with the square of it; one that its limit slows needs longer, and idles
less. Skipped frames save all but what the board draws with nothing to do.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import simexplore
from simexplore.archs import units

FRAME, PERIOD_S, SKIP = "ngp/nvr/hashgrid", 33.3e-3, 0.6
MACHINE = "nvidia/rtx-3090"
LIMITS = (1.0, 0.7, 0.55, 0.4)
"""Power limits over the board's own."""


def rows(machine: str = MACHINE) -> Iterator[tuple[str, ...]]:
    """By power limit: the limit, time of a frame, mean power and energy with all frames, mean power with some."""
    tdp_w = simexplore.load_arch(machine).power.tdp_w
    for share in LIMITS:
        limit = units.format(round(share * tdp_w), units.WATTS)
        gpu = simexplore.load_arch(machine, {"power.tdp": limit})
        every, some = (simexplore.duty_cycle(FRAME, gpu, period_s=PERIOD_S, skip=skip) for skip in (0.0, SKIP))
        frame_ms = 1e3 * every.work.time_s
        yield (
            limit,
            f"{frame_ms:.1f} ms",
            f"{every.mean_power_w:.0f} W",
            f"{every.energy_per_work_j:.2f} J",
            f"{some.mean_power_w:.0f} W",
        )


def table(machine: str = MACHINE) -> str:
    """The rows as a table in Markdown."""
    heads = ("power limit", "a frame takes", "mean power", "energy a frame", f"mean power, {SKIP:.0%} skipped")
    lines = [heads, ("---",) * len(heads), *rows(machine)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine", nargs="?", default=MACHINE, help="a name or a file [default: %(default)s]")
    print(table(parser.parse_args().machine))
