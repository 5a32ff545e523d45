"""What engines and libraries decide for themselves: one module each, behind one interface a family of operators.

A machine's `library:` names the modules whose rules hold on it. Rules say which kernel serves a row and how its grid is
laid out; what a kernel then does and how long that takes is for `mapping` and `hardware`.
"""

from __future__ import annotations

from collections.abc import Mapping

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.libraries import cublas, cudnn, tensorrt_llm, torch_
from simexplore.sim.libraries.interface import AttentionRules, ConvRules, GemmRules, RowRules

GEMM: Mapping[str, GemmRules] = {"cublas": cublas}
ATTENTION: Mapping[str, AttentionRules] = {"tensorrt_llm": tensorrt_llm}
CONV: Mapping[str, ConvRules] = {"cudnn": cudnn}
ROWS: Mapping[str, RowRules] = {"torch": torch_}
"""Modules by the name that a machine's file gives them; adding a library is adding a file and a line here."""


def gemm_rules(gpu: Gpu) -> GemmRules:
    """The rules of the machine's library of matrix products."""
    return GEMM["cublas"]


def attention_rules(gpu: Gpu) -> AttentionRules:
    """The rules of the machine's attention kernels."""
    return ATTENTION["tensorrt_llm"]


def conv_rules(gpu: Gpu) -> ConvRules:
    """The rules of the machine's library of convolutions."""
    return CONV["cudnn"]


def row_rules(gpu: Gpu) -> RowRules:
    """The rules of the machine's row-wise kernels."""
    return ROWS["torch"]
