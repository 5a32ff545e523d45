"""What calibration may change: bounded parameters with a physical meaning, by operator family.

A bound is a factor on the value that the machine's file has with a source. Which family fits which parameters, and in
which order, decides what each can be seen from: streams first, since everything launches and moves bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from simexplore.workloads.dtypes import SCALED


@dataclass(frozen=True)
class Parameter:
    """One value of the arch file that measurements may move."""

    path: str
    """Dotted path as in YAML."""
    lower: float
    """Smallest factor on the sourced value."""
    upper: float
    """Largest factor on the sourced value."""
    most: float = float("inf")
    """Largest value: 1 for shares."""
    least: float = 0.0
    """Smallest value, where the schema has one."""
    starting: bool = False
    """A cost of starting kernels, of which a profiler's durations tell nothing."""
    seen: float = 0.75
    """Relative standard error from which on the rows do not see it: its sourced value is at least as well known."""


@dataclass(frozen=True)
class Group:
    """Operator families that are fitted together, and what they may move."""

    ops: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    dtype: str | None = None
    """Fitted on rows of this type alone; None: of all but the block-scaled ones, which have groups of their own."""
    narrow: bool | None = None
    """Fitted on rows with operands of 8 bits and fewer (True), on the others (False), or on all."""
    share: float = 1.0
    """Share of a family's rows that this group may use."""


STREAMS = Group(
    ops=("quant_scale_matrix", "add", "mul", "gelu", "relu", "silu_mul", "copy", "pointwise"),
    parameters=(
        Parameter("library.elementwise.setup_round_trips", 0.02, 60.0),
        Parameter("library.elementwise.conversion.round_trips", 0.05, 10.0),
        Parameter("library.elementwise.conversion.instructions", 0.4, 2.5),
        Parameter("dram.efficiency", 0.6, 1.3, most=1.0, seen=0.05),  # sources have measured it
        Parameter("l2.usable_share", 0.6, 1.1, most=1.0),
        Parameter("l2.eviction_sharpness", 0.2, 6.0),
        Parameter("library.elementwise.loads_in_flight", 0.25, 8.0),
        Parameter("library.elementwise.l2_rate", 0.2, 2.0),
    ),
)

GEMM = Group(
    ops=("gemm",),
    narrow=False,
    share=0.9,
    parameters=(
        Parameter("library.gemm.setup_round_trips", 0.1, 6.0, starting=True),
        Parameter("library.gemm.two_stage.setup_round_trips", 0.1, 6.0, starting=True),
        Parameter("library.gemm.two_stage.overlap_exponent", 0.5, 4.0, least=1.0),
        Parameter("library.gemm.memory.cold_round_trips", 0.05, 20.0, starting=True),
        Parameter("library.gemm.split.reduction_round_trips", 0.1, 8.0, starting=True),
        Parameter("library.gemm.gemv.setup_round_trips", 0.1, 6.0, starting=True),
        Parameter("library.gemm.gemv.unroll", 0.05, 16.0),
        Parameter("library.gemm.gemv.dram_rate", 0.6, 1.3),
        Parameter("sm.latency.tensor", 0.3, 6.0),
        Parameter("library.gemm.memory.l2_rate", 0.4, 3.0),
        Parameter("library.gemm.memory.dram_rate", 0.6, 1.5),
        Parameter("library.gemm.wave_exposure", 0.05, 4.0, most=1.0),
        Parameter("library.gemm.epilogue_efficiency", 0.1, 1.2, most=1.0),
        Parameter("library.gemm.tensor.efficiency", 0.5, 1.2, most=1.0),
        Parameter("sm.l2_port", 0.4, 2.0),
        Parameter("library.gemm.pipeline.flight_share", 0.1, 1.2, most=1.0),
        Parameter("library.gemm.memory.l2_share", 0.1, 1.25),
        Parameter("library.gemm.memory.dirty_share", 0.1, 1.25),
        Parameter("library.gemm.tensor.overlap_exponent", 0.4, 3.0, least=1.0, most=12.0),
        Parameter("library.gemm.tensor.dram_overlap_exponent", 0.3, 3.0, least=1.0, most=12.0),
    ),
)

_OF_KERNELS = tuple(parameter for parameter in STREAMS.parameters if parameter.path.startswith("library.elementwise."))
ELEMENTWISE = replace(STREAMS, parameters=_OF_KERNELS)
"""Once more after GEMMs, which may have moved the ports of SMs and the power limit."""

