"""DeepSeek's sparse attention → the kernels of its module: projections, indexer, choice of keys, latent attention.

Counted from public sources: DeepGEMM (fp8_mqa_logits: 128 rows of queries and heads by 256 keys), FlashMLA (sparse
kernels: 64 heads of one query over the keys that it chose), and the modules of vLLM, SGLang and TensorRT-LLM.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.mapping.attention.prefill import tensor_dtype
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.matmul.gemm import gemm_demands
from simexplore.sim.mapping.streaming import Stream, moving, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.operators.modules.sparse import INDEX_WIDTH, LATENT, ROTATED, SparseAttention
from simexplore.workloads.ops import Gemm

SCORE_BYTES = 4.0
"""Of a score of the indexer, which is written for the kernel that chooses, and of a chosen key's index."""
TILE_ROWS, TILE_KEYS = 128.0, 256.0
"""Queries times heads, and keys, of a CTA that scores (DeepGEMM)."""
HEADS_OF_CTA = 64.0
"""Query heads that a CTA of the sparse kernel computes; fewer are filled up (FlashMLA)."""
KEYS_OF_STEP = 64.0
"""Chosen keys of a step of it."""
SCORE_INSTRUCTIONS = 2.0
"""Of a score of one head: ReLU, and a multiply-add of its weight."""
CHOOSING_PASSES = 3.0
"""Times that scores are read until the top_k are known: a histogram of two digits, and the choice (radix select)."""
NORM_INSTRUCTIONS = 4.0
"""For each byte of a norm: of two, square and add, products with 1/rms and scale, and the rotation of some."""
WARPS, REGISTERS = 12.0, 168.0
"""Of a CTA of either kernel: two groups that multiply and one that loads, and a thread's share of the registers."""


