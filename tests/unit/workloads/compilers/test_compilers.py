"""Compilers on small graphs: which kernels are left, flops that stay, bytes that never grow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simexplore
from simexplore.archs.load import load_arch
from simexplore.sim.conditions import Beside, conditions_of
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.correction import correction_of
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.estimate.operators import kernels_of
from simexplore.workloads import catalog
from simexplore.workloads.compilers import COMPILERS
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.graph_data import from_data, to_data
from simexplore.workloads.ops import Add, Conv2d, Gelu, Gemm, LayerNorm, Operator, Pointwise, Relu, Softmax

E = 4096
BYTES = 2 * E
"""Of one tensor."""
CONV = Conv2d(1, 64, 64, 1, 8, dtype="fp16")
SILU = Pointwise(E, 1, 1, 4, "fp16", "silu")
ADD, RELU, GELU, NORM = Add(E, "fp16"), Relu(E, "fp16"), Gelu(E, "fp16"), LayerNorm(64, 64, "fp16")


def graph(*nodes: tuple[str, Operator, tuple[str, ...]]) -> Graph:
    return Graph("g", tuple(Node.of(name, op, after) for name, op, after in nodes))


BLOCK = graph(
    ("conv", CONV, ()),
    ("silu", SILU, ("conv",)),
    ("other", RELU, ()),
    ("skip", ADD, ("silu", "other")),
    ("norm", NORM, ("skip",)),
    ("gelu", GELU, ("norm",)),
    ("last", ADD, ("gelu", "skip")),
)


def kernels(compiler: str, of: Graph) -> dict[str, list[str]]:
    compiled = COMPILERS[compiler].compiled(of)
    return {node.name: [node.op.op, *(op.op for op in node.merged)] for node in compiled.nodes}


def test_eager_runs_a_graph_on_one_stream() -> None:
    compiled = COMPILERS["eager"].compiled(BLOCK)
    assert [(node.name, node.op) for node in compiled.nodes] == [(node.name, node.op) for node in BLOCK.nodes]
    assert set(compiled.streams().values()) == {0}
    (other,) = (node for node in compiled.nodes if node.name == "other")
    assert (other.after, other.reads) == (("silu",), ())  # it waits for the stream, and reads nothing
    assert estimate_graph(compiled, load_arch("nvidia/rtx-4090")).time_s > 0
    assert (COMPILERS["eager"].launch, COMPILERS["eager"].called) == ("stream", True)


def test_inductor_merges_pointwise_and_norms_but_no_library_calls() -> None:
    assert kernels("inductor", BLOCK) == {
        "conv": ["conv2d"],
        "silu": ["pointwise"],
        "other": ["layernorm", "relu", "add", "gelu", "add"],
    }


def test_tensorrt_merges_into_convolutions_and_only_what_nobody_else_reads() -> None:
    assert kernels("tensorrt", BLOCK) == {
        "conv": ["conv2d", "pointwise"],
        "other": ["relu", "add"],
        "norm": ["layernorm", "gelu", "add"],
    }


def test_bytes_of_merged_kernels_by_hand() -> None:
    inductor, tensorrt = (COMPILERS[name].compiled(BLOCK).nodes for name in ("inductor", "tensorrt"))
    vectors = 4 * 64  # of the norm
    assert [node.min_bytes for node in inductor[1:]] == [2 * BYTES, 3 * BYTES + vectors]
    assert [node.merged_bytes for node in tensorrt] == [0, BYTES, BYTES]  # each reads one tensor beside
    assert [node.after for node in tensorrt] == [(), ("conv",), ("other",)]


def test_a_value_that_others_need_is_written_too() -> None:
    both = graph(("a", RELU, ()), ("b", RELU, ("a",)), ("out", Gemm(64, 8, 64, dtype="fp16"), ("a",)))
    (first, out) = COMPILERS["inductor"].compiled(both).nodes
    assert (first.min_bytes, first.output_bytes) == (3 * BYTES, 2 * BYTES)
    assert out.after == ("a",)
    assert len(COMPILERS["tensorrt"].compiled(both).nodes) == 3


def test_tensorrt_sums_fp16_in_fp16_and_no_other_type() -> None:
    types = {"fp16": "fp16", "bf16": None}
    for dtype, sums in types.items():
        ops = [Gemm(8, 8, 8, dtype=dtype), replace(CONV, dtype=dtype), Gemm(8, 8, 8, dtype=dtype, accumulate="fp32")]
        chain = graph(*((f"n{index}", op, ()) for index, op in enumerate(ops)))
        found = [node.op.accumulate for node in COMPILERS["tensorrt"].compiled(chain).nodes]  # type: ignore[attr-defined]
        assert found == [sums, sums, "fp32"]
    assert all(node.op.accumulate is None for node in COMPILERS["inductor"].compiled(BLOCK).nodes[:1])  # type: ignore[attr-defined]


def test_what_becomes_ready_later_is_not_merged() -> None:
    """The sum reads a product that itself reads the convolution: no kernel can do both ends at once."""
    late = graph(
        ("conv", CONV, ()), ("gemm", Gemm(64, 64, 64, dtype="fp16"), ("conv",)), ("sum", ADD, ("conv", "gemm"))
    )
    assert kernels("tensorrt", late) == {"conv": ["conv2d"], "gemm": ["gemm", "add"]}
    forked = graph(
        ("a", RELU, ()),
        ("gemm", Gemm(64, 64, 64, dtype="fp16"), ("a",)),
        ("b", RELU, ("a",)),
        ("sum", ADD, ("b", "gemm")),
    )
    assert kernels("inductor", forked) == {"a": ["relu", "relu"], "gemm": ["gemm"], "sum": ["add"]}


def test_values_of_other_sizes_are_not_merged() -> None:
    halves = graph(("gemm", Gemm(64, 128, 64, dtype="fp16"), ()), ("gate", Pointwise(E, 2, 1, 9, "fp16"), ("gemm",)))
    assert len(COMPILERS["tensorrt"].compiled(halves).nodes) == 2


POINTWISE = st.sampled_from([SILU, ADD, RELU, GELU])
OPS = st.one_of(POINTWISE, st.sampled_from([CONV, NORM, Softmax(64, 64, "fp16"), Gemm(64, 64, 64, dtype="fp16")]))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes: list[Node] = []
    for index in range(draw(st.integers(1, 12))):
        op = draw(OPS)
        most = 2 if isinstance(op, Add) else 1
        before = draw(st.lists(st.integers(0, index - 1), max_size=most, unique=True)) if index else []
        nodes.append(Node.of(f"n{index}", op, tuple(f"n{each}" for each in before)))
    return Graph("drawn", tuple(nodes))


@settings(max_examples=200, deadline=None)
@given(graphs(), st.sampled_from(["inductor", "tensorrt"]))
def test_flops_stay_and_bytes_never_grow(drawn: Graph, compiler: str) -> None:
    compiled = COMPILERS[compiler].compiled(drawn)
    assert compiled.flops == drawn.flops
    assert compiled.min_bytes <= drawn.min_bytes
    assert sum(1 + len(node.merged) for node in compiled.nodes) == len(drawn.nodes)
    saved = len(drawn.nodes) - len(compiled.nodes)
    assert compiled.min_bytes <= drawn.min_bytes - saved * BYTES  # at least the read of what lay between
    assert from_data(to_data(compiled)) == compiled
    again = COMPILERS[compiler].compiled(compiled)
    assert again.flops == compiled.flops


def test_a_merged_operator_costs_its_work_and_its_operands() -> None:
    gpu = load_arch("nvidia/rtx-4090")
    node = COMPILERS["tensorrt"].compiled(BLOCK).nodes[2]  # a norm with two merged
    conditions = conditions_of(node)
    assert conditions.beside == Beside(GELU.flops + ADD.flops, GELU.special_ops + ADD.special_ops, BYTES)
    assert conditions_of(BLOCK.nodes[0]).beside is None
    (plain,) = kernels_of(node.op, gpu, replace(conditions, beside=None))
    (merged,) = kernels_of(node.op, gpu, conditions)
    assert isinstance(plain, KernelDemand)
    assert isinstance(merged, KernelDemand)
    more = merged.grid.ctas * (merged.work.fma_ops - plain.work.fma_ops)
    assert more.item() == pytest.approx(GELU.flops + ADD.flops)
    read = merged.grid.ctas * (merged.work.l2_read_bytes - plain.work.l2_read_bytes)
    assert read.item() == pytest.approx(BYTES)


def test_a_merged_operator_leaves_what_was_learned_of_its_kernel() -> None:
    gpu = load_arch("nvidia/h200-sxm")
    node = Node.of("gemm", Gemm(64, 64, 64))
    assert correction_of(node.op, gpu, conditions_of(node)) is not None
    merged = replace(node, merged=(Relu(E),))
    assert correction_of(node.op, gpu, conditions_of(merged)) is correction_of(node.op, gpu, conditions_of(node))


def test_fewer_kernels_take_less_time() -> None:
    gpu = load_arch("nvidia/rtx-4090")
    times = [estimate_graph(COMPILERS[name].compiled(BLOCK), gpu).time_s for name in ("eager", "inductor", "tensorrt")]
    assert times[1] < times[0]
    assert times[2] < times[0]


def test_the_host_is_waited_for_where_it_is_slower_than_the_gpu() -> None:
    gpu = load_arch("nvidia/rtx-4090")
    chain = graph(("a", RELU, ()), ("b", RELU, ("a",)), ("c", RELU, ("b",)))
    free = simexplore.estimate(chain, gpu, launch="stream")
    slow = simexplore.estimate(chain, gpu, launch="stream", call_s=1.0)
    assert [op.start_s for op in slow.ops] == [1.0, 2.0, 3.0]
    assert slow.time_s == pytest.approx(3.0 + free.ops[2].time_s)
    assert slow.energies_j["idle"] - free.energies_j["idle"] == pytest.approx(gpu.power.idle_w * 3.0, rel=1e-3)
    quick = simexplore.estimate(chain, gpu, launch="stream", call_s=1e-9)
    assert quick.time_s == pytest.approx(free.time_s, abs=4e-9)


def test_a_language_model_has_nothing_left_to_merge_but_chains() -> None:
    model = catalog.build("llm/llama-3-8b/decode", {"layers": 2})
    compiled = COMPILERS["inductor"].compiled(model)
    assert compiled.flops == model.flops
    assert compiled.nodes == model.nodes