NARROW_GEMM = Group(
    ops=("gemm",),
    narrow=True,
    share=0.1,
    parameters=(
        Parameter("library.gemm.tensor.quantize_kernels", 0.5, 6.0, least=2.0),
        Parameter("library.gemm.scaled.rows.quantize_instructions", 0.05, 8.0),
        Parameter("library.gemm.scaled.rows.setup_round_trips", 0.1, 6.0, starting=True),
        Parameter("library.gemm.scaled.rows.step", 0.02, 64.0),
        Parameter("library.gemm.scaled.rows.efficiency", 0.3, 1.2, most=1.0),
    ),
)


def _of_scaled(dtype: str) -> Group:
    """Kernels of one block-scaled type, and the one that narrows to it."""
    path = f"library.gemm.scaled.{dtype}"
    return Group(
        ops=("gemm",),
        dtype=dtype,
        parameters=(
            Parameter(f"{path}.quantize_instructions", 0.05, 8.0),
            Parameter(f"{path}.setup_round_trips", 0.1, 6.0, starting=True),
            Parameter(f"{path}.step", 0.02, 64.0),
            Parameter(f"{path}.fill", 0.1, 10.0),
            Parameter(f"{path}.efficiency", 0.3, 1.2, most=1.0),
        ),
    )


SCALED_GEMMS = tuple(_of_scaled(dtype) for dtype in SCALED)

PREFILL = Group(
    ops=("attention_prefill",),
    narrow=False,
    share=0.85,
    parameters=(
        Parameter("library.attention.prefill.overlap_exponent", 0.8, 8.0, least=1.0),
        Parameter("library.attention.prefill.l2_rate", 0.2, 3.0),
        Parameter("library.attention.prefill.dram_rate", 0.3, 1.5),
        Parameter("library.attention.softmax_instructions", 0.2, 6.0),
        Parameter("library.attention.prefill.round_trips", 0.1, 10.0),
        Parameter("library.attention.prefill.tail_share", 0.02, 2.0, most=1.0),
        Parameter("library.attention.prefill.step_round_trips", 0.02, 20.0),
        Parameter("library.attention.setup_round_trips", 0.1, 6.0),
        Parameter("library.attention.prefill.module_kernels", 0.3, 3.0),
        Parameter("library.attention.prefill.tensor_efficiency", 0.2, 1.2, most=1.0),
    ),
)

NARROW_PREFILL = Group(
    ops=("attention_prefill",),
    narrow=True,
    share=0.15,
    parameters=(
        Parameter("library.attention.tiled.narrow_efficiency", 0.2, 1.2, most=1.0),
        Parameter("library.attention.tiled.narrow_conversions", 0.05, 10.0),
    ),
)
"""Of engines that decode by tiles; the others' narrow prefill is told by what their wide one is."""

_UNMASKED = "library.attention.unmasked"
ENCODER = Group(
    ops=("encoder_attention",),
    parameters=(
        Parameter(f"{_UNMASKED}.overlap_exponent", 0.6, 8.0, least=1.0),
        Parameter(f"{_UNMASKED}.softmax_instructions", 0.1, 6.0),
        Parameter(f"{_UNMASKED}.round_trips", 0.05, 10.0),
        Parameter(f"{_UNMASKED}.step_round_trips", 0.02, 20.0),
        Parameter(f"{_UNMASKED}.module_kernels", 0.1, 3.0),
        Parameter(f"{_UNMASKED}.tensor_efficiency", 0.2, 1.2, most=1.0),
    ),
)

NARROW_DECODE = Group(
    ops=("attention_decode",),
    narrow=True,
    share=0.25,
    parameters=(
        Parameter("library.attention.tiled.narrow_kernels", 0.1, 4.0),
        Parameter("library.attention.grouped.narrow.round_trips", 0.1, 10.0),
        Parameter("library.attention.grouped.narrow.step_round_trips", 0.1, 10.0),
        Parameter("library.attention.grouped.narrow.merge_round_trips", 0.1, 10.0),
        Parameter("library.attention.grouped.narrow.cta_instructions", 0.2, 3.0),
        Parameter("library.attention.grouped.narrow.conversions", 0.3, 3.0),
        Parameter("library.attention.one_head.narrow.round_trips", 0.1, 10.0),
        Parameter("library.attention.one_head.narrow.conversions", 0.3, 3.0),
    ),
)

