"""Results as bytes: compressed floats, a column after a column, read back only at the size that they must have."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping

import numpy as np

from simexplore.sim.explore.storage.database import DamageError
from simexplore.sim.explore.table import FloatArray

_MOST_SHRINKING = 1100
"""No deflated text is smaller than its original by more (1032, and a few bytes of head and tail)."""
_MOST_ERROR = 2000
"""Characters of an error that are kept."""


def packed(values: FloatArray) -> bytes:
    """Floats of shape (columns, points)."""
    return zlib.compress(np.ascontiguousarray(values, dtype="<f8").tobytes(), level=1)


def unpacked(blob: bytes, columns: int, points: int) -> FloatArray:
    """What `packed` was given. Raises DamageError."""
    data = _inflated(blob, columns * points * 8)
    if len(data) != columns * points * 8:
        raise DamageError(f"{len(data)} bytes for {columns} columns of {points} points")
    return np.frombuffer(data, dtype="<f8").reshape(columns, points)


def room_for(blobs_bytes: int, columns: int, points: int) -> bool:
    """Whether so many bytes can hold so many values: to be asked before memory is."""
    return columns * points * 8 <= blobs_bytes * _MOST_SHRINKING + 64


def packed_errors(errors: Mapping[int, str], first: int) -> bytes:
    """Errors by point, most points having the same few; nothing where there are none."""
    if not errors:
        return b""
    texts = [text[:_MOST_ERROR] for text in errors.values()]
    words = list(dict.fromkeys(texts))
    code = {word: index for index, word in enumerate(words)}
    content = [words, [point - first for point in errors], [code[text] for text in texts]]
    return zlib.compress(json.dumps(content, separators=(",", ":")).encode(), level=6)


def unpacked_errors(blob: bytes, first: int, points: int) -> dict[int, str]:
    """What `packed_errors` was given. Raises DamageError."""
    if not blob:
        return {}
    most = points * (6 * _MOST_ERROR + 32)
    try:
        words, offsets, codes = json.loads(_inflated(blob, most))
        found = {first + int(offset): str(words[code]) for offset, code in zip(offsets, codes, strict=True)}
    except (ValueError, TypeError, IndexError, RecursionError) as error:
        raise DamageError(f"errors of points that can't be read: {type(error).__name__}") from None
    if found and not first <= min(found) <= max(found) < first + points:
        raise DamageError("errors of other points")
    return found


def _inflated(blob: bytes, most: int) -> bytes:
    """At most so many bytes and one, whatever the blob would give."""
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(blob, most + 1)
    except zlib.error as error:
        raise DamageError(f"a chunk of points that can't be read: {error}") from None
    if len(data) > most or (not reader.eof and len(data) < most):
        raise DamageError("a chunk of points of another size than it says")
    return data
