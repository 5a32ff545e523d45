"""Random machines and operators for property tests: real GPUs with their numbers scaled, every operator family."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from simexplore.archs.load import list_archs, load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.workloads import ops

GPUS: list[Gpu] = [load_arch(name) for name in list_archs() if not name.startswith("cpu/")]

SIZES = st.integers(0, 14).map(lambda power: 2**power)
ODD_SIZES = st.one_of(SIZES, st.integers(1, 20_000))


def with_values(gpu: Gpu, **changes: Any) -> Gpu:
    """The GPU with some values replaced, named as in `dram__bandwidth_bytes_per_s`."""
    for path, value in changes.items():
        part, field = path.split("__")
        gpu = gpu.model_copy(update={part: getattr(gpu, part).model_copy(update={field: value})})
    return gpu


@st.composite
def machines(draw: st.DrawFn) -> Gpu:
    """A shipped GPU, its SM count, bandwidths and L2 scaled by up to eight either way."""
    gpu = draw(st.sampled_from(GPUS))
    scale = st.floats(0.125, 8.0)
    return with_values(
        gpu,
        sm__count=max(1, int(gpu.sm.count * draw(scale))),
        dram__bandwidth_bytes_per_s=gpu.dram.bandwidth_bytes_per_s * draw(scale),
        l2__bandwidth_bytes_per_clk=gpu.l2.bandwidth_bytes_per_clk * draw(scale),
        l2__capacity_bytes=gpu.l2.capacity_bytes * draw(scale),
    )


@st.composite
def attention_heads(draw: st.DrawFn) -> dict[str, int]:
    kv_heads = draw(st.sampled_from([1, 2, 4, 8]))
    return {
        "batch": draw(st.integers(1, 64)),
        "kv_heads": kv_heads,
        "heads": kv_heads * draw(st.sampled_from([1, 2, 4, 8])),
        "head_dim": draw(st.sampled_from([64, 128, 256])),
    }


@st.composite
def prefills(draw: st.DrawFn) -> ops.AttentionPrefill:
    seq_q = draw(st.integers(1, 4096))
    return ops.AttentionPrefill(
        **draw(attention_heads()),
        seq_q=seq_q,
        seq_kv=seq_q + draw(st.integers(0, 4096)),
        window=draw(st.sampled_from([0, 128])),
        dtype="fp16",
    )


def operators() -> st.SearchStrategy[ops.Operator]:
    """One operator of any family that runs on one GPU, of a type that all shipped GPUs have."""
    rows_and_columns = {"rows": ODD_SIZES, "cols": ODD_SIZES, "dtype": st.just("fp16")}
    families: list[st.SearchStrategy[Any]] = [
        st.builds(ops.Gemm, m=ODD_SIZES, n=ODD_SIZES, k=ODD_SIZES, dtype=st.sampled_from(["fp16", "fp32"])),
        prefills(),
        attention_heads().flatmap(
            lambda heads: st.builds(
                ops.AttentionDecode,
                **{k: st.just(v) for k, v in heads.items()},
                seq_kv=ODD_SIZES,
                dtype=st.just("fp16"),
            )
        ),
        st.builds(ops.Quantize, rows=ODD_SIZES, cols=ODD_SIZES, dtype=st.just("fp8"), input_dtype=st.just("fp16")),
        *(st.builds(family, **rows_and_columns) for family in (ops.Softmax, ops.LayerNorm, ops.RmsNorm)),
        st.builds(ops.Embedding, tokens=ODD_SIZES, width=ODD_SIZES, vocabulary=st.just(32_000), dtype=st.just("fp16")),
        *(st.builds(family, elements=ODD_SIZES, dtype=st.just("fp16")) for family in (ops.Add, ops.Gelu, ops.Copy)),
    ]
    return st.one_of(families)
