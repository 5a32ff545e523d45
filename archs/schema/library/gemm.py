"""The GEMM kernels that the vendor's library picks from. The mapping tries them all and takes the library's choice.

A section that a file leaves out says that the library has no such kernels: none on tensor cores, none that split k.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simexplore.archs.schema.library.menus import (
    Exponent,
    Portion,
    Rate,
    ShapeRanges,
    Splits,
    Tile,
    Tiles,
    Trips,
)
from simexplore.archs.schema.quantities import Capacity, Count, Cycles, Share, Spec, about

Narrow = Literal["fp8", "int8", "int4", "fp4", "mxfp4", "nvfp4"]
"""Types that weights alone are stored in."""


class TensorGemm(Spec):
    """Kernels on the tensor cores."""

    instruction: Literal["mma_sync", "wgmma", "tcgen05", "mfma", "dpas"] = about(
        "tensor instruction: mma_sync, mfma and dpas read their operands from registers, wgmma from shared memory, "
        "tcgen05 from there too, twice as many rows at once, and keeps its sums in tensor memory",
        "text",
    )
    tiles: Tiles = about(
        "CTA tiles; but for instructions that read registers also turned, and every narrower one in steps of 8",
        "rows x columns",
    )
    modest_tiles: ShapeRanges = about(
        "sizes for which the library takes no tile of more than 128 x 128 elements", "m n k mnk"
    )
    overlap_exponent: Exponent = about("overlap_exponent of these kernels", "1")
    dram_overlap_exponent: Exponent = about(
        "how well their DRAM traffic overlaps their other work, as overlap_exponent does", "1"
    )
    efficiency: Share = about("share of the tensor cores' rate that main loops reach", "1")
    fp16_accumulate_rate: Annotated[float, Field(ge=1, le=4)] = about(
        "tensor cores' rate where fp16 or fp8 products are summed in fp16, over that of sums in fp32", "1", default=1.0
    )
    quantize_kernels: Annotated[float, Field(ge=2, le=100)] = about(
        "kernels that quantise the activations of a narrow GEMM: largest value, scale, conversion, …", "1"
    )

    @property
    def reads_registers(self) -> bool:
        """Whether the instruction reads its operands from registers, which the warps fill from shared memory."""
        return self.instruction in ("mma_sync", "mfma", "dpas")


class UnalignedGemm(Spec):
    """Kernels for rows of operands that are no multiples of 16 bytes, which bulk copies (TMA) cannot fetch.

    They are of an elder generation: warps fetch with loads of their own, as wide as the rows allow, and multiply from
    registers.
    """

    tiles: Tiles = about("CTA tiles", "rows x columns")
    k_tile_bytes: Capacity = about("bytes of k that one stage holds for each row or column of the tile", "B")
    max_stages: Count = about("most stages in shared memory", "1")
    rate: Share = about("rate of their products over that of the tensor cores", "1")


class SimtGemm(Spec):
    """Kernels on the FMA pipes."""

    tiles: Tiles = about("CTA tiles", "rows x columns")
    overlap_exponent: Exponent = about(
        "overlap_exponent of these kernels, whose loads and products take issue slots from each other", "1"
    )


class TwoStageGemm(Spec):
    """Kernels that fetch one k-step ahead and no more: the library's older ones."""

    sizes: ShapeRanges = about("sizes for which the library takes them", "m n k mnk")
    overlap_exponent: Exponent = about("overlap_exponent of these kernels, which wait for each k-step", "1")
    setup_round_trips: Trips = about("setup_round_trips of these kernels", "1")


class SplitGemm(Spec):
    """How the library splits k among CTAs."""

    counts: Splits = about("numbers of CTAs among which k may be split", "1")
    reduction: Literal["kernel", "in_place"] = about(
        "who adds the partial sums: a second kernel, or the CTAs themselves", "text"
    )
    reduction_round_trips: Trips = about("dependent L2 round trips of the kernel that adds partial sums", "1")
    min_products: Count = about("fewest products m n k for which the library splits k", "1")
    always_depth: Count = about("k from which it splits those with fewer products too", "1")
    reluctance_cycles: Cycles = about("what the library takes splitting to cost beyond what it does", "clk")


class Gemv(Spec):
    """The matrix-vector kernel that computes one row of C."""

    used: bool = about("whether the library takes it where it is faster", "text")
    setup_round_trips: Trips = about("setup_round_trips of this kernel", "1")
    unroll: Rate = about("16-byte loads of a column that each of its threads keeps in flight", "1")
    dram_rate: Rate = about("its DRAM rate over that of streams", "1")


class Pipeline(Spec):
    """How kernels fetch ahead along k."""

    k_tile_bytes: Capacity = about("bytes of k that one stage holds for each row or column of the tile", "B")
    max_stages: Count = about("most stages in shared memory", "1")
    flight_share: Share = about("share of the stages, but the one computed on, that is in flight", "1")


