"""What the gradients of an operator cost: each family's own backward operators, and what they need of the forward pass.

A family is registered by one function. Elementwise and row-wise gradients are one kernel that reads what it needs and
the gradient, and writes one gradient an input.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch

from simexplore.errors import SimexploreError
from simexplore.workloads.operators.base import Operator
from simexplore.workloads.operators.scans.delta import DeltaPrefill
from simexplore.workloads.operators.training import experts, scans
from simexplore.workloads.ops import (
    Add,
    AllGather,
    AttentionBackward,
    AttentionPrefill,
    Bmm,
    CausalConv1d,
    CausalConv1dBackward,
    Conv,
    Conv2d,
    ConvTranspose,
    Copy,
    DeltaBackward,
    Elementwise,
    Embedding,
    EncoderAttention,
    GdnPrefill,
    Gemm,
    GroupNorm,
    KdaPrefill,
    LayerNorm,
    MlaBackward,
    MlaPrefill,
    Moe,
    MoeBackward,
    Pointwise,
    Pool,
    Reduce,
    ReduceScatter,
    Relu,
    Resample,
    RmsNorm,
    Rope,
    Softmax,
    SsdBackward,
    SsdPrefill,
)


@dataclass(frozen=True, slots=True)
class Gradients:
    """The backward operators of one operator.

    Args:
        of_inputs: those that make gradients of what it reads of other operators, in order.
        of_weights: those that make gradients of its own tensors.
        inputs_for_weights: whether the gradients of its tensors need what it read.
        inputs_for_inputs: whether the gradients of what it read need that itself.
        result: whether any of them needs what it made.
        made_for_weights: whether the gradients of its tensors need those of what it read, which are made first.
    """

    of_inputs: tuple[Operator, ...] = ()
    of_weights: tuple[Operator, ...] = ()
    inputs_for_weights: bool = True
    inputs_for_inputs: bool = False
    result: bool = False
    made_for_weights: bool = False


@singledispatch
def gradients_of(op: Operator) -> Gradients:
    """The gradients of an operator, whose fields are numbers.

    Raises:
        SimexploreError: no gradient is known for its family.
    """
    raise SimexploreError(f"no gradient of {op.op} is known: leave it out of what is trained")


@singledispatch
def beside_bytes(op: Operator) -> float:  # noqa: ARG001 - most keep nothing but what they read or made
    """What the forward pass keeps beside an operator's result for its gradients [B]."""
    return 0.0


@gradients_of.register
def _of_gemm(op: Gemm) -> Gradients:
    """dA = dC B^T and dB = A^T dC: as many flops as the forward pass each."""
    plain = {"dtype": op.dtype, "batch": op.batch}
    to_inputs = Gemm(m=op.m, n=op.k, k=op.n, **plain)  # type: ignore[arg-type]  # counts and a type
    to_weights = Gemm(m=op.k, n=op.n, k=op.m, **plain)  # type: ignore[arg-type]
    return Gradients((to_inputs,), (to_weights,))


@gradients_of.register
def _of_bmm(op: Bmm) -> Gradients:
    """As of a GEMM, but both are gradients of what others made."""
    plain = {"dtype": op.dtype, "batch": op.batch}
    left = Bmm(m=op.m, n=op.k, k=op.n, **plain)  # type: ignore[arg-type]
    right = Bmm(m=op.k, n=op.n, k=op.m, **plain)  # type: ignore[arg-type]
    return Gradients((left, right), inputs_for_inputs=True)


@gradients_of.register
def _of_conv2d(op: Conv2d) -> Gradients:
    return _of_conv(op.general)


@gradients_of.register
def _of_conv(op: Conv) -> Gradients:
    """Products over channels and taps, as many flops as the forward pass each (implicit GEMM)."""
    pixels, taps = op.batch * int(op.positions), op.layers * op.rows * op.cols
    filters, channels = op.cout // op.groups, op.cin // op.groups
    plain = {"dtype": op.dtype, "batch": op.groups}
    to_inputs = Gemm(m=pixels, n=channels * taps, k=filters, **plain)  # type: ignore[arg-type]
    to_weights = Gemm(m=filters, n=channels * taps, k=pixels, **plain)  # type: ignore[arg-type]
    return Gradients((to_inputs,), (to_weights,))


