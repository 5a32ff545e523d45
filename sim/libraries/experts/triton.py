"""The fused Triton layer of experts of vLLM and SGLang.

Counted from vllm/model_executor/layers/fused_moe/fused_moe.py (SGLang's is its descendant): products gather their rows
by themselves; 8-bit tokens are quantised before each product by a kernel of its own; moe_sum adds up by token.
"""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.ops import Moe


def gathers_before(op: Moe) -> bool:  # noqa: ARG001 - never
    """Products gather tokens by themselves."""
    return False


def quantize_kernels(op: Moe) -> float:
    """One where operands are narrower than tokens."""
    return float(bytes_of(op.dtype) < bytes_of(op.output_dtype))


def sums_in_epilogue(op: Moe, gpu: Gpu) -> bool:  # noqa: ARG001 - never
    """A kernel of its own adds up."""
    return False