class GemmMemory(Spec):
    """What kernels make of L2 and DRAM."""

    multicast: Count = about("CTAs of a cluster to which one L2 read of an operand is delivered", "1")
    l2_share: Rate = about("share of the usable L2 that operands can fill: SMs of both partitions keep copies", "1")
    dirty_share: Rate = about(
        "share of the usable L2 that operands and results fill before results are written back", "1"
    )
    l2_rate: Rate = about("L2 read rate of tile fetches over that of streams: multicast and coalescing raise it", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")
    cold_round_trips: Trips = about(
        "dependent DRAM accesses before a kernel whose operands miss L2 is served at full rate", "1"
    )


class ScaledGemm(Spec):
    """Kernels for operands whose values along k share scales, and the one that narrows activations to them.

    They never split k. A machine without tensor cores for the values has none of them.
    """

    quantize_instructions: Rate = about("instructions for each element that is given the scale of its block", "1")
    step_cycles: Cycles = about("latency of a k-step beyond a plain kernel's: scales fetched, sums promoted", "clk")
    tile_elements: Count = about("most elements of C of a CTA's tile: sums and promoted sums share registers", "1")
    fill_cycles: Cycles = about(
        "what a k-step of the last tile waits for each row that A does not have; 0: nothing", "clk", default=0.0
    )
    setup_round_trips: Trips = about("setup_round_trips of these kernels", "1")
    efficiency: Share = about("share of the tensor cores' rate that main loops reach", "1")
    tile_of_rows: dict[str, Tile] | None = about(
        "tile that is taken for so many rows of C, by the most rows served, quoted: '128'; more have the last; absent: "
        "any of the menu",
        "rows x columns",
        default=None,
    )


class ScaledGemms(Spec):
    """Kernels by type; an absent one is a type that the library does not multiply."""

    rows: ScaledGemm | None = about(
        "8-bit operands, an fp32 scale of each row of A and column of B, quantised by one kernel; absent: one scale of "
        "all, found and applied by library.gemm.tensor.quantize_kernels",
        "mapping",
        default=None,
    )
    fp8_block: ScaledGemm | None = about(
        "fp8, fp32 scales of 128 x 128 weights, 1 x 128 activations", "mapping", default=None
    )
    mxfp8: ScaledGemm | None = about("fp8, a power of two for every 32 values", "mapping", default=None)
    mxfp4: ScaledGemm | None = about("fp4, a power of two for every 32 values", "mapping", default=None)
    nvfp4: ScaledGemm | None = about("fp4, an fp8 scale for every 16 values", "mapping", default=None)


NO_TENSOR_KERNELS = TensorGemm.model_construct(
    instruction="mma_sync",
    tiles=(Tile(16, 8),),
    modest_tiles=(),
    overlap_exponent=1.0,
    dram_overlap_exponent=1.0,
    efficiency=1.0,
    quantize_kernels=2.0,
)
NO_SCALED = ScaledGemms()
NEVER_TWO_STAGES = TwoStageGemm.model_construct(sizes=(), overlap_exponent=1.0, setup_round_trips=0.0)
NEVER_SPLIT = SplitGemm.model_construct(
    counts=(1,), reduction="in_place", reduction_round_trips=0.0, min_products=1, always_depth=1, reluctance_cycles=0.0
)
NO_GEMV = Gemv.model_construct(used=False, setup_round_trips=0.0, unroll=1.0, dram_rate=1.0)


class GemmLibrary(Spec):
    """Kernels that multiply matrices. Nothing runs on tensor cores without `tensor`, and nothing reads it."""

    rules: Literal["cublas", "plain"] = about(
        "library whose rules say which kernels are considered for a shape; plain: any of the menu", "text"
    )
    tensor: TensorGemm = about("kernels on tensor cores; absent: none", "mapping", default=NO_TENSOR_KERNELS)
    simt: SimtGemm = about("kernels on the FMA pipes", "mapping")
    unaligned: UnalignedGemm | None = about(
        "kernels for rows that are no multiples of 16 bytes; absent: the same, with narrower loads",
        "mapping",
        default=None,
    )
    two_stage: TwoStageGemm = about("the library's older kernels; absent: none", "mapping", default=NEVER_TWO_STAGES)
    scaled: ScaledGemms = about("kernels for block-scaled operands; absent: none", "mapping", default=NO_SCALED)
    widening: dict[Narrow, Rate] = about(
        "FMA-pipe instructions that widen an element of weights stored in fewer bits, by their type; absent: none",
        "1",
        default_factory=dict,
    )
    split: SplitGemm = about("how k is split; absent: never", "mapping", default=NEVER_SPLIT)
    gemv: Gemv = about("the matrix-vector kernel; absent: none", "mapping", default=NO_GEMV)
    pipeline: Pipeline = about("how kernels fetch ahead along k", "mapping")
    memory: GemmMemory = about("what kernels make of L2 and DRAM", "mapping")
    setup_round_trips: Trips = about(
        "dependent L2 round trips before the main loop: parameters, instructions, tensor maps", "1"
    )
    reckoned_latency_share: Portion = about(
        "share of DRAM's latency, beyond an L2 hit's, that the library reckons with when it chooses a kernel", "1"
    )
    epilogue_efficiency: Share = about("share of the L2's rate at which tiles of results are written", "1")
    wave_exposure: Share = about(
        "share of a wave's pipeline fill and epilogue that its neighbours do not hide; small for persistent kernels",
        "1",
    )
