"""What gradients of scans ask for on the machine of round numbers, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from round_gpu import plain, round_gpu

from simexplore.sim.conditions import COLD, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.mapping import algorithms_of, demands_of
from simexplore.workloads.operators.parameters import ParameterError
from simexplore.workloads.ops import CausalConv1dBackward, DeltaBackward, Operator, SsdBackward, parse_operator
from simexplore.workloads.training.gradients import beside_bytes

CONDITIONS = Conditions(cache=COLD)
DELTA = DeltaBackward(batch=1, heads=4, key_heads=2, seq_q=128, key_dim=64, value_dim=32, normalized=0)
"""Two chunks of 64 tokens of four heads: eight blocks."""
FINE = replace(DELTA, key_heads=4, fine=1)
SSD = SsdBackward(batch=1, heads=4, seq_q=256, head_dim=64, state_dim=128, groups=2, chunk=128)
"""Two chunks of 128 tokens of four heads in two groups."""
CONVOLUTION = CausalConv1dBackward(batch=2, channels=3, seq_q=1000)


def kernels(op: Operator) -> dict[str, KernelDemand]:
    return {kernel.kernel: kernel for kernel in demands_of(op, round_gpu(), CONDITIONS)}  # type: ignore[misc]


def whole(kernel: KernelDemand, name: str) -> float:
    return float(plain(kernel.grid.ctas * getattr(kernel.work, name)))


def multiplied(op: Operator, block: int) -> dict[str, float]:
    """Tensor operations by kernel, over twice the elements of a block: the depth of its products in all."""
    return {name: whole(kernel, "tensor_ops") / (2 * block) for name, kernel in kernels(op).items()}


def test_products_of_a_delta_rule() -> None:
    assert multiplied(DELTA, 8 * 64) == pytest.approx({
        "w_u": 64 * (64 + 32),
        "states": 2 * 64 * 32,
        "dv": 64 * 64 + 64 * 32,
        "dstates": 3 * 64 * 32,
        "dq_dk_dw": 3 * 64 * 32 + 64 * 32 + 2 * 64 * 64,
        "dinverse": 2 * 64 * (64 + 32) + 2 * 64 * 64 + 3 * 64 * 64,
        "sum_heads": 0,
        "dgates": 0,
    })  # fmt: skip


def test_products_of_a_delta_rule_with_fine_decays() -> None:
    assert multiplied(FINE, 8 * 64) == pytest.approx({
        "w_u": 64 * (64 + 32),
        "states": 2 * 64 * 32,
        "dv": 2 * 64 * 32,
        "dstates": 3 * 64 * 32,
        "dinverse": 3 * 64 * 32 + 2 * 64 * (64 + 32) + 2 * 64 * 64,
        "within": 4 * 64 * (64 + 16) / 2,
        "dgates": 0,
    })  # fmt: skip


def test_what_a_delta_rule_writes() -> None:
    """Keys of heads are 64 KiB, keys 32, values 32; states of a block 4 KiB; decays 2 KiB."""
    found = {name: whole(kernel, "l2_write_bytes") / 1024 for name, kernel in kernels(DELTA).items()}
    assert found == pytest.approx({
        "w_u": 64 + 32,
        "states": 8 * 4 + 32,
        "dv": 32,
        "dstates": 8 * 4 + 32,
        "dq_dk_dw": 3 * 64 + 2,
        "dinverse": 64 + 32 + 2 * 2,
        "sum_heads": 2 * 32,
        "dgates": 2,
    })  # fmt: skip


def amounts(op: Operator, name: str, unit: float) -> dict[str, float]:
    return {each: whole(kernel, name) / unit for each, kernel in kernels(op).items() if whole(kernel, name)}


def test_what_a_delta_rule_reads() -> None:
    """In KiB as above: keys 32, of heads 64, values 32, squares of heads 64; decays 2, states 32."""
    found = amounts(DELTA, "l2_read_bytes", 1024)
    assert found == pytest.approx({
        "w_u": 64 + 32 + 2 + 64 + 2,
        "states": 2 * 64 + 32,
        "dv": 2 * 64 + 32 + 2,
        "dstates": 3 * 64 + 2 * 32,
        "dq_dk_dw": 2 * 64 + 32 + 2 * 32 + 2 * 32 + 2,
        "dinverse": 64 + 32 + 2 + 64 + 2 * 64 + 32 + 2,
        "sum_heads": 3 * 64,
        "dgates": 2,
    })  # fmt: skip


def test_what_a_delta_rule_computes_beside_products() -> None:
    """Factors of pairs of tokens, or with fine decays of features: an exponential each, and two instructions."""
    pairs, features = 8 * 64**2, 128 * 4 * 64
    assert amounts(DELTA, "special_ops", pairs) == pytest.approx({"dv": 1, "dq_dk_dw": 1, "dinverse": 1})
    assert amounts(FINE, "special_ops", features) == pytest.approx({"dinverse": 2, "within": 4})
    fine = {"dinverse": 2 * 2, "within": 4 * 2, "dgates": 8}
    assert amounts(FINE, "fma_ops", 2 * features) == pytest.approx(fine)


def test_what_a_delta_rule_with_fine_decays_moves() -> None:
    """In KiB: keys of heads 64, values 32, states 32, squares 64 or wide 128, decays of features 128."""
    assert amounts(FINE, "l2_write_bytes", 1024) == pytest.approx({
        "w_u": 64 + 32 + 64,
        "states": 32 + 32,
        "dv": 32 + 128,
        "dstates": 32 + 32,
        "dinverse": 2 * 128 + 32 + 128 + 128,
        "within": 2 * 64 + 128,
        "dgates": 128,
    })  # fmt: skip
    read = amounts(FINE, "l2_read_bytes", 1024)
    assert read["dinverse"] == pytest.approx(2 * 64 + 2 * 32 + 64 + 2 * 32 + 2 * 32 + 128)
    assert read["within"] == pytest.approx(2 * 64 + 2 * 128 + 128 + 2 * 128 + 128)
    assert read["dv"] == pytest.approx(32 + 32 + 64)


def test_the_sequential_part_waits_at_each_chunk() -> None:
    longer = kernels(replace(DELTA, seq_q=256))["dstates"]
    assert (plain(kernels(DELTA)["dstates"].latency.chain_cycles), plain(longer.latency.chain_cycles)) == (2000, 4000)
    assert plain(longer.grid.ctas) == 4


def test_normalised_queries_and_keys_have_two_more_kernels() -> None:
    op = replace(DELTA, normalized=1)
    with_norms, without = algorithms_of(op, round_gpu(), CONDITIONS)
    assert [each.kernel for each in with_norms.kernels][-2:] == ["dnormalize", "dnormalize"]
    assert len(with_norms.kernels) == len(without.kernels) + 2
    assert op.flops - DELTA.flops == 12 * 128 * 2 * 64
    assert (with_norms.serves.tolist(), without.serves.tolist()) == ([True], [False])


def test_operators_by_hand() -> None:
    keys, values, rates = 128 * 2 * 64, 128 * 4 * 32, 128 * 4
    assert DELTA.flops == 128 * 4 * (16 * 64 * 32 + 4 * 32)
    assert DELTA.output_bytes == 2 * (2 * keys + values + 2 * rates)
    assert DELTA.min_bytes == 2 * 2 * (2 * keys + values) + 2 * values + 2 * 8 * rates
    assert FINE.min_bytes == 2 * 2 * (4 * keys + values) + 2 * values + 2 * 2 * rates * (64 + 1)
    x, shared = 256 * 4 * 64, 256 * 2 * 128
    assert SSD.flops == 256 * 4 * (10 * 64 * 128 + 6 * 64)
    assert SSD.min_bytes == 2 * (3 * x + 4 * shared + 2 * 256 * 4)
    assert CONVOLUTION.flops == 6000 * (6 * 4 + 10)
    assert CONVOLUTION.min_bytes == 2 * (3 * 6000 + 2 * 12)


def test_what_the_forward_pass_keeps_beside_its_result() -> None:
    normalized = replace(DELTA, normalized=1).forward
    assert beside_bytes(DELTA.forward) == 128 * 4 * (2 * 64 + 4)
    assert beside_bytes(normalized) - beside_bytes(DELTA.forward) == 2 * 2 * 128 * 2 * 64
    assert beside_bytes(FINE.forward) == 128 * 4 * (2 * 2 * 64 + 4 * 64)


def test_products_of_a_state_space() -> None:
    """A block is 128 tokens of a head, four of two chunks; tiles of 64 on the diagonal are whole: 96 tokens seen."""
    assert multiplied(SSD, 8 * 128) == pytest.approx({
        "gates": 0,
        "chunk_states": 64 * 128,
        "states": 0,
        "products": 128 * 128 / 2,  # of a group, which has two heads
        "dstates": 64 * 128,
        "dstates_passed": 0,
        "dx": 64 * (128 + 96),
        "db": 64 * 128,
        "dc": 64 * 128,
        "dproducts": 64 * 96,
        "db_within": 128 * 128 / 2,
        "dc_within": 128 * 128 / 2,
        "ddecays": 64 * 96,
        "dgates": 0,
    })  # fmt: skip


def test_what_a_state_space_moves() -> None:
    """In KiB: x 128, B or C 128, decays 8, states 128 as they are and 256 wide, products of groups 256, rates 2."""
    assert amounts(SSD, "l2_write_bytes", 1024) == pytest.approx({
        "gates": 8,
        "chunk_states": 256,
        "states": 128 + 128,
        "products": 256,
        "dstates": 256,
        "dstates_passed": 128 + 128,
        "dx": 128 + 4,
        "db": 2 * 128 + 4,
        "dc": 2 * 128 + 4,
        "dproducts": 256,
        "db_within": 128,
        "dc_within": 128,
        "ddecays": 4,
        "dgates": 2,
    })  # fmt: skip
    read = amounts(SSD, "l2_read_bytes", 1024)
    # Two heads of a group read its B and C, and two rows of tiles read what both need; half of the second's x is seen.
    assert read["dstates"] == pytest.approx(128 + 128 + 4 + 128)
    assert read["dx"] == pytest.approx(2 * 128 + 128 + 8 + 128 + 256 + (128 + 256) + 64)
    assert read["db"] == read["dc"] == pytest.approx(128 + 128 + 8 + 128 + 128)
    assert read["dproducts"] == pytest.approx(2 * 128 + 8 + 128)
    assert read["db_within"] == read["dc_within"] == pytest.approx(128 + 256 + 2 * 128 + 128)
    assert read["ddecays"] == pytest.approx(2 * 128 + 8 + 256 + 128 + 256)


def test_a_convolution_reads_its_input_and_the_gradient() -> None:
    (kernel,) = kernels(CONVOLUTION).values()
    assert plain(kernel.grid.ctas) == 6
    assert whole(kernel, "l2_read_bytes") == pytest.approx(2 * 2 * 6000 + 24 + 24)
    assert whole(kernel, "l2_write_bytes") == pytest.approx(2 * 6000 + 24)
    assert whole(kernel, "fma_ops") == pytest.approx(2 * 10 * 6000 * (6 * 4 + 10) / (2 * 4 + 4))
    assert whole(kernel, "special_ops") == pytest.approx(2 * 6000)


@pytest.mark.parametrize("op", [DELTA, FINE, SSD, CONVOLUTION], ids=lambda op: op.op)
def test_never_below_the_roofline(op: Operator) -> None:
    gpu = round_gpu()
    assert float(predict(op, gpu, CONDITIONS).time_s[0]) >= float(least_seconds(op, gpu, COLD))


@pytest.mark.parametrize(("change", "message"), [("fine=2", "fine: expected 0 or 1"), ("fine=1", "as many as heads")])
def test_fine_decays_have_keys_of_their_own(change: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_operator(DeltaBackward.example.replace("dtype=bf16", f"{change},dtype=bf16"))