DECODE = Group(
    ops=("attention_decode",),
    narrow=False,
    share=0.75,
    parameters=(
        Parameter("library.attention.grouped.round_trips", 0.1, 10.0),
        Parameter("library.attention.grouped.step_round_trips", 0.1, 10.0),
        Parameter("library.attention.one_head.round_trips", 0.1, 10.0),
        Parameter("library.attention.one_head.instructions", 0.5, 4.0),
        Parameter("library.attention.one_head.step_round_trips", 0.05, 5.0),
        Parameter("library.attention.decode.idle_cta_share", 0.1, 2.0, most=1.0),
        Parameter("library.attention.grouped.merge_round_trips", 0.1, 10.0),
        Parameter("library.attention.grouped.partial_round_trips", 0.1, 10.0),
        Parameter("library.attention.grouped.merge_step_round_trips", 0.1, 10.0),
        Parameter("library.attention.one_head.merge_round_trips", 0.1, 10.0),
        Parameter("library.attention.tiled.wave_exposure", 0.02, 2.0, most=1.0),
        Parameter("library.attention.tiled.cta_instructions", 0.1, 10.0),
        Parameter("library.attention.decode.overlap_exponent", 0.5, 4.0, least=1.0),
        Parameter("library.attention.decode.queued_share", 0.03, 3.0, most=1.0),
        Parameter("library.attention.decode.l2_rate", 0.4, 3.0),
        Parameter("library.attention.decode.dram_rate", 0.5, 1.5),
        Parameter("library.attention.grouped.flight_share", 0.05, 1.2, most=1.0),
        Parameter("library.attention.decode.module_kernels", 0.4, 3.0),
    ),
)

CONV = Group(
    ops=("conv2d",),
    parameters=(
        Parameter("library.conv.implicit.efficiency", 0.5, 1.3, most=1.0),
        Parameter("library.conv.winograd.fused.efficiency", 0.5, 1.5, most=1.0),
        Parameter("library.conv.winograd.fused.round_trips", 0.1, 5.0),
        Parameter("library.conv.winograd.separate.efficiency", 0.5, 1.3, most=1.0),
        Parameter("library.conv.fft.efficiency", 0.5, 1.6, most=1.0),
        Parameter("library.conv.winograd.transform_efficiency", 0.3, 1.2, most=1.0),
        Parameter("library.conv.fft.transform_efficiency", 0.3, 2.0, most=1.0),
        Parameter("library.conv.call", 0.3, 3.0),
        Parameter("library.conv.call_doubling", 0.3, 3.0),
    ),
)


def _of_experts(kind: str) -> tuple[Parameter, ...]:
    """What layers of experts have of their own by the type of their weights."""
    path = f"library.moe.{kind}"
    return (
        Parameter(f"{path}.kernels", 0.1, 10.0),
        Parameter(f"{path}.tensor_efficiency", 0.2, 1.2, most=1.0),
        Parameter(f"{path}.dram_overlap_exponent", 0.25, 4.0, least=1.0, most=12.0),
        Parameter(f"{path}.stream_rate", 0.1, 1.5),
    )


EXPERTS = Group(
    ops=("moe",),
    parameters=(
        Parameter("library.moe.route_round_trips", 0.1, 10.0),
        Parameter("library.moe.route_instructions", 0.1, 40.0),
        Parameter("library.moe.l2_rate", 0.3, 3.0),
        Parameter("library.moe.dram_rate", 0.6, 1.5),
        Parameter("library.moe.sum_cost", 0.5, 10.0),
        *(parameter for kind in ("wide", "narrow", "widened") for parameter in _of_experts(kind)),
    ),
)

SCALED_EXPERTS = (
    Group(ops=("moe",), dtype="fp8_block", parameters=_of_experts("block")),
    Group(ops=("moe",), dtype="nvfp4", parameters=_of_experts("scaled")),
)
"""What block-scaled types have of their own; rows of mxfp8 are taken to be as those of nvfp4."""

LATENT_PREFILL = Group(
    ops=("mla_prefill",),
    parameters=(
        Parameter("library.mla.prefill.overlap_exponent", 0.8, 8.0, least=1.0),
        Parameter("library.mla.prefill.round_trips", 0.1, 10.0),
        Parameter("library.mla.prefill.step_round_trips", 0.02, 20.0),
        Parameter("library.mla.prefill.module_kernels", 0.3, 5.0),
        Parameter("library.mla.prefill.tensor_efficiency", 0.3, 1.2, most=1.0),
    ),
)

LATENT_DECODE = Group(
    ops=("mla_decode",),
    parameters=(
        Parameter("library.mla.decode.round_trips", 0.1, 10.0),
        Parameter("library.mla.decode.step_round_trips", 0.02, 20.0),
        Parameter("library.mla.decode.merge_round_trips", 0.1, 10.0),
        Parameter("library.mla.decode.module_kernels", 0.3, 5.0),
        Parameter("library.mla.decode.dram_rate", 0.6, 1.5),
        Parameter("library.mla.decode.tensor_efficiency", 0.3, 1.2, most=1.0),
        Parameter("library.mla.decode.overlap_exponent", 0.25, 4.0, least=1.0),
    ),
)

LATENT = (LATENT_PREFILL, LATENT_DECODE)

