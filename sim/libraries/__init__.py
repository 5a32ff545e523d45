"""What engines and libraries decide for themselves: one module each, behind one interface a family of operators.

A machine's `library:` names the modules whose rules hold on it. Rules say which kernel serves a row and how its grid is
laid out; what a kernel then does and how long that takes is for `mapping` and `hardware`.
"""

from __future__ import annotations

from collections.abc import Mapping

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.libraries import cublas, cudnn, plain, tensorrt_llm, torch_, vllm_paged
from simexplore.sim.libraries.interface import AttentionRules, ConvRules, GemmRules, PrefillRules, RowRules
from simexplore.sim.libraries.tiled import TILED
from simexplore.sim.libraries.tiled.interface import TiledRules

GEMM: Mapping[str, GemmRules] = {"cublas": cublas, "plain": plain}
ATTENTION: Mapping[str, AttentionRules] = {"tensorrt_llm": tensorrt_llm, "vllm_paged": vllm_paged}
CONV: Mapping[str, ConvRules] = {"cudnn": cudnn}
ROWS: Mapping[str, RowRules] = {"torch": torch_}
"""Modules by the name that a machine's file gives them; adding a library is adding a file and a line here."""


def gemm_rules(gpu: Gpu) -> GemmRules:
    """The rules of the machine's library of matrix products."""
    return GEMM[gpu.library.gemm.rules]


def attention_rules(gpu: Gpu) -> AttentionRules:
    """The rules of the machine's attention kernels, which decode by groups and single heads."""
    return ATTENTION[gpu.attention_kernels.rules]


def tiled_rules(gpu: Gpu) -> TiledRules | None:
    """The rules of the machine's attention kernels where they decode by tiles; None where they do not."""
    return TILED.get(gpu.attention_kernels.rules)


def prefill_rules(gpu: Gpu) -> PrefillRules:
    """The rules of the machine's prefill kernels, whichever way it decodes."""
    return tiled_rules(gpu) or attention_rules(gpu)


def conv_rules(gpu: Gpu) -> ConvRules:
    """The rules of the machine's library of convolutions."""
    return CONV[gpu.conv_kernels.rules]


def row_rules(gpu: Gpu) -> RowRules:
    """The rules of the machine's row-wise kernels."""
    return ROWS[gpu.library.elementwise.rowwise.rules]
