"""Decode by tiles, worked out by hand on the machine of round numbers: a hit of L2 takes 200 clocks there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import plain, round_gpu

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import COLD, CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping import algorithms_of
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill

TILED = (
    "{tiles: {'64': 64x128}, other_tiles: {'64': 64x64}, narrow_tiles: {'64': 16x32}, narrow_prefill_tiles: "
    "{'64': 64x64}, stages: 2, ctas_per_sm: 1, most_splits: 128, narrow_products: false, single_decodes: false, "
    "append_tokens: 4, narrow_kernels: 0, narrow_conversions: 3, cta_instructions: 100, narrow_efficiency: 0.5, "
    "wave_exposure: 0.5}"
)
CHANGES = {"library.attention.rules": "flash_attention_2", "library.attention.tiled": TILED}
HIT = 200


def machine(**changed: object) -> Gpu:
    return round_gpu({**CHANGES, **{key.replace("__", "."): value for key, value in changed.items()}})


def decode(**changed: Any) -> AttentionDecode:
    sizes = {"batch": 2, "heads": 6, "kv_heads": 2, "head_dim": 64, "seq_kv": 1000, "dtype": "fp16"}
    return AttentionDecode(**{**sizes, **changed})


def kernels(op: AttentionDecode, gpu: Gpu | None = None, conditions: Conditions | None = None) -> list[Any]:
    (way,) = algorithms_of(op, gpu or machine(), conditions or Conditions(cache=COLD))
    assert all(isinstance(kernel, KernelDemand) for kernel in way.kernels)
    return list(way.kernels)


def test_the_grid_of_split_keys() -> None:
    """Three heads share a tile of 64 rows: 4 CTAs, which two splits bring nearest to the 10 SMs."""
    attention, merge = kernels(decode())
    assert (attention.kernel, merge.kernel) == ("attention", "merge")
    assert plain(attention.grid.ctas) == 2 * 2 * 2
    assert plain(attention.grid.warps_per_cta) == 4
    assert plain(attention.grid.registers_per_thread) == 64 * (64 + 128) / 128 + 64
    assert plain(attention.grid.shared_bytes_per_cta) == 64 * (64 * 2 + 2 * 2 * 128 * 2)


def test_rows_without_a_query_are_computed_too() -> None:
    """A split has 500 keys, four steps of 128."""
    attention, _ = kernels(decode())
    scores, result = 64 * 512, 3 * 64 * 4
    work = attention.work
    assert plain(work.tensor_ops) == 4 * scores * 64
    assert plain(work.fma_ops) == 2 * (6 * scores + 100 * 4 * 32)
    assert plain(work.special_ops) == scores
    assert plain(work.shared_bytes) == 2 * 2 * 512 * 64 * 2
    assert plain(work.l2_read_bytes) == 2 * 500 * 64 * 2 + result
    assert plain(work.l2_write_bytes) == plain(work.epilogue_bytes) == result
    assert plain(work.dram_read_bytes) == pytest.approx((2 * 2 * 2 * 1000 * 64 * 2 + 2 * 6 * 64 * 2) / 8)


def test_latency_of_a_split() -> None:
    """Heads half as wide as the reference take (3 + 1/2) / 4 of its round trips; partial results 11 more."""
    attention, _ = kernels(decode())
    latency = attention.latency
    assert plain(latency.bytes_in_flight) == pytest.approx(0.9 * 3 * 128 * 64 * 2)
    assert plain(latency.chain_cycles) == 4 * 3 * HIT
    assert plain(latency.exposed_cycles) == pytest.approx((14 * 3.5 / 4 + 11) * HIT * (0.7 + 0.3 * 0.8))
    assert plain(latency.setup_cycles) == 5 * HIT


def test_merging() -> None:
    """Two splits of 12 rows of 64 results, with a maximum and a sum each that count as one number."""
    _, merge = kernels(decode())
    moved = plain(merge.work.l2_read_bytes * merge.grid.ctas), plain(merge.work.l2_write_bytes * merge.grid.ctas)
    assert moved == pytest.approx((2 * (768 + 12) * 4, 768 * 2))
    assert plain(merge.work.fma_ops * merge.grid.ctas) == pytest.approx(2 * 2 * 768)
    assert plain(merge.work.special_ops * merge.grid.ctas) == pytest.approx(2 * 12)
    assert plain(merge.latency.chain_cycles) == (7 + 2 * 2) * HIT
    assert plain(merge.work.dram_read_bytes) == plain(merge.work.dram_write_bytes) == 0  # just written; read next


def test_a_head_of_its_own_has_another_tile_and_all_its_keys() -> None:
    """A window of 300 of 1,000 keys: 16 steps of 64 less 10 that lie before it."""
    (attention,) = kernels(decode(heads=8, kv_heads=8, window=300))
    assert plain(attention.grid.ctas) == 2 * 8
    keys = 6 * 64
    assert plain(attention.work.special_ops) == 64 * keys
    assert plain(attention.work.l2_read_bytes) == 2 * 300 * 64 * 2 + 1 * 64 * 2
    assert plain(attention.latency.chain_cycles) == 6 * 3 * HIT
    assert plain(attention.latency.exposed_cycles) == pytest.approx(14 * 3.5 / 4 * HIT)


def test_steps_may_be_loaded_whole() -> None:
    """Ten keys of a step of 64: the step comes from L2, and the cache's part of it from DRAM; 40 x 2 CTAs."""
    seen, loaded = (
        kernels(decode(heads=2, batch=40, seq_kv=10), machine(library__attention__tiled=TILED[:-1] + more))[0].work
        for more in ("}", ", whole_steps: true}")
    )
    result = 64 * 2
    assert plain(seen.l2_read_bytes) == 2 * 10 * 64 * 2 + result
    assert plain(loaded.l2_read_bytes) == 2 * 64 * 64 * 2 + result
    assert plain(seen.dram_read_bytes) == pytest.approx(2 * 10 * 64 * 2 + 64 * 2)
    assert plain(loaded.dram_read_bytes) == pytest.approx(2 * 64 * 64 * 2 + 64 * 2)
    assert plain(loaded.shared_bytes) == plain(seen.shared_bytes)


