"""A Dask scheduler and its workers on loopback, each a process that a test may kill."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simexplore.errors import SimexploreError
from simexplore.sim.explore.evaluation.dask import on_dask
from simexplore.sim.explore.evaluation.executor import Pool

ROOT = Path(__file__).resolve().parents[2]
Process = subprocess.Popen[bytes]


@contextmanager
def scheduler() -> Iterator[tuple[str, Process]]:
    """A scheduler without workers, and its address."""
    script = (
        "from distributed import LocalCluster\nimport time\n"
        "if __name__ == '__main__':\n"
        "    cluster = LocalCluster(n_workers=0, dashboard_address=None, host='127.0.0.1', protocol='tcp')\n"
        "    print(cluster.scheduler_address, flush=True)\n    time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip(), process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def workers(address: str, count: int, packages: Path | None = None) -> Iterator[list[Process]]:
    """Worker processes, with the code that is here or that of a folder."""
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    command += ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
    environment = os.environ if packages is None else {**os.environ, "PYTHONPATH": str(packages)}
    started = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=packages)
        for _ in range(count)
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()


def when_all_are_there(address: str, count: int) -> Pool:
    """The pool of a scheduler, once it has so many workers.

    Raises:
        SimexploreError: it has workers that are refused.
    """
    for _ in range(240):
        try:
            pool = on_dask(address)
        except SimexploreError as error:
            if "has no workers" not in str(error):
                raise
            time.sleep(0.25)
            continue
        if pool.slots == count:
            return pool
        pool.close()
        time.sleep(0.25)
    raise AssertionError("the workers did not come")


def copy_of_the_code(folder: Path) -> Path:
    """The package as it would be installed elsewhere, to be changed there."""
    package = folder / "simexplore"
    shutil.copytree(ROOT / "simexplore", package)
    for room in ("archs", "workloads", "kernels", "sim", "cli"):
        shutil.copytree(ROOT / room, package / room, ignore=shutil.ignore_patterns("__pycache__"))
    return package
