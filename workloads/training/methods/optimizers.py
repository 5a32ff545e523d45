"""Optimizers: which tensors each keeps of a trained tensor, byte for byte as its implementation does.

A tensor's type is `dtype`, that of its gradient too. Scalars count where they are tensors: PyTorch keeps a step for
each tensor, which `bitsandbytes` and `galore-torch` count in Python.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.training.methods.weights import Weight

FP32_BYTES = 4.0
States = Mapping[str, float]
"""Bytes by the tensor's name in the implementation [B]."""


class Optimizer(ABC):
    """What is kept of each trained tensor from step to step."""

    __slots__ = ()

    @abstractmethod
    def states(self, weight: Weight, dtype: str) -> States:
        """Bytes kept of one such tensor, by name [B]."""

    @property
    def shared_bytes(self) -> float:
        """Bytes kept once, whatever is trained [B]."""
        return 0.0

    def gradient_dtype(self, dtype: str) -> str:
        """Type in which it works on the gradient of a tensor of type `dtype`."""
        return dtype

    @property
    @abstractmethod
    def flops_per_element(self) -> int:
        """Arithmetic operations of an update for each element of the gradient."""


@dataclass(frozen=True, slots=True)
class AdamW(Optimizer):
    """Loshchilov and Hutter, arXiv:1711.05101, as `torch.optim.AdamW`: two moments of the tensor's type.

    Args:
        moments: type of the moments; None: the tensor's.
        master: whether an fp32 copy of the tensor is kept, as mixed precision does (Micikevicius et al.,
            arXiv:1710.03740).
        steps: whether each tensor's step is a tensor, of 4 B.
    """

    moments: str | None = None
    master: bool = False
    steps: bool = True

    def states(self, weight: Weight, dtype: str) -> States:
        moment = bytes_of(self.moments or dtype) * weight.elements
        states = {"exp_avg": moment, "exp_avg_sq": moment}
        if self.master:
            states["master"] = FP32_BYTES * weight.elements
        if self.steps:
            states["step"] = FP32_BYTES
        return states

    @property
    def flops_per_element(self) -> int:
        """Two decays with an addition each, a square, a root, a quotient, the step and the decay of the weight."""
        return 12


QUANTISED_LEAST = 4096
"""Elements from which a tensor has 8-bit moments (bitsandbytes, optim/optimizer.py, `min_8bit_size`)."""
QUANTISED_BLOCK = 256
"""Elements that share a scale (bitsandbytes from 0.44 on; 2,048 before)."""
QUANTISATION_MAP = 256
"""Values that an 8-bit code stands for, in fp32; a map for each moment, shared by all tensors."""


@dataclass(frozen=True, slots=True)
class Adam8bit(Optimizer):
    """Dettmers et al., arXiv:2110.02861, as `bitsandbytes.optim.Adam8bit`: moments of 8 bits in blocks with a scale.

    Tensors of fewer than 4,096 elements have moments of fp32. Maps of codes are kept once, `shared_bytes`.
    """

    block: int = QUANTISED_BLOCK

    def states(self, weight: Weight, dtype: str) -> States:  # noqa: ARG002 - the same for all types
        elements = weight.elements
        if elements < QUANTISED_LEAST:
            return {"state1": FP32_BYTES * elements, "state2": FP32_BYTES * elements}
        scales = FP32_BYTES * -(-elements // self.block)
        return {"state1": 1.0 * elements, "state2": 1.0 * elements, "absmax1": scales, "absmax2": scales}

    @property
    def shared_bytes(self) -> float:
        return 2.0 * FP32_BYTES * QUANTISATION_MAP

    @property
    def flops_per_element(self) -> int:
        """An update of `AdamW`, and both moments scaled, looked up and rounded."""
        return 20


@dataclass(frozen=True, slots=True)
class Adafactor(Optimizer):
    """Shazeer and Stern, arXiv:1804.04235, as `transformers` has it: second moments of rows and columns.

    All is kept in fp32, a root mean square of each tensor too.

    Args:
        momentum: whether there is a first moment, of every element.
    """

    momentum: bool = False

    def gradient_dtype(self, dtype: str) -> str:  # noqa: ARG002 - it makes all of them so
        return "fp32"

    def states(self, weight: Weight, dtype: str) -> States:  # noqa: ARG002 - the same for all types
        states = {"RMS": FP32_BYTES}
        if self.momentum:
            states["exp_avg"] = FP32_BYTES * weight.elements
        if weight.is_matrix:
            return {
                **states,
                "exp_avg_sq_row": FP32_BYTES * weight.rows,
                "exp_avg_sq_col": FP32_BYTES * weight.cols,
            }
        return {**states, "exp_avg_sq": FP32_BYTES * weight.elements}

    @property
    def flops_per_element(self) -> int:
        """Two squares with their sums, a product of two factors, a root, a quotient, the step and its scale."""
        return 12