@gradients_of.register
def _of_conv_transpose(op: ConvTranspose) -> Gradients:
    """Its gradient of the image is a convolution; as many flops as the forward pass each."""
    pixels = int(op.batch * op.depth * op.height * op.width)
    filters, channels = int(op.cout * op.taps) // op.groups, op.cin // op.groups
    plain = {"dtype": op.dtype, "batch": op.groups}
    to_inputs = Gemm(m=pixels, n=channels, k=filters, **plain)  # type: ignore[arg-type]
    to_weights = Gemm(m=channels, n=filters, k=pixels, **plain)  # type: ignore[arg-type]
    return Gradients((to_inputs,), (to_weights,))


@gradients_of.register
def _of_attention(op: AttentionPrefill) -> Gradients:
    sizes = (op.batch, op.heads, op.kv_heads, op.head_dim, op.seq_q, op.seq_kv, op.window)
    return Gradients((AttentionBackward(*sizes, dtype=op.dtype),), inputs_for_inputs=True, result=True)


@gradients_of.register
def _of_encoder_attention(op: EncoderAttention) -> Gradients:
    sizes = (op.batch, op.heads, op.kv_heads, op.head_dim, op.seq_q, op.seq_kv)
    return Gradients((AttentionBackward(*sizes, dtype=op.dtype, mask="none"),), inputs_for_inputs=True, result=True)


@gradients_of.register
def _of_latent_attention(op: MlaPrefill) -> Gradients:
    sizes = (op.batch, op.heads, op.seq_q, op.seq_kv, op.nope_dim, op.rope_dim, op.v_dim)
    return Gradients((MlaBackward(*sizes, dtype=op.dtype),), inputs_for_inputs=True, result=True)


@gradients_of.register
def _of_experts(op: Moe) -> Gradients:
    """Two grouped products each: those of the weights need the gradients that those of the tokens bring to experts."""
    if op.stored != op.output_dtype:
        raise SimexploreError(f"no gradient of {op.op} of {op.stored} is known: experts are trained in 16 or 32 bits")
    sizes = (op.num_tokens, op.hidden_size, op.inter_size, op.topk, op.num_experts, op.moe_tp_size, op.moe_ep_size)
    both = [MoeBackward(*sizes, op.skew, op.gated, op.dtype, side) for side in experts.SIDES]
    return Gradients((both[0],), (both[1],), inputs_for_weights=False, result=True, made_for_weights=True)


@beside_bytes.register
def _beside_experts(op: Moe) -> float:
    return experts.kept_bytes(op)


@gradients_of.register
def _of_gated_delta(op: GdnPrefill) -> Gradients:
    return _of_scan(op, 0)


@gradients_of.register
def _of_fine_delta(op: KdaPrefill) -> Gradients:
    return _of_scan(op, 1)


def _of_scan(op: GdnPrefill | KdaPrefill, fine: int) -> Gradients:
    if op.carried:
        raise SimexploreError(f"no gradient of {op.op} with carried=1 is known: a state of a step before has none")
    sizes = (op.batch, op.heads, op.query_heads, op.seq_q, op.key_dim, op.value_dim, fine, op.normalized)
    return Gradients((DeltaBackward(*sizes, dtype=op.dtype),), inputs_for_inputs=True)


@beside_bytes.register
def _beside_scans(op: DeltaPrefill) -> float:
    return scans.kept_bytes(op)


@gradients_of.register
def _of_state_space(op: SsdPrefill) -> Gradients:
    sizes = (op.batch, op.heads, op.seq_q, op.head_dim, op.state_dim, op.groups, op.chunk)
    return Gradients((SsdBackward(*sizes, dtype=op.dtype),), inputs_for_inputs=True)


@gradients_of.register
def _of_short_convolution(op: CausalConv1d) -> Gradients:
    """Gradients of filters come with those of what was filtered."""
    back = CausalConv1dBackward(op.batch, op.channels, op.seq_q, op.width, dtype=op.dtype)
    return Gradients((back,), inputs_for_inputs=True)


@gradients_of.register
def _of_embedding(op: Embedding) -> Gradients:
    """The table's gradient is set to zero and the rows' gradients are added where their tokens are."""
    cleared = Pointwise(op.vocabulary * op.width, 0, 1, 0, op.dtype, "zero")
    added = Pointwise(op.tokens * op.width, 2, 1, 1, op.dtype, "embedding_backward")
    return Gradients((), (cleared, added), inputs_for_weights=False)


NORM_FLOPS = {"rmsnorm": 8, "layernorm": 11, "group_norm": 11}
"""Of an element in the backward pass: normalised again, two sums over its row, the gradient; sums of the vectors."""


