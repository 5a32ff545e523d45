"""Files that users bring."""

from __future__ import annotations

from pathlib import Path

from simexplore.errors import SimexploreError


def read_bytes(file: Path, most: int, advice: str) -> bytes:
    """What a file holds, at most `most` bytes of it.

    Raises:
        SimexploreError: it is not there, it cannot be read, or it is larger; says what to do about the first.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except FileNotFoundError:
        raise SimexploreError(f"{file}: expected a file, found nothing: {advice}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SimexploreError(f"{file}: expected a file that can be read, found: {reason}") from None
    if len(data) > most:
        raise SimexploreError(f"{file}: expected at most {most} bytes, found more")
    return data
