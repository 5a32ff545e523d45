"""Feed-forwards in a graph: dense ones, and mixtures of experts.

A layer of experts is a router, the experts (`moe`: the choice, the products, the weighted sum), and beside them the
shared experts, a dense feed-forward whose result is added. Engines run these one after the other, unless they have
streams to spare. The router and the experts read what the norm wrote in 16 bits; experts narrow it by themselves.
GPUs divide experts into `expert_parallel` groups and each expert among the GPUs of a group; all of them have all
tokens, since attention's all-reduce gave them so, and one all-reduce adds up what they make.
"""

from __future__ import annotations

from simexplore.workloads.families.decoder.chain import Chain, Parts
from simexplore.workloads.families.decoder.shape import Experts, FeedForward, Mlp
from simexplore.workloads.ops import Add, Gelu, Gemm, Moe, Operator, Pointwise, Relu, SiluMul

GATED_FLOPS = {"gelu": 9, "relu": 2}
"""Of a gate's function and its product with the value; SwiGLU has an operator of its own."""
WEIGHED_FLOPS = 2
"""Of an element of the shared experts' result: weighed, and added."""


def add_feed_forward(chain: Chain, parts: Parts, group: str, kind: FeedForward, also_after: str | None = None) -> None:
    """All from the norm before it to the all-reduce; `also_after` is the norm, where another node came after it."""
    if isinstance(kind, Mlp):
        _add_mlp(chain, parts, group, kind, also_after)
    else:
        _add_experts(chain, parts, group, kind, also_after)
    if parts.options.tensor_parallel > 1:
        chain.add(f"{group}.ffn_all_reduce", parts.all_reduce(), group)


def _add_mlp(
    chain: Chain, parts: Parts, group: str, kind: Mlp, also_after: str | None, *, wide: bool = False, prefix: str = ""
) -> str:
    """A dense feed-forward, and the name of its last node; `wide`: what it reads is of 16 bits."""
    up = f"{group}.{prefix}gate_up" if kind.gated else f"{group}.{prefix}up"
    chain.add(up, parts.gemm(kind.up_features, parts.share.hidden, wide=wide), group, also_after)
    activation = _activation(parts, kind)
    chain.add(f"{group}.{prefix}activation", activation, group)
    # The general elementwise operator writes the type that it reads.
    down = parts.gemm(parts.share.hidden, kind.width, wide=isinstance(activation, Pointwise))
    return chain.add(f"{group}.{prefix}down", down, group)


def _activation(parts: Parts, kind: Mlp) -> Operator:
    elements, dtype = parts.tokens * kind.width, parts.options.activation_dtype
    if kind.gated and kind.activation != "silu":
        return Pointwise(elements, 2, 1, GATED_FLOPS[kind.activation], dtype, f"{kind.activation}_mul")
    family = SiluMul if kind.gated else {"gelu": Gelu, "relu": Relu}[kind.activation]
    return family(elements, dtype, parts.options.written_dtype)


def _add_experts(chain: Chain, parts: Parts, group: str, kind: Experts, also_after: str | None) -> None:
    tokens, hidden, options = parts.tokens, parts.share.hidden, parts.options
    norm = also_after or chain.last[0]
    router = Gemm(m=tokens, n=kind.count, k=hidden, dtype=options.activation_dtype)
    chain.add(f"{group}.router", router, group, also_after)
    experts = Moe(
        num_tokens=tokens,
        hidden_size=hidden,
        inter_size=kind.width,
        topk=kind.chosen,
        num_experts=kind.count,
        moe_tp_size=kind.slices,
        moe_ep_size=kind.groups,
        skew=options.skew,
        dtype=options.dtype,
    )
    routed = chain.add(f"{group}.experts", experts, group, norm)
    if kind.shared:
        _add_shared(chain, parts, group, kind, norm, routed)


def _add_shared(chain: Chain, parts: Parts, group: str, kind: Experts, norm: str, routed: str) -> None:
    """The experts that every token goes through, weighed where they are, and added to the others' result."""
    elements, dtype = parts.tokens * parts.share.hidden, parts.options.activation_dtype
    shared = _add_mlp(chain, parts, group, Mlp(kind.shared), norm, wide=True, prefix="shared_")
    if not kind.shared_gate:
        chain.add(f"{group}.add_shared", Add(elements, dtype), group, routed)
        return
    weight = Gemm(m=parts.tokens, n=1, k=parts.share.hidden, dtype=dtype)
    chain.add(f"{group}.shared_gate", weight, group, norm)
    total = Pointwise(elements, 2, 1, WEIGHED_FLOPS, dtype, "weigh_add")
    chain.add(f"{group}.add_shared", total, group, shared, routed)
