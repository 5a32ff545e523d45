"""What a layer of experts asks for on the machine of round numbers, worked out by hand.

96 tokens of two of eight experts: 192 pairs, 24 an expert. Tokens have 128 features, experts 96 inner ones. Of lines
that were last read x caches of 1 MB ago, `missed(x)` are gone; of those of products 0.8 MB count, 0.4 MB of results.
Nine copies of the weights rotate, two of the tokens. An L2 hit takes 200 clk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import assert_demand, round_gpu

from simexplore.errors import SimexploreError
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping.experts.moe import moe_algorithms
from simexplore.workloads.ops import Moe

CONDITIONS = Conditions(cache=CacheState(weight_copies=9, activation_copies=2))
TOKENS, HIDDEN, INNER, PAIRS, EXPERTS = 96, 128, 96, 192, 8
LAYER = Moe(TOKENS, HIDDEN, INNER, 2, EXPERTS, dtype="fp16")


def missed(touched: float) -> float:
    return touched / (1.0 + touched)


def ways(op: Moe = LAYER, changes: dict[str, object] | None = None) -> list[dict[str, KernelDemand]]:
    found = moe_algorithms(op, round_gpu(changes), CONDITIONS)
    return [{demand.kernel: demand for demand in way.kernels if isinstance(demand, KernelDemand)} for way in found]


def rows(ctas: int, elements: int, write: int, copies: int = 1, **more: float) -> dict[str, Any]:
    """A kernel with a CTA a row that reads fp16 and streams at 0.6 of the rates of others."""
    read = 2 * elements
    in_a_cta = {
        "work.fma_ops": 2 * elements,
        "work.l2_read_bytes": read,
        "work.l2_write_bytes": write,
        "work.dram_read_bytes": read * missed((copies * read + write) / 1e6),
        "work.dram_write_bytes": write * missed((read + write) / 1e6),
        "latency.bytes_in_flight": read,
    }
    return {
        "grid.ctas": ctas,
        "grid.warps_per_cta": 8,
        "grid.registers_per_thread": 32,
        "grid.shared_bytes_per_cta": 0,
        **{name: value / ctas for name, value in in_a_cta.items()},
        "latency.exposed_cycles": 200,
        "latency.setup_cycles": 100,
        "overlap.l2_rate": 0.6 * 1.25,
        "overlap.dram_rate": 0.6,
        **more,
    }


def test_kernels_between_the_products() -> None:
    (apart,) = ways()
    assert list(apart) == ["route", "expand", "gate_up", "gate", "down", "sum"]
    logits, choices = TOKENS * EXPERTS, TOKENS * 2 * 8
    told = {"work.fma_ops": 2 * 25 * EXPERTS * 8, "latency.exposed_cycles": 6 * 200, "latency.helper_cycles": 6 * 200}
    route = rows(12, 2 * logits, choices, **told, **{"latency.extra_launches": 3})
    assert_demand(apart["route"], {"kernel": "route", **route})
    assert_demand(apart["expand"], {"kernel": "expand", **rows(PAIRS, TOKENS * HIDDEN, PAIRS * HIDDEN * 2, copies=2)})
    inner = PAIRS * INNER
    gate = rows(PAIRS, 2 * inner, inner * 2, **{"work.special_ops": INNER, "work.fma_ops": (2 * 2 + 4) * INNER})
    assert_demand(apart["gate"], {"kernel": "gate", **gate})
    assert_demand(apart["sum"], {"kernel": "sum", **rows(TOKENS, PAIRS * HIDDEN, TOKENS * HIDDEN * 2)})


PRODUCT: dict[str, Any] = {
    "grid.warps_per_cta": [4, 4, 8],
    "grid.registers_per_thread": [16 * 32 / 128 + 64, 64 * 64 / 128 + 64, 128 * 256 / 256 + 64],
    "grid.shared_bytes_per_cta": [4 * 48 * 64, 4 * 128 * 64, 2 * 384 * 64],
    "latency.bytes_in_flight": [0.75 * 3 * 48 * 64, 0.75 * 3 * 128 * 64, 0.75 * 384 * 64],
    "latency.exposed_cycles": 200 + 30,
    "latency.setup_cycles": 8 * 200,
    "latency.ramp_cycles": 3 * 500,
    "overlap.sm_l2": 5,
    "overlap.dram": 1.5,
    "overlap.tensor_efficiency": 0.7,
    "overlap.l2_rate": 1.4,
    "overlap.dram_rate": 0.85,
    "overlap.epilogue_efficiency": 0.85,
    "overlap.wave_exposure": 0.25,
    "choice.label": ([16, 64, 128], [32, 64, 256]),
}


def product(name: str, n: int, k: int, other_weights: int) -> dict[str, Any]:
    """Tiles of 16, 64 and 128 rows: two, one and one an expert, of 12 or 24 rows that exist."""
    along = np.array([16, 8, 8])
    across = np.ceil(n / np.array([32, 64, 256]))
    ctas = along * across
    a, b, c = PAIRS * k * 2, EXPERTS * n * k * 2, PAIRS * n * 2
    flowing = (TOKENS + PAIRS) * HIDDEN * 2
    # Rows and weights of an expert are passed over once: as many tiles as it has are in flight together, or nearly.
    read = a * missed((a + c) / 0.8e6) + b * missed((9 * (b + other_weights) + flowing) / 0.8e6)
    high, wide = PAIRS / along, n / across
    shared = np.array([2, 1, 1])  # where an expert has two tiles of rows, two CTAs fetch their columns once
    return {
        **PRODUCT,
        "kernel": name,
        "grid.ctas": ctas,
        "work.tensor_ops": 2 * k * np.array([16 * 32, 64 * 64, 128 * 256]),
        "work.shared_bytes": k * 2 * np.array([4 * (16 + 8) + 48, 4 * (32 + 32) + 128, 8 * (64 + 64) + 384]),
        "work.l2_read_bytes": (high + wide / shared) * k * 2,
        "work.l2_write_bytes": high * wide * 2,
        "work.epilogue_bytes": high * wide * 2,
        "work.dram_read_bytes": read / ctas,
        "work.dram_write_bytes": c * missed((a + c) / 0.4e6) / ctas,
        "latency.chain_cycles": k / 32 * (30 + 20 + 2 * (20 + 16)),
    }


def test_products() -> None:
    (kernels,) = ways()
    matrix = EXPERTS * HIDDEN * INNER * 2
    assert_demand(kernels["gate_up"], product("gate_up", 2 * INNER, HIDDEN, matrix))
    assert_demand(kernels["down"], product("down", HIDDEN, INNER, 2 * matrix))


def test_a_sum_in_the_epilogue_writes_each_token_once_at_three_times_the_traffic() -> None:
    """Where products read operands from shared memory; the result is then set to zero beforehand."""
    apart, together = ways(changes={"library.gemm.tensor.instruction": "wgmma"})
    assert list(together) == ["route", "expand", "gate_up", "gate", "zero", "down"]
    assert_demand(together["zero"], {"kernel": "zero", **rows(TOKENS, 0, TOKENS * HIDDEN * 2)})
    alone, added = apart["down"].work, together["down"].work
    np.testing.assert_allclose(added.epilogue_bytes, 3 * alone.epilogue_bytes)
    np.testing.assert_allclose(added.l2_write_bytes, 3 * alone.l2_write_bytes)
    written = {rows * HIDDEN * 2 * missed((PAIRS * INNER * 2 + rows * HIDDEN * 2) / 0.4e6) for rows in (TOKENS,)}
    np.testing.assert_allclose(together["down"].grid.ctas * added.dram_write_bytes, [[*written] * 3])


def test_types_have_kernels_and_rates_of_their_own() -> None:
    narrow, block = (ways(Moe(TOKENS, HIDDEN, INNER, 2, EXPERTS, dtype=dtype))[0] for dtype in ("fp8", "fp8_block"))
    assert [float(kernels["route"].latency.extra_launches.item()) for kernels in (narrow, block)] == [4, 5]
    found = [(kernels["down"].overlap.tensor_efficiency, kernels["down"].overlap.dram) for kernels in (narrow, block)]
    assert found == [(0.65, 1.25), (0.45, 1.75)]
    assert narrow["down"].work.tensor_dtype == block["down"].work.tensor_dtype == "fp8"
    assert [kernels["gate"].overlap.dram_rate for kernels in (narrow, block)] == [0.55, 0.35]


def test_triton_gathers_by_itself_and_quantises_beside_the_gate() -> None:
    wide, narrow = (
        ways(Moe(TOKENS, HIDDEN, INNER, 2, EXPERTS, dtype=dtype), {"library.moe.rules": "triton"})[0]
        for dtype in ("fp16", "fp8")
    )
    assert list(wide) == ["route", "gate_up", "gate", "down", "sum"]
    assert list(narrow) == ["route", "quantize", "gate_up", "gate", "down", "sum"]
    assert float(wide["gate"].latency.extra_launches.item()) == 0
    assert float(narrow["gate"].latency.extra_launches.item()) == 1
    cold = wide["gate_up"].work.dram_read_bytes - ways()[0]["gate_up"].work.dram_read_bytes
    assert np.all(cold > 0.0)  # its rows are tokens as they come, of which two copies rotate


def test_more_passes_over_an_expert_come_from_dram_as_far_as_it_does_not_fit() -> None:
    """One expert of 640 tokens: ten tiles of 64 rows, of which three are in flight beside 3.3 of columns."""
    few, many = (ways(Moe(tokens, 4096, 4096, 1, 1, dtype="fp16"))[0]["down"] for tokens in (192, 640))
    read = [float((kernel.grid.ctas * kernel.work.dram_read_bytes)[0, 1]) for kernel in (few, many)]
    assert read[1] > 1.5 * read[0] > 1.5 * 4096 * 4096 * 2 * 0.9


def test_no_unit_is_said() -> None:
    with pytest.raises(SimexploreError, match="multiplies no int4 matrices"):
        ways(Moe(TOKENS, HIDDEN, INNER, 2, EXPERTS, dtype="int4"))


BLACKWELL: dict[str, object] = {
    "sm.tensor": {"fp16": "1024 op/clk", "bf16": "1024 op/clk", "fp8": "2048 op/clk", "fp4": "4096 op/clk"},
    "energy.tensor": {"fp16": "1 pJ/op", "bf16": "1 pJ/op", "fp8": "0.5 pJ/op", "fp4": "0.25 pJ/op"},
    "library.gemm.scaled": {
        name: {
            "quantize_instructions": 16,
            "step": "32 clk",
            "tile_elements": 32768,
            "setup_round_trips": 8,
            "efficiency": 0.9,
        }
        for name in ("nvfp4", "mxfp8")
    },
}
"""The machine of round numbers with tensor cores that take four-bit values and scales."""


def with_types(dtype: str, weight_dtype: str | None = None, changes: dict[str, object] | None = None) -> Any:
    layer = Moe(TOKENS, HIDDEN, INNER, 2, EXPERTS, dtype=dtype, weight_dtype=weight_dtype)
    return ways(layer, {**BLACKWELL, **(changes or {})})[0]


def test_four_bits_with_scales_are_multiplied_at_their_own_rate() -> None:
    """A step of 64 bytes of values is 128 elements; with its share of a scale one takes 9/16 of a byte."""
    kernels = with_types("nvfp4")
    down = kernels["down"]
    assert down.work.tensor_dtype == "fp4"
    assert (down.overlap.tensor_efficiency, down.overlap.dram) == (0.55, 1.6)
    np.testing.assert_allclose(down.work.tensor_ops, [2 * 128 * np.array([16 * 32, 64 * 64, 128 * 256])])
    stages = np.array([4, 4, 2])
    np.testing.assert_allclose(down.grid.shared_bytes_per_cta, [stages * np.array([48, 128, 384]) * 128 * 9 / 16])
    fetched = (np.array([12, 24, 24]) + np.array([32 / 2, 64, 128])) * INNER * 9 / 16
    np.testing.assert_allclose(down.work.l2_read_bytes, [fetched])
    assert not np.any(down.work.fma_ops)
    gate = kernels["gate"].work
    np.testing.assert_allclose(gate.l2_write_bytes, INNER * 9 / 16)
    assert float(kernels["route"].latency.extra_launches.item()) == 3 + 3


def test_tokens_and_weights_of_two_scaled_types_meet_on_the_tensor_cores() -> None:
    down = with_types("mxfp8", "mxfp4", {"library.gemm.scaled": BLACKWELL["library.gemm.scaled"]})["down"]
    assert down.work.tensor_dtype == "fp8"
    fetched = (np.array([12, 24, 24]) * 33 / 32 + np.array([32 / 2, 64, 128]) * 17 / 32) * INNER
    np.testing.assert_allclose(down.work.l2_read_bytes, [fetched])
    assert not np.any(down.work.fma_ops)


def test_weights_that_are_stored_narrow_are_widened_by_each_row_of_warps() -> None:
    """Three rows of warps of 64 would be three times; the menu's highest tile has two. Tokens stay as they come."""
    kernels = with_types("fp16", "int4", {"library.gemm.widening": {"int4": 1.5}})
    down = kernels["down"]
    assert down.work.tensor_dtype == "fp16"
    assert (down.overlap.tensor_efficiency, down.overlap.dram) == (0.6, 1.4)
    np.testing.assert_allclose(down.work.fma_ops, [2 * 1.5 * INNER * np.array([32, 64, 2 * 256])])
    held = np.array([16 * 2 + 32 / 2, 64 * 2 + 64 / 2, 128 * 2 + 256 / 2]) * 32
    np.testing.assert_allclose(down.grid.shared_bytes_per_cta, [np.array([4, 4, 2]) * held])
    read = down.grid.ctas * down.work.dram_read_bytes
    assert np.all(read < 0.5 * ways()[0]["down"].grid.ctas * ways()[0]["down"].work.dram_read_bytes)
    np.testing.assert_allclose(kernels["gate"].work.l2_write_bytes, INNER * 2)
    swapped = with_types("fp16", "int4", {"library.gemm.widening": {"int4": 1.5}, **WARP_SPECIALISED})["down"]
    np.testing.assert_allclose(swapped.work.fma_ops, [2 * 1.5 * INNER * np.array([32, 64, 256])])


WARP_SPECIALISED: dict[str, object] = {"library.gemm.tensor.instruction": "wgmma"}


@pytest.mark.parametrize(
    ("dtype", "weights", "said"),
    [
        ("nvfp4", None, "no kernels for nvfp4 matrices"),
        ("mxfp8", "mxfp4", "no kernels for mxfp8 matrices"),
        ("fp16", "mxfp4", "no kernel that widens mxfp4 weights; it widens int8"),
    ],
)
def test_types_that_a_machine_does_not_serve_are_refused_by_name(dtype: str, weights: str | None, said: str) -> None:
    with pytest.raises(SimexploreError, match=said):
        ways(
            Moe(TOKENS, HIDDEN, INNER, 2, EXPERTS, dtype=dtype, weight_dtype=weights),
            {"library.gemm.widening": {"int8": 3}},
        )