@gradients_of.register
def _of_rmsnorm(op: RmsNorm) -> Gradients:
    return _of_norm(op)


@gradients_of.register
def _of_layernorm(op: LayerNorm) -> Gradients:
    return _of_norm(op)


def _of_norm(op: RmsNorm | LayerNorm) -> Gradients:
    """One kernel for the gradients of the input and of the learned vectors (apex, layer_norm_cuda_kernel.cu)."""
    if op.residual:
        raise SimexploreError(f"{op.op} adds a residual: training has that addition apart")
    both = Pointwise(op.rows * op.cols, 2, 1, NORM_FLOPS[op.op], op.dtype, f"{op.op}_backward")
    return Gradients((both,), inputs_for_inputs=True)


@gradients_of.register
def _of_group_norm(op: GroupNorm) -> Gradients:
    both = Pointwise(int(op.elements), 2, 1, NORM_FLOPS[op.op], op.dtype, "group_norm_backward")
    return Gradients((both,), inputs_for_inputs=True)


@gradients_of.register
def _of_pool(op: Pool) -> Gradients:
    return _spread(op, needs_inputs=op.function == "max" and not op.indices, result=bool(op.indices))


@gradients_of.register
def _of_resample(op: Resample) -> Gradients:
    return _spread(op)


@gradients_of.register
def _of_reduce(op: Reduce) -> Gradients:
    return _spread(op, needs_inputs=True)


def _spread(op: Pool | Resample | Reduce, *, needs_inputs: bool = False, result: bool = False) -> Gradients:
    """A kernel that hands each result's gradient to what it was made of; it reads and writes the larger of both."""
    elements = round(max(float(op.elements_in[0]), float(op.elements_out[0])))
    back = Pointwise(elements, 1, 1, 1, op.dtype, f"{op.op}_backward")
    return Gradients((back,), inputs_for_inputs=needs_inputs, result=result)


@gradients_of.register
def _of_softmax(op: Softmax) -> Gradients:
    """y (dy - sum of y dy)."""
    return Gradients((Pointwise(op.rows * op.cols, 2, 1, 4, op.dtype, "softmax_backward"),), result=True)


@gradients_of.register
def _of_rope(op: Rope) -> Gradients:
    """A rotation the other way."""
    return Gradients((op,))


ELEMENTWISE_FLOPS = {"gelu": 16, "silu_mul": 11, "relu": 1, "mul": 2}
"""Of an element's gradients; others have twice the flops of the forward pass."""


@gradients_of.register
def _of_elementwise(op: Elementwise) -> Gradients:
    """Reads the inputs and the gradient, writes a gradient for each input."""
    flops = ELEMENTWISE_FLOPS.get(op.op, 2 * int(op.flops_per_element))
    reads, writes = int(op.inputs) + int(op.outputs), max(int(op.inputs), 1)
    return Gradients(
        (Pointwise(op.elements, reads, writes, flops, op.dtype, f"{op.op}_backward"),), inputs_for_inputs=True
    )


@gradients_of.register
def _of_add(op: Add) -> Gradients:  # noqa: ARG001 - both gradients are that of the sum, which is there
    return Gradients()


@gradients_of.register
def _of_relu(op: Relu) -> Gradients:
    """The result tells where the gradient passes."""
    return replace(_of_elementwise(op), inputs_for_inputs=False, result=True)


KEEPS_ITS_RESULT = ("dropout", "add_dropout")
"""Functions of `pointwise` whose gradients need no input: a mask lies beside what they made."""


@gradients_of.register
def _of_pointwise(op: Pointwise) -> Gradients:
    needed = _of_elementwise(op)
    if op.function not in KEEPS_ITS_RESULT:
        return needed
    back = Pointwise(op.elements, 1, 1, 1, op.dtype, f"{op.function}_backward")
    return Gradients((back,), result=True)


@gradients_of.register
def _of_copy(op: Copy) -> Gradients:
    """A copy back, to the type that was read."""
    return Gradients((replace(op, dtype=op.written_dtype, output_dtype=op.dtype),))


@gradients_of.register
def _of_all_gather(op: AllGather) -> Gradients:
    """All GPUs' gradients of a part are added up where the part is."""
    return Gradients((ReduceScatter(op.elements, op.num_gpus, op.dtype),))


@gradients_of.register
def _of_reduce_scatter(op: ReduceScatter) -> Gradients:
    return Gradients((AllGather(op.elements, op.num_gpus, op.dtype),))
