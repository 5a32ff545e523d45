"""Columns of aiconfigurator's tables of linear attention, as ours: a row is a kernel, or the chain of one, by its name.

What each kernel is given is what the collectors give it (github.com/ai-dynamo/aiconfigurator, in collector:
collect_gdn.py, collect_kda.py and collect_mamba2.py of each engine). TensorRT-LLM's convolve keys alone, scan without
states, and step from bf16 states to new ones in fp32; the others convolve queries, keys and values, and have fp32
states that they change in place.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

TRTLLM, VLLM = "aic/trtllm", "aic/vllm"
"""Beginnings of sources."""
ONE_A_REPLAY = "/one_a_replay"
"""End of the sources of rows of which a graph holds one call, so that each waits for a launch of its own."""

DELTA = MappingProxyType(
    {
        "batch": "batch_size",
        "seq_q": "seq_len",
        "width": "d_conv",
        "heads": "num_v_heads",
        "key_heads": "num_k_heads",
        "key_dim": "head_k_dim",
        "value_dim": "head_v_dim",
        "phase": "phase",
    }
)
"""Our column → theirs, of delta rules of either kind."""
MAMBA2 = MappingProxyType(
    {
        "batch": "batch_size",
        "seq_q": "seq_len",
        "width": "d_conv",
        "heads": "nheads",
        "head_dim": "head_dim",
        "state_dim": "d_state",
        "groups": "n_groups",
        "chunk": "chunk_size",
    }
)
"""The same of Mamba-2."""

_OPERATORS = MappingProxyType(
    {
        "causal_conv1d_fn": "causal_conv1d",
        "causal_conv1d_fn_qkv3": "causal_conv1d",
        "causal_conv1d_update": "causal_conv1d_update",
        "chunk_gated_delta_rule": "gdn_prefill",
        "chunk_gated_delta_rule_triton": "gdn_prefill",
        "chunk_gated_delta_rule_flashinfer": "gdn_prefill",
        "fused_recurrent_gated_delta_rule": "gdn_decode",
        "fused_recurrent_gated_delta_rule_packed_decode": "gdn_decode",
        "chunk_kda": "kda_prefill",
        "chunk_kda_with_fused_gate": "kda_prefill",
        "flashkda_fwd": "kda_prefill",
        "fused_recurrent_kda": "kda_decode",
        "fused_recurrent_kda_packed_decode": "kda_decode",
        "fused_sigmoid_gating_delta_rule_update": "kda_decode",
        "mamba_chunk_scan_combined": "ssd_prefill",
        "selective_state_update": "ssd_decode",
    }
)
"""Their kernel → our operator. Others, which convolve, step and normalise at once, keep their names and are refused."""
OPERATORS = frozenset(_OPERATORS.values())
"""Operators that only these tables have."""
_NORMALIZES = ("chunk_gated_delta_rule", "chunk_gated_delta_rule_triton", "chunk_kda", "chunk_kda_with_fused_gate")
_OF_ONE_KERNEL = ("causal_conv1d", "causal_conv1d_update", "gdn_decode", "kda_decode", "ssd_decode")


def delta_rules(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of gated delta networks and of Kimi's delta attention.

    vLLM's convolutions of Kimi's queries, keys and values were eager calls, whose time is the host's: they are left
    out. A step of several tokens keeps each one's state, for those of drafts may be refused.
    """
    vllm, trtllm = frame["source"].str.startswith(VLLM), _as_trtllm(frame)
    kernels, drafts = frame["kernel"], frame["phase"] == "verify"
    keys = frame["key_heads"] * frame["key_dim"]
    queries_too = keys + keys + frame["heads"] * frame["value_dim"]
    known = _named(frame).assign(
        channels=queries_too.mask(trtllm, keys),
        calls=np.where(kernels == "causal_conv1d_fn_qkv3", 3, 1),
        carried=np.where(trtllm, 0, 1),
        normalized=np.where(kernels.isin(_NORMALIZES) & ~trtllm & ~vllm | kernels.str.contains("kda"), 1, 0),
        kept=np.where(drafts, frame["seq_q"], 1),
        state_dtype=np.where(trtllm, "bf16", "fp32"),
        new_state_dtype=np.where(trtllm, "fp32", ""),
    )
    as_tokens = drafts & (known["op"] == "causal_conv1d_update") & ~vllm  # SGLang's drafts are rows of their own
    known = known.assign(
        batch=known["batch"].where(~as_tokens, known["batch"] * known["seq_q"]),
        seq_q=known["seq_q"].mask(as_tokens, 1),
        normalized=known["normalized"].mask(kernels == "flashkda_fwd", 0),
    )
    eager = vllm & (kernels == "causal_conv1d_fn_qkv3")
    return known[~eager].drop(columns="phase").reset_index(drop=True)


def mamba2(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of Mamba-2, whose convolutions are of x, B and C."""
    inner = frame["heads"] * frame["head_dim"]
    known = _named(frame).assign(channels=inner + frame["groups"] * frame["state_dim"] * 2)
    return known.assign(state_dtype="bf16")


def _as_trtllm(frame: pd.DataFrame) -> pd.Series:
    """Rows collected as TensorRT-LLM's are: so were SGLang's before their decode took projections packed."""
    unpacked = bool((frame["kernel"] == "fused_recurrent_gated_delta_rule").any())
    return frame["source"].str.startswith(TRTLLM) | unpacked


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """With our operator and dtype; rows of which a replay holds one kernel have sources of their own."""
    ops = frame["kernel"].map(_OPERATORS).fillna(frame["kernel"])
    # Gated delta networks of SGLang and vLLM were ten calls in a graph; all others one.
    tens = (frame["op"] == "gdn") & ~_as_trtllm(frame)
    alone = ops.isin(_OF_ONE_KERNEL) & ~tens
    return frame.assign(op=ops, dtype="bf16", source=frame["source"].mask(alone, frame["source"] + ONE_A_REPLAY))


def conditions_of(source: str) -> dict[str, Any]:
    """What is particular to how these rows were run: ten runs, of which the operands are the same."""
    return {"launch": "stream" if source.endswith(ONE_A_REPLAY) else "graph", "runs": 10.0}
