"""Which row is which: a number per measured row, so that rows used for fitting can be known again elsewhere."""

from __future__ import annotations

from dataclasses import MISSING
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import OperatorColumn
from simexplore.workloads.operators.parameters import parameters_of

Fingerprints = npt.NDArray[np.uint64]


def fingerprints(column: OperatorColumn, measurements: Measurements) -> Fingerprints:
    """64 bits for each row of a column: of its source, family, dtypes and counts.

    Times and devices are not in it: a table that was rounded on its way to a file has the same fingerprints, and a
    kernel that was measured twice has one. Parameters at their defaults are not in it either, so that a family may get
    new ones.
    """
    source = str(measurements.frame["source"].iloc[int(column.rows[0])])
    record = column.record
    texts, counts = [source, record.op], []
    for name, (field, parameter) in sorted(parameters_of(record).items()):
        value = getattr(record, name)
        if parameter.kind != "count":
            texts += [f"{name}={value}"] if value != field.default else []
        else:
            default = None if field.default is MISSING else int(field.default)
            counts.append((name, np.broadcast_to(np.asarray(value, dtype=np.int64), column.rows.shape), default))
    prints = np.full(len(column.rows), _hash("\n".join(texts)))
    for name, values, default in counts:
        mixed = _mixed(prints ^ _mixed(values.astype(np.uint64) + _hash(name)))
        prints = mixed if default is None else np.where(values == default, prints, mixed)
    return prints


def _hash(text: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little"))


def _mixed(x: Fingerprints) -> Fingerprints:
    """SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014): every bit of x moves every bit of the result."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))
