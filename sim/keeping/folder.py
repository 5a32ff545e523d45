"""One command writes to a folder at a time, and a file in it is there wholly or not at all."""

from __future__ import annotations

import errno
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from simexplore.archs.units import one_line
from simexplore.errors import SimexploreError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK = "sweep.lock"
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_MOST_SHOWN = 100


class FolderLock:
    """The right to write to a folder. The system takes it back when the process that has it dies."""

    def __init__(self, folder: Path) -> None:
        """Take it.

        Raises:
            SimexploreError: another command has it.
            OSError: the folder cannot be written, or its file system has no locks.
        """
        file = open(folder / LOCK, "a+b")  # noqa: SIM115 - it is held until `release`
        try:
            _lock(file)
        except OSError as error:
            with file:
                if error.errno in _TAKEN:
                    raise SimexploreError(_taken(folder, file)) from None
            raise
        self._file = file
        file.truncate(0)
        file.write(f"process {os.getpid()} on {_host()}".encode())
        file.flush()

    def release(self) -> None:
        """Let another command write."""
        self._file.close()


def _lock(file: BinaryIO) -> None:
    if sys.platform == "win32":
        file.seek(1 << 30)  # beyond the text, which others may read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _taken(folder: Path, file: BinaryIO) -> str:
    file.seek(0)
    owner = file.read(_MOST_SHOWN).decode("utf-8", "replace").strip() or "another command"
    return (
        f"{one_line(str(folder))}: {one_line(owner)} is writing to this folder: "
        "wait for it, or choose another folder with -o"
    )


def _host() -> str:
    import platform

    return platform.node() or "this machine"


@contextmanager
def written_aside(file: Path, what: str) -> Iterator[Path]:
    """A path beside `file` to write to, which takes the file's place when all is written.

    Raises:
        SimexploreError: the file cannot be written; what was there before is still there.
    """
    target = Path(os.path.realpath(file))  # a link stays a link
    aside = target.with_name(f".{uuid.uuid4().hex[:12]}{target.suffix}")
    try:
        if target.exists() and not target.is_file():
            raise OSError(errno.EINVAL, "it is no file")
        yield aside
        with open(aside, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(aside, target)
    except OSError as error:
        said = error.strerror or " ".join(str(error).split())
        raise SimexploreError(f"{one_line(str(file))}: {what} can't be written: {said}") from None
    finally:
        with suppress(OSError):  # it may not be there, or lie where nothing can be taken away
            aside.unlink()
