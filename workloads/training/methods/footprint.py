"""Memory that training holds from step to step, by kind: weights, gradients, optimizer states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.training.methods.low_rank import Method
from simexplore.workloads.training.methods.weights import Weight


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes held by kind, activations apart [B]."""

    weights: float
    gradients: float
    states: float

    @property
    def total(self) -> float:
        """All of it [B]."""
        return self.weights + self.gradients + self.states


def weight_bytes(weights: Sequence[Weight], method: Method, dtype: str) -> float:
    """The model's tensors and what a method adds to them [B]."""
    own = bytes_of(dtype) * sum(weight.total for weight in weights)
    added = sum(extra.total for weight in weights for extra in method.added(weight))
    return own + bytes_of(method.added_dtype(dtype)) * added


def state_bytes(weights: Sequence[Weight], method: Method, dtype: str) -> dict[str, float]:
    """What an optimizer keeps, by the name that its implementation has for it [B]; `shared`: what it keeps once."""
    kept: dict[str, float] = {}
    for weight, of_type in _trained(weights, method, dtype):
        for name, size in method.states(weight, of_type).items():
            kept[name] = kept.get(name, 0.0) + weight.count * size
    shared = method.optimizer.shared_bytes
    return {**kept, "shared": shared} if shared else kept


def gradient_bytes(
    weights: Sequence[Weight],
    method: Method,
    dtype: str,
    *,
    gradient_dtype: str | None = None,
    layer_wise: bool = False,
) -> float:
    """Gradients that are held at the same time [B].

    Args:
        gradient_dtype: type of a gradient; None: its tensor's.
        layer_wise: a tensor is updated as soon as its gradient is there, which is then freed (Lv et al.,
            arXiv:2306.09782): the largest one counts.
    """
    each = [
        bytes_of(gradient_dtype or of_type) * (weight.elements if layer_wise else weight.total)
        for weight, of_type in _trained(weights, method, dtype)
    ]
    return max(each, default=0.0) if layer_wise else sum(each)


def footprint(
    weights: Sequence[Weight],
    method: Method,
    dtype: str,
    *,
    gradient_dtype: str | None = None,
    layer_wise: bool = False,
) -> Footprint:
    """All that training a model holds beside its activations; arguments as of `gradient_bytes`."""
    return Footprint(
        weight_bytes(weights, method, dtype),
        gradient_bytes(weights, method, dtype, gradient_dtype=gradient_dtype, layer_wise=layer_wise),
        sum(state_bytes(weights, method, dtype).values()),
    )


def _trained(weights: Sequence[Weight], method: Method, dtype: str) -> list[tuple[Weight, str]]:
    own = [(weight, dtype) for weight in weights if not method.frozen(weight)]
    return own + [(extra, method.added_dtype(dtype)) for weight in weights for extra in method.added(weight)]
