"""Attention of a list of lengths: as attention of equal ones where they are, and what the longest sequence costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from round_gpu import round_gpu

from simexplore.archs.load import load_arch
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import COLD, CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.mapping import algorithms_of
from simexplore.workloads.graph import single
from simexplore.workloads.graph_data import from_data, to_data
from simexplore.workloads.ops import AttentionDecode, AttentionPrefill, RaggedAttention, parse_operator

H100 = load_arch("nvidia/h100-sxm")
CONDITIONS = Conditions(cache=COLD)
SIZES = {"heads": 32, "kv_heads": 8, "head_dim": 128}


def ragged(*pairs: tuple[int, int]) -> RaggedAttention:
    return RaggedAttention(**SIZES, q_lengths=tuple(q for q, _ in pairs), kv_lengths=tuple(kv for _, kv in pairs))


def seconds(op: RaggedAttention | AttentionPrefill | AttentionDecode) -> float:
    return float(predict(op, H100, CONDITIONS).time_s[0])


@pytest.mark.parametrize(("queries", "keys"), [(1024, 1024), (100, 3000)])
def test_equal_lengths_are_a_prefill(queries: int, keys: int) -> None:
    one = AttentionPrefill(4, **SIZES, seq_q=queries, seq_kv=keys)
    several = ragged(*[(queries, keys)] * 4)
    assert (several.flops, several.min_bytes, several.special_ops) == (one.flops, one.min_bytes, one.special_ops)
    assert seconds(several) == pytest.approx(seconds(one), rel=1e-3)


def test_equal_lengths_of_one_new_token_are_a_decode() -> None:
    one, several = AttentionDecode(16, **SIZES, seq_kv=1024), ragged(*[(1, 1024)] * 16)
    assert (several.flops, several.min_bytes) == (one.flops, one.min_bytes)
    assert seconds(several) == seconds(one)


PAIRS = st.tuples(st.integers(1, 600), st.integers(0, 3000)).map(lambda pair: (pair[0], sum(pair)))


@settings(max_examples=25, deadline=None)
@given(st.lists(PAIRS, min_size=1, max_size=5), st.randoms())
def test_work_is_that_of_the_sequences_in_any_order(pairs: list[tuple[int, int]], random: object) -> None:
    whole = ragged(*pairs)
    alone = [AttentionPrefill(1, **SIZES, seq_q=queries, seq_kv=keys) for queries, keys in pairs]
    assert whole.flops == sum(float(each.flops) for each in alone)
    assert whole.min_bytes == sum(float(each.min_bytes) for each in alone)
    shuffled = list(pairs)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert seconds(ragged(*shuffled)) == pytest.approx(seconds(whole), rel=1e-9)


def test_one_kernel_has_the_ctas_and_the_work_of_all_sequences() -> None:
    pairs = ((512, 512), (77, 1024), (300, 300))
    (way,) = algorithms_of(ragged(*pairs), H100, CONDITIONS)
    (kernel,) = way.kernels
    assert isinstance(kernel, KernelDemand)
    parts = []
    for queries, keys in pairs:
        (alone,) = algorithms_of(AttentionPrefill(1, **SIZES, seq_q=queries, seq_kv=keys), H100, CONDITIONS)
        parts.append(alone.kernels[0])
    assert kernel.grid.ctas.item() == sum(part.grid.ctas.item() for part in parts)  # type: ignore[attr-defined]
    for name in ("tensor_ops", "l2_read_bytes", "l2_write_bytes", "special_ops", "dram_read_bytes"):
        total = sum((part.grid.ctas * getattr(part.work, name)).item() for part in parts)  # type: ignore[attr-defined]
        assert (kernel.grid.ctas * getattr(kernel.work, name)).item() == pytest.approx(total, rel=1e-6), name
    keys_of = [part.latency.chain_cycles.item() for part in parts]  # type: ignore[attr-defined]
    ctas = [part.grid.ctas.item() for part in parts]  # type: ignore[attr-defined]
    mean = float(np.average(keys_of, weights=ctas))
    longest = max(
        (1 + part.latency.straggler_share.item()) * steps / mean  # type: ignore[attr-defined]
        for part, steps in zip(parts, keys_of, strict=True)
    )
    assert kernel.latency.straggler_share.item() == pytest.approx(longest - 1)


def test_sequences_share_the_cache() -> None:
    """140 queries of two heads of 64, and the keys and values of 190 tokens of one, all in 2 B; L2 uses 1 MB.

    Queries and results are of one size. With two copies of what is read, both and a result lie between two reads.
    """
    op = RaggedAttention(2, 1, 64, (100, 40), (150, 40), dtype="bf16")
    (way,) = algorithms_of(op, round_gpu(), Conditions(cache=CacheState(activation_copies=2)))
    (kernel,) = way.kernels
    assert isinstance(kernel, KernelDemand)
    queries, kv = 140 * 2 * 64 * 2, 2 * 190 * 64 * 2
    before, within = 2 * (kv + queries) + queries, kv + 2 * queries
    read, written = (kernel.grid.ctas * getattr(kernel.work, f"dram_{way}_bytes") for way in ("read", "write"))
    assert read.item() == pytest.approx((kv + queries) * before / (1e6 + before))
    assert written.item() == pytest.approx(queries * within / (1e6 + within))


def test_a_batch_waits_for_its_longest_sequence() -> None:
    even, uneven = ragged(*[(1, 1024)] * 16), ragged((1, 8192), *[(1, 546)] * 14, (1, 548))
    assert even.min_bytes == uneven.min_bytes
    assert seconds(even) < seconds(uneven) < seconds(ragged(*[(1, 8192)] * 16))
    assert seconds(ragged(*[(1024, 1024)] * 4)) < seconds(ragged((2048, 2048), *[(683, 683)] * 3))


def test_prompts_and_steps_are_two_kernels() -> None:
    both = ragged((512, 512), (1, 900), (1, 700))
    ways = algorithms_of(both, H100, CONDITIONS)
    prompts, steps = ragged((512, 512)), AttentionDecode(2, **SIZES, seq_kv=800)
    assert len(ways[0].kernels) >= 2
    assert seconds(both) == pytest.approx(seconds(prompts) + seconds(steps), rel=0.2)


def test_a_column_of_heads_is_its_rows() -> None:
    lengths = {"q_lengths": (40, 1, 7), "kv_lengths": (90, 300, 7)}
    column = RaggedAttention(np.array([8, 32]), np.array([8, 4]), np.array([64, 128]), **lengths)
    rows = [RaggedAttention(8, 8, 64, **lengths), RaggedAttention(32, 4, 128, **lengths)]
    np.testing.assert_allclose(predict(column, H100).time_s, [predict(row, H100).time_s[0] for row in rows], rtol=1e-12)


def test_lengths_are_text_and_survive_a_file() -> None:
    op = parse_operator("ragged_attention(heads=8,kv_heads=8,head_dim=64,q_lengths=5+1,kv_lengths=9+70)")
    assert op == RaggedAttention(8, 8, 64, (5, 1), (9, 70))
    graph = single(op)
    assert from_data(to_data(graph)) == graph


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ("q_lengths=5+x,kv_lengths=9+70", "q_lengths: expected positive integers with . between them, found '5.x'"),
        ("q_lengths=5+0,kv_lengths=9+70", "q_lengths: expected positive integers"),
        (
            "q_lengths=5,kv_lengths=9+70",
            "kv_lengths: expected a length for each of the 1 sequences of",
        ),
        ("q_lengths=5+9,kv_lengths=9+8", "q_lengths: expected at most the sequence's 8 tokens, found 9"),
    ],
)
def test_a_mistake_is_one_line(lengths: str, message: str) -> None:
    with pytest.raises(SimexploreError, match=message):
        parse_operator(f"ragged_attention(heads=8,kv_heads=8,head_dim=64,{lengths})")
    with pytest.raises(SimexploreError, match="kv_heads: expected a divisor of heads = 8, found 3"):
        parse_operator("ragged_attention(heads=8,kv_heads=3,head_dim=64,q_lengths=5,kv_lengths=9)")
