"""How flows share resources: max-min fairly on each flow's rate as a fraction of its own cap."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

Amounts = Sequence[tuple[int, float]]
"""What one unit of work demands: (index of the resource, amount) pairs."""


def max_min_rates(caps: Sequence[float], demands: Sequence[Amounts], capacities: Sequence[float]) -> list[float]:
    """Rates of flows that share resources max-min fairly, by progressive filling [work/s].

    The fairness notion is max-min on each flow's rate as a fraction of its own cap: all fractions rise together; when
    a resource is full the flows that cross it stay where they are and the others rise on. So no flow's fraction can
    be raised without lowering that of a flow which has no larger one, and every flow either runs at its cap or
    crosses a full resource on which no flow has a larger fraction (D. Bertsekas, R. Gallager, Data Networks, 2nd
    edition, 6.5.2).

    Args:
        caps: the most each flow can do alone [work/s], above zero.
        demands: what one unit of each flow's work takes of the resources.
        capacities: what each resource gives [amount/s], above zero.
    """
    rates = list(caps)
    free = list(capacities)
    rising = list(range(len(rates)))
    fraction = 0.0
    while True:
        draws = [0.0] * len(free)
        for flow in rising:
            for resource, amount in demands[flow]:
                draws[resource] += amount * caps[flow]
        limits = [room / draw if draw > 0.0 else inf for room, draw in zip(free, draws, strict=True)]
        limit = min(limits, default=inf)  # how far all rates can rise, over the caps, until a resource is full
        if limit >= 1.0:
            return rates
        fraction = max(fraction, limit)  # rounding must not make later flows slower than those that stopped
        full = {resource for resource, other in enumerate(limits) if other <= limit}
        still_rising = []
        for flow in rising:
            if any(resource in full and amount > 0.0 for resource, amount in demands[flow]):
                rates[flow] = fraction * caps[flow]
                for resource, amount in demands[flow]:
                    free[resource] -= amount * rates[flow]
            else:
                still_rising.append(flow)
        rising = still_rising
