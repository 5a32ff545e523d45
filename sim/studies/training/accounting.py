"""How GaLore's authors count memory, which is not how their code fills it.

Tables 2 and 6 (arXiv:2403.03507): millions of elements times 2 B over 1024, the model's size its name. With r the rank,
a = sum of rows x r and b = sum of cols x r over the matrices of layers, E the embedding and the head, P the size:

| method | weights | optimizer states |
|---|---|---|
| full | P | 2 P |
| GaLore | P | 3/2 (a + b + E) |
| low rank | a + b + E | 2 (a + b + E) |
| LoRA, ReLoRA | P + a + b + E | 2 (a + b + E) |

(Formulas with a projector of their own, mr + 2 nr, give other numbers than are printed.) Figures of 7B follow from all
elements, a projector of one byte an element beside moments of 8 bits, and a G of 10^9 B / 1.0737, as if GB had been
multiplied by what GiB are larger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from simexplore.workloads.training.methods.low_rank import GaLore
from simexplore.workloads.training.methods.optimizers import Adam8bit
from simexplore.workloads.training.methods.weights import Weight

MILLION = 1e6
BYTES = 2.0
M_IN_G = 1024.0
G_BYTES = 1e9 / (2.0**30 / 1e9)
"""What a G of the figures of 7B is [B], read from one of them, which is an `input`: 28.9 G of AdamW in bf16."""
METHODS = ("full", "galore", "lowrank", "lora", "relora")


class Counted(NamedTuple):
    """Memory of a method in the paper's G."""

    weights: float
    states: float

    @property
    def total(self) -> float:
        """Weights and states, table 2's entry."""
        return self.weights + self.states


def counted(weights: Sequence[Weight], rank: int, size_m: float) -> Mapping[str, Counted]:
    """Memory of each method, as tables 2 and 6 count it.

    Args:
        weights: the model's tensors.
        rank: r.
        size_m: the model's size by its name, in millions.
    """
    low = sum(weight.count * rank * (weight.rows + weight.cols) for weight in weights if weight.in_layer)
    ends = sum(weight.total for weight in weights if weight.role in ("embedding", "head"))
    adapters = (low + ends) / MILLION
    by_method = {
        "full": (size_m, 2.0 * size_m),
        "galore": (size_m, 1.5 * adapters),
        "lowrank": (adapters, 2.0 * adapters),
        "lora": (size_m + adapters, 2.0 * adapters),
        "relora": (size_m + adapters, 2.0 * adapters),
    }
    return {name: Counted(*(BYTES * part / M_IN_G for part in parts)) for name, parts in by_method.items()}


def states_of_8_bits(weights: Sequence[Weight], rank: int) -> float:
    """States of 8-bit GaLore in elements of one byte each, its projector too, in the paper's G."""
    method = GaLore(Adam8bit(), rank)
    elements = 0.0
    for weight in weights:
        if method.projected(weight):
            elements += weight.count * (2.0 * method.low_rank(weight).elements + method.projector_elements(weight))
        else:
            elements += 2.0 * weight.total
    return elements / G_BYTES


def elements_g(weights: Sequence[Weight], bytes_each: float) -> float:
    """All elements of a model at so many bytes each, in the paper's G."""
    return bytes_each * sum(weight.total for weight in weights) / G_BYTES
