"""Arrays out of an `.npz` that nobody vouches for: bounded in size and memory, and no pickle.

`numpy.load` believes a header: a few bytes may ask for gigabytes. Here a member is read no further than the bound, and
its header must tell of just the bytes that follow it.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from simexplore.archs.files import MIB

MOST_BYTES = 64 * MIB
"""Of all arrays of one file together; the largest correction that we ship takes a fiftieth of it."""
MOST_ARRAYS = 100_000
_PLAIN = "biufU"

Array = npt.NDArray[Any]


def arrays_of(data: bytes) -> dict[str, Array]:
    """The arrays of an `.npz` by name.

    Raises:
        ValueError: it is damaged, holds anything but plain arrays, or more of them than `MOST_BYTES`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return _members(file)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, OverflowError, MemoryError) as error:
        raise ValueError(f"a damaged archive ({error or type(error).__name__})") from None


def _members(file: zipfile.ZipFile) -> dict[str, Array]:
    members = file.infolist()
    if len(members) > MOST_ARRAYS:
        raise ValueError(f"more than {MOST_ARRAYS} arrays")
    found: dict[str, Array] = {}
    room = MOST_BYTES
    for member in members:
        name = member.filename.removesuffix(".npy")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or name in found:
            raise ValueError(f"an archive that numpy does not write ({member.filename!r})")
        with file.open(member) as stream:
            content = stream.read(room + 1)
        room -= len(content)
        if room < 0:
            raise ValueError(f"arrays of more than {MOST_BYTES // MIB} MiB")
        found[name] = _array(content, name)
    return found


def _array(content: bytes, name: str) -> Array:
    stream = io.BytesIO(content)
    try:
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        header = read.get(np.lib.format.read_magic(stream))
        if header is None:
            raise ValueError("a format that numpy does not write")
        shape, is_fortran, dtype = header(stream)
    except (TypeError, SyntaxError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"{name}: a damaged header ({type(error).__name__})") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if dtype.kind not in _PLAIN or any(length < 0 for length in shape):
        raise ValueError(f"{name}: an array of {dtype}")
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"{name}: a shape of {shape} that is not that of its content")
    flat = np.frombuffer(content, dtype, offset=stream.tell()) if dtype.itemsize else np.zeros(math.prod(shape), dtype)
    return flat.reshape(shape, order="F" if is_fortran else "C").copy()


def checked(arrays: Mapping[str, Array], expected: Mapping[str, tuple[str, int]]) -> None:
    """See that arrays are those expected: by name, letters of the dtype kind with its size (`f4`), and dimensions.

    Raises:
        ValueError: one is missing, superfluous, of another kind, or holds what is no number.
    """
    _same(arrays, expected)
    for name, (kind, dimensions) in expected.items():
        array = arrays[name]
        written = array.dtype.kind + ("" if array.dtype.kind == "U" else str(array.dtype.itemsize))
        if written != kind or array.ndim != dimensions:
            raise ValueError(f"{name}: {array.ndim} dimensions of {array.dtype}, expected {dimensions} of {kind}")
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise ValueError(f"{name}: what is no finite number")


def _same(found: Iterable[str], expected: Iterable[str]) -> None:
    for difference, told in ((set(expected) - set(found), "without"), (set(found) - set(expected), "with")):
        if difference:
            raise ValueError(f"a file {told} {min(difference)!r}")
