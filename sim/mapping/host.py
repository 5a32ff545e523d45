"""How an operator is called: what the host adds to an eager call of a framework, and the operands that it is given."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import NORMAL_ACTIVITY, Beside, Conditions
from simexplore.sim.demand import Algorithm, Demand, FloatArray, KernelDemand
from simexplore.sim.libraries import conv_rules
from simexplore.sim.mapping.columns import constant
from simexplore.sim.mapping.traffic import warm_share
from simexplore.workloads.ops import Conv, Conv2d, ConvTranspose, Operator


def called(algorithm: Algorithm, op: Operator, gpu: Gpu, conditions: Conditions) -> Algorithm:
    """The algorithm as it is called, on its operands: of an eager call the host's time is part, while the GPU waits."""
    activity = conditions.activity
    if activity is None:
        activity = NORMAL_ACTIVITY.get(op.dtype, 1.0)
    algorithm = algorithm._replace(kernels=tuple(_on_operands(demand, activity) for demand in algorithm.kernels))
    if conditions.beside is not None:
        *before, last = algorithm.kernels
        algorithm = algorithm._replace(kernels=(*before, _with_more(last, conditions.beside, conditions, gpu)))
    if not conditions.eager:
        return algorithm
    first, *others = algorithm.kernels
    return algorithm._replace(kernels=(_after(first, host_seconds(op, gpu, conditions)), *others))


@singledispatch
def _on_operands(demand: Demand, activity: float) -> Demand:  # noqa: ARG001 - links take the same whatever they carry
    return demand


@_on_operands.register
def _(demand: KernelDemand, activity: float) -> KernelDemand:
    return replace(demand, work=replace(demand.work, activity=activity))


@singledispatch
def _with_more(demand: Demand, beside: Beside, conditions: Conditions, gpu: Gpu) -> Demand:  # noqa: ARG001 - links do no work
    return demand


@_with_more.register
def _(demand: KernelDemand, beside: Beside, conditions: Conditions, gpu: Gpu) -> KernelDemand:
    """The kernel with the work of merged operators, spread over its CTAs; what they read is as warm as activations."""
    flops, special, moved = (np.full((1, 1), amount) for amount in beside)
    ctas, work = demand.grid.ctas, demand.work
    cold = 1.0 - warm_share(moved, conditions.cache.activation_copies, moved, gpu)
    return demand.but(
        work={
            "fma_ops": work.fma_ops + flops / ctas,
            "special_ops": work.special_ops + special / ctas,
            "l2_read_bytes": work.l2_read_bytes + moved / ctas,
            "dram_read_bytes": work.dram_read_bytes + moved * cold / ctas,
        }
    )


@singledispatch
def _after(demand: Demand, host_s: FloatArray) -> Demand:  # noqa: ARG001 - only a kernel's launch waits for the host
    return demand


@_after.register
def _(demand: KernelDemand, host_s: FloatArray) -> KernelDemand:
    return demand.but(latency={"host_s": host_s})


def queued_call_seconds(op: Operator, gpu: Gpu) -> float:
    """Time of the host for a call of an operator among others that it issues while the GPU is busy [s].

    Weights and caches in fewer bits may have kernels, and so calls, of their own.
    """
    kept = getattr(op, "weight_dtype", None) or getattr(op, "kv_dtype", None) or op.dtype
    calls = gpu.launch.calls_s
    return calls.get(f"{op.op} {kept}", calls.get(op.op, gpu.launch.eager_s))


def host_seconds(op: Operator, gpu: Gpu, conditions: Conditions) -> FloatArray:
    """Time from an eager call on an idle stream to its first launch [s]; a convolution's library looks for a plan."""
    if isinstance(op, Conv2d | Conv | ConvTranspose):
        return conv_rules(gpu).call_seconds(gpu, conditions)
    return constant(gpu.launch.eager_s)
