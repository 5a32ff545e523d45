"""Rows that are faster than the machine can be: by how much, worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import simexplore
from simexplore.archs.load import load_arch
from simexplore.kernels.measurement import Measurements
from simexplore.kernels.records import operator_columns
from simexplore.sim.compare.possible import too_fast
from simexplore.sim.hardware.roofline import fastest_seconds
from simexplore.workloads.ops import parse_operator

GPU = load_arch("nvidia/a100-sxm-80gb@facts")
BATCH, KV_HEADS, HEAD_DIM, KEYS = 512, 8, 128, 1024
CACHE_BYTES = 2 * 2 * BATCH * KV_HEADS * HEAD_DIM * KEYS
"""Keys and values of two bytes."""


def decodes(times_us: list[float]) -> Measurements:
    sizes = {"batch": BATCH, "heads": 16, "kv_heads": KV_HEADS, "head_dim": HEAD_DIM, "seq_q": 1, "seq_kv": KEYS}
    told = {"source": "made up", "device": "NVIDIA A100-SXM4-80GB", "op": "attention_decode", "dtype": "bf16", **sizes}
    return Measurements(pd.DataFrame([{**told, "time_us": time} for time in times_us]))


def least_us() -> float:
    """The cache but for what L2 holds, at the bandwidth of DRAM; the queries are another 2 MB."""
    queries_bytes = 2 * BATCH * 16 * HEAD_DIM
    return (CACHE_BYTES + queries_bytes - GPU.l2.capacity_bytes) / GPU.dram.bandwidth_bytes_per_s * 1e6


def test_times_are_those_of_dram_without_an_l2_full() -> None:
    rows = decodes([697.0, least_us() / 1.06, least_us() / 1.04, 2000.0])
    times = too_fast(operator_columns(rows)[0], rows.frame, GPU)
    assert times == pytest.approx([least_us() / 697.0, 1.06, 0.0, 0.0], rel=2e-3)


def test_products_at_the_peak_are_not_passed_either() -> None:
    op = parse_operator("gemm(m=8192,n=8192,k=8192,dtype=bf16)")
    peak = GPU.sm.tensor_ops_per_clk["bf16"] * GPU.sm.count * GPU.clock.top_hz
    assert fastest_seconds(op, GPU) == pytest.approx(2 * 8192**3 / peak)


def test_a_type_without_a_unit_bounds_nothing_and_a_narrow_cache_may_be_multiplied() -> None:
    assert fastest_seconds(parse_operator("gemm(m=8192,n=512,k=512,dtype=fp8)"), GPU) == 0.0
    sizes = "batch=1,heads=128,kv_heads=1,head_dim=128,seq_kv=8192,dtype=bf16"
    h200 = load_arch("nvidia/h200-sxm@facts")
    wide, narrow = (
        fastest_seconds(parse_operator(f"attention_decode({sizes},kv_dtype={cached})"), h200)
        for cached in ("bf16", "fp8")
    )
    rates = h200.sm.tensor_ops_per_clk
    assert wide / narrow == pytest.approx(rates["fp8"] / rates["bf16"])


def test_what_fits_l2_is_bound_by_products_alone() -> None:
    op = parse_operator("attention_decode(batch=1,heads=8,kv_heads=8,head_dim=128,seq_kv=1024,dtype=bf16)")
    assert np.all(fastest_seconds(op, GPU) < 2 * 2 * 8 * 128 * 1024 / GPU.dram.bandwidth_bytes_per_s)


def test_compare_says_how_many_and_by_how_much() -> None:
    found = simexplore.compare(GPU, decodes([697.0, 1200.0, 1300.0]))
    (said,) = (warning for warning in found.warnings if "faster than the machine" in warning)
    assert f"can be: 1, up to {least_us() / 697.0:.3g} times" in said
    assert found.total.rows == 3
    assert not any(
        "faster than the machine" in warning for warning in simexplore.compare(GPU, decodes([1300.0])).warnings
    )
