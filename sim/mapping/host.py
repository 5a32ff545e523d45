"""What the host adds to an operator whose time is taken around an eager call of a framework."""

from __future__ import annotations

from dataclasses import replace

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import Algorithm, FloatArray, KernelDemand
from simexplore.sim.mapping.columns import column, constant
from simexplore.workloads.ops import Conv2d, Operator


def called(algorithm: Algorithm, op: Operator, gpu: Gpu, conditions: Conditions) -> Algorithm:
    """The algorithm as it is called: of an eager call the host's time is part, during which the GPU waits."""
    first, *others = algorithm.kernels
    if not conditions.eager or not isinstance(first, KernelDemand):
        return algorithm
    waited = first.setup_cycles + host_seconds(op, gpu, conditions) * gpu.clock.boost_hz
    return algorithm._replace(kernels=(replace(first, setup_cycles=waited), *others))


def host_seconds(op: Operator, gpu: Gpu, conditions: Conditions) -> FloatArray:
    """Time from an eager call on an idle stream to its first launch [s].

    Of a convolution t_call (1 + (n / n_2)^2), n: other shapes called before. NeuSight's sweep shows it
    (`docs/convolutions.md`): the library looks through what it keeps of them, and the more that is, the less of it
    the host's caches hold. Other operators need no search.
    """
    if not isinstance(op, Conv2d):
        return constant(gpu.launch.eager_s)
    conv = gpu.library.conv
    return conv.call_s * (1.0 + (column(conditions.cache.earlier_shapes) / conv.call_doubling) ** 2)
