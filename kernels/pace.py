"""How fast a machine runs at the moment, told by one kernel that is timed again before every other one.

On a CPU other jobs take caches, clock and the other thread of a core, for seconds or for minutes. A kernel's own
samples, taken within a second, can't tell that; the reference kernel's can: its time is known from the rest of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

import numpy as np

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.devices import Device
from simexplore.kernels.backend.session import Closing, Session
from simexplore.kernels.problems import check, problem_of

DRIFT = 1.15
"""A row was measured while the machine was slow when its reference took this much longer than at best."""
_SAMPLES, _SAMPLE_S, _WARMUP = 4, 0.001, 2

REFERENCES: Mapping[str, str] = MappingProxyType(
    {
        "vulkan": "simexplore.kernels.vulkan.suites:reference",
        "torch": "simexplore.kernels.torch_.suites:reference",
    }
)
"""Backend → `module:function` of a device, one line a backend that may run on a CPU."""


def reference_of(device: Device) -> Case | None:
    """The kernel by which a device's pace is told; None where other jobs can't take from it."""
    where = REFERENCES.get(device.backend)
    if where is None or not device.noise_only_adds:
        return None
    module, _, function = where.partition(":")
    drawn: Callable[[Device], Case] = getattr(import_module(module), function)
    return drawn(device)


class Pace(Closing):
    """The reference kernel, ready; nothing at all where the device needs none."""

    def __init__(self, session: Session, case: Case | None) -> None:
        self.case = case
        self.best_s, self.worst_s, self.last_s = float("inf"), 0.0, 0.0
        self._prepared = None if case is None else session.prepare(case)
        if case is None or self._prepared is None:
            return
        try:
            problem = problem_of(case, session.problems)
            inputs = problem.inputs(case, np.random.default_rng(0))
            check(case, self._prepared.run(inputs), problem.expected(case, inputs))
            for _ in range(_WARMUP):
                once = self._prepared.sample(1)
            self._launches = max(int(_SAMPLE_S / max(once.time_s, 1e-9)), 1)
        except BaseException:
            self.close()
            raise

    def now_s(self) -> float:
        """What the reference kernel takes at the moment [s], the least of a few samples; 0 where there is none."""
        if self._prepared is None:
            return 0.0
        least = min(self._prepared.sample(self._launches).time_s for _ in range(_SAMPLES))
        self.best_s, self.worst_s, self.last_s = min(self.best_s, least), max(self.worst_s, least), least
        return least

    def close(self) -> None:
        """Free the kernel. Safe to call twice."""
        if self._prepared is not None:
            self._prepared.close()
            self._prepared = None
