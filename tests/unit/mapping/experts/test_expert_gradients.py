"""What gradients of a layer of experts ask for on the machine of round numbers, worked out by hand.

As in the forward pass's tests: 96 tokens of two of eight experts, 192 pairs, 24 an expert; 128 features, 96 inner ones.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from round_gpu import plain, round_gpu

from simexplore.sim.conditions import COLD, CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import predict
from simexplore.sim.hardware.roofline import least_seconds
from simexplore.sim.mapping import demands_of
from simexplore.workloads.operators.parameters import ParameterError
from simexplore.workloads.ops import MoeBackward, parse_operator

CONDITIONS = Conditions(cache=COLD)
TOKENS, HIDDEN, INNER, PAIRS, EXPERTS = 96, 128, 96, 192, 8
INPUTS = MoeBackward(TOKENS, HIDDEN, INNER, 2, EXPERTS, dtype="fp16")
WEIGHTS = replace(INPUTS, of="weights")
TILES = ((16, 32), (64, 64), (128, 256))


def kernels(op: MoeBackward) -> dict[str, KernelDemand]:
    return {kernel.kernel: kernel for kernel in demands_of(op, round_gpu(), CONDITIONS)}  # type: ignore[misc]


def whole(kernel: KernelDemand, name: str) -> list[float]:
    """An amount of all CTAs, one for each tile, or for all."""
    return list(np.atleast_1d(plain(kernel.grid.ctas * getattr(kernel.work, name))))


def test_operators_by_hand() -> None:
    weights = 3 * HIDDEN * INNER
    assert INPUTS.flops == WEIGHTS.flops == 2 * PAIRS * weights
    assert INPUTS.output_bytes == 2 * (TOKENS * HIDDEN + TOKENS * EXPERTS + PAIRS * (HIDDEN + 2 * INNER))
    read = TOKENS * HIDDEN + 2 * PAIRS * INNER + EXPERTS * weights
    assert INPUTS.min_bytes == INPUTS.output_bytes + 2 * read
    assert WEIGHTS.output_bytes == 2 * EXPERTS * weights
    assert WEIGHTS.min_bytes == 2 * (EXPERTS * weights + PAIRS * (2 * HIDDEN + 3 * INNER))
    assert (INPUTS.special_ops, WEIGHTS.special_ops) == (PAIRS * INNER, 0)
    parts = replace(WEIGHTS, moe_ep_size=4, moe_tp_size=2)
    assert parts.output_bytes == 2 * 2 * weights / 2


def test_gradients_of_tokens_go_back_through_both_products() -> None:
    found = kernels(INPUTS)
    assert [*found] == ["expand", "down", "gate", "gate_up", "sum", "route"]
    # 24 tokens an expert: two tiles of 16, one of 64 or of 128; columns of 96, then of 128.
    down = [8 * tiles * -(-INNER // n) for tiles, (_, n) in zip((2, 1, 1), TILES, strict=True)]
    up = [8 * tiles * -(-HIDDEN // n) for tiles, (_, n) in zip((2, 1, 1), TILES, strict=True)]
    assert plain(found["down"].grid.ctas) == down
    assert plain(found["gate_up"].grid.ctas) == up
    # The first goes over 128 features, the second over the 192 of gate and up; k goes in steps of 32.
    assert whole(found["down"], "tensor_ops") == [2 * c * m * n * 128 for c, (m, n) in zip(down, TILES, strict=True)]
    assert whole(found["gate_up"], "tensor_ops") == [2 * c * m * n * 192 for c, (m, n) in zip(up, TILES, strict=True)]
    assert whole(found["down"], "l2_write_bytes") == pytest.approx([2 * PAIRS * INNER] * 3)
    assert whole(found["gate_up"], "l2_write_bytes") == pytest.approx([2 * PAIRS * HIDDEN] * 3)


def test_rows_beside_them_are_moved_once() -> None:
    found = kernels(INPUTS)
    moved = {
        name: (whole(found[name], "l2_read_bytes")[0], whole(found[name], "l2_write_bytes")[0])
        for name in ("expand", "gate", "sum", "route")
    }
    assert moved == {
        "expand": (2 * TOKENS * HIDDEN, 2 * PAIRS * HIDDEN),
        "gate": (2 * 3 * PAIRS * INNER, 2 * 2 * PAIRS * INNER),
        "sum": (2 * PAIRS * HIDDEN, 2 * TOKENS * HIDDEN),
        "route": (8 * PAIRS + 4 * TOKENS * EXPERTS, 2 * TOKENS * EXPERTS),
    }


def test_gradients_of_weights_are_a_matrix_an_expert() -> None:
    found = kernels(WEIGHTS)
    assert [*found] == ["down", "gate_up"]
    # 96 x 128 of each of eight experts, and 128 x 192; over 24 tokens, which are one step of 32.
    for name, rows, cols in (("down", INNER, HIDDEN), ("gate_up", HIDDEN, 2 * INNER)):
        ctas = [8 * -(-rows // m) * -(-cols // n) for m, n in TILES]
        assert plain(found[name].grid.ctas) == ctas
        assert whole(found[name], "tensor_ops") == [2 * c * m * n * 32 for c, (m, n) in zip(ctas, TILES, strict=True)]
        assert whole(found[name], "l2_write_bytes") == pytest.approx([2 * EXPERTS * rows * cols] * 3)


def missed(touched: float) -> float:
    """Share that is gone after so many bytes, of 0.8 MB that products count on."""
    return touched / (0.8e6 + touched)


def test_operands_come_from_dram_as_far_as_l2_has_lost_them() -> None:
    """Nine copies of the weights take turns, and both products' weights lie between two reads of either's."""
    cache = CacheState(weight_copies=9, activation_copies=2)
    found = {each.kernel: each for each in demands_of(INPUTS, round_gpu(), Conditions(cache=cache))}
    one, flowing = 2 * EXPERTS * HIDDEN * INNER, 2 * (TOKENS + PAIRS) * HIDDEN
    for name, read, written, weights, others in (
        ("down", 2 * PAIRS * HIDDEN, 2 * PAIRS * INNER, one, 9 * 2 * one),
        ("gate_up", 2 * PAIRS * 2 * INNER, 2 * PAIRS * HIDDEN, 2 * one, 9 * one),
    ):
        own, of_weights = read * missed(read + written), weights * missed(9 * weights + others + flowing)
        kernel = found[name]
        assert isinstance(kernel, KernelDemand)
        assert whole(kernel, "dram_read_bytes")[1] == pytest.approx(own + of_weights)


def test_gradients_of_weights_read_what_kernels_before_them_wrote() -> None:
    kernel = kernels(WEIGHTS)["down"]
    rows, cols, written = 2 * PAIRS * INNER, 2 * PAIRS * HIDDEN, 2 * EXPERTS * INNER * HIDDEN
    read = rows * missed(rows + written) + cols * missed(cols + rows + cols)
    assert whole(kernel, "dram_read_bytes")[1] == pytest.approx(read)


@pytest.mark.parametrize("op", [INPUTS, WEIGHTS, replace(INPUTS, num_tokens=8192)], ids=lambda op: op.of)
def test_never_below_the_roofline(op: MoeBackward) -> None:
    gpu = round_gpu()
    assert float(predict(op, gpu, CONDITIONS).time_s[0]) >= float(least_seconds(op, gpu, COLD))


@pytest.mark.parametrize(("change", "message"), [("of=logits", "of: expected one of"), ("dtype=fp8", "16 or 32 bits")])
def test_what_there_is_not_is_refused(change: str, message: str) -> None:
    text = MoeBackward.example.replace("dtype=bf16", change)
    with pytest.raises(ParameterError, match=message):
        parse_operator(text)
