"""What kernels of linear attention ask for on the machine of round numbers, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from round_gpu import assert_demand, plain, round_gpu

from simexplore.errors import SimexploreError
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.mapping import algorithms_of, demands_of
from simexplore.workloads.ops import (
    CausalConv1d,
    CausalConv1dUpdate,
    GdnDecode,
    GdnPrefill,
    KdaPrefill,
    Operator,
    SsdDecode,
    SsdPrefill,
)

TWICE = Conditions(cache=CacheState(activation_copies=2))
"""Operands take turns with one copy, so that of what a kernel reads 1 / (1 + x) is in L2, x by two of it."""
TOKENS = {"library.linear.convolution.rules": "tokens"}
FUSED = (
    "{chunk: 16, value_columns: 16, warps: 8, kernels: 2, setup_round_trips: 3, round_trips: 4, step: 50 clk, "
    "tensor_efficiency: 0.5, dram_rate: 0.7}"
)


def kernels(op: Operator, changes: dict[str, Any] | None = None) -> dict[str, KernelDemand]:
    return {kernel.kernel: kernel for kernel in demands_of(op, round_gpu(changes), TWICE)}  # type: ignore[misc]


def whole(kernel: KernelDemand, name: str) -> float:
    """An amount of all CTAs."""
    return float(plain(getattr(kernel.work, name) * kernel.grid.ctas))


def test_a_convolution_along_channels() -> None:
    """Two sequences of 1,001 tokens, so of 2,002 B, which is no multiple of 16: one turn, with two transposes.

    Six CTAs of four warps; a CTA reads its 2,002 B, and filters of 8 B a channel, which three of the six find in L2.
    Of the usable 1 MB so much is touched that 1 / (1 + x) of what is written stays.
    """
    (kernel,) = demands_of(CausalConv1d(batch=2, channels=3, seq_q=1001), round_gpu(), TWICE)
    written, read = 2 * (6006 + 18), 2 * 6006 + 24
    kept, warm = 1 / (1 + (read + written) / 1e6), 1 / (1 + (2 * read + written) / 1e6)
    assert_demand(
        kernel,
        {
            "kernel": "causal_conv1d",
            "grid.ctas": 6,
            "grid.warps_per_cta": 4,
            "grid.registers_per_thread": 40,
            "grid.shared_bytes_per_cta": 2048,
            "work.tensor_dtype": "bf16",
            "work.fma_ops": 2 * 10 * 1001,
            "work.special_ops": 2 * 1001,
            "work.l2_read_bytes": (read + 24) / 6,
            "work.l2_write_bytes": written / 6,
            "work.dram_read_bytes": read / 6 * (1 - warm),
            "work.dram_write_bytes": written / 6 * (1 - kept),
            "latency.bytes_in_flight": 2002,
            "latency.chain_cycles": 6 * 30 + 3 * 20,
            "latency.exposed_cycles": 3 * 200,
            "latency.setup_cycles": 2 * 200,
            "overlap.within_sm": 2,
        },
    )


def test_aligned_sequences_need_no_transposes_and_long_ones_take_turns() -> None:
    """2,048 tokens are 4,096 B, two turns of 2,048 B, each with four barriers and one exchange."""
    (kernel,) = kernels(CausalConv1d(1, 3, 2048)).values()
    assert plain(kernel.latency.chain_cycles) == 2 * (4 * 30 + 20)
    assert plain(kernel.latency.bytes_in_flight) == 2048


def test_a_convolution_by_tokens_reads_those_before_its_own_again() -> None:
    """20 tokens are three blocks of eight; 300 channels two of 256: twelve CTAs for two sequences.

    Two of three blocks read three tokens before their own; five of six read filters that another has read.
    """
    (kernel,) = kernels(CausalConv1d(2, 300, 20), TOKENS).values()
    assert plain(kernel.grid.ctas) == 12
    again = 2 * (300 * 2 * 2 * 3) + 2 * 300 * 4 * 5
    assert whole(kernel, "l2_read_bytes") == pytest.approx(2 * (2 * 20 * 300 + 300 * 4) + again)
    assert plain(kernel.latency.bytes_in_flight) == 512
    assert plain(kernel.latency.chain_cycles) == 0


def test_calls_are_launches() -> None:
    (one,), (three,) = (kernels(CausalConv1d(1, 30, 8, calls=n)).values() for n in (1, 3))
    assert (plain(one.latency.extra_launches), plain(three.latency.extra_launches)) == (0, 2)


@pytest.mark.parametrize(("changes", "ctas", "warps", "held"), [({}, 10, 2, 512), (TOKENS, 4, 4, 2048)])
def test_the_next_token_of_a_convolution(changes: dict[str, Any], ctas: int, warps: int, held: int) -> None:
    """300 channels of two sequences, 64 or 256 a CTA, each with its window and a new token under way."""
    (kernel,) = kernels(CausalConv1dUpdate(2, 300), changes).values()
    assert plain(kernel.grid.ctas) == ctas
    assert plain(kernel.grid.warps_per_cta) == warps
    assert plain(kernel.latency.bytes_in_flight) == held


def test_a_step_is_its_states() -> None:
    """Three sequences, four heads, values of 32: two CTAs a head, of one warp that holds 16 columns of 8 numbers."""
    op = GdnDecode(batch=3, heads=4, key_heads=2, key_dim=8, value_dim=32)
    (kernel,) = demands_of(op, round_gpu(), TWICE)
    states, tokens, written = 4 * 3 * 4 * 8 * 32, 3 * (2 * (2 * 2 * 8 + 4 * 32) + 8 * 4), 2 * 3 * 4 * 32
    kept = 1 / (1 + (2 * states + tokens + written) / 1e6)
    warm = 1 / (1 + (2 * (states + tokens) + states + written) / 1e6)
    again = 3 * (4 * 2 - 2) * 2 * 2 * 8
    assert_demand(
        kernel,
        {
            "kernel": "gdn_decode",
            "grid.ctas": 24,
            "grid.warps_per_cta": 1,
            "grid.registers_per_thread": 16 * 8 / 32 + 40,
            "grid.shared_bytes_per_cta": 0,
            "work.tensor_dtype": "bf16",
            "work.fma_ops": 2 * 6 * 3 * 4 * 8 * 32 / 24,
            "work.special_ops": 12 / 24,
            "work.l2_read_bytes": (states + tokens + again) / 24,
            "work.l2_write_bytes": (states + written) / 24,
            "work.dram_read_bytes": (states + tokens) / 24 * (1 - warm),
            "work.dram_write_bytes": (states + written) / 24 * (1 - kept),
            "latency.bytes_in_flight": (states + tokens + again) / 24,
            "latency.exposed_cycles": 5 * 200,
            "latency.setup_cycles": 4 * 200,
            "overlap.dram_rate": 0.8,
        },
    )


def test_further_tokens_of_a_step_wait() -> None:
    (kernel,) = kernels(GdnDecode(1, 2, 2, seq_q=5)).values()
    assert plain(kernel.latency.chain_cycles) == 4 * 200


def test_a_step_of_mamba_shares_b_and_c_among_heads() -> None:
    """Six heads of 32 in two groups; two blocks of 16 rows a head, so that ten of twelve read what others have."""
    op = SsdDecode(1, 6, 1, 32, 8, 2)
    (kernel,) = kernels(op).values()
    assert plain(kernel.grid.ctas) == 12
    assert whole(kernel, "l2_read_bytes") == pytest.approx(op.min_bytes - op.written_bytes + 10 * 2 * 2 * 8)


GDN = GdnPrefill(batch=2, heads=4, key_heads=2, seq_q=100, key_dim=64, value_dim=128)
"""Two chunks of each sequence, so 16 of all heads; 200 tokens."""
KEYS, OF_HEADS, VALUES, GATES = 2 * 200 * 2 * 64, 2 * 200 * 4 * 64, 2 * 200 * 4 * 128, 4 * 200 * 4
STATES = 2 * 16 * 64 * 128


def test_a_chain_is_normalised_only_where_it_is_asked_for() -> None:
    with_norms, without = algorithms_of(GDN, round_gpu(), TWICE)
    chain = ["gates", "products", "inverse", "w_u", "states", "outputs"]
    assert [kernel.kernel for kernel in with_norms.kernels] == ["normalize", "normalize", *chain]
    assert [kernel.kernel for kernel in without.kernels] == chain
    assert (with_norms.serves.tolist(), without.serves.tolist()) == ([True], [False])
    mixed = GdnPrefill(*(np.array([n, n]) for n in (1, 2, 2, 64)), normalized=np.array([0, 1]))
    assert [way.serves.tolist() for way in algorithms_of(mixed, round_gpu(), TWICE)] == [[False, True], [True, False]]


def test_products_of_chunks() -> None:
    """Of 64 x 64 by 64 features, 64 x 192 by 64 tokens, and so on, in each of 16 chunks."""
    chain = kernels(GDN)
    ops = {name: whole(kernel, "tensor_ops") for name, kernel in chain.items()}
    assert ops == pytest.approx(
        {
            "gates": 0,
            "products": 16 * 2 * 64 * 64 * 64,
            "inverse": 16 * 2 * 16 * 16**3,
            "w_u": 16 * 2 * 64 * (64 + 128) * 64,
            "states": 16 * 2 * 64 * 128 * 2 * 64,
            "outputs": 16 * 2 * 64 * (128 * (64 + 64) + 64 * 64),
        }
    )
    assert sum(ops.values()) > GDN.matmul_flops


def test_what_a_chain_moves() -> None:
    """A kernel reads what others wrote: squares of 64 numbers a token and head, w, u, a state a chunk."""
    chain = kernels(GDN)
    read = {name: whole(kernel, "l2_read_bytes") for name, kernel in chain.items()}
    raw, inverse, carried = 4 * 200 * 4 * 64, 2 * 200 * 4 * 64, 4 * 2 * 4 * 64 * 128
    assert read == pytest.approx(
        {
            "gates": GATES,
            "products": OF_HEADS + 2 * GATES,
            "inverse": raw,
            "w_u": OF_HEADS + VALUES + inverse + 2 * GATES,
            "states": 4 * 2 * OF_HEADS + VALUES + carried,
            "outputs": 2 * OF_HEADS + VALUES + STATES + GATES,
        }
    )
    written = {name: whole(kernel, "l2_write_bytes") for name, kernel in chain.items()}
    assert written == pytest.approx(
        {
            "gates": GATES,
            "products": raw,
            "inverse": inverse,
            "w_u": OF_HEADS + VALUES,
            "states": STATES + VALUES + carried,
            "outputs": VALUES,
        }
    )


def test_states_are_carried_from_chunk_to_chunk() -> None:
    """Four CTAs a head of 32 of 128 columns; two chunks, each of which waits for five trips of 200 clk."""
    states = kernels(GDN)["states"]
    assert plain(states.grid.ctas) == 2 * 4 * 4
    assert plain(states.latency.chain_cycles) == 2 * 5 * 200
    assert plain(states.latency.bytes_in_flight) == 2 * 64 * (2 * 64 + 32)
    assert plain(states.grid.shared_bytes_per_cta) == 2 * 2 * 64 * (2 * 64 + 32)
    assert (states.overlap.tensor_efficiency, states.overlap.dram_rate, states.overlap.within_sm) == (0.5, 0.9, 1.5)


@pytest.mark.parametrize(
    ("inverse", "tokens", "rows"), [("apart", 100, 14), ("apart", 5, 3), ("within", 100, 56), ("within", 21, 14 + 3)]
)
def test_rows_of_a_block_wait_for_those_before(inverse: str, tokens: int, rows: int) -> None:
    """14 rows of a full block; four blocks one after another where the kernel of products inverts them."""
    chain = kernels(GdnPrefill(1, 2, 2, tokens), {"library.linear.chunked.inverse": inverse})
    kernel = chain["inverse" if inverse == "apart" else "products"]
    assert plain(kernel.latency.chain_cycles) == rows * 100
    assert ("inverse" in chain) == (inverse == "apart")


def test_products_that_invert_do_both() -> None:
    apart, within = (kernels(GDN, {"library.linear.chunked.inverse": way}) for way in ("apart", "within"))
    for name in ("tensor_ops", "fma_ops"):
        assert whole(within["products"], name) == pytest.approx(
            whole(apart["products"], name) + whole(apart["inverse"], name)
        )
    assert whole(within["products"], "l2_write_bytes") == whole(apart["inverse"], "l2_write_bytes")


def test_fine_decays_are_summed_in_fp32_and_read_by_all() -> None:
    """200 tokens of four heads of 64: each kernel but the states reads four bytes a feature."""
    chain = kernels(KdaPrefill(2, 4, 100, 64, 128))
    assert list(chain) == ["gates", "blocks", "products", "w_u", "states", "outputs"]
    sums = 4 * 200 * 4 * 64
    assert whole(chain["gates"], "l2_write_bytes") == sums
    assert whole(chain["blocks"], "l2_read_bytes") == pytest.approx(2 * OF_HEADS + sums)
    assert plain(chain["blocks"].grid.ctas) == 16 * 4
    assert whole(chain["blocks"], "fma_ops") == pytest.approx(2 * 2 * 200 * 4 * 16 * 64)
    assert whole(chain["products"], "tensor_ops") == pytest.approx(16 * 2 * (64 * 48 * 64 + 16 * 16**3))
    assert whole(chain["w_u"], "l2_write_bytes") == pytest.approx(2 * OF_HEADS + VALUES)
    assert whole(chain["outputs"], "tensor_ops") == pytest.approx(16 * 2 * 64 * 128 * (64 + 64))


def test_a_fused_scan_is_one_kernel_that_goes_along_the_sequence() -> None:
    """100 tokens are seven chunks of 16; eight CTAs a head for 16 of 128 columns; a kernel more prepares."""
    op = GdnPrefill(2, 4, 2, 100, 64, 128)
    (kernel,) = kernels(op, {"library.linear.fused_gdn": FUSED}).values()
    assert plain(kernel.grid.ctas) == 2 * 4 * 8
    assert plain(kernel.latency.chain_cycles) == 7 * 50
    assert plain(kernel.latency.extra_launches) == 1
    products = 56 * 2 * (8 * 3 * 16 * 16 * 64 + 16 * 128 * (2 * 16 + 3 * 64))
    assert whole(kernel, "tensor_ops") == pytest.approx(products)
    assert whole(kernel, "l2_write_bytes") == pytest.approx(op.written_bytes)
    read = op.min_bytes - op.written_bytes + 7 * 2 * OF_HEADS + 2 * (OF_HEADS - KEYS)
    assert whole(kernel, "l2_read_bytes") == pytest.approx(read)
    assert [len(way.kernels) for way in algorithms_of(op, round_gpu({"library.linear.fused_gdn": FUSED}), TWICE)] == [
        3,
        1,
    ]


def test_a_fused_scan_of_fine_decays_scales_keys_and_queries() -> None:
    """An exponential and two instructions for each of 64 features of both, of 200 tokens and four heads."""
    op = KdaPrefill(2, 4, 100, 64, 128)
    (kernel,) = kernels(op, {"library.linear.fused_kda": FUSED}).values()
    assert whole(kernel, "special_ops") == pytest.approx(2 * 200 * 4 * 64)
    assert whole(kernel, "fma_ops") == pytest.approx(2 * 2 * 2 * 200 * 4 * 64)


def test_mamba_by_chunks() -> None:
    """Two sequences of 300 tokens, chunks of 128: six of each, 24 of four heads; x of 32, B of 64, two groups."""
    op = SsdPrefill(2, 4, 300, 32, 64, 2, chunk=128)
    chain = kernels(op)
    assert list(chain) == ["gates", "chunk_states", "states", "products", "outputs"]
    ops = {name: whole(kernel, "tensor_ops") for name, kernel in chain.items()}
    assert ops == pytest.approx(
        {
            "gates": 0,
            "chunk_states": 24 * 2 * 128 * 32 * 64,
            "states": 0,
            "products": 12 * 2 * 128 * 128 * 64,
            "outputs": 24 * 2 * 128 * 32 * (64 + 96),
        }
    )
    assert whole(chain["gates"], "l2_write_bytes") == 2 * 4 * 600 * 4  # dt and sums of decays, in fp32
    assert plain(chain["states"].latency.chain_cycles) == 3 * 200
    assert plain(chain["states"].grid.ctas) == 2 * 4 * 32 * 64 / 1024
    assert whole(chain["states"], "l2_write_bytes") == pytest.approx(2 * 24 * 32 * 64 + 4 * 2 * 4 * 32 * 64)
    assert whole(chain["products"], "l2_write_bytes") == 4 * 12 * 128 * 128
    assert plain(chain["products"].grid.ctas) == 12 * 4
    assert plain(chain["outputs"].grid.ctas) == 24 * 2


def test_a_machine_without_such_kernels_says_so() -> None:
    gpu = round_gpu()
    bare = gpu.model_copy(update={"library": gpu.library.model_copy(update={"linear": None})})
    with pytest.raises(SimexploreError, match=r"no kernels for linear attention \(library.linear\)"):
        demands_of(GDN, bare, TWICE)
