"""Conversions by a known scale: one grid for all sizes, as many instructions as elements."""

from __future__ import annotations

import numpy as np
import pytest

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.mapping import demands_of
from simexplore.workloads.ops import Gemm, Quantize


def kernel(op: Quantize, gpu: Gpu) -> KernelDemand:
    (one,) = demands_of(op, gpu, Conditions())
    assert isinstance(one, KernelDemand)
    return one


@pytest.mark.parametrize("rows", [1, 4096])
def test_the_grid_is_the_same_for_all_sizes(rows: int, h200: Gpu) -> None:
    one = kernel(Quantize(rows, 4096), h200)
    assert one.ctas.item() == 1024
    assert one.l2_read_bytes.item() == rows * 4096 * 2 / 1024
    assert one.l2_write_bytes.item() == rows * 4096 / 1024


def test_instructions_grow_with_elements(h200: Gpu) -> None:
    """16 of them for each element, and an FMA counts as two operations."""
    assert kernel(Quantize(512, 2048), h200).fma_ops.item() == 2 * 16 * 1024


def test_shapes_of_as_many_elements_take_as_long(h200: Gpu) -> None:
    op = Quantize(np.array([1, 64, 4096]), np.array([262144, 4096, 64]))
    times = predict(op, h200, Conditions(launch="graph", cache=WARM)).time_s
    assert times == pytest.approx(times[0])


def test_small_ones_cost_a_launch_and_the_dispatch(h200: Gpu) -> None:
    small, none = (predict(Quantize(n, 32), h200, Conditions(launch="graph", cache=WARM)).time_s[0] for n in (64, 1))
    assert small == pytest.approx(none, rel=0.05)
    assert none < 2 * h200.launch.graph_s


def test_narrow_gemms_convert_their_activations_with_it(h200: Gpu) -> None:
    op = Gemm(64, 128, 256, dtype="fp8", activation_dtype="bf16")
    convert = demands_of(op, h200, Conditions())[1]
    assert isinstance(convert, KernelDemand)
    assert (convert.kernel, convert.ctas.item()) == ("quant_scale_matrix", 1024)
