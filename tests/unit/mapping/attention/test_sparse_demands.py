"""DeepSeek's sparse attention: its counts, and what its kernels ask for on the machine of round numbers."""

from __future__ import annotations

import numpy as np
import pytest
from round_gpu import plain, round_gpu

from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping.attention.sparse import sparse_attention_demands
from simexplore.workloads.operators.parameters import ParameterError
from simexplore.workloads.ops import SparseAttention, causal_pairs, parse_operator

ROTATED = Conditions(cache=CacheState(weight_copies=9, activation_copies=2))


def small(**changes: int) -> SparseAttention:
    sizes = {"batch": 2, "heads": 8, "seq_q": 100, "seq_kv": 300, "hidden": 512, "q_rank": 256, "top_k": 128}
    return SparseAttention(**{**sizes, "index_heads": 4, **changes})


def kernels(op: SparseAttention) -> dict[str, list[KernelDemand]]:
    found: dict[str, list[KernelDemand]] = {}
    for kernel in sparse_attention_demands(op, round_gpu(), ROTATED):
        found.setdefault(kernel.kernel, []).append(kernel)
    return found


def test_flops_and_weights_by_hand() -> None:
    weights = 512 * (256 + 576) + 8 * (256 * (128 + 64) + 512 * (128 + 128)) + 8 * 128 * 512
    indexer = 256 * 4 * 128 + 512 * (128 + 4)
    op = small()
    assert op.weights == weights + indexer
    assert small(index_heads=0).weights == weights
    pairs, chosen = causal_pairs(100, 300, 0), causal_pairs(100, 300, 128)
    assert op.flops == 2 * 200 * (weights + indexer) + 2 * 8 * 1088 * 2 * chosen + 2 * 4 * 128 * 2 * pairs
    assert op.cache_bytes == 2 * 300 * (576 * 2 + 128)
    assert small(seq_q=1, top_k=16, index_heads=0).cache_bytes == 2 * 16 * 576 * 2
    assert op.min_bytes == 2 * (2 * 200 * 512) + 2 * op.weights + op.cache_bytes


def test_queries_are_among_the_tokens() -> None:
    with pytest.raises(ParameterError, match="seq_q: expected at most seq_kv = 4"):
        parse_operator("sparse_attention(batch=1,heads=8,seq_q=5,seq_kv=4)")


def test_kernels_in_order() -> None:
    op = small()
    names = [kernel.kernel for kernel in sparse_attention_demands(op, round_gpu(), ROTATED)]
    indexed = ["gemm", "index_scores", "choose_keys"]
    around = ["gemm", "norm_append", "gemm"], ["gemm", "latent_attention", "gemm", "gemm"]
    assert names == [*around[0], *indexed, *around[1]]
    assert [kernel.kernel for kernel in sparse_attention_demands(small(index_heads=0), round_gpu(), ROTATED)] == [
        *around[0],
        *around[1],
    ]


def test_projections_do_all_products_of_the_weights() -> None:
    """A GEMM's tiles cover more than its products; the least of all candidates is at least them."""
    op = small(index_heads=0)
    least = sum(float(np.min(kernel.work.tensor_ops * kernel.grid.ctas)) for kernel in kernels(op)["gemm"])
    assert 2 * 200 * op.weights <= least <= 1.5 * 2 * 200 * op.weights


def test_the_indexer_scores_every_pair() -> None:
    op = small()
    (score,), (choose,) = kernels(op)["index_scores"], kernels(op)["choose_keys"]
    pairs = 2 * causal_pairs(100, 300, 0)
    assert plain(score.work.tensor_ops * score.grid.ctas) == pytest.approx(2 * 4 * 128 * pairs)
    assert plain(score.work.l2_write_bytes * score.grid.ctas) == pytest.approx(4 * pairs)
    assert plain(score.grid.ctas) == np.ceil(pairs * 4 / (128 * 256))
    assert plain(choose.grid.ctas) == 200
    assert plain(choose.work.l2_read_bytes * choose.grid.ctas) == pytest.approx(3 * 4 * pairs)
    assert plain(choose.work.l2_write_bytes) == 128 * 4


def test_latent_attention_reads_the_keys_that_were_chosen() -> None:
    """200 queries of eight heads, filled up to 64, each over 128 keys in two steps."""
    ((kernel,), (narrow,)) = (kernels(SparseAttention(2, 8, 100, 300, top_k=128, kv_dtype=x))["latent_attention"]
                              for x in (None, "fp8"))  # fmt: skip
    assert plain(kernel.grid.ctas) == 200
    assert plain(kernel.work.tensor_ops) == 2 * 64 * 1088 * 128
    queries = 8 * 1088 * 2
    assert plain(kernel.work.l2_read_bytes) == pytest.approx(128 * 576 * 2 + queries)
    assert plain(narrow.work.l2_read_bytes) == pytest.approx(128 * 576 + queries)


def test_steps_of_latent_attention_wait_for_one_another() -> None:
    """Two steps of 64 of the 128 keys, each of two products, two exchanges and two barriers; trips take 200 clk."""
    (kernel,) = kernels(small())["latent_attention"]
    assert plain(kernel.latency.chain_cycles) == 2 * 2 * (16 + 20 + 30)
    assert plain(kernel.latency.bytes_in_flight) == 64 * 576 * 2
    assert plain(kernel.latency.exposed_cycles) == 10 * 200
    assert plain(kernel.latency.setup_cycles) == 5 * 200


def test_few_queries_split_their_keys_among_the_sms() -> None:
    """Ten SMs, two queries: five CTAs each, of the 128 keys in steps of 64, so two."""
    (kernel,) = kernels(small(seq_q=1))["latent_attention"]
    assert plain(kernel.grid.ctas) == 4
    assert plain(kernel.work.special_ops) == 64 * 64


def test_the_narrow_projection_is_read_and_written_once() -> None:
    """200 tokens of 256 and 576 numbers of two bytes, and four instructions for each byte."""
    (norm,) = kernels(small())["norm_append"]
    moved = 200 * (256 + 576) * 2
    for told in (norm.work.l2_read_bytes, norm.work.l2_write_bytes, norm.work.fma_ops / 4):
        assert plain(told * norm.grid.ctas) == pytest.approx(moved)


def test_keys_of_long_contexts_come_from_memory() -> None:
    """128 bytes of a key of the indexer and its scale; warps and registers are those of kernels with wgmma."""
    (score,) = kernels(small(batch=4, seq_kv=200_000))["index_scores"]
    assert plain(score.work.dram_read_bytes * score.grid.ctas) == pytest.approx(4 * 200_000 * 132, rel=0.05)
    assert (plain(score.grid.warps_per_cta), plain(score.grid.registers_per_thread)) == (12, 168)
