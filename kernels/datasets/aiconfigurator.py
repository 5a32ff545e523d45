"""Tables of the PyPI package `aiconfigurator-core` (Apache-2.0): kernels of serving engines on data-centre GPUs.

`aiconfigurator:h200_sxm/gemm/trtllm` names system, operator and framework as the package's folders do; a version may
follow, else the newest is read. Latencies there are milliseconds. The package is located, not imported.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd

from simexplore.errors import SimexploreError
from simexplore.kernels.datasets import aiconfigurator_experts as experts
from simexplore.kernels.datasets import aiconfigurator_scans as scans
from simexplore.kernels.datasets.files import INSTALL, parquet
from simexplore.kernels.measurement import POWER, TIME, Conditions, checked
from simexplore.workloads.hints import did_you_mean

SOURCE_PREFIX = "aic/"
POWER_SOURCE = "aic/vllm0.22"
"""Source of the tables that have watts."""
WARM_UPS, RUNS = 3.0, 6.0
"""Of a kernel, before it is timed and while it is (collector/helper.py of the same project)."""
EXAMPLE = "aiconfigurator:h200_sxm/gemm/trtllm"
EAGER, ONE_COPY = "/eager", "/one_copy"
"""Ends of the sources of rows that a collector runs without a graph, or on one copy of the weights."""
XPU = "/xpu"
"""Ends the sources of rows of Intel's GPUs, which have collectors of their own (collect_gemm_xpu.py and others)."""
WIDENED = {"fp8": "fp8_wo"}
"""What vLLM makes of 8-bit GEMMs and experts there: weights alone have 8 bits (fp8_gemm_w8a16, xpu_fused_moe)."""
ENGINES = ("trtllm", "vllm", "sglang")
"""Those of its frameworks whose kernels machines here tell of."""

_WITH_APPEND = ("attention_prefill", "attention_decode")
"""Operators whose rows hold the append to the KV cache in every engine."""
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "sq": "int8_sq"}
"""Their name of a dtype → ours; the others are the same."""


def conditions_of(source: str, op: str) -> Conditions:
    """How the package's collectors ran a kernel (github.com/ai-dynamo/aiconfigurator, collector/).

    Kernels were replayed as a CUDA graph, three times to warm up and six to time. Activations reach narrow GEMMs as
    bf16 and are quantised within the time; vLLM's 128 x 128 block-scaled ones are eager calls. Attention re-reads one
    KV cache, quantisation one input. TensorRT-LLM's attention rows are its whole attention module; those of vLLM and
    SGLang hold the append to the cache and no rotation (collect_attn.py of each). Rows with watts were
    repeated for 0.3 to 1 s, at settled clocks. Collectives are from nccl-tests, which launches on a stream, but
    engines' own were replayed too. On Intel's GPUs there are no graphs: eager calls were queued one behind another, and
    attention is its kernels alone.
    """
    engine = engine_of(source)
    told = _conditions_of(source.removesuffix(XPU), op)
    if source.endswith(XPU):
        told = replace(told, launch="queued", attention_module=False, rotation=True)
    return replace(told, engine=engine if engine in ENGINES else "")


def _conditions_of(source: str, op: str) -> Conditions:
    if source.startswith(f"{SOURCE_PREFIX}nccl"):
        return Conditions(launch="stream")
    if op == "custom_all_reduce":
        return Conditions(launch="graph")
    runs_before = math.inf if source.startswith(POWER_SOURCE) else WARM_UPS
    repeats = Conditions(runs_before=runs_before, runs=RUNS, activity=operands_of(source))
    if op in scans.OPERATORS:
        return replace(repeats, **scans.conditions_of(source))
    if op == "moe":
        activity = 0.0 if experts.has_blank_weights(source) else operands_of(source)
        return replace(repeats, launch="graph", activity=activity)
    eager = source.endswith(EAGER)
    launch: Literal["stream", "graph"] = "stream" if eager else "graph"
    if op in ("gemm", "bmm"):
        copies = _copies_of(source) if op == "gemm" else Conditions()
        copies = replace(copies, runs_before=runs_before, runs=RUNS, activity=operands_of(source))
        return replace(copies, launch=launch, eager=eager, activation_dtype="bf16")
    module = not eager and (op in _WITH_APPEND or source.startswith(f"{SOURCE_PREFIX}trtllm"))
    rotation = source.startswith(f"{SOURCE_PREFIX}trtllm")
    return replace(repeats, launch=launch, eager=eager, attention_module=module, rotation=rotation)


