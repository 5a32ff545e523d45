"""Methods of low rank: what each trains of a matrix, what it adds, and what it keeps from step to step.

m x n is a matrix of `rows` x `cols`, r the rank; a rank above both sides is the lesser of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.training.methods.optimizers import FP32_BYTES, AdamW, Optimizer, States
from simexplore.workloads.training.methods.weights import Weight


@dataclass(frozen=True, slots=True)
class Method:
    """Training of all tensors by one optimizer: full rank, and what others are made of.

    Args:
        optimizer: of every trained tensor.
    """

    optimizer: Optimizer

    def added(self, weight: Weight) -> tuple[Weight, ...]:  # noqa: ARG002 - a full-rank method adds none
        """Tensors that stand beside one of the model's."""
        return ()

    def frozen(self, weight: Weight) -> bool:  # noqa: ARG002
        """Whether a tensor of the model has no gradient."""
        return False

    def projected(self, weight: Weight) -> bool:  # noqa: ARG002
        """Whether a tensor's gradient is projected to a low rank before the optimizer sees it."""
        return False

    def added_dtype(self, dtype: str) -> str:
        """Type of what is added to a model of type `dtype`."""
        return dtype

    def states(self, weight: Weight, dtype: str) -> States:
        """Bytes kept of one trained tensor, by name [B]."""
        return self.optimizer.states(weight, dtype)

    def trained(self, weights: tuple[Weight, ...]) -> tuple[Weight, ...]:
        """All tensors that have gradients: those of the model that are not frozen, and those that are added."""
        own = [weight for weight in weights if not self.frozen(weight)]
        return (*own, *(extra for weight in weights for extra in self.added(weight)))


@dataclass(frozen=True, slots=True)
class LoRA(Method):
    """Hu et al., arXiv:2106.09685, as `peft` does it: W + B A beside a frozen W, A of r x n and B of m x r.

    Args:
        optimizer: of the adapters, and of what else is trained.
        rank: r.
        whole: roles of tensors that are trained as they are; none: adapters alone.
        adapter_dtype: type of A and B; None: the model's. `peft` keeps them in fp32 beside a model of 16 bits.
    """

    optimizer: Optimizer
    rank: int = 8
    whole: tuple[str, ...] = ()
    adapter_dtype: str | None = "fp32"

    def added(self, weight: Weight) -> tuple[Weight, ...]:
        if not weight.in_layer:
            return ()
        of_both = replace(weight, role="adapter")
        down = replace(of_both, name=f"{weight.name}.A", rows=self.rank)
        return (down, replace(of_both, name=f"{weight.name}.B", cols=self.rank))

    def frozen(self, weight: Weight) -> bool:
        return weight.role not in (*self.whole, "adapter")

    def added_dtype(self, dtype: str) -> str:
        return self.adapter_dtype or dtype


@dataclass(frozen=True, slots=True)
class ReLoRA(LoRA):
    """Lialin et al., arXiv:2307.05695: LoRA whose product is merged into W now and then, the moments set back.

    In memory it is LoRA: a merge adds B A to W in place.
    """


@dataclass(frozen=True, slots=True)
class GaLore(Method):
    """Zhao et al., arXiv:2403.03507, as `galore-torch` 1.0: a gradient is projected to rank r on its lesser side.

    m >= n: G P^T with P of r x n, moments of m x r. m < n: P^T G with P of m x r, moments of r x n. P is what an SVD of
    the gradient gave, in the gradient's type. In fp32 it is a view: the whole factor of the SVD, min(m, n)^2 elements,
    stays in memory, and what lies beyond P is `factor`. Adafactor projects gradients that it has made fp32.

    Args:
        optimizer: of the projected gradients, and of all other tensors.
        rank: r.
    """

    optimizer: Optimizer
    rank: int = 128

    def projected(self, weight: Weight) -> bool:
        return weight.in_layer

    def low_rank(self, weight: Weight) -> Weight:
        """The projected gradient, as a tensor."""
        rank = min(self.rank, weight.rows, weight.cols)
        tall = weight.rows >= weight.cols
        return replace(weight, rows=weight.rows if tall else rank, cols=rank if tall else weight.cols)

    def projector_elements(self, weight: Weight) -> int:
        """Elements of P."""
        side = min(weight.rows, weight.cols)
        return min(self.rank, side) * side

    def states(self, weight: Weight, dtype: str) -> States:
        if not self.projected(weight):
            return self.optimizer.states(weight, dtype)
        kept = self.optimizer.states(self.low_rank(weight), dtype)
        return {**kept, **self._projector(weight, self.optimizer.gradient_dtype(dtype))}

    def _projector(self, weight: Weight, dtype: str) -> Mapping[str, float]:
        elements = self.projector_elements(weight)
        held = {"projector": bytes_of(dtype) * elements}
        if dtype == "fp32":
            held["factor"] = FP32_BYTES * (min(weight.rows, weight.cols) ** 2 - elements)
        return held


@dataclass(frozen=True, slots=True)
class GradNormLoRP(GaLore):
    """Huang et al., arXiv:2412.19616, as the released `LowRankWeightNormAdamW` keeps it: W = g v / |v| row by row.

    Of each tensor it keeps a whole copy v, the length g of each row (of a vector one), and moments of both; those of
    the v of a layer's matrix are projected as GaLore's.
    Source: GradNormLoRP/LowRankWeightNormAdamW.py of github.com/Jhhuangkay/Gradient-Weight-normalized-Low-rank-
    Projection-for-Efficient-LLM-Training @66c8e767.
    """

    optimizer: Optimizer = AdamW(steps=False)  # noqa: RUF009 - a frozen record
    rank: int = 128

    def states(self, weight: Weight, dtype: str) -> States:
        moments, element = GaLore.states(self, weight, dtype), bytes_of(dtype)
        lengths = element * (weight.rows if weight.is_matrix else 1)
        return {
            **moments,
            "v": element * weight.elements,
            "g": lengths,
            "exp_avg_g": lengths,
            "exp_avg_sq_g": lengths,
        }
