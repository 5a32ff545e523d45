"""Workers of a Dask cluster: spoken to only where a scheduler answers, and given points only where they are alike."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, NoReturn
from urllib.parse import urlsplit

from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation.executor import Pool
from simexplore.sim.keeping import environment

ANSWER_S = 10.0
"""How long a scheduler may take to answer, and workers to say what they are."""
WORKERS_S = 60.0
"""How long a scheduler may be without workers: others may be on their way."""
_LOGGERS = ("distributed", "distributed.client", "distributed.core", "distributed.comm", "tornado")
_MOST_GREETING = 1 << 20
"""Bytes: what is longer is no scheduler's greeting."""


def on_dask(address: str) -> Pool:
    """Workers of a Dask cluster, by the address of its scheduler.

    Raises:
        SimexploreError: dask.distributed is not installed, nothing answers there, or workers have other versions.
    """
    try:
        import distributed
    except ImportError:
        raise SimexploreError("--scheduler needs distributed: pip install 'simexplore[sweep]'") from None
    for name in _LOGGERS:  # what goes wrong is told here, in one line
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        _knock(address)
        client: Any = distributed.Client(  # type: ignore[no-untyped-call]
            address, timeout=f"{ANSWER_S:g}s", set_as_default=False
        )
    except (OSError, ValueError, TimeoutError) as error:
        found = " ".join(str(error).split()) or "no answer"
        raise SimexploreError(f"expected a Dask scheduler at {address}, found: {found}") from None
    try:
        threads: Mapping[str, int] = client.nthreads()
        if not threads:
            raise SimexploreError(
                f"the Dask scheduler at {address} has no workers: start some, e.g. dask worker {address}"
            )
        _check_workers(client, tuple(threads), address)
    except BaseException:
        client.close()
        raise
    lost = (distributed.KilledWorker, CancelledError, asyncio.CancelledError)
    return _Dask(client, sum(threads.values()), lost, address)


class _Dask(Pool):
    def __init__(self, client: Any, slots: int, lost: tuple[type[BaseException], ...], address: str) -> None:
        super().__init__(client.get_executor, slots, lost)
        self._client = client
        self._address = address
        self._worked_s = time.monotonic()

    def look(self) -> None:
        try:
            workers = self._client.status == "running" and self._client.nthreads(callback_timeout=ANSWER_S)
        except (OSError, TimeoutError, asyncio.CancelledError, CancelledError):
            workers = False
        if workers is False:
            self._stop("has gone")
        if workers:
            self._worked_s = time.monotonic()
        elif time.monotonic() - self._worked_s > WORKERS_S:
            self._stop(f"has had no workers for {WORKERS_S:g} s")

    def _stop(self, why: str) -> NoReturn:
        raise SimexploreError(
            f"the Dask scheduler at {self._address} {why}: what is stored is kept, "
            "and the same command goes on from there"
        )

    def renew(self) -> None:
        """The scheduler has other workers, or gets some; where it has gone itself, there are none."""
        self._worked_s = time.monotonic()
        self.look()

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=False)  # Dask's takes no cancel_futures
            self._executor = None
        with suppress(TimeoutError, OSError):  # a scheduler that has gone takes no leave
            self._client.close(timeout=ANSWER_S)


def _knock(address: str) -> None:
    """Wait for the first bytes of a scheduler's greeting.

    Dask's own attempt, where nothing listens or what listens says nothing, goes on long after its time is over and
    keeps Python from ending. Raises OSError or ValueError.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or parts.hostname is None or parts.port is None:
        raise ValueError("no address such as tcp://host:8786")
    with socket.create_connection((parts.hostname, parts.port), timeout=ANSWER_S) as connection:
        if parts.scheme == "tls":  # the client speaks first
            return
        head = b""
        while len(head) < 8:
            part = connection.recv(8 - len(head))
            if not part:
                raise OSError("a port that closes the connection")
            head += part
    (size,) = struct.unpack("<Q", head)
    if size > _MOST_GREETING:
        raise ValueError("a port of something else")


def _check_workers(client: Any, names: Sequence[str], address: str) -> None:
    """Ask all workers what they are.

    Raises:
        SimexploreError: one of them has other versions than this process, lacks simexplore, or does not answer.
    """
    asked = {
        name: client.submit(environment.here, workers=[name], allow_other_workers=False, pure=False) for name in names
    }
    wanted = environment.here()
    for name, future in asked.items():
        try:
            found = future.result(timeout=ANSWER_S)
        except Exception as error:  # noqa: BLE001 - a worker without this code raises whatever it likes
            said = " ".join(str(error).split()) or "no answer"
            raise SimexploreError(_unfit(name, address, f"{type(error).__name__}: {said}")) from None
        if other := _difference(found, wanted):
            raise SimexploreError(_unfit(name, address, other))


def _difference(found: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    for name, value in wanted.items():
        if found.get(name) != value:
            return f"{name} {found.get(name, 'unknown')}"
    return ""


def _unfit(worker: str, address: str, found: str) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in environment.here().items())
    return (
        f"expected workers at {address} with what this command has ({versions}), found on {worker}: {found}: "
        "install the same there"
    )