def operands_of(source: str) -> float | None:
    """Activity of a collector's operands: drawn from a normal distribution, but where watts were measured.

    Weights of those rows were never written. What the memory held is taken as random bits.
    """
    return 1.0 if source.startswith(POWER_SOURCE) else None


def _copies_of(source: str) -> Conditions:
    """How a framework's collector rotates the operands of GEMMs (collect_gemm.py of each).

    SGLang's makes six of both; vLLM's six of the weights; TensorRT-LLM's five of the weights, from 1.3 on only as many
    as fill L2. Before that, its plugins ran in a network of one layer on a stream (trt_flow), timed by events.
    """
    framework = source.removeprefix(SOURCE_PREFIX)
    if framework.startswith("sglang"):
        return Conditions(weight_copies=6, activation_copies=6)
    if framework.endswith((EAGER, ONE_COPY)):
        return Conditions()
    if framework.startswith("vllm"):
        return Conditions(weight_copies=6)
    early = framework.startswith("trtllm") and _age(framework.removeprefix("trtllm")) < _age("1.3.0rc0")
    return Conditions(weight_copies=5, until_l2_is_full=not early, plugin_launch="stream" if early else None)


def read(name: str) -> pd.DataFrame:
    """The checked rows of `system/operator/framework` or `system/operator/framework/version`.

    Raises:
        SimexploreError: the package is not installed, or has no such table; lists those that it has.
    """
    parts = name.strip("/").split("/")
    if not 3 <= len(parts) <= 4:
        raise SimexploreError(
            f"aiconfigurator:{name}: expected system/operator/framework or system/operator/framework/version, "
            f"for example {EXAMPLE}, found {len(parts)} parts"
        )
    root = data_folder()
    system = _pick(root, parts[0], "system", name, [folder.parent.parent.name for folder in root.glob("*/*/*")])
    operator = _pick(system, parts[1], "operator", name, [op for op in _TABLES if (system / op).is_dir()])
    complete = [folder for folder in operator.glob("*/*") if _tables_in(folder, parts[1])]
    framework = _pick(operator, parts[2], "framework", name, [folder.parent.name for folder in complete])
    versions = sorted((folder.name for folder in complete if folder.parent == framework), key=_age)
    version = _pick(framework, parts[3] if len(parts) == 4 else versions[-1], "version", name, versions)
    source = f"{SOURCE_PREFIX}{parts[2]}{version.name}"
    tables = [_read_table(version / table.file, table, source, parts[0]) for table in _tables_in(version, parts[1])]
    return pd.concat(tables, ignore_index=True).fillna({"attention_dtype": ""})  # which modules alone have


def engine_of(source: str) -> str:
    """The engine whose kernels a source of these tables timed, as its folders name it: `trtllm`, `vllm`, `sglang`…"""
    found = re.match(r"[a-z]+", source.removeprefix(SOURCE_PREFIX))
    return found[0] if found else ""


def files(system: str = "") -> list[Path]:
    """All tables of a system, or of all systems: `SYSTEM/OPERATOR/FRAMEWORK/VERSION/NAME_perf.parquet`.

    Raises:
        SimexploreError: the package is not installed, or has no such system; lists those that it has.
    """
    root = data_folder()
    if system:
        present = [folder.parent.parent.name for folder in root.glob("*/*/*")]
        return sorted(_pick(root, system, "system", system, present).glob("*/*/*/*.parquet"))
    return sorted(root.glob("*/*/*/*/*.parquet"))


