"""A correction on top of another one: trees of both add up, as one record that needs neither machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simexplore.archs.schema.residual import Correction, Hull, Kinds, Trees


def on_top(lower: Correction, upper: Correction) -> Correction:
    """The sum of two corrections of one group, `upper` having been learned of what `lower` leaves.

    The interval is the upper's. Rows that either has seen are among the seen ones.
    """
    features = tuple(dict.fromkeys((*lower.features, *upper.features)))
    return replace(
        upper,
        features=features,
        shift=_sum(_asking(lower.shift, lower.features, features), _asking(upper.shift, upper.features, features)),
        spread=_asking(upper.spread, upper.features, features),
        hull=_union(lower.hull, upper.hull) if lower.coordinates == upper.coordinates else upper.hull,
        kinds=_seen_by_either(lower.kinds, upper.kinds),
    )


def _asking(trees: Trees, old: tuple[str, ...], new: tuple[str, ...]) -> Trees:
    """The same trees with features at other positions."""
    positions = np.array([*(new.index(name) for name in old), -1], dtype=np.int16)  # the last is a leaf's
    return replace(trees, feature=positions[trees.feature])


def _sum(first: Trees, second: Trees) -> Trees:
    after = len(first.feature)
    return Trees(
        root=np.concatenate([first.root, second.root + after]).astype(np.int32),
        feature=np.concatenate([first.feature, second.feature]),
        value=np.concatenate([first.value, second.value]),
        left=np.concatenate([first.left, second.left + after]).astype(np.int32),
        start=first.start + second.start,
    )


def _union(first: Hull, second: Hull) -> Hull:
    """Ranges that hold both; directions follow from the coordinates, which are the same."""
    return Hull(first.directions, np.minimum(first.low, second.low), np.maximum(first.high, second.high))


def _seen_by_either(lower: Kinds, upper: Kinds) -> Kinds:
    """The upper's kinds, and what the lower has seen on the same axes; one that tells of none has seen all."""
    if not lower.names:
        return lower
    axis, value = [upper.axis], [upper.value]
    for i, name in enumerate(upper.names):
        if name in lower.names:
            more = lower.value[lower.axis == lower.names.index(name)]
            more = np.setdiff1d(more, upper.value[upper.axis == i])
            axis.append(np.full(len(more), i, dtype=np.int32))
            value.append(more)
    return replace(upper, axis=np.concatenate(axis).astype(np.int32), value=np.concatenate(value).astype(np.int64))