def test_a_narrow_cache_is_widened() -> None:
    """FlashInfer's tiles of 16 rows and 32 keys, as multiplied in 16 bits: each element of keys and values is one."""
    attention, *_ = kernels(decode(kv_dtype="fp8", seq_kv=100, batch=40))
    keys = plain(attention.work.special_ops) / (16 + 2 * 2 * 64)
    assert keys % 32 == 0
    assert plain(attention.work.shared_bytes) == 2 * 2 * keys * 64 * 1
    assert plain(attention.latency.bytes_in_flight) == 3 * 32 * 64 * 1
    assert plain(attention.latency.chain_cycles) == keys / 32 * 1.5 * HIT
    converted, *_ = kernels(
        decode(kv_dtype="fp8", seq_kv=100, batch=40),
        machine(library__attention__tiled=TILED.replace("narrow_products: false", "narrow_products: true")),
    )
    assert plain(converted.work.special_ops) == 16 * keys
    assert (attention.work.tensor_dtype, converted.work.tensor_dtype) == ("fp16", "fp8")


def test_a_module_appends_and_launches_what_else_it_has() -> None:
    """Of five kernels two are mapped. Two sequences' new keys and values are 512 elements, a CTA's four tokens."""
    module = Conditions(cache=COLD, attention_module=True, rotation=False)
    append, attention, merge = kernels(decode(), conditions=module)
    assert [kernel.kernel for kernel in (append, attention, merge)] == ["append", "attention", "merge"]
    assert plain(append.latency.extra_launches) == 3
    assert plain(append.grid.ctas) == 1
    assert plain(append.work.l2_read_bytes) == plain(append.work.l2_write_bytes) == 2 * 2 * 2 * 64 * 2
    (few, *_) = kernels(decode(), machine(library__attention__decode__module_kernels=1), module)
    assert plain(few.latency.extra_launches) == 0
    many, *_ = kernels(decode(batch=9), conditions=module)
    assert plain(many.grid.ctas) == 3


