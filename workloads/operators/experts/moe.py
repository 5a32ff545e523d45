"""A layer of experts, as one of the GPUs that share it runs it. Conventions: see `ops`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.experts.routing import MOST_EXPERTS, MOST_SKEW, Load, loads_of
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of


@dataclass(frozen=True, slots=True)
class Moe(Operator):
    """A mixture of experts: `topk` of `num_experts` feed-forward networks for each token, and their weighted sum.

    The busiest of `moe_ep_size` x `moe_tp_size` GPUs is meant, which has 1 / `moe_ep_size` of the experts and of each
    1 / `moe_tp_size` of its inner features. `pairs` are the pairs of a token and an expert there, `active` its experts
    with a token at all (`experts.routing`); both are means where loads are drawn.

    flops = 2 pairs hidden_size inter (2 + gated), inter = inter_size / moe_tp_size.
    min_bytes = active hidden_size inter (2 + gated) b(weights) + 2 num_tokens hidden_size b(output).
    """

    op: ClassVar[str] = "moe"
    example: ClassVar[str] = "moe(num_tokens=256,hidden_size=4096,inter_size=14336,topk=2,num_experts=8,dtype=bf16)"

    num_tokens: Count = field(metadata=count_of("tokens, of all GPUs that share the experts"))
    hidden_size: Count = field(metadata=count_of("features of a token"))
    inter_size: Count = field(metadata=count_of("inner features of an expert; moe_tp_size divides it"))
    topk: Count = field(metadata=count_of("experts of a token; at most num_experts"))
    num_experts: Count = field(metadata=count_of("experts of the layer; moe_ep_size divides it"))
    moe_tp_size: Count = field(default=1, metadata=count_of("GPUs that share each expert"))
    moe_ep_size: Count = field(default=1, metadata=count_of("GPUs among which experts are divided"))
    skew: Count = field(
        default=0,
        metadata=count_of("exponent of the power law of loads over experts, in hundredths; 0: balanced", minimum=0),
    )
    gated: Count = field(default=1, metadata=count_of("1: gate and up (SwiGLU); 0: up alone (ReLU^2)", minimum=0))
    dtype: str = field(default="bf16", metadata=dtype_of("type of products; tokens come and go as bf16"))
    weight_dtype: str | None = field(
        default=None, metadata=dtype_of("type that weights are stored in, at most as wide; none: dtype")
    )

    def load(self, heights: tuple[float, ...] = ()) -> Load:
        """What this GPU's experts get, arrays of shape (rows,); `heights` are tokens of a tile."""
        return loads_of((self.num_tokens, self.topk, self.num_experts, self.moe_ep_size, self.skew), heights)

    @property
    def inner(self) -> Amount:
        """Inner features of an expert on this GPU."""
        return self.inter_size / self.moe_tp_size

    @property
    def pairs(self) -> Amount:
        """Pairs of a token and one of its experts on this GPU."""
        return self._plain(self.load().pairs)

    @property
    def flops(self) -> Amount:
        return 2.0 * self.pairs * self.hidden_size * self.inner * (2.0 + self.gated)

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def special_ops(self) -> Amount:
        return self.pairs * self.inner * self.gated

    @property
    def weight_bytes(self) -> Amount:
        """Bytes of the weights of all experts with a token [B]."""
        active = self._plain(self.load().active)
        return bytes_of(self.stored) * active * self.hidden_size * self.inner * (2.0 + self.gated)

    @property
    def stored(self) -> str:
        """Type that weights are stored in."""
        return self.weight_dtype or self.dtype

    @property
    def output_dtype(self) -> str:
        """Type of tokens and result: `dtype`, but never narrower than 16 bits."""
        return self.dtype if bytes_of(self.dtype) >= 2 else "bf16"

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * bytes_of(self.output_dtype) * self.num_tokens * self.hidden_size

    @property
    def min_bytes(self) -> Amount:
        return self.weight_bytes + 2.0 * self.output_bytes

    def check_relations(self) -> None:
        if bytes_of(self.stored) > bytes_of(self.dtype):
            raise ParameterError(self.op, "weight_dtype", f"a type no wider than dtype {self.dtype}", self.stored)
        for name, of, whole, part in (
            ("moe_tp_size", "inter_size", self.inter_size, self.moe_tp_size),
            ("moe_ep_size", "num_experts", self.num_experts, self.moe_ep_size),
        ):
            if np.any(np.remainder(whole, part)):
                raise ParameterError(self.op, name, f"a divisor of {of} = {whole}", str(part))
        if np.any(np.greater(self.topk, self.num_experts)):
            raise ParameterError(self.op, "topk", f"at most num_experts = {self.num_experts}", str(self.topk))
        for name, most in (("num_experts", MOST_EXPERTS), ("skew", MOST_SKEW), ("gated", 1)):
            value = getattr(self, name)
            if np.any(np.greater(value, most)):
                raise ParameterError(self.op, name, f"at most {most}", str(value))

    def _plain(self, amount: Amount) -> Amount:
        """A number where all fields are numbers."""
        counts = (self.num_tokens, self.topk, self.num_experts, self.moe_ep_size, self.skew)
        return amount if any(np.ndim(count) for count in counts) else float(np.squeeze(amount))