def read_file(path: Path) -> pd.DataFrame | None:
    """The checked rows of one of `files`; None where no operator here is what it measured."""
    version = path.parent
    operator, system = version.parent.parent, version.parent.parent.parent
    source = f"{SOURCE_PREFIX}{version.parent.name}{version.name}"
    known = (table for table in _TABLES.get(operator.name, ()) if table.file == path.name)
    return next((_read_table(path, table, source, system.name) for table in known), None)


def _tables_in(folder: Path, operator: str) -> list[_Table]:
    """The tables of an operator that a folder has; none where one is missing that belongs to the others."""
    found = [table for table in _TABLES[operator] if (folder / table.file).is_file()]
    return found if len(found) == len(_TABLES[operator]) or operator in _ONE_OF_EACH else []


def data_folder() -> Path:
    """Where the installed package keeps its tables. Raises SimexploreError where it is not installed."""
    spec = importlib.util.find_spec("aiconfigurator_core")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "systems" / "data"
        if folder.is_dir():
            return folder
    raise SimexploreError(f"{EXAMPLE.split(':')[0]}: the package aiconfigurator-core is not installed: {INSTALL}")


def _pick(folder: Path, wanted: str, what: str, name: str, present: list[str]) -> Path:
    """The sub-folder `wanted`, which must be among those present."""
    if wanted not in present:
        raise SimexploreError(
            f"aiconfigurator:{name}: expected as {what} one of {', '.join(dict.fromkeys(sorted(present)))}, "
            f"found {wanted!r}{did_you_mean(wanted, present)}"
        )
    return folder / wanted


def _age(version: str) -> tuple[tuple[int, int], ...]:
    """Sort key of versions: 1.3.0rc9 < 1.3.0rc20 < 1.3.0 < 1.3.0.post1 < 1.10."""
    words = {"rc": -1, "post": 1}
    parts = re.findall(r"\d+|[a-z]+", version)
    return (*((2, int(part)) if part.isdigit() else (words.get(part, -1), 0) for part in parts), (0, 0))


@dataclass(frozen=True)
class _Table:
    """One of the package's tables: its file, and its columns as ours."""

    file: str
    op: str | None
    """None: the `op_name` column has it."""
    names: Mapping[str, str]
    """Our column → theirs."""
    derive: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame
    """Fills columns that theirs hold in another form."""


def _read_table(path: Path, table: _Table, source: str, system: str) -> pd.DataFrame:
    theirs = parquet(path)
    missing = [column for column in (*table.names.values(), "latency") if column not in theirs]
    if missing:
        raise SimexploreError(f"{path}: expected a column {missing[0]!r}, found {', '.join(map(str, theirs.columns))}")
    frame = pd.DataFrame({ours: theirs[name] for ours, name in table.names.items()})
    on_xpu = "device" in theirs and bool(theirs["device"].str.startswith("Intel").all())
    frame.insert(0, "source", source + XPU if on_xpu else source)
    frame.insert(1, "device", theirs.get("device", system))
    frame.insert(2, "op", theirs["op_name"] if table.op is None else table.op)
    for column in ("dtype", "kv_dtype", "attention_dtype"):
        if column in frame:
            frame[column] = frame[column].replace(_DTYPES)
    if on_xpu and table.op in ("gemm", "moe"):
        frame["dtype"] = frame["dtype"].replace(WIDENED)
    frame[TIME] = theirs["latency"] * 1e3
    if "power" in theirs:
        frame[POWER] = theirs["power"]
    if "window_size" in theirs:
        frame["window"] = theirs["window_size"]
    if "kernel_source" in theirs:
        frame["kernel"] = theirs["kernel_source"]
    return checked(table.derive(frame), str(path), lambda row: f"{path}: row {row + 1}")


