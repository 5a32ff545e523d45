"""Which parameters calibration moves on which machine.

On a GPU the vendor's libraries and their memory traffic leave the most to measure. On a CPU that runs kernels through a
software driver, it is the driver's code: what it costs to load, to store, to switch between threads at a barrier.
"""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.learn.parameters import CUSTOM, GROUPS, NVLINK, PCIE, Group, Parameter

SOFTWARE = (
    Group(
        ops=("copy", "add", "mul", "relu", "gelu", "silu_mul", "pointwise"),
        parameters=(
            Parameter("launch.graph", 0.25, 4.0),
            Parameter("sm.l2_port", 0.2, 5.0),
            Parameter("sm.special_function", 0.1, 10.0),
        ),
    ),
    Group(
        ops=("softmax", "layernorm", "rmsnorm"),
        parameters=(Parameter("library.barrier", 0.1, 10.0), Parameter("sm.l1_bandwidth", 0.2, 5.0)),
    ),
    Group(ops=("gemm",), parameters=(Parameter("sm.shared_bandwidth", 0.1, 10.0),)),
)
"""For machines without tensor cores: kernels of this project's own (`kernels/vulkan`), which no library tunes."""


def groups_of(gpu: Gpu) -> tuple[Group, ...]:
    """The groups of a machine, in the order of fitting."""
    if not gpu.sm.tensor_ops_per_clk:
        return SOFTWARE
    return (*GROUPS, PCIE) if gpu.links.nvlink is None else (*GROUPS, NVLINK, CUSTOM)