CONVOLUTION = Group(
    ops=("causal_conv1d", "causal_conv1d_update"),
    parameters=(
        Parameter("library.linear.convolution.setup_round_trips", 0.02, 10.0),
        Parameter("library.linear.convolution.round_trips", 0.02, 10.0),
        Parameter("library.linear.convolution.instructions", 0.3, 6.0),
        Parameter("library.linear.convolution.overlap_exponent", 0.5, 4.0, least=1.0),
    ),
)

STEP = Group(
    ops=("gdn_decode", "kda_decode", "ssd_decode"),
    parameters=(
        Parameter("library.linear.step.setup_round_trips", 0.02, 10.0),
        Parameter("library.linear.step.round_trips", 0.02, 10.0),
        Parameter("library.linear.step.instructions", 0.2, 6.0),
        Parameter("library.linear.step.dram_rate", 0.6, 1.3),
    ),
)


def _fused(kind: str) -> tuple[Parameter, ...]:
    """What scans as one kernel have of their own."""
    path = f"library.linear.fused_{kind}"
    return (
        Parameter(f"{path}.setup_round_trips", 0.1, 10.0),
        Parameter(f"{path}.round_trips", 0.1, 40.0),
        Parameter(f"{path}.step", 0.1, 6.0),
        Parameter(f"{path}.dram_rate", 0.4, 1.3),
    )


SCAN = Group(
    ops=("gdn_prefill", "kda_prefill", "ssd_prefill"),
    parameters=(
        Parameter("library.linear.chunked.setup_round_trips", 0.1, 10.0),
        Parameter("library.linear.chunked.round_trips", 0.1, 20.0),
        Parameter("library.linear.chunked.step_round_trips", 0.1, 10.0),
        Parameter("library.linear.chunked.row", 0.2, 6.0),
        Parameter("library.linear.chunked.tensor_efficiency", 0.05, 1.9, most=1.0),
        Parameter("library.linear.chunked.overlap_exponent", 0.6, 4.0, least=1.0),
        Parameter("library.linear.chunked.dram_rate", 0.4, 1.3),
        *_fused("gdn"),
        *_fused("kda"),
    ),
)

LINEAR = (CONVOLUTION, STEP, SCAN)

_COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "alltoall")

NVLINK = Group(
    ops=_COLLECTIVES,
    parameters=(
        Parameter("library.collectives.nvlink.start", 0.2, 5.0, starting=True),
        Parameter("library.collectives.nvlink.step", 0.3, 5.0),
        Parameter("library.collectives.nvlink.simple_start", 0.2, 20.0),
        Parameter("library.collectives.nvlink.simple_step", 0.2, 5.0),
        Parameter("library.collectives.nvlink.efficiency", 0.5, 1.25, most=1.0),
        Parameter("library.collectives.nvlink.channel_bandwidth", 0.3, 4.0),
    ),
)

PCIE = Group(
    ops=_COLLECTIVES,
    parameters=(
        Parameter("library.collectives.pcie.start", 0.2, 5.0, starting=True),
        Parameter("library.collectives.pcie.step", 0.3, 5.0),
        Parameter("library.collectives.pcie.simple_step", 0.2, 5.0),
        Parameter("library.collectives.pcie.efficiency", 0.3, 1.3, most=1.0),
        Parameter("library.collectives.pcie.ll_share", 0.5, 2.0, most=1.0),
        Parameter("library.collectives.pcie.doubling_share", 0.1, 1.0, most=1.0),
    ),
)
"""How far apart GPUs are on PCIe is the host's: switches, sockets, and whether they reach each other's memory."""


def _custom(engine: str) -> tuple[Parameter, ...]:
    path = f"library.collectives.nvlink.custom.{engine}"
    return (
        Parameter(f"{path}.start", 0.1, 5.0, starting=True),
        Parameter(f"{path}.doubling", 0.1, 5.0),
        Parameter(f"{path}.exchange", 0.1, 5.0),
        Parameter(f"{path}.efficiency", 0.25, 1.6, most=1.0),
        Parameter(f"{path}.two_pass_efficiency", 0.25, 1.6, most=1.0),
    )


CUSTOM = Group(
    ops=("custom_all_reduce",),
    share=0.5,
    parameters=(*_custom("trtllm"), *_custom("vllm"), *_custom("sglang")),
)
"""Engines' own all-reduces: what one engine's rows don't see of another's stays."""

GROUPS = (
    *(
        STREAMS,
        GEMM,
        ELEMENTWISE,
        NARROW_GEMM,
        *SCALED_GEMMS,
        PREFILL,
        NARROW_PREFILL,
        ENCODER,
        DECODE,
        NARROW_DECODE,
        CONV,
    ),
    *(EXPERTS, *SCALED_EXPERTS, *LATENT, *LINEAR),
)
"""In the order of fitting."""
