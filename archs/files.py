"""Files of which nobody knows what they are: read no further than a bound, and only where they end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MIB = 1024**2


def file_bytes(path: Path, most: int) -> bytes:
    """A file's content.

    Args:
        path: of an ordinary file; a pipe or a device may never end.
        most: bytes that it may have.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it is no ordinary file, larger, or of a name that no file can have.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("no ordinary file")
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"more than {most // MIB} MiB")
    return data
