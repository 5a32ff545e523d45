"""Flops of gradients beside those that torch's own counter has of the same computation under autograd."""

from __future__ import annotations

from typing import Any

import pytest

from simexplore.workloads.operators.experts.routing import expert_loads
from simexplore.workloads.ops import DeltaBackward, MlaBackward, Moe, MoeBackward, SsdBackward

torch = pytest.importorskip("torch", reason="torch is not installed")


def counted(*, backward: bool, inputs: list[Any], compute: Any) -> float:
    """Flops of the products of a computation, or of its backward pass alone."""
    from torch.utils.flop_counter import FlopCounterMode

    if not backward:
        with FlopCounterMode(display=False) as forward:
            compute(*inputs)
        return float(forward.get_total_flops())
    result = compute(*inputs).sum()
    with FlopCounterMode(display=False) as back:
        result.backward()
    return float(back.get_total_flops())


def leaves(*shapes: tuple[int, ...]) -> list[Any]:
    return [torch.ones(shape, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("gated", [0, 1])
def test_experts_one_after_another(gated: int) -> None:
    """Each expert multiplies its own tokens; as torch counts it, both ways."""
    tokens, hidden, inner, topk, experts = 6, 8, 12, 2, 4
    loads = [int(load) for load in expert_loads(tokens, topk, experts, 1, 0)[0]]
    assert sum(loads) == tokens * topk

    def forward(x: Any, up: Any, down: Any) -> Any:
        parts = []
        for expert, load in enumerate(loads):
            features = x[:load] @ up[expert]
            gate = torch.nn.functional.silu(features[:, :inner])
            parts.append((gate * features[:, inner:] if gated else gate) @ down[expert])
        return torch.cat(parts)

    tensors = leaves((tokens, hidden), (experts, hidden, (1 + gated) * inner), (experts, inner, hidden))
    sizes = (tokens, hidden, inner, topk, experts)
    assert counted(backward=False, inputs=tensors, compute=forward) == Moe(*sizes, gated=gated).flops
    halves = [MoeBackward(*sizes, gated=gated, of=side) for side in ("inputs", "weights")]
    assert counted(backward=True, inputs=tensors, compute=forward) == sum(float(half.flops) for half in halves)


def test_latent_attention_is_attention_with_values_of_another_width() -> None:
    """torch has the formula of fused attention's gradients, with the scores again, of all pairs."""
    from torch.utils.flop_counter import sdpa_backward_flop_count

    batch, heads, tokens, nope, rope, value = 2, 3, 16, 8, 4, 6
    op = MlaBackward(batch, heads, tokens, tokens, nope, rope, value)
    wide, narrow = ((batch, heads, tokens, width) for width in (nope + rope, value))
    of_all = sdpa_backward_flop_count(narrow, wide, wide, narrow)
    assert op.flops == of_all * op.forward.pairs / tokens**2

    def unfused(query: Any, key: Any, values: Any) -> Any:
        return torch.nn.functional.scaled_dot_product_attention(query, key, values)

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        kept = counted(backward=True, inputs=leaves(wide, wide, narrow), compute=unfused)
    again = 2 * batch * heads * tokens**2 * (nope + rope)
    assert of_all == kept + again, "autograd keeps the scores, a fused kernel computes them again"


def test_a_delta_rule_token_by_token() -> None:
    """Three products of a token with the state, and their gradients; beside these the fused kernels redo the states."""
    tokens, heads, keys, values = 3, 2, 4, 6

    def forward(q: Any, k: Any, v: Any) -> Any:
        state, results = torch.ones(heads, keys, values, requires_grad=True), []
        for token in range(tokens):
            told = k[token, :, None, :] @ state
            state = state + k[token, :, :, None] @ (v[token, :, None, :] - told)
            results.append(q[token, :, None, :] @ state)
        return torch.cat(results)

    tensors = leaves((tokens, heads, keys), (tokens, heads, keys), (tokens, heads, values))
    op = DeltaBackward(1, heads, heads, tokens, keys, values, normalized=0, dtype="fp32")
    assert counted(backward=False, inputs=tensors, compute=forward) == op.forward.matmul_flops
    again = 4 * tokens * heads * keys * values
    assert counted(backward=True, inputs=tensors, compute=forward) + again == pytest.approx(op.matmul_flops)


def test_a_state_space_token_by_token() -> None:
    tokens, heads, width, state_dim = 3, 2, 4, 6

    def forward(x: Any, b: Any, c: Any) -> Any:
        state, results = torch.ones(heads, width, state_dim, requires_grad=True), []
        for token in range(tokens):
            state = state + x[token, :, :, None] @ b[token, :, None, :]
            results.append(state @ c[token, :, :, None])
        return torch.cat(results)

    tensors = leaves((tokens, heads, width), (tokens, heads, state_dim), (tokens, heads, state_dim))
    op = SsdBackward(1, heads, tokens, width, state_dim, groups=heads, dtype="fp32")
    assert counted(backward=False, inputs=tensors, compute=forward) == op.forward.matmul_flops
    again = 2 * tokens * heads * width * state_dim
    assert counted(backward=True, inputs=tensors, compute=forward) + again == op.matmul_flops
