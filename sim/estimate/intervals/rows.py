"""Where each row stands: that of its group, or farther where its size or its kind was never measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.system import System, system_of
from simexplore.sim.conditions import Conditions, Launch, conditions_of
from simexplore.sim.estimate.correction import correction_of, feature_columns, group_of, octaves_outside, stacked
from simexplore.sim.estimate.graphs import places_of
from simexplore.sim.estimate.intervals.kinds import unseen
from simexplore.sim.estimate.intervals.standing import Standing, standing_of
from simexplore.sim.estimate.traits import NAMES
from simexplore.workloads.graph import Graph
from simexplore.workloads.operators.base import Operator

NEAR_OCTAVES = 0.25
"""Rows that lie no farther outside the measured sizes are their neighbours still: 3 % of a correction has faded."""


def standings(op: Operator, gpu: Gpu, conditions: Conditions, rows: int = 1) -> npt.NDArray[np.int64]:
    """The `Standing` of each row of an operator record whose columns have `rows` entries, as whole numbers.

    Raises:
        SimexploreError: a correction asks for a column that operators do not have.
    """
    of_group = standing_of(group_of(op, conditions), gpu)
    correction = correction_of(op, gpu, conditions)
    if correction is None:
        return np.full(rows, int(of_group))
    columns = feature_columns(op, gpu, np.zeros((rows, len(NAMES))))
    far = octaves_outside(correction.hull, stacked(columns, correction.coordinates)) > NEAR_OCTAVES
    _, width = unseen(correction.kinds, columns)
    own = np.where(width > 0.0, int(Standing.OTHER_KIND), np.where(far, int(Standing.OTHER_SIZE), 0))
    return np.broadcast_to(np.maximum(own, int(of_group)), (rows,)).astype(np.int64)


def standings_of(
    graph: Graph, machine: Gpu | System, conditions: Conditions | None = None, launch: Launch = "graph"
) -> Mapping[str, Standing]:
    """Where each node of a graph that runs on a GPU stands, by its name; arguments as in `execute`."""
    places, first = places_of(graph, system_of(machine)), system_of(machine).first_gpu
    told: dict[str, Standing] = {}
    known: dict[tuple[Any, ...], Standing] = {}
    for node in graph.nodes:
        place, given = places[node.place or first], conditions or conditions_of(node, launch)
        if isinstance(place.arch, Gpu):
            key = (node.op, place.name, given)
            if key not in known:
                known[key] = Standing(int(standings(node.op, place.arch, given)[0]))
            told[node.name] = known[key]
    return told
