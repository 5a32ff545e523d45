"""What gradients of latent attention ask for, against the forward kernel, on the machine of round numbers."""

from __future__ import annotations

import pytest
from round_gpu import plain, round_gpu

from simexplore.sim.conditions import COLD, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.mapping import demands_of
from simexplore.workloads.ops import MlaBackward

OP = MlaBackward(batch=2, heads=4, seq_q=256, seq_kv=512, nope_dim=96, rope_dim=32, v_dim=64, dtype="fp16")
QUERIES, RESULTS = 2 * 2 * 4 * 256 * 128, 2 * 2 * 4 * 256 * 64
KEYS, SHARED = 2 * 2 * 512 * (4 * (96 + 64) + 32), 2 * 2 * 512 * 32
"""Bytes of queries and of results; of keys and values, and of the rotated part of keys among them."""
CONDITIONS = Conditions(cache=COLD)


def kernels(changes: dict[str, object] | None = None) -> tuple[KernelDemand, ...]:
    return demands_of(OP, round_gpu(changes), CONDITIONS)  # type: ignore[return-value]  # all are kernels


def whole(kernel: KernelDemand, name: str) -> float:
    return float(plain(kernel.grid.ctas * getattr(kernel.work, name)))


def test_the_operator_by_hand() -> None:
    pairs = 256 * 257 // 2 + 256 * 256
    assert OP.forward.pairs == pairs
    assert OP.flops == 2 * 2 * 4 * pairs * (3 * 128 + 2 * 64)
    assert OP.flops == pytest.approx(OP.products * OP.forward.flops)
    assert OP.min_bytes == 2 * (QUERIES + RESULTS + KEYS) + 4 * 2 * 4 * 256
    assert OP.output_bytes == QUERIES + KEYS


def test_three_products_are_as_wide_as_keys_and_two_as_values() -> None:
    _, back, _, _ = kernels()
    (forward,) = demands_of(OP.forward, round_gpu(), CONDITIONS)
    assert isinstance(forward, KernelDemand)
    ratio = (3 * 128 + 2 * 64) / (128 + 64)
    assert whole(back, "tensor_ops") == pytest.approx(ratio * whole(forward, "tensor_ops"))
    assert whole(back, "fma_ops") == 2 * whole(forward, "fma_ops")
    assert whole(back, "special_ops") == whole(forward, "special_ops")
    added = whole(forward, "l2_read_bytes") * 128 / (128 + 64) * 2
    gradients = 2 * 2 * 512 * 4 * (128 + 64)
    assert whole(back, "l2_write_bytes") == pytest.approx(gradients + added)
    assert whole(back, "dram_read_bytes") == pytest.approx(QUERIES + RESULTS + KEYS)


def test_what_leaves_l2_is_written_to_dram() -> None:
    """dQ in fp32, and keys and values of each head; of 1 MB as much stays as 1 / (1 + x), x by all that is touched."""
    _, back, _, _ = kernels()
    written = 2 * QUERIES + 2 * 2 * 512 * 4 * (128 + 64)
    touched = (QUERIES + RESULTS + KEYS + written) / 1e6
    assert whole(back, "dram_write_bytes") == pytest.approx(written * touched / (1 + touched))


def test_sums_narrowed_queries_and_shared_keys_are_kernels_of_their_own() -> None:
    sums, _, narrow, shared = kernels()
    assert whole(sums, "l2_read_bytes") == pytest.approx(2 * RESULTS)
    assert (whole(narrow, "l2_read_bytes"), whole(narrow, "l2_write_bytes")) == pytest.approx((2 * QUERIES, QUERIES))
    assert (whole(shared, "l2_read_bytes"), whole(shared, "l2_write_bytes")) == pytest.approx((4 * SHARED, SHARED))


def test_an_engine_that_attends_to_latents_trains_over_expanded_keys() -> None:
    _, back, _, _ = kernels()
    _, absorbing, _, _ = kernels({"library.mla.rules": "absorbing"})
    assert whole(absorbing, "tensor_ops") == whole(back, "tensor_ops")


def test_never_below_the_roofline() -> None:
    gpu = round_gpu()
    assert float(predict(OP, gpu, CONDITIONS).time_s[0]) >= float(least_seconds(OP, gpu, COLD))
