"""Random machines and operators for property tests: real GPUs with their numbers scaled, every operator family."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from hypothesis import reject
from hypothesis import strategies as st

from simexplore.archs.fields import Field, leaf_fields
from simexplore.archs.load import Layer, list_archs, load_arch, machine_of, overridden, resolve
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.workloads import ops
from simexplore.workloads.operators.parameters import parameters_of

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


@st.composite
def expert_layers(draw: st.DrawFn) -> ops.Moe:
    ranks, shares = draw(st.sampled_from([1, 2, 8])), draw(st.sampled_from([1, 4]))
    experts = ranks * draw(st.sampled_from([1, 4, 32]))
    return ops.Moe(
        num_tokens=draw(ODD_SIZES),
        hidden_size=draw(ODD_SIZES),
        inter_size=shares * draw(st.integers(1, 4096)),
        topk=draw(st.integers(1, min(experts, 8))),
        num_experts=experts,
        moe_tp_size=shares,
        moe_ep_size=ranks,
        skew=draw(st.sampled_from([0, 101, 120])),
        gated=draw(st.integers(0, 1)),
        dtype="fp16",
    )


@st.composite
def latent_prefills(draw: st.DrawFn) -> ops.MlaPrefill:
    seq_q = draw(st.integers(1, 4096))
    return ops.MlaPrefill(
        batch=draw(st.integers(1, 64)),
        heads=draw(st.integers(1, 128)),
        seq_q=seq_q,
        seq_kv=seq_q + draw(st.integers(0, 4096)),
        dtype="fp16",
    )


def operators() -> st.SearchStrategy[ops.Operator]:
    """One operator of any family that runs on one GPU, of a type that all shipped GPUs have."""
    rows_and_columns = {"rows": ODD_SIZES, "cols": ODD_SIZES, "dtype": st.just("fp16")}
    families: list[st.SearchStrategy[Any]] = [
        st.builds(ops.Gemm, m=ODD_SIZES, n=ODD_SIZES, k=ODD_SIZES, dtype=st.sampled_from(["fp16", "fp32"])),
        st.builds(ops.Bmm, m=ODD_SIZES, n=ODD_SIZES, k=ODD_SIZES, batch=st.integers(1, 32), dtype=st.just("fp16")),
        prefills(),
        expert_layers(),
        latent_prefills(),
        st.builds(
            ops.MlaDecode,
            batch=st.integers(1, 256),
            heads=st.integers(1, 128),
            seq_kv=ODD_SIZES,
            dtype=st.just("fp16"),
        ),
        attention_heads().flatmap(
            lambda heads: st.builds(
                ops.EncoderAttention,
                **{k: st.just(v) for k, v in heads.items()},
                seq_q=st.integers(1, 4096),
                seq_kv=st.integers(1, 4096),
                dtype=st.just("fp16"),
            )
        ),
        st.builds(
            ops.Rope,
            tokens=ODD_SIZES,
            heads=st.integers(1, 64),
            kv_heads=st.integers(1, 8),
            head_dim=st.just(128),
            dtype=st.just("fp16"),
        ),
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


SHIPPED = tuple(name for name in list_archs() if not name.startswith("cpu/"))
FIELDS_OF_KERNELS = ("clock.", "sm.", "l2.", "dram.", "launch.", "links.", "power.", "energy.", "library.")
ANY_SCALE = st.one_of(st.floats(-2.0, 2.0), st.floats(-12.0, 12.0)).map(lambda power: 10.0**power)


@cache
def _shipped(name: str) -> tuple[Layer, Gpu, dict[str, Field]]:
    layer = resolve(name)
    gpu = machine_of(layer)
    fields = {path: field for path, field in leaf_fields(gpu).items() if path.startswith(FIELDS_OF_KERNELS)}
    return layer, gpu, fields


def bounds_of(field: Field) -> tuple[float, float]:
    """The least and the most that the schema takes for a number without a unit."""
    record: Any = Gpu
    told: Any = ()
    for step in field.steps:
        if hasattr(record, "model_fields"):
            told, record = record.model_fields[step].metadata, _without_none(record.model_fields[step].annotation)
        else:  # a mapping: its values are records, or numbers with bounds of their own
            record = _without_none(get_args(record)[1])
            told = getattr(record, "__metadata__", ())
    least = [getattr(each, "ge", getattr(each, "gt", None)) for each in _flat(told)]
    most = [getattr(each, "le", None) for each in _flat(told)]
    return max((x for x in least if x is not None), default=0.0), min((x for x in most if x is not None), default=1e9)


def _without_none(annotation: Any) -> Any:
    """What a field holds where it is there."""
    if get_origin(annotation) in (Union, UnionType):
        return next(part for part in get_args(annotation) if part is not NoneType)
    return annotation


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for each in metadata:
        yield from getattr(each, "metadata", (each,))


FLAGS = ("residual", "carried", "normalized")
"""Counts that are 0 or 1."""
AT_MOST = (
    ("seq_q", "seq_kv"),
    ("base", "finest"),
    ("ksize", "hw"),
    ("idle", "queries"),
    ("carried_instructions", "instructions"),
    ("kept", "seq_q"),
)
"""Parameters of which the first is at most the second."""


@st.composite
def any_operators(
    draw: st.DrawFn, most: int = 10**6, dtypes: tuple[str, ...] = ("bf16", "fp8", "int4")
) -> ops.Operator:
    """An operator of any family whose parameters are any that its text can have, counts up to about `most`."""
    anything = st.one_of(st.integers(1, 64), st.integers(1, most))
    record: Any = ops.FAMILIES[draw(st.sampled_from(sorted(ops.FAMILIES)))]
    values: dict[str, Any] = {}
    for name, (field, parameter) in parameters_of(record).items():
        if parameter.kind == "count":
            values[name] = draw(st.integers(0, 1)) if name in FLAGS else draw(anything) - 1 + parameter.minimum
        elif parameter.kind == "lengths":
            values[name] = tuple(draw(st.lists(anything, min_size=2, max_size=2)))
        elif parameter.kind == "dtype":
            optional = [None] if field.default is None else []
            values[name] = draw(st.sampled_from([*dtypes, *optional]))
    for divisor in {"kv_heads", "key_heads", "groups"} & set(values) if "heads" in values else ():
        values["heads"] *= values[divisor]
    for less, more in AT_MOST:
        if less in values and more in values:
            values[more] += values[less]
    if "finest" in values:
        values |= {"dims": 2 + values["dims"] % 2, "levels": 1 + values["levels"] % 16, "log2_entries": 19}
    if "moe_ep_size" in values:
        values |= {"moe_ep_size": 1 + values["moe_ep_size"] % 8, "topk": 1 + values["topk"] % 8}
        values |= {"num_experts": 8 * values["moe_ep_size"] * (1 + values["num_experts"] % 8)}
        values |= {"inter_size": values["inter_size"] * values["moe_tp_size"], "gated": values["gated"] % 2}
    if "kv_lengths" in values:
        pairs = zip(values["q_lengths"], values["kv_lengths"], strict=True)
        values["kv_lengths"] = tuple(queries + keys for queries, keys in pairs)
    op: ops.Operator = record(**values)
    try:
        op.validate()
    except SimexploreError:
        reject()
    return op


@st.composite
def values_of(draw: st.DrawFn, field: Field, gpu: Gpu) -> str:
    """A value that the schema takes, as an arch file has it."""
    own = float(field.read(gpu))
    if field.dimension is not None:
        return field.write(own * draw(ANY_SCALE) if draw(st.integers(0, 9)) else 0.0)
    least, most = bounds_of(field)
    if field.kind == "int":
        return field.write(min(max(round(own * draw(ANY_SCALE)), least), most))
    return field.write(draw(st.one_of(st.floats(least, min(most, 64.0)), st.just(most))))


@st.composite
def any_machines(draw: st.DrawFn) -> Gpu:
    """A shipped GPU with up to four dozen of its numbers replaced by any that the schema takes."""
    layer, gpu, fields = _shipped(draw(st.sampled_from(SHIPPED)))
    count = draw(st.sampled_from([1, 4, 16, 48]))
    paths = draw(st.lists(st.sampled_from(sorted(fields)), unique=True, min_size=count, max_size=count))
    try:
        return machine_of(overridden(layer, {path: draw(values_of(fields[path], gpu)) for path in paths}))
    except SimexploreError:
        reject()
