"""Columns of aiconfigurator's tables of layers of experts and of attention over a latent cache, as ours.

Loads over experts are named there `balanced` or `power_law_1.2`, by its exponent; here `skew` holds the exponent in
hundredths. Experts without a gate are told by the kernel's name.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import pandas as pd

from simexplore.errors import SimexploreError

BALANCED = "balanced"
POWER_LAW = "power_law_"
UNGATED = "nongated"
HUNDRED = 100.0

MOE = MappingProxyType(
    {
        "dtype": "moe_dtype",
        "skew": "distribution",
        **{
            name: name
            for name in (
                "num_tokens",
                "hidden_size",
                "inter_size",
                "topk",
                "num_experts",
                "moe_tp_size",
                "moe_ep_size",
            )
        },
    }
)
"""Our column → theirs, of a layer of experts."""

MLA = MappingProxyType(
    {
        "dtype": "mla_dtype",
        "kv_dtype": "kv_cache_dtype",
        "batch": "batch_size",
        "heads": "num_heads",
        "seq_q": "isl",
        "seq_kv": "step",
    }
)
"""The same of attention over a latent cache; their heads are those of one GPU."""

MLA_MODULE = MappingProxyType(
    {
        "dtype": "gemm_type",
        "attention_dtype": "mla_dtype",
        "architecture": "architecture",
        **{name: theirs for name, theirs in MLA.items() if name != "dtype"},
    }
)
"""The same of whole modules, with the type of their projections."""
DEEPSEEK = "DeepseekV3ForCausalLM"
"""The architecture whose modules' sizes are those that records have by default."""

FILLED = "aic/sglang"
"""Beginning of the sources whose weights are random numbers."""


def has_blank_weights(source: str) -> bool:
    """Whether experts' weights hold no data, by the collectors (collect_moe.py of each, but for 4-bit types).

    TensorRT-LLM's are as the allocator gave them, vLLM's one number everywhere; SGLang's are random.
    """
    return not source.startswith(FILLED)


def latent_modules(op: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """What fills the columns of a table of modules; those of other models, which have gates, get names of their own."""

    def filled(frame: pd.DataFrame) -> pd.DataFrame:
        theirs = frame["architecture"].astype(str)
        named = (op + " of " + theirs).mask(theirs == DEEPSEEK, op)
        return frame.assign(op=named, seq_kv=frame["seq_q"] + frame["seq_kv"]).drop(columns="architecture")

    return filled


def with_loads(frame: pd.DataFrame) -> pd.DataFrame:
    """`skew` as a number, and whether experts are gated.

    Raises:
        SimexploreError: loads are called by a name that is not known.
    """
    names = frame["skew"].astype(str)
    exponents = pd.to_numeric(names.str.removeprefix(POWER_LAW), errors="coerce")
    known = (names == BALANCED) | (names.str.startswith(POWER_LAW) & exponents.notna())
    if not known.all():
        found = names[~known].iloc[0]
        raise SimexploreError(f"expected as distribution {BALANCED} or {POWER_LAW}1.2, found {found!r}")
    skew = (exponents.where(names != BALANCED, 0.0) * HUNDRED).round()
    gated = (~frame["kernel"].astype(str).str.contains(UNGATED)).astype("int64")
    return frame.assign(skew=skew, gated=gated)
