"""estimate and execute: for one operator alone on an idle GPU the closed form and the events agree within 1 %."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache

import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import CacheState, Conditions
from simexplore.sim.estimate.operators import at_boost, predict
from simexplore.sim.play.execute import execute
from simexplore.workloads.graph import single
from simexplore.workloads.operators.arrays.base import ArrayOperator
from simexplore.workloads.ops import FAMILIES, Operator, make_operator

MACHINES = (
    "nvidia/h200-sxm",
    "nvidia/a100-sxm-80gb",
    "nvidia/rtx-4090",
    "nvidia/l40s",
    "nvidia/b200",
    "nvidia/t4",
    "nvidia/v100-sxm",
    "nvidia/jetson-agx-orin-64gb",
)
ROWS = 120
FEW_ROWS = 40
"""Of operators on arrays, whose kernels are streams like others."""
FEWER_ROWS = 12
OF_OTHERS_KERNELS = ("moe_backward", "mla_backward", "delta_backward", "ssd_backward", "causal_conv1d_backward", "svd")
"""Families whose kernels are of the same kinds as those of the forward pass, which has all rows."""
TOLERANCE, SEVERAL = 0.015, 0.05
"""Both play the same demands; they differ by how a budget drains, most where a hungry kernel follows another."""

Draw = Callable[[random.Random], Mapping[str, object]]


def log_uniform(rng: random.Random, most: int) -> int:
    """A whole number from 1 to `most`, each power of two as likely as any other."""
    return min(int(2.0 ** rng.uniform(0.0, most.bit_length())), most)


def of(**most: int) -> Callable[[random.Random], dict[str, int]]:
    return lambda rng: {name: log_uniform(rng, limit) for name, limit in most.items()}


def gemm(rng: random.Random) -> dict[str, int]:
    return {**of(m=16384, n=16384, k=16384)(rng), "batch": rng.choice((1, 1, 1, 8, 64))}


def attention(rng: random.Random) -> dict[str, int]:
    kv_heads = rng.choice((1, 2, 4, 8))
    heads = kv_heads * rng.choice((1, 2, 4, 8))
    return {"batch": log_uniform(rng, 64), "heads": heads, "kv_heads": kv_heads, "head_dim": rng.choice((64, 128))}


def attention_prefill(rng: random.Random) -> dict[str, int]:
    seq_kv = log_uniform(rng, 8192)
    return {**attention(rng), "seq_kv": seq_kv, "seq_q": rng.randint(1, seq_kv), "window": rng.choice((0, 0, 512))}


def attention_decode(rng: random.Random) -> dict[str, int]:
    return {**attention(rng), "seq_kv": log_uniform(rng, 65536), "window": rng.choice((0, 0, 512))}


def encoder_attention(rng: random.Random) -> dict[str, int]:
    return {**attention(rng), "seq_q": log_uniform(rng, 8192), "seq_kv": log_uniform(rng, 8192)}


def ragged_attention(rng: random.Random) -> dict[str, object]:
    sizes = {name: value for name, value in attention(rng).items() if name != "batch"}
    kv_lengths = [log_uniform(rng, 4096) for _ in range(rng.randint(1, 5))]
    q_lengths = [rng.choice((1, rng.randint(1, length))) for length in kv_lengths]
    return {**sizes, "q_lengths": tuple(q_lengths), "kv_lengths": tuple(kv_lengths)}


def attention_backward(rng: random.Random) -> dict[str, int]:
    return attention_prefill(rng)


def optimizer_step(rng: random.Random) -> dict[str, int]:
    elements = log_uniform(rng, 2**28)
    return {"elements": elements, "state_bytes": elements * rng.choice((0, 1, 2, 8, 12))}


def svd(rng: random.Random) -> dict[str, int]:
    return {**of(rows=4096, cols=4096)(rng), "every": rng.choice((1, 200))}


def sparse_attention(rng: random.Random) -> dict[str, int]:
    seq_q = log_uniform(rng, 4096)
    sizes = of(batch=16, heads=128, hidden=8192, q_rank=2048, top_k=4096)(rng)
    return {**sizes, "seq_q": seq_q, "seq_kv": seq_q + log_uniform(rng, 65536), "index_heads": rng.choice((0, 32, 64))}


def delta_rule(rng: random.Random) -> dict[str, int]:
    key_heads = log_uniform(rng, 16)
    heads = {"key_heads": key_heads, "heads": key_heads * rng.choice((1, 2, 4))}
    return {**of(batch=32, seq_q=4096)(rng), **heads, "value_dim": rng.choice((64, 128))}


def fine_delta_rule(rng: random.Random) -> dict[str, int]:
    sizes = delta_rule(rng)
    del sizes["key_heads"]
    return sizes


def state_space(rng: random.Random) -> dict[str, int]:
    groups = log_uniform(rng, 8)
    sizes = {"groups": groups, "heads": groups * rng.choice((1, 4, 16)), "state_dim": rng.choice((64, 128, 256))}
    return {**of(batch=32, seq_q=4096)(rng), **sizes}


def mla_prefill_module(rng: random.Random) -> dict[str, int]:
    return {**mla_prefill(rng), **of(hidden=8192, q_rank=2048)(rng)}


def mla_prefill(rng: random.Random) -> dict[str, int]:
    seq_kv = log_uniform(rng, 4096)
    return {**of(batch=8, heads=128)(rng), "seq_kv": seq_kv, "seq_q": rng.randint(1, seq_kv)}


def moe(rng: random.Random) -> dict[str, int]:
    experts = rng.choice((8, 64, 128))
    sizes = {"hidden_size": 128 * rng.randint(8, 56), "inter_size": 128 * rng.randint(4, 64)}
    return {**of(num_tokens=8192)(rng), **sizes, "num_experts": experts, "topk": rng.choice((1, 2, 8))}


def moe_backward(rng: random.Random) -> dict[str, object]:
    return {**moe(rng), "of": rng.choice(("inputs", "weights"))}


def delta_backward(rng: random.Random) -> dict[str, int]:
    sizes, fine = delta_rule(rng), rng.choice((0, 1))
    return {**sizes, "fine": fine, "key_heads": sizes["heads"] if fine else sizes["key_heads"]}


def gemm_naive_tiled(rng: random.Random) -> dict[str, int]:
    return {**of(m=8192, n=8192, k=8192)(rng), "tile": rng.choice((4, 8, 16, 32))}


def conv2d(rng: random.Random) -> dict[str, int]:
    ksize, pixels = rng.choice((1, 3, 5, 7)), rng.randint(7, 224)
    shape = {"ksize": ksize, "hw": pixels, "stride": rng.choice((1, 2)), "pad": ksize // 2}
    return {**of(batch=64, cin=512, cout=512)(rng), **shape}


def conv(rng: random.Random) -> dict[str, int]:
    """Volumes, images and signals; dense, in groups, and depthwise."""
    groups, taps = rng.choice((1, 2, 32)), rng.choice((1, 3, 5))
    axes = rng.randint(1, 3)
    shape = {
        name: value
        for size, filters, pad in (
            ("width", "cols", "pad_cols"),
            ("height", "rows", "pad_rows"),
            ("depth", "layers", "pad_layers"),
        )[:axes]
        for name, value in ((size, rng.randint(5, 64)), (filters, taps), (pad, taps // 2))
    }
    channels = {"cin": groups * log_uniform(rng, 64), "cout": groups * log_uniform(rng, 64)}
    depthwise = {"cin": groups, "cout": groups} if rng.random() < 0.3 else channels
    return {**of(batch=16)(rng), **shape, **depthwise, "groups": groups, "stride": rng.choice((1, 2))}


def conv_dilated(rng: random.Random) -> dict[str, int]:
    shape = conv(rng)
    reach = 2 * (max(shape.get(name, 1) for name in ("cols", "rows", "layers")) - 1) + 1
    ends = {name: max(reach - shape.get(size, 1), 0) for name, size in (("end_cols", "width"), ("end_rows", "height"))}
    return {**shape, **ends, "end_layers": reach, "dilation": 2, "row_stride": rng.choice((0, 1, 2))}


def conv_transpose(rng: random.Random) -> dict[str, int]:
    """Images that grow by the stride."""
    groups, stride, taps = rng.choice((1, 1, 8)), rng.choice((1, 2, 3)), rng.choice((1, 2, 3, 4))
    sizes = {"width": rng.randint(1, 64), "height": rng.randint(1, 64)}
    out = {f"out_{name}": max((size - 1) * stride + taps - rng.choice((0, 1)), 1) for name, size in sizes.items()}
    channels = {"cin": groups * log_uniform(rng, 64), "cout": groups * log_uniform(rng, 64)}
    return {
        **of(batch=16)(rng),
        **sizes,
        **out,
        **channels,
        "cols": taps,
        "rows": taps,
        "stride": stride,
        "groups": groups,
    }


def pool(rng: random.Random) -> dict[str, int]:
    taps = rng.choice((1, 2, 3, 7))
    sizes = {"width": rng.randint(7, 224), "height": rng.randint(7, 224)}
    out = {f"out_{name}": max(size // taps, 1) for name, size in sizes.items()}
    return {**of(planes=4096)(rng), **sizes, **out, "cols": taps, "rows": taps, "indices": rng.choice((0, 1))}


def resample(rng: random.Random) -> dict[str, int]:
    images = rng.choice((1, 4))
    sizes = {"planes": images * log_uniform(rng, 1024), **of(in_elements=65536, out_elements=65536)(rng)}
    return {**sizes, "images": images, "taps": rng.choice((1, 4, 8)), "coordinates": rng.choice((0, 2))}


def group_norm(rng: random.Random) -> dict[str, int]:
    groups = rng.choice((1, 32))
    return {**of(batch=16, pixels=65536)(rng), "channels": groups * log_uniform(rng, 64), "groups": groups}


def along_an_axis(rng: random.Random) -> dict[str, int]:
    return {**ROW_WISE(rng), "inner": rng.choice((1, 1, 7, 512))}


def top_k(rng: random.Random) -> dict[str, int]:
    shape = ROW_WISE(rng)
    return {**shape, "k": min(shape["cols"], log_uniform(rng, 4096))}


def by_index(rng: random.Random) -> dict[str, int]:
    run = log_uniform(rng, 512)
    return {**of(indices=2**20)(rng), "run": run, "table": run * log_uniform(rng, 2**18)}


ELEMENTWISE = of(elements=2**30)
ROW_WISE = of(rows=65536, cols=16384)
COLLECTIVE = of(elements=2**30, num_gpus=64)


def grid_encoding(rng: random.Random) -> dict[str, int]:
    base = log_uniform(rng, 64)
    shape = {"dims": rng.choice((2, 3)), "levels": rng.randint(1, 16), "features": rng.choice((1, 2, 4, 8))}
    table = {"log2_entries": rng.randint(10, 24), "base": base, "finest": base * log_uniform(rng, 128)}
    return {**of(queries=2**24, spacing=8192, stride_bytes=64)(rng), **shape, **table}


DRAWS: dict[str, Draw] = {
    "gemm": gemm,
    "bmm": gemm,
    "encoder_attention": encoder_attention,
    "sparse_attention": sparse_attention,
    "ragged_attention": ragged_attention,
    "attention_backward": attention_backward,
    "moe_backward": moe_backward,
    "mla_backward": mla_prefill,
    "delta_backward": delta_backward,
    "ssd_backward": state_space,
    "causal_conv1d_backward": of(batch=64, channels=16384, seq_q=4096),
    "optimizer_step": optimizer_step,
    "svd": svd,
    "rope": of(tokens=65536, heads=64, kv_heads=8, head_dim=256),
    **dict.fromkeys(("causal_conv1d", "causal_conv1d_update"), of(batch=64, channels=16384, seq_q=4096)),
    **dict.fromkeys(("gdn_prefill", "gdn_decode"), delta_rule),
    **dict.fromkeys(("kda_prefill", "kda_decode"), fine_delta_rule),
    **dict.fromkeys(("ssd_prefill", "ssd_decode"), state_space),
    "gemm_naive_tiled": gemm_naive_tiled,
    "conv2d": conv2d,
    "conv": conv,
    "conv_dilated": conv_dilated,
    "conv_transpose": conv_transpose,
    "pool": pool,
    "resample": resample,
    "group_norm": group_norm,
    **dict.fromkeys(("reduce", "scan"), along_an_axis),
    "sort": ROW_WISE,
    "top_k": top_k,
    **dict.fromkeys(("gather", "scatter"), by_index),
    "attention_prefill": attention_prefill,
    "attention_decode": attention_decode,
    **dict.fromkeys(("pointwise", "add", "mul", "relu", "gelu", "silu_mul", "copy"), ELEMENTWISE),
    **dict.fromkeys(("softmax", "layernorm", "rmsnorm", "quant_scale_matrix"), ROW_WISE),
    "mla_prefill": mla_prefill,
    "mla_decode": of(batch=64, heads=128, seq_kv=16384),
    "mla_prefill_module": mla_prefill_module,
    "mla_decode_module": of(batch=64, heads=128, seq_kv=16384, hidden=8192, q_rank=2048),
    "moe": moe,
    "stream_fma_roofline": of(elements=2**28, flops_per_element=128),
    "embedding": of(tokens=65536, width=16384, vocabulary=200_000),
    "grid_encoding": grid_encoding,
    "fused_mlp": of(queries=2**24, inputs=128, width=128, hidden=8, outputs=64),
    "ray_kernel": of(rays=2**24, read_bytes=256, write_bytes=256, instructions=10_000, dependent_loads=100),
    "host_read": of(words=1024),
    **dict.fromkeys(("all_reduce", "custom_all_reduce", "all_gather", "reduce_scatter", "alltoall"), COLLECTIVE),
}


@cache
def machines() -> tuple[Gpu, ...]:
    return tuple(load_arch(name) for name in MACHINES)


def random_case(family: str, rng: random.Random) -> tuple[Operator, Gpu, Conditions]:
    gpu = rng.choice(machines())
    values: dict[str, object] = {**DRAWS[family](rng)}
    if "num_gpus" in values:
        values["num_gpus"] = rng.randint(1, gpu.links.node_gpus)
    if family not in ("quant_scale_matrix", "gemm_naive_tiled", "svd"):  # the latter two run on no tensor cores
        values["dtype"] = rng.choice([dtype for dtype in ("fp16", "bf16") if dtype in gpu.sm.tensor_ops_per_clk])
    cache_state = CacheState(
        weight_copies=rng.choice((1.0, 3.0, float("inf"))), activation_copies=rng.choice((1.0, float("inf")))
    )
    conditions = Conditions(
        cache=cache_state, launch=rng.choice(("graph", "stream")), attention_module=rng.random() < 0.5
    )
    return make_operator(family, values), gpu, conditions


def test_every_family_is_drawn() -> None:
    assert set(DRAWS) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_estimate_and_execute_agree_on_a_lone_operator(family: str) -> None:
    rng = random.Random(f"agreement of {family}")
    rows = FEW_ROWS if issubclass(FAMILIES[family], ArrayOperator) else ROWS
    for _ in range(FEWER_ROWS if family in OF_OTHERS_KERNELS else rows):
        op, gpu, conditions = random_case(family, rng)
        estimate = predict(op, gpu, conditions)
        near = TOLERANCE if len(at_boost(op, gpu, conditions).kernels) == 1 else SEVERAL
        run = execute(single(op), gpu, conditions, allow_overflow=True)
        where = f"{op.describe()} on {gpu.name} under {conditions}"
        assert run.time_s == pytest.approx(estimate.time_s[0], rel=near, abs=1e-14), where
        assert run.energy_j == pytest.approx(estimate.energy_j[0], rel=near, abs=1e-14), where
        assert run.ops[0].bound == estimate.bound[0], where
