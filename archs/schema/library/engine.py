"""The kernels of another engine than the one that `library` tells of: what differs, and what measurements taught."""

from __future__ import annotations

from typing import Any

from simexplore.archs.schema.quantities import Spec, about


class Engine(Spec):
    """One more engine that runs on a machine.

    Both sections are as they are written: `archs.engines.of_engine` lays them over the machine's own, and what comes
    of that is checked as any machine is.
    """

    library: dict[str, Any] = about("what differs from the machine's own `library`", "mapping", default_factory=dict)
    calibration: dict[str, Any] | None = about(
        "what measurements of this engine's kernels taught; absent: nothing", "mapping", default=None
    )