def sparse_attention_demands(op: SparseAttention, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """The module's kernels in order; without an indexer the scores and the choice fall away.

    Raises SimexploreError where the GPU has no unit for one of the types.
    """
    tokens: Any = np.multiply(op.batch, op.seq_q)
    heads_of_query = np.multiply(op.heads, np.add(op.nope_dim, ROTATED))

    def project(n: Any, k: Any, batch: Any = 1, dtype: str = op.dtype) -> tuple[KernelDemand, ...]:
        arriving = "bf16" if bytes_of(dtype) < bytes_of("bf16") else None
        return gemm_demands(Gemm(tokens, n, k, batch=batch, dtype=dtype, activation_dtype=arriving), gpu, conditions)

    wide = op.dtype if bytes_of(op.dtype) >= bytes_of("bf16") else "bf16"  # absorbed projections stay as they are
    narrow = np.add(op.q_rank, LATENT + ROTATED)
    index = _indexer(op, gpu, conditions) if np.any(op.index_heads) else ()
    scored = project(np.maximum(op.index_heads, 1) * INDEX_WIDTH, op.q_rank) if index else ()
    return (
        *project(narrow, op.hidden),
        _pass_over(column(op.batch) * column(op.seq_q) * column(narrow) * bytes_of("bf16"), gpu, conditions),
        *project(heads_of_query, op.q_rank),
        *scored,
        *index,
        *project(LATENT, op.nope_dim, op.heads, wide),
        _latent_kernel(op, gpu, conditions),
        *project(op.value_dim, LATENT, op.heads, wide),
        *project(op.hidden, np.multiply(op.heads, op.value_dim)),
    )


def _pass_over(moved: FloatArray, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """Norms and rotation of the narrow projection, appended to the cache: read and written once."""
    stream = moving(moved, moved, gpu, copies=conditions.cache.activation_copies, flops=NORM_INSTRUCTIONS * moved)
    return stream_demand("norm_append", stream, gpu)


def _indexer(op: SparseAttention, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Scores of all pairs, and the choice of the top_k of each query."""
    pairs = column(op.batch) * column(op.pairs)
    heads, tokens = column(op.index_heads), column(op.batch) * column(op.seq_q)
    keys_bytes = column(op.batch) * column(op.seq_kv) * (INDEX_WIDTH + SCORE_BYTES)
    ctas = np.ceil(np.maximum(pairs * heads / (TILE_ROWS * TILE_KEYS), 1.0))
    warm = warm_share(keys_bytes, 1.0, pairs * SCORE_BYTES, gpu)
    shared = float(gpu.library.gemm.memory.multicast)  # one read of keys for the CTAs of a cluster
    unit = next((dtype for dtype in ("fp8", "bf16", "fp16") if dtype in gpu.sm.tensor_ops_per_clk), "fp8")
    written = pairs * SCORE_BYTES
    score = KernelDemand(
        kernel="index_scores",
        grid=Grid(ctas, constant(WARPS), constant(REGISTERS), _held(TILE_KEYS * INDEX_WIDTH, gpu)),
        work=Work(
            tensor_dtype=tensor_dtype(unit, gpu),
            tensor_ops=2.0 * heads * INDEX_WIDTH * pairs / ctas,
            fma_ops=2.0 * SCORE_INSTRUCTIONS * heads * pairs / ctas,
            shared_bytes=heads * INDEX_WIDTH * pairs / TILE_ROWS / ctas,
            l2_read_bytes=np.minimum(TILE_KEYS, column(op.seq_kv)) * (INDEX_WIDTH + SCORE_BYTES) / shared,
            l2_write_bytes=written / ctas,
            dram_read_bytes=keys_bytes * (1.0 - warm) / ctas,
            dram_write_bytes=written * written_back_share(keys_bytes + written, gpu) / ctas,
        ),
        latency=_latency(TILE_KEYS * INDEX_WIDTH, 1.0, gpu),
        overlap=_persistent(gpu),
    )
    read = written * CHOOSING_PASSES
    chosen = tokens * column(op.top_k) * SCORE_BYTES
    state = conditions.cache.activation_copies
    stream = Stream(
        read, chosen, read, constant(0.0), warm_share(written, state, chosen, gpu), written_back_share(read, gpu)
    )
    return score, stream_demand("choose_keys", stream, gpu, ctas=tokens)


def _held(stage_bytes: float, gpu: Gpu) -> FloatArray:
    """Shared memory of a CTA [B]: two stages of keys, one computed on while the other fills, or what there is."""
    return np.minimum(constant(2.0 * stage_bytes), gpu.sm.shared_memory_per_cta_bytes)


def _persistent(gpu: Gpu) -> Overlap:
    """CTAs stay, and fetch the next keys while they score: no wave begins anew, as in a GEMM's pipeline."""
    exponent = gpu.library.gemm.tensor.overlap_exponent
    return Overlap(within_sm=exponent, sm_l2=exponent, wave_exposure=0.0)


def _latent_kernel(op: SparseAttention, gpu: Gpu, conditions: Conditions) -> KernelDemand:
    """Attention in the latent: 576 elements of a key for its score, 512 of them for the value.

    The keys of a query are split among CTAs while there are fewer of these than SMs.
    """
    tokens, heads = column(op.batch) * column(op.seq_q), column(op.heads)
    keys = column(op.chosen_pairs) / column(op.seq_q)
    element, width = bytes_of(op.kv_dtype or "bf16"), float(LATENT + ROTATED)
    blocks = tokens * ceil_div(heads, HEADS_OF_CTA)
    splits = np.clip(np.floor(gpu.sm.count / blocks), 1.0, ceil_div(keys, KEYS_OF_STEP))
    rows, mine = np.minimum(HEADS_OF_CTA, heads), np.maximum(keys / splits, 1.0)
    padded = ceil_div(mine, KEYS_OF_STEP) * KEYS_OF_STEP
    queries = rows * (width + LATENT) * bytes_of("bf16")
    cache = column(op.cache_bytes)
    warm = warm_share(cache, conditions.cache.activation_copies, tokens * heads * LATENT, gpu)
    library = gpu.attention_kernels
    return KernelDemand(
        kernel="latent_attention",
        grid=Grid(blocks * splits, constant(WARPS), constant(REGISTERS), _held(KEYS_OF_STEP * width * 2.0, gpu)),
        work=Work(
            tensor_dtype=tensor_dtype("bf16" if "bf16" in gpu.sm.tensor_ops_per_clk else "fp16", gpu),
            tensor_ops=2.0 * HEADS_OF_CTA * (width + LATENT) * padded,
            fma_ops=2.0 * library.softmax_instructions * HEADS_OF_CTA * padded,
            special_ops=HEADS_OF_CTA * padded,
            shared_bytes=padded * (width + LATENT) * bytes_of("bf16"),
            l2_read_bytes=mine * width * element + queries,
            l2_write_bytes=rows * LATENT * bytes_of("bf16"),
            dram_read_bytes=cache * (1.0 - warm) / (blocks * splits),
            epilogue_bytes=rows * LATENT * bytes_of("bf16"),
        ),
        latency=_latency(KEYS_OF_STEP * width * element, padded / KEYS_OF_STEP, gpu),
        overlap=Overlap(
            within_sm=library.prefill.overlap_exponent, tensor_efficiency=library.prefill.tensor_efficiency
        ),
    )


def _latency(in_flight_bytes: float, steps: FloatArray | float, gpu: Gpu) -> Latency:
    library, hit = gpu.attention_kernels, gpu.l2.mean_latency_cycles
    step = 2.0 * (gpu.sm.latency.tensor_cycles + gpu.sm.latency.shared_cycles + gpu.library.barrier_cycles)
    return Latency(
        bytes_in_flight=constant(in_flight_bytes),
        chain_cycles=constant(step) * steps,
        exposed_cycles=constant(library.prefill.round_trips * hit),
        setup_cycles=constant(library.setup_round_trips * hit),
    )
