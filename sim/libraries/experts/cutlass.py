"""TensorRT-LLM's layer of experts on CUTLASS's grouped products.

Counted from its sources, cpp/tensorrt_llm/kernels/cutlass_kernels/moe_gemm/moe_kernels.cu: tokens are copied into
rows sorted by expert (expandInputRows, which also quantises them), multiplied, gated (doActivation, which also
quantises), multiplied, and added up by token: in the product's epilogue where it is one of the warp-specialised
kernels, else by a kernel of its own (finalizeMoeRouting).
"""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.workloads.ops import Moe


def gathers_before(op: Moe) -> bool:  # noqa: ARG001 - always
    """Tokens are copied."""
    return True


def quantize_kernels(op: Moe) -> float:  # noqa: ARG001 - the gate's kernel does it
    """None."""
    return 0.0


def sums_in_epilogue(op: Moe, gpu: Gpu) -> bool:  # noqa: ARG001
    """Where products read their operands from shared memory, as warp-specialised kernels do."""
    return not gpu.library.gemm.tensor.reads_registers
