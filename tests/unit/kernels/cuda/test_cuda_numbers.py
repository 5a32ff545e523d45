"""What the CUDA kernels compute, on a CPU: sources without tensor instructions, compiled by g++, against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda_on_cpu import CpuCuda, compiled, needs_compiler

from simexplore.errors import SimexploreError
from simexplore.kernels.backend.case import Case
from simexplore.kernels.cuda import cublas
from simexplore.kernels.cuda import device as cuda_device
from simexplore.kernels.cuda.device import CudaBackend, CudaSession
from simexplore.kernels.cuda.runtime import launching
from simexplore.kernels.problems import check, problem_of

UNEVEN: dict[str, Any] = {"m": 70, "n": 67, "k": 45, "dtype": "fp32"}
"""No side is a multiple of any tile."""

BOX = {"box_x": 16, "box_y": 8}
READ = {"ctas": 8, "threads": 32, "words": 128, "iterations": 2}
CASES = [
    Case("launch", {"dtype": "int32"}, "launch", {"stream": 0}),
    Case("copy", {"elements": 5000, "dtype": "fp32"}, "stream", {"threads": 64}),
    Case("copy", {"elements": 5000, "dtype": "fp16"}, "stream", {"threads": 64}),
    Case("triad", {"elements": 5000, "dtype": "fp32"}, "stream", {"threads": 64}),
    Case("pointer_chase", {"bytes": 8192, "loads": 1000, "dtype": "int32"}, "pointer_chase", {"cached": 1}),
    Case("l2_by_sm", {"bytes": 4096, "loads": 100, "ctas": 3, "dtype": "int32"}, "pointer_chase", {"cached": 0}),
    Case("fma_rate", {"groups": 3, "threads": 64, "iterations": 9, "dtype": "fp32"}, "fma", {"words": 1}),
    Case("fma_rate", {"groups": 3, "threads": 64, "iterations": 9, "dtype": "int32"}, "fma", {"words": 1}),
    Case("shared_read", {"stride": 3, "dtype": "int32"}, "shared_read",
         {"groups": 2, "threads": 64, "iterations": 5, "words": 256}),
    Case("gemm_naive", UNEVEN, "gemm_naive"),
    *(Case("gemm_naive_tiled", {**UNEVEN, "tile": tile}, "gemm_tiled") for tile in (1, 2, 16, 32)),
    Case("gemm_register", UNEVEN, "gemm_register"),
    *(Case("dpx", {"function": function, "threads": 32, "iterations": 3, "dtype": "int32"}, "dpx")
      for function in ("viaddmax_s32", "vimax3_s32", "vimax_s32_relu")),
    *(Case("cluster_chase", {"cluster": cluster, "words": 256, "loads": 999, "dtype": "int32"}, "cluster_chase")
      for cluster in (2, 4)),
    *(Case("cluster_read", {"cluster": cluster, **READ, "dtype": "int32"}, "cluster_read") for cluster in (2, 4)),
    *(Case("bulk_copy", {"bytes": 8 * 1024 * 7, "load_bytes": 1024, "ctas": ctas, "dtype": "int32"}, "bulk_copy")
      for ctas in (1, 5)),
    *(Case("tensor_copy", {"rank": rank, **BOX, "box_z": deep, "boxes": 192, "ctas": ctas, "dtype": "int32"},
           "tensor_copy", {"stages": stages})
      for rank, deep, ctas, stages in ((2, 1, 1, 1), (2, 1, 7, 3), (3, 4, 5, 4), (3, 4, 64, 8))),
]  # fmt: skip


def opened(monkeypatch: pytest.MonkeyPatch, folder: Path) -> CudaSession:
    fake = CpuCuda()
    monkeypatch.setattr(cuda_device, "bindings", lambda: fake)
    monkeypatch.setattr(cuda_device, "nvrtc_version", lambda: (13, 0))
    monkeypatch.setattr(cublas, "is_here", lambda: False)
    monkeypatch.setattr(launching, "compiled", lambda source, architecture: compiled(source, folder))
    return CudaBackend().open()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_a_kernel_computes_what_numpy_does(case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    needs_compiler()
    with opened(monkeypatch, tmp_path) as session:
        problem = problem_of(case, session.problems)
        inputs = problem.inputs(case, np.random.default_rng(7))
        check(case, session.prepare(case).run(inputs), problem.expected(case, inputs))


def test_a_kernel_that_computes_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    needs_compiler()
    case = Case("gemm_naive", UNEVEN, "gemm_naive")
    with opened(monkeypatch, tmp_path) as session:
        problem = problem_of(case, session.problems)
        inputs = problem.inputs(case, np.random.default_rng(7))
        found = session.prepare(case).run({**inputs, "a": inputs["a"] * np.float32(1.001)})
        with pytest.raises(SimexploreError, match="wrong result"):
            check(case, found, problem.expected(case, inputs))
