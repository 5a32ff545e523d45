"""Gradients of a layer of experts: of its tokens, or of its weights. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.hints import found
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.experts.moe import Moe
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, label_of

WIDE_BYTES = 2.0
"""Least width of a type that gradients of experts are known in [B]."""
SIDES = ("inputs", "weights")
"""What the gradients are of."""


@dataclass(frozen=True, slots=True)
class MoeBackward(Operator):
    """Half of the backward pass of `moe`: gradients of tokens and logits (`of=inputs`), or of weights (`of=weights`).

    Each has two products where the forward pass has two: dgrad, of a result's gradient and the weights, and wgrad, of
    what was read and a result's gradient. What goes between the halves lies by pair of a token and an expert: the
    gradient of a result (hidden_size) and that of the first product ((1 + gated) inter). Weighing by the router's
    numbers is done beside the gate, as Megatron-LM does (moe/experts.py, `weighted_bias_swiglu_impl`), so that no
    expert's result is needed again.

    flops = 2 pairs hidden_size inter (2 + gated) of either half, those of the forward pass.
    min_bytes of inputs = active hidden_size inter (2 + gated) b + b (num_tokens (2 hidden_size + num_experts)
                        + pairs (hidden_size + 2 (1 + gated) inter)).
    min_bytes of weights = (num_experts / moe_ep_size) hidden_size inter (2 + gated) b
                         + b pairs (2 hidden_size + (2 + gated) inter).
    """

    op: ClassVar[str] = "moe_backward"
    example: ClassVar[str] = (
        "moe_backward(num_tokens=4096,hidden_size=4096,inter_size=14336,topk=2,num_experts=8,dtype=bf16)"
    )

    num_tokens: Count = field(metadata=count_of("tokens, of all GPUs that share the experts"))
    hidden_size: Count = field(metadata=count_of("features of a token"))
    inter_size: Count = field(metadata=count_of("inner features of an expert; moe_tp_size divides it"))
    topk: Count = field(metadata=count_of("experts of a token; at most num_experts"))
    num_experts: Count = field(metadata=count_of("experts of the layer; moe_ep_size divides it"))
    moe_tp_size: Count = field(default=1, metadata=count_of("GPUs that share each expert"))
    moe_ep_size: Count = field(default=1, metadata=count_of("GPUs among which experts are divided"))
    skew: Count = field(default=0, metadata=count_of("exponent of the power law of loads, as of moe", minimum=0))
    gated: Count = field(default=1, metadata=count_of("1: gate and up (SwiGLU); 0: up alone (ReLU^2)", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of products, weights, tokens and gradients"))
    of: str = field(default="inputs", metadata=label_of(f"what the gradients are of: {', '.join(SIDES)}"))

    @property
    def forward(self) -> Moe:
        """The operator whose gradients these are."""
        return Moe(
            self.num_tokens,
            self.hidden_size,
            self.inter_size,
            self.topk,
            self.num_experts,
            self.moe_tp_size,
            self.moe_ep_size,
            self.skew,
            self.gated,
            self.dtype,
        )

    @property
    def of_weights(self) -> bool:
        """Whether these are the gradients of the weights."""
        return self.of == "weights"

    @property
    def held_experts(self) -> Amount:
        """Experts of this GPU, those without a token among them."""
        return self.num_experts / self.moe_ep_size

    @property
    def flops(self) -> Amount:
        return self.forward.flops

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        """exp of the gates, once more."""
        return 0.0 * self.flops if self.of_weights else self.forward.special_ops

    @property
    def between_elements(self) -> tuple[Amount, Amount]:
        """What goes from one half to the other, by pair: gradients of results, and of the first product."""
        op = self.forward
        return op.pairs * op.hidden_size, op.pairs * (1.0 + op.gated) * op.inner

    @property
    def written(self) -> tuple[Amount, ...]:
        """Elements of each result."""
        op = self.forward
        if self.of_weights:
            return (self.held_experts * op.hidden_size * op.inner * (2.0 + op.gated),)
        return (1.0 * op.num_tokens * op.hidden_size, 1.0 * op.num_tokens * op.num_experts, *self.between_elements)

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * sum(self.written)

    @property
    def read_bytes(self) -> Amount:
        """Bytes that are read beside weights: gradients, and what the forward pass keeps [B]."""
        op, (results, first) = self.forward, self.between_elements
        if self.of_weights:
            return bytes_of(self.dtype) * (2.0 * results + first + op.pairs * op.inner)
        return bytes_of(self.dtype) * (1.0 * op.num_tokens * op.hidden_size + first)

    @property
    def weight_bytes(self) -> Amount:
        """Bytes of weights that are read: of all experts with a token, for the gradients of tokens [B]."""
        return 0.0 * self.flops if self.of_weights else self.forward.weight_bytes

    @property
    def min_bytes(self) -> Amount:
        return self.weight_bytes + self.read_bytes + self.output_bytes

    def check_relations(self) -> None:
        if self.of not in SIDES:
            raise ParameterError(self.op, "of", f"one of {', '.join(SIDES)}", found(self.of))
        if bytes_of(self.dtype) < WIDE_BYTES:
            raise ParameterError(self.op, "dtype", "a type of 16 or 32 bits", self.dtype)
        self.forward.check_relations()


def kept_bytes(op: Moe) -> float:
    """What a forward pass keeps beside its result for these [B]: tokens by expert, the first product, and its gate."""
    return bytes_of(op.dtype) * float(op.pairs * (op.hidden_size + op.inner * (2.0 + op.gated)))