def _add_earlier_tokens(frame: pd.DataFrame) -> pd.DataFrame:
    """`seq_kv` holds `step`, the tokens already in the cache; the query's own are seen too."""
    return frame.assign(seq_kv=frame["seq_q"] + frame["seq_kv"])


def _of_one_backend(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the backend that the engine takes: of a shape timed on several, that of the one with most rows in all."""
    whole = _add_earlier_tokens(frame)
    if "kernel" not in whole:
        return whole
    shape = [name for name in whole if name not in ("kernel", TIME, POWER)]
    rows = whole["kernel"].map(whole["kernel"].value_counts())
    most = rows.groupby([whole[name] for name in shape], dropna=False).transform("max")
    return whole[rows == most].reset_index(drop=True)


def _replayed(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of an engine's own kernel within one node, replayed as a graph; an eager call's time is the host's.

    Raises:
        SimexploreError: there are none.
    """
    kept = ~frame["kernel"].str.contains("eager|MNNVL")
    if not kept.any():
        raise SimexploreError("an all-reduce of eager calls, with no kernel of the engine's own, is not modelled")
    engine = frame["source"].str.extract(rf"^{SOURCE_PREFIX}([a-z]+)", expand=False)
    return frame.assign(engine=engine)[kept].reset_index(drop=True)


def _every_head_has_keys(frame: pd.DataFrame) -> pd.DataFrame:
    """Encoders have as many heads of keys as of queries, and see their own tokens."""
    return frame.assign(kv_heads=frame["heads"], seq_kv=frame["seq_q"])


_ABSORBED = {"mla_gen_pre": (512, 128), "mla_gen_post": (128, 512)}
"""n and k of MLA's products of a head: from 128 to the latent of 512, and back (DeepSeek-V2, arXiv 2405.04434)."""
_MULTIPLIED = {"trtllm_fp8_block_scaling_bmm_out": "fp8_block", "trtllm_bmm_out_dequant_bf16": "bf16"}
"""Kernels that take another type than the table says (trtllm/collect_mla_bmm.py)."""


def _absorbed(frame: pd.DataFrame) -> pd.DataFrame:
    """MLA's products of one head each, before and after its decode kernel."""
    sizes = frame["op"].map(_ABSORBED)
    dtype = frame["kernel"].map(_MULTIPLIED).fillna(frame["dtype"])
    return frame.assign(op="bmm", dtype=dtype, n=sizes.str[0], k=sizes.str[1])


def _as_collected(frame: pd.DataFrame) -> pd.DataFrame:
    """vLLM's block-scaled rows have sources of their own, for it collects them in another way (`conditions_of`)."""
    vllm = frame["source"].str.startswith(f"{SOURCE_PREFIX}vllm")
    eager, one_copy = vllm & (frame["dtype"] == "fp8_block"), vllm & (frame["dtype"] == "nvfp4")
    source = frame["source"].mask(eager, frame["source"] + EAGER).mask(one_copy, frame["source"] + ONE_COPY)
    return frame.assign(source=source)


_SPARSE_MODELS = {
    "DeepseekV32ForCausalLM": {"hidden": 7168, "q_rank": 1536, "nope_dim": 128, "value_dim": 128, "index_heads": 64},
    "GlmMoeDsaForCausalLM": {"hidden": 6144, "q_rank": 2048, "nope_dim": 192, "value_dim": 256, "index_heads": 32},
}
"""Sizes of models by architecture, from their public configurations."""


def _sparse_modules(frame: pd.DataFrame) -> pd.DataFrame:
    """Modules of a model's size; a layer that skips the indexer takes another layer's choice."""
    sizes = pd.DataFrame([_SPARSE_MODELS[name] for name in frame["architecture"]], index=frame.index)
    skips = frame["op"].str.endswith("skip_indexer")
    sizes["index_heads"] = sizes["index_heads"].mask(skips, 0)
    eager = frame["op"].str.contains("context") & ~frame["source"].str.startswith(f"{SOURCE_PREFIX}trtllm")
    source = frame["source"].mask(eager, frame["source"] + EAGER)
    return _add_earlier_tokens(frame.assign(**sizes, top_k=2048, op="sparse_attention", source=source))


def _modules(op: str) -> tuple[str, Mapping[str, str], Callable[[pd.DataFrame], pd.DataFrame]]:
    return op, experts.MLA_MODULE, experts.latent_modules(op)


_SPARSE = {
    "dtype": "gemm_type",
    "kv_dtype": "kv_cache_dtype",
    "architecture": "architecture",
    "batch": "batch_size",
    "heads": "num_heads",
    "seq_q": "isl",
    "seq_kv": "step",
}
_ENCODER = {
    "dtype": "attn_dtype",
    "batch": "batch_size",
    "heads": "num_heads",
    "head_dim": "head_dim",
    "seq_q": "isl",
}
_ATTENTION = {
    "dtype": "attn_dtype",
    "kv_dtype": "kv_cache_dtype",
    "batch": "batch_size",
    "heads": "num_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "seq_q": "isl",
    "seq_kv": "step",
}
_TABLES = {
    "gemm": (
        _Table("gemm_perf.parquet", "gemm", {"dtype": "gemm_dtype", "m": "m", "n": "n", "k": "k"}, _as_collected),
    ),
    "attention": (
        _Table("context_attention_perf.parquet", "attention_prefill", _ATTENTION, _of_one_backend),
        _Table("generation_attention_perf.parquet", "attention_decode", _ATTENTION, _of_one_backend),
    ),
    "encoder_attention": (
        _Table("encoder_attention_perf.parquet", "encoder_attention", _ENCODER, _every_head_has_keys),
    ),
    "sparse_attention": (
        _Table("dsa_context_module_perf.parquet", None, _SPARSE, _sparse_modules),
        _Table("dsa_generation_module_perf.parquet", None, _SPARSE, _sparse_modules),
    ),
    "mla_bmm": (
        _Table(
            "mla_bmm_perf.parquet", None, {"dtype": "bmm_dtype", "m": "num_tokens", "batch": "num_heads"}, _absorbed
        ),
    ),
    "quantize": (
        _Table(
            "scale_matrix_perf.parquet",
            "quant_scale_matrix",
            {"dtype": "quant_dtype", "rows": "m", "cols": "k"},
        ),
    ),
    "linear_attention": (
        _Table("gdn_perf.parquet", "gdn", scans.DELTA, scans.delta_rules),
        _Table("mamba2_perf.parquet", "mamba2", scans.MAMBA2, scans.mamba2),
    ),
    "kda": (_Table("kda_perf.parquet", "kda", scans.DELTA, scans.delta_rules),),
    "moe": (_Table("moe_perf.parquet", "moe", experts.MOE, experts.with_loads),),
    "mla": (
        _Table("context_mla_perf.parquet", "mla_prefill", experts.MLA, _add_earlier_tokens),
        _Table("generation_mla_perf.parquet", "mla_decode", experts.MLA, _add_earlier_tokens),
        _Table("mla_context_module_perf.parquet", *_modules("mla_prefill_module")),
        _Table("mla_generation_module_perf.parquet", *_modules("mla_decode_module")),
    ),
    "comm": (
        _Table(
            "nccl_perf.parquet",
            None,
            {"dtype": "nccl_dtype", "num_gpus": "num_gpus", "elements": "message_size"},
        ),
        _Table(
            "custom_allreduce_perf.parquet",
            "custom_all_reduce",
            {"dtype": "allreduce_dtype", "num_gpus": "num_gpus", "elements": "message_size"},
            _replayed,
        ),
    ),
}
_ONE_OF_EACH = ("comm", "mla", "linear_attention")
"""Operators of whose tables a folder may have some: NCCL's or an engine's, kernels or modules, of one kind or two."""
