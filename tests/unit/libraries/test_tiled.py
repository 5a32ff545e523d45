"""Engines that decode by tiles, at the thresholds of their sources."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import WARM, Conditions
from simexplore.sim.estimate.operators import physics
from simexplore.sim.libraries import tiled_rules
from simexplore.sim.libraries.tiled import TILED, flash_attention_2, flash_attention_3, flashinfer, trtllm_gen, vllm_xpu
from simexplore.sim.libraries.tiled.interface import least_waves, product_dtype
from simexplore.sim.mapping import algorithms_of
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill

FA2, FI = (load_arch("nvidia/l40s", engine=name) for name in ("vllm", "sglang"))
FA3, GEN = (load_arch(f"nvidia/{name}", engine="sglang") for name in ("h200-sxm", "b200"))
XPU = load_arch("intel/arc-pro-b60")
MODULE = Conditions(cache=WARM, attention_module=True, rotation=False)


def decode(**changed: Any) -> AttentionDecode:
    sizes = {"batch": 1, "heads": 32, "kv_heads": 8, "head_dim": 128, "seq_kv": 4096, "dtype": "bf16"}
    return AttentionDecode(**{**sizes, **changed})


def test_the_fewest_splits_that_fill_waves_nearly_as_well() -> None:
    """48 CTAs on 108 SMs: two splits fill 0.89 of a wave, which is enough; three only 0.67 of two."""
    assert least_waves(np.array([[48.0]]), 108.0, np.array([[8.0]])).tolist() == [[2.0]]
    # Of 7 steps, 5 and 6 splits leave a CTA two as 4 do: neither is considered.
    assert least_waves(np.array([[1.0]]), 6.0, np.array([[6.0]]), np.array([[7.0]])).tolist() == [[4.0]]


def test_flash_attention_2_splits_packed_heads_alone() -> None:
    packed = flash_attention_2.decode_plan(decode(), FA2)
    assert packed.packed.all()
    assert packed.splits[0, 0] > 1.0
    for other in (decode(window=1024), decode(heads=8)):
        plan = flash_attention_2.decode_plan(other, FA2)
        assert (plan.packed.any(), plan.splits[0, 0], plan.merged.any()) == (False, 1.0, False)
        assert plan.keys[0, 0] == 64.0


def test_flash_attention_2_leaves_narrow_caches_to_flashinfer() -> None:
    assert flash_attention_2.decode_plan(decode(kv_dtype="fp8"), FA2).rows[0, 0] == 16.0
    assert flash_attention_2.decode_plan(decode(), FA2).rows[0, 0] == 64.0


@pytest.mark.parametrize(("seq_kv", "merged"), [(512, False), (513, True)])
def test_flash_attention_3_does_not_split_four_steps(seq_kv: int, merged: bool) -> None:
    assert flash_attention_3.decode_plan(decode(seq_kv=seq_kv), FA3).merged[0, 0] == merged


@pytest.mark.parametrize(("batch", "merged"), [(992, True), (993, False)])
def test_flash_attention_3_splits_up_to_992_sequences(batch: int, merged: bool) -> None:
    assert flash_attention_3.decode_plan(decode(batch=batch), FA3).merged[0, 0] == merged


@pytest.mark.parametrize(("heads", "rows"), [(64, 64.0), (65, 128.0)])
def test_flash_attention_3_has_a_small_tile_for_few_heads(heads: int, rows: float) -> None:
    assert flash_attention_3.decode_plan(decode(heads=heads, kv_heads=1), FA3).rows[0, 0] == rows


@pytest.mark.parametrize(
    ("heads", "rows", "scalar"), [(3, 3.0, True), (4, 16.0, False), (16, 16.0, False), (17, 64.0, False)]
)
def test_flashinfers_tiles(heads: int, rows: float, scalar: bool) -> None:
    plan = flashinfer.decode_plan(decode(heads=heads, kv_heads=1), FI)
    assert (plan.rows[0, 0], plan.scalar[0, 0]) == (rows, scalar)


def test_flashinfers_chunks_have_128_keys_at_least() -> None:
    splits = flashinfer.decode_plan(decode(seq_kv=np.array([128, 129, 256, 257])), FI).splits
    assert splits[:, 0].tolist() == [1.0, 2.0, 2.0, 3.0]


def test_generated_kernels_split_by_two_steps_and_merge_in_a_cluster() -> None:
    plan = trtllm_gen.decode_plan(decode(kv_heads=4, seq_kv=np.array([512, 513, 8192, 8193])), GEN)
    assert plan.splits[:, 0].tolist() == [1.0, 2.0, 16.0, 17.0]
    assert plan.merged[:, 0].tolist() == [False, False, False, True]


def test_only_converted_queries_are_multiplied_in_8_bits() -> None:
    assert product_dtype(decode(kv_dtype="fp8"), FA3) == "fp8"
    assert product_dtype(decode(kv_dtype="fp8"), FI) == "bf16"


@pytest.mark.parametrize(
    ("changed", "splits"),
    [
        ({"seq_kv": 960}, 1.0),  # 15 steps of 64 keys
        ({"seq_kv": 961}, 4.0),  # 16 of them, at least four a split
        ({}, 10.0),  # 8 work-groups on 20 Xe-cores: ten splits fill them four times
        ({"batch": 4, "seq_kv": 4032}, 1.0),  # the GPU is full, and 63 steps are not many
        ({"batch": 4, "seq_kv": 4033}, 5.0),  # 64 are: twelve a split, and not three splits to fill
        ({"batch": 64}, 2.0),  # 2,048 heads' partial results are worth no more than two
        ({"seq_kv": 131072}, 32.0),  # 170 splits of twelve steps are too many
        ({"window": 128}, 1.0),  # of a window's 129 keys
    ],
)
def test_vllm_on_intel_splits_as_its_rule_has_it(changed: dict[str, int], splits: float) -> None:
    plan = vllm_xpu.decode_plan(decode(**changed), XPU)
    assert (plan.splits[0, 0], plan.merged[0, 0], plan.packed.all()) == (splits, splits > 1.0, True)


@pytest.mark.parametrize(("heads", "rows"), [(8, 8.0), (9, 16.0), (32, 16.0)])
def test_vllm_on_intel_packs_eight_heads_or_sixteen(heads: int, rows: float) -> None:
    plan = vllm_xpu.decode_plan(decode(heads=heads, kv_heads=1), XPU)
    assert (plan.rows[0, 0], plan.keys[0, 0]) == (rows, 64.0)


@pytest.mark.parametrize("gpu", [FA2, FA3, FI, GEN, XPU], ids=lambda gpu: gpu.attention_kernels.rules)
def test_more_sequences_or_keys_never_take_less(gpu: Gpu) -> None:
    batches = physics(decode(batch=2 ** np.arange(10), seq_kv=2048), gpu, MODULE).time_s
    assert np.all(np.diff(batches) > -0.02 * batches[:-1])
    keys = physics(decode(batch=64, seq_kv=2 ** np.arange(7, 14)), gpu, MODULE).time_s
    assert np.all(np.diff(keys) > 0.0)


def test_no_cliff_beyond_32_heads() -> None:
    for gpu in (FA2, FA3, FI, GEN, XPU):
        few, many = physics(decode(heads=np.array([32, 33]), kv_heads=1, batch=64), gpu, MODULE).time_s
        assert many < 1.5 * few


def test_every_rule_is_one_that_a_machine_runs() -> None:
    assert {tiled_rules(gpu) for gpu in (FA2, FA3, FI, GEN, XPU)} == set(TILED.values())


def test_kernels_of_a_module() -> None:
    names = [kernel.kernel for way in algorithms_of(decode(), FA3, MODULE) for kernel in way.kernels]
    assert names == ["append", "attention", "merge"]
    rotated = algorithms_of(decode(seq_kv=8), FA3, Conditions(attention_module=True))[0].kernels
    assert [kernel.kernel for kernel in rotated] == ["rotate_append", "append", "attention"]


def test_prefill_of_one_token_is_a_decode_where_the_engine_says_so() -> None:
    one = AttentionPrefill(batch=8, heads=32, kv_heads=8, head_dim=128, seq_q=1, seq_kv=1024)
    for gpu in (FA2, FA3):
        same = physics(one, gpu, MODULE).time_s, physics(decode(batch=8, seq_kv=1024), gpu, MODULE).time_s
        assert same[0] == pytest.approx(same[1])
