"""What the tensor cores gain where products are summed in FP16."""

from __future__ import annotations

from simexplore.archs.schema.gpu import Gpu
from simexplore.workloads.ops import Conv, Conv2d, Gemm, Operator


def accumulate_rate(op: Operator, gpu: Gpu) -> float:
    """Tensor cores' rate for an operator's type of sums over that for sums in FP32."""
    narrow = isinstance(op, Gemm | Conv2d | Conv) and op.accumulate == "fp16"
    return gpu.library.gemm.tensor.fp16_accumulate_rate if narrow else 1.0