def test_what_comes_in_lies_between_two_reads_of_the_cache() -> None:
    """Beside the cache of 614 kB, queries and results of 9 kB; in a module half as much again for what comes in."""
    state = CacheState(weight_copies=1, activation_copies=np.inf)
    op = decode(batch=2, seq_kv=600)
    alone, module = (Conditions(cache=state, attention_module=module, rotation=False) for module in (False, True))
    before, after = kernels(op, conditions=alone)[0], kernels(op, conditions=module)[1]
    assert plain(before.work.dram_read_bytes) < plain(after.work.dram_read_bytes)
    assert plain(after.work.dram_read_bytes) < 1.05 * plain(before.work.dram_read_bytes)


def test_a_tile_of_prefill_holds_the_rows_of_all_heads_of_a_group() -> None:
    """Ten tokens of three heads are 30 of a tile's 128 rows; that share tells how many of its round trips it has.

    Heads half as wide as the reference take (4 + 1/2) / 5 of them.
    """
    op = AttentionPrefill(2, 6, 2, 64, seq_q=10, seq_kv=1000, dtype="fp16")
    (way,) = algorithms_of(op, machine(library__attention__prefill__packs_heads="true"), Conditions(cache=COLD))
    (kernel,) = way.kernels
    assert isinstance(kernel, KernelDemand)
    assert plain(kernel.grid.ctas) == 2 * 2
    assert plain(kernel.work.l2_write_bytes) == 30 * 64 * 2
    assert plain(kernel.latency.exposed_cycles) == pytest.approx(10 * (3 + 30 / 128) / 4 * (4 + 1 / 2) / 5 * HIT)


def test_tensorrt_llm_with_generated_kernels_takes_them_for_few_heads_a_key() -> None:
    """Groups of 1, 3, 16 and 17 heads; one of 17 is more than `max_group`. Two splits of 4 CTAs fill ten SMs best."""
    gpu = machine(library__attention__rules="tensorrt_llm")
    op = decode(heads=np.array([2, 6, 32, 34]))
    module = Conditions(cache=COLD, attention_module=True)
    by_tiles, by_heads = algorithms_of(op, gpu, module)
    assert by_tiles.serves.tolist() == [True, True, True, False]
    assert by_heads.serves.tolist() == [False, False, False, True]
    before, attention = by_tiles.kernels
    (alone,) = by_heads.kernels
    assert (before.kernel, attention.kernel, alone.kernel) == ("rotate_append", "attention", "attention")
    assert attention.grid.ctas[:, 0].tolist()[:3] == [8.0, 8.0, 8.0]
    assert attention.work.tensor_ops[:3, 0].tolist() == [4 * rows * 512 * 64 for rows in (8, 8, 16)]
    assert np.all(alone.work.tensor_ops == 0.0)
    first, _ = algorithms_of(op, gpu, Conditions(cache=COLD))
    assert [kernel.kernel for kernel in first.kernels] == ["attention"]


def test_tensorrt_llm_multiplies_prefill_as_queries_come_whatever_its_decode_does() -> None:
    narrow = TILED.replace("narrow_products: false", "narrow_products: true")
    gpus = [
        round_gpu({"library.attention.rules": "tensorrt_llm"}),
        machine(library__attention__rules="tensorrt_llm", library__attention__tiled=narrow),
    ]
    op = AttentionPrefill(
        batch=1, heads=4, kv_heads=1, head_dim=64, seq_q=256, seq_kv=256, dtype="fp16", kv_dtype="fp8"
    )
    first, second = (algorithms_of(op, gpu, Conditions(cache=COLD))[0].kernels[-1] for gpu in gpus)
    assert isinstance(first, KernelDemand)
    assert isinstance(second, KernelDemand)
    assert first.work.tensor_dtype == second.work.tensor_dtype == "fp16"
    assert plain(first.grid.shared_bytes_per_cta) == plain(second.grid.shared_bytes_per_cta)
    assert plain(first.work.fma_ops) == plain(second.work.fma_ops)
