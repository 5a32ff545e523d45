"""What runs take of a machine that others use too: time, whether they had it for themselves, and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

QUIET_CORES = 0.1
"""What all other processes together may take [cores] where a timing is to count."""
_STAT = Path("/proc/stat")


@dataclass
class Usage:
    """Seconds of a run; children count once they have ended."""

    wall_s: float = 0.0
    parent_s: float = 0.0
    """CPU seconds of this process."""
    children_s: float = 0.0
    others_s: float = 0.0
    """CPU seconds of everything else, those that a hypervisor gave to other machines among them."""

    @property
    def others_cores(self) -> float:
        """Cores that everything else kept busy."""
        return self.others_s / self.wall_s

    @property
    def quiet(self) -> bool:
        """Whether the run had the machine for itself."""
        return self.others_cores <= QUIET_CORES


@contextmanager
def measured() -> Iterator[Usage]:
    """Fills in the seconds of what runs inside."""
    usage = Usage()
    before, busy, started = os.times(), _busy_s(), time.perf_counter()
    yield usage
    after = os.times()
    usage.wall_s = time.perf_counter() - started
    usage.parent_s = after.user + after.system - before.user - before.system
    usage.children_s = after.children_user + after.children_system - before.children_user - before.children_system
    usage.others_s = max(_busy_s() - busy - usage.parent_s - usage.children_s, 0.0)


def _busy_s() -> float:
    """CPU seconds that all processes of the machine have taken since it started; none where it does not say."""
    if not _STAT.exists():
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, _STAT.read_text().split(maxsplit=9)[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> dict[int, int]:
    """Memory that a process and those below it hold, by their number; pages that they share count in each."""
    found: dict[int, int] = {}
    waiting = [pid]
    while waiting:
        process = Path("/proc", str(waiting.pop()))
        try:
            pages = int((process / "statm").read_text().split()[1])
            children = [file.read_text().split() for file in process.glob("task/*/children")]
        except OSError:  # it has ended meanwhile, or the system has no such files
            continue
        found[int(process.name)] = pages * os.sysconf("SC_PAGE_SIZE")
        waiting += [int(child) for some in children for child in some]
    return found
