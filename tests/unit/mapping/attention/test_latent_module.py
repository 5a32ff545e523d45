"""Latent attention as a module: its counts by hand, and its kernels on the machine of round numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from round_gpu import plain, round_gpu

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import WARM, CacheState, Conditions
from simexplore.sim.demand import KernelDemand
from simexplore.sim.estimate.operators import physics
from simexplore.sim.mapping.attention.latent_decode import mla_decode_demands
from simexplore.sim.mapping.attention.latent_module import mla_decode_module_demands, mla_prefill_module_demands
from simexplore.sim.mapping.matmul.gemm import gemm_demands
from simexplore.workloads.operators.parameters import ParameterError
from simexplore.workloads.ops import Gemm, MlaDecode, MlaDecodeModule, MlaPrefill, MlaPrefillModule, parse_operator

CONDITIONS = Conditions(cache=CacheState(weight_copies=2, activation_copies=3))
IN, QUERIES, EXPANDED, OUT = 512 * (256 + 576), 256 * 8 * 192, 512 * 8 * 256, 8 * 128 * 512
PREFILL = MlaPrefillModule(2, 8, 100, 300, hidden=512, q_rank=256, dtype="fp16")
DECODE = MlaDecodeModule(2, 8, 300, hidden=512, q_rank=256, dtype="fp16")


def names(demands: tuple[KernelDemand, ...]) -> list[str]:
    return [demand.kernel for demand in demands]


def test_prefill_counts_by_hand() -> None:
    """Latents of all 300 tokens of both sequences are expanded; 100 of each are asked for."""
    core = MlaPrefill(2, 8, 100, 300, dtype="fp16", kv_dtype="fp16")
    assert PREFILL.flops == 2 * 200 * (IN + QUERIES + OUT) + 2 * 600 * EXPANDED + core.flops
    assert PREFILL.weight_bytes == 2 * (IN + QUERIES + EXPANDED + OUT)
    assert PREFILL.cache_bytes == 2 * 300 * 576 * 2
    assert PREFILL.min_bytes == 2 * 200 * 512 * 2 + PREFILL.weight_bytes + PREFILL.cache_bytes


def test_decode_counts_by_hand() -> None:
    """The matrix that expands is absorbed, half before and half after attention, and stays in 16 bits."""
    core = MlaDecode(2, 8, 300, dtype="fp16", kv_dtype="fp16")
    narrow = MlaDecodeModule(2, 8, 300, hidden=512, q_rank=256, dtype="nvfp4", kv_dtype="fp8")
    assert DECODE.core == core
    assert narrow.core == MlaDecode(2, 8, 300, dtype="bf16", kv_dtype="fp8")
    assert DECODE.flops == 2 * 2 * (IN + QUERIES + EXPANDED + OUT) + core.flops
    assert narrow.weight_bytes == 9 / 16 * (IN + QUERIES + OUT) + 2 * EXPANDED
    assert narrow.cache_bytes == 2 * 300 * 576
    assert [narrow.type_of(each) for each in narrow.projections] == ["nvfp4", "nvfp4", "bf16", "bf16", "nvfp4"]


def test_kernels_in_order() -> None:
    around = ["gemm", "norms", "gemm"]
    prefill = names(mla_prefill_module_demands(PREFILL, round_gpu(), CONDITIONS))
    assert prefill[:4] == [*around, "gemm"]
    assert prefill[-2:] == ["attention", "gemm"]
    decode = names(mla_decode_module_demands(DECODE, round_gpu(), CONDITIONS))
    assert decode == [*around, "gemm", "rotate_append", "attention", "merge", "gemm", "gemm"]


def test_between_two_reads_of_a_matrix_all_others_are_read() -> None:
    """Two copies of the whole module rotate, which are as many bytes as that many more copies of one matrix."""
    first, norms, *_, last = mla_decode_module_demands(DECODE, round_gpu(), CONDITIONS)
    for kernel, weights, n, k in ((first, IN, 256 + 576, 512), (last, OUT, 512, 8 * 128)):
        copies = 2 * (IN + QUERIES + EXPANDED + OUT) / weights
        cache = CacheState(weight_copies=copies, activation_copies=3)
        (alone,) = gemm_demands(Gemm(2, n, k, dtype="fp16"), round_gpu(), Conditions(cache=cache))
        np.testing.assert_allclose(kernel.work.dram_read_bytes, alone.work.dram_read_bytes)
    assert plain(norms.work.l2_read_bytes * norms.grid.ctas) == pytest.approx(2 * (256 + 512) * 2)


def test_norms_miss_what_their_rows_push_out() -> None:
    """Two tokens of 256 and 512 elements of 2 B: as many bytes come as go, which are 6 kB of the usable 1 MB."""
    norms = mla_decode_module_demands(DECODE, round_gpu(), CONDITIONS)[1]
    moved = 2 * (256 + 512) * 2
    gone = 2 * moved / (1e6 + 2 * moved)
    for told in (norms.work.dram_read_bytes, norms.work.dram_write_bytes):
        assert plain(told * norms.grid.ctas) == pytest.approx(moved * gone)


def test_attention_reads_queries_that_were_written_just_before() -> None:
    found = mla_decode_module_demands(DECODE, round_gpu(), CONDITIONS)[5]
    given = Conditions(cache=CacheState(weight_copies=2, activation_copies=1), attention_module=True)
    alone = mla_decode_demands(DECODE.core, round_gpu(), given)[1]
    np.testing.assert_allclose(found.work.dram_read_bytes, alone.work.dram_read_bytes)


def test_queries_are_among_the_tokens() -> None:
    with pytest.raises(ParameterError, match="seq_q: expected at most seq_kv = 4"):
        parse_operator("mla_prefill_module(batch=1,heads=8,seq_q=5,seq_kv=4)")


SIZES: dict[str, Any] = {
    "heads": st.sampled_from([1, 8, 16, 64, 128]),
    "seq_kv": st.integers(1, 16_000),
    "dtype": st.sampled_from(["bf16", "fp8_block"]),
}
MODULES = st.one_of(
    st.builds(MlaDecodeModule, batch=st.integers(1, 256), **SIZES),
    st.builds(MlaPrefillModule, batch=st.integers(1, 8), seq_q=st.just(1), **SIZES),
)
MACHINES = st.sampled_from([load_arch(name).physics_only() for name in ("nvidia/h100-sxm", "nvidia/b200")])


@settings(max_examples=60)
@given(MODULES, MACHINES)
def test_a_module_takes_longer_than_its_products_and_its_bytes(
    op: MlaDecodeModule | MlaPrefillModule, gpu: Gpu
) -> None:
    """Products at the fastest type's rate; weights, and tokens of as many bytes as the result, from DRAM."""
    rate = max(gpu.sm.tensor_ops_per_clk.values()) * gpu.sm.count * gpu.clock.boost_hz
    seconds = float(physics(op, gpu, Conditions(cache=WARM)).time_s[0])
    assert seconds > op.flops / rate
    cold = float(physics(op, gpu, Conditions()).time_s[0])
    assert cold > (op.weight_bytes + op.output_bytes) / gpu.dram.bandwidth_bytes_per_s


@settings(max_examples=60)
@given(MODULES, MACHINES, st.sampled_from(["batch", "hidden", "q_rank"]))
def test_more_is_never_faster(op: MlaDecodeModule | MlaPrefillModule, gpu: Gpu, name: str) -> None:
    more = replace(op, **{name: 2 * getattr(op, name)})
    before, after = (float(physics(each, gpu, Conditions()).time_s[0]) for each in (op, more))
    assert after >= 0.98 * before
