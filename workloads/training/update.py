"""The optimizer's step as operators: projections, fused updates of tensors and states, and what is added to tensors."""

from __future__ import annotations

from collections.abc import Sequence

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Gemm, OptimizerStep, Pointwise, Svd
from simexplore.workloads.training.methods.low_rank import GaLore, GradNormLoRP
from simexplore.workloads.training.methods.weights import Weight
from simexplore.workloads.training.plan import Plan
from simexplore.workloads.training.tape import Tape

NOT_OF_A_STEP = ("projector", "factor", "v", "g", "exp_avg_g", "exp_avg_sq_g")
"""States that other operators than the fused update read."""
PASSES_OF_NORMALISING = (4, 3)
"""Tensors of m x n that GradNormLoRP reads and writes: v and the gradient, then v again; its gradient, v and W."""


def add_updates(tape: Tape, name: str, weights: Sequence[Weight], plan: Plan, reads: Sequence[str], group: str) -> None:
    """The update of some tensors, all of the model or all adapters, once their gradients `reads` are there."""
    method, adapters = plan.method, any(weight.role == "adapter" for weight in weights)
    dtype = method.added_dtype(plan.dtype) if adapters else plan.dtype
    projected = [weight for weight in weights if method.projected(weight)]
    whole = [weight for weight in weights if not method.projected(weight) and weight.total]
    if whole:
        elements = sum(weight.total for weight in whole)
        kept = sum(weight.count * sum(method.states(weight, dtype).values()) for weight in whole)
        tape.add(f"{name}.update", _step(elements, kept, dtype, plan), reads, group, 0.0)
    for weight in projected:
        assert isinstance(method, GaLore)
        _add_projected(tape, f"{name}.{weight.name.rpartition('.')[2]}", weight, method, dtype, plan, reads, group)


def _step(elements: int, state_bytes: float, dtype: str, plan: Plan) -> OptimizerStep:
    optimizer = plan.method.optimizer
    return OptimizerStep(
        elements=elements,
        state_bytes=round(state_bytes),
        flops_per_element=optimizer.flops_per_element,
        dtype=dtype,
        gradient_dtype=plan.gradient_dtype,
        function=type(optimizer).__name__.lower(),
    )


def _add_projected(
    tape: Tape, name: str, weight: Weight, method: GaLore, dtype: str, plan: Plan, reads: Sequence[str], group: str
) -> None:
    """GaLore's update (arXiv:2403.03507, algorithm 1): the gradient projected, its update projected back and added.

    Before these a step has its part of the decomposition that the projector comes from (`Plan.svd_every`).
    """
    low = method.low_rank(weight)
    rows, cols, rank = weight.rows, weight.cols, min(low.rows, low.cols)
    tall, many = rows >= cols, weight.count
    project = Gemm(m=low.rows, n=low.cols, k=cols if tall else rows, batch=many, dtype=dtype)
    found = _add_svd(tape, name, weight, plan, reads, group) if plan.svd_every else ()
    projected = tape.add(f"{name}.project", project, (*reads, *found), group)
    kept = {key: size for key, size in method.states(weight, dtype).items() if key not in NOT_OF_A_STEP}
    step = _step(low.total, many * sum(kept.values()), dtype, plan)
    updated = tape.add(f"{name}.update", step, [projected], group, 0.0)
    back = Gemm(m=rows, n=cols, k=rank, batch=many, dtype=dtype)
    whole = tape.add(f"{name}.project_back", back, [projected, updated], group)
    tape.add(f"{name}.apply", Pointwise(weight.total, 2, 1, 2, dtype, "apply"), [whole], group, 0.0)
    if isinstance(method, GradNormLoRP):
        inputs, outputs = PASSES_OF_NORMALISING
        tape.add(f"{name}.normalise", Pointwise(weight.total, inputs, outputs, 12, dtype, "normalise"), [], group, 0.0)


def _add_svd(tape: Tape, name: str, weight: Weight, plan: Plan, reads: Sequence[str], group: str) -> tuple[str, ...]:
    """The decomposition of a gradient, in fp32: its copy and all vectors are in memory until it is projected.

    Tensors of one shape are decomposed one after another (galore-torch, galore_projector.py, `get_orthogonal_matrix`).
    """
    op = Svd(weight.rows, weight.cols, weight.count, plan.svd_every)
    held = bytes_of(op.dtype) * weight.elements + float(op.output_bytes)
    return (tape.add(f"{name}.svd", op, reads, group, held, "workspace"),)
