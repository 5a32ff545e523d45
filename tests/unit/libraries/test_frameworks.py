"""The rules of PyTorch's row-wise kernels and of cuDNN at their thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import round_gpu

from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.libraries import conv_rules, cudnn, row_rules, torch_
from simexplore.workloads.ops import Conv2d, LayerNorm, RmsNorm, Softmax

GPU = round_gpu()


def test_the_rules_are_those_that_the_machine_names() -> None:
    assert row_rules(GPU) is torch_
    assert conv_rules(GPU) is cudnn


def test_a_warp_holds_a_softmax_of_1024() -> None:
    cols = np.array([1, 1024, 1025])
    assert torch_.holds_rows(Softmax(1, cols), GPU)[:, 0].tolist() == [True, True, False]
    assert not torch_.holds_rows(LayerNorm(1, cols), GPU).any()
    assert not torch_.holds_rows(RmsNorm(1, cols), GPU).any()


def test_a_softmax_has_half_as_many_threads_as_loads() -> None:
    """Eight 16-bit elements a load; from a warp to 512 threads, powers of two."""
    cols = np.array([1, 512, 513, 1024, 1025, 8192, 8193, 100_000])
    assert torch_.threads_of_row(Softmax(1, cols, dtype="bf16"), GPU)[:, 0].tolist() == [
        *(32, 32, 64, 64, 128, 512, 512, 512)
    ]
    assert torch_.threads_of_row(Softmax(1, cols, dtype="fp32"), GPU)[:4, 0].tolist() == [32, 64, 128, 128]
    lone = round_gpu({"sm.warp_size": 1})
    assert torch_.threads_of_row(Softmax(1, np.array([1, 16, 17])), lone)[:, 0].tolist() == [1, 1, 2]


def test_a_norm_has_the_threads_that_it_always_has() -> None:
    assert torch_.threads_of_row(LayerNorm(1, 9), GPU).tolist() == [[128]]
    assert torch_.threads_of_row(RmsNorm(1, 9999), GPU).tolist() == [[128]]


def test_how_often_rows_are_read() -> None:
    passes = [torch_.passes(op, GPU) for op in (Softmax(1, 1), LayerNorm(1, 1), RmsNorm(1, 1))]
    assert passes == [3, 3, 2]
    assert torch_.passes(LayerNorm(1, 1), round_gpu({"library.elementwise.rowwise.layernorm_passes": 5})) == 5


def conv(**changed: Any) -> Conv2d:
    usual = {"batch": 1, "cin": 8, "cout": 8, "ksize": 3, "hw": 64}
    return Conv2d(**{**usual, **changed})


def test_transforms_are_for_the_fma_pipes() -> None:
    assert [cudnn.transforms(conv(dtype=dtype), GPU) for dtype in ("fp32", "fp16", "tf32")] == [True, False, False]


def test_winograd_takes_three_taps_at_each_pixel() -> None:
    op = conv(ksize=np.array([1, 2, 3, 3, 4, 5]), stride=np.array([1, 1, 1, 2, 1, 1]))
    assert cudnn.serves_winograd(op).tolist() == [False, False, True, False, False, False]
    assert cudnn.serves_winograd(conv()).tolist() == [True]


def test_fourier_takes_filters_smaller_than_its_tiles() -> None:
    op = conv(ksize=np.array([15, 16, 3]), stride=np.array([1, 1, 2]))
    assert cudnn.FFT_POINTS == (16, 32)
    assert cudnn.serves_fft(op, 16).tolist() == [True, False, False]
    assert cudnn.serves_fft(op, 32).tolist() == [True, True, False]


@pytest.mark.parametrize(("shapes", "expected"), [(0, 60e-6), (1000, 75e-6), (2000, 120e-6), (6000, 600e-6)])
def test_finding_a_plan_takes_longer_the_more_there_are(shapes: float, expected: float) -> None:
    """60 us, twice that after 2,000 other shapes, growing as their square."""
    conditions = Conditions(cache=CacheState(earlier_shapes=shapes))
    assert cudnn.call_seconds(GPU, conditions).item() == pytest.approx(expected)
