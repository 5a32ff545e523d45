"""simexplore: how long a workload takes on a machine described in YAML.

>>> import simexplore
>>> gpu = simexplore.load_arch("nvidia/h200-sxm", {"l2.capacity": "60 MiB"})
>>> run = simexplore.simulate("llm/llama-3-8b/decode", gpu)
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

# In the root of a checkout Python finds this folder before the installed package, which has the rooms as well.
__path__ = extend_path(__path__, __name__)

from simexplore.errors import SimexploreError

if TYPE_CHECKING:
    from simexplore.api import duty_cycle, estimate, list_workloads, load_workload, predict, simulate
    from simexplore.archs.load import load_arch
    from simexplore.archs.names import list_archs
    from simexplore.archs.schema.gpu import Gpu
    from simexplore.archs.views.machines import load_machine
    from simexplore.kernels.datasets import read_measurements
    from simexplore.measured import calibrate, compare, measure
    from simexplore.sim.compare.comparison import Comparison
    from simexplore.sim.conditions import COLD, WARM
    from simexplore.sim.estimate.graphs import Estimate
    from simexplore.sim.explore.study import Sweep
    from simexplore.sim.play.result import Run
    from simexplore.workloads.ops import Operator

    __version__: str

__all__ = [
    "COLD",
    "WARM",
    "Comparison",
    "Estimate",
    "Gpu",
    "Operator",
    "Run",
    "SimexploreError",
    "Sweep",
    "__version__",
    "calibrate",
    "compare",
    "duty_cycle",
    "estimate",
    "list_archs",
    "list_workloads",
    "load_arch",
    "load_machine",
    "load_workload",
    "measure",
    "predict",
    "read_measurements",
    "simulate",
]

_HOMES = {
    "Operator": "simexplore.workloads.ops",
    "Run": "simexplore.sim.play.result",
    "Gpu": "simexplore.archs.schema.gpu",
    "Estimate": "simexplore.sim.estimate.graphs",
    "Comparison": "simexplore.sim.compare.comparison",
    "COLD": "simexplore.sim.conditions",
    "WARM": "simexplore.sim.conditions",
    "list_archs": "simexplore.archs.names",
    "list_workloads": "simexplore.api",
    "predict": "simexplore.api",
    "calibrate": "simexplore.measured",
    "Sweep": "simexplore.sim.explore.study",
    "compare": "simexplore.measured",
    "duty_cycle": "simexplore.api",
    "estimate": "simexplore.api",
    "load_arch": "simexplore.archs.load",
    "load_machine": "simexplore.archs.views.machines",
    "load_workload": "simexplore.api",
    "measure": "simexplore.measured",
    "read_measurements": "simexplore.kernels.datasets",
    "simulate": "simexplore.api",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is asked for: `import simexplore` alone costs nothing."""
    if name == "__version__":
        from importlib.metadata import version

        return version("simexplore")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'simexplore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
