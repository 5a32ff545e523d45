"""GradNormLoRP (Huang et al., arXiv:2412.19616): what may stand behind its -89.5 %, named as what it is.

The paper tells neither the model nor the rank nor the bytes of that figure. Beside it stand what the released optimizer
keeps byte for byte, which holds a copy of every tensor, and 8-bit GaLore at a rank that comes near, a hypothesis.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import simexplore.workloads
from simexplore.archs.load import read_document
from simexplore.sim.studies import record_of
from simexplore.sim.studies.training.accounting import elements_g, states_of_8_bits
from simexplore.sim.studies.training.shares import less
from simexplore.workloads.families.llm import MODELS
from simexplore.workloads.training.methods.footprint import state_bytes
from simexplore.workloads.training.methods.low_rank import GaLore, GradNormLoRP, Method
from simexplore.workloads.training.methods.optimizers import Adam8bit, AdamW
from simexplore.workloads.training.methods.weights import weights_of

PUBLISHED = Path(simexplore.workloads.__file__).parent / "published" / "training" / "gradnormlorp.yaml"
DTYPE = "bf16"


def study() -> list[dict[str, Any]]:
    """A record for each reading of the published reduction, all against the states of AdamW in bf16."""
    table = read_document(PUBLISHED).data
    told = readings(table["model"], table["rank"], table["released_rank"])
    return [record_of(table, figure, told[figure["quantity"]]) for figure in table["figures"]]


def readings(model: str, rank: int, released_rank: int) -> dict[str, float]:
    """By how much optimizer states are less than those of AdamW in bf16, by what is counted [%].

    Args:
        model: whose tensors are trained.
        rank: of the hypothesis.
        released_rank: of the released script for this model.
    """
    weights = weights_of(MODELS[model])
    whole = sum(state_bytes(weights, Method(AdamW(steps=False)), DTYPE).values())

    def against(method: Method) -> float:
        return less(sum(state_bytes(weights, method, DTYPE).values()), whole)

    return {
        f"hypothesis: 8-bit GaLore at r = {rank}, GaLore's accounting": less(
            states_of_8_bits(weights, rank), elements_g(weights, 4.0)
        ),
        f"hypothesis: 8-bit GaLore at r = {rank}, true bytes": against(GaLore(Adam8bit(), rank)),
        f"released optimizer, bf16, r = {released_rank}, true bytes": against(GradNormLoRP(rank=released_rank)),
        f"released optimizer, its moments of 8 bits, r = {released_rank}, true bytes": against(
            GradNormLoRP(Adam8bit(), released_rank)
        ),
    }
