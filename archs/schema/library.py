"""The software that a machine ships with: which kernels its libraries choose from. Part of the machine, so in its YAML.

Nothing here is a measured time. It is what a reader of the kernels' sources would count: tiles, stages, instructions,
dependent memory round trips. The mappings turn it into demands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from simexplore.archs.schema.quantities import Bytes, Capacity, Count, Cycles, Seconds, Share, Spec, about, mistake

Parsed = TypeVar("Parsed")
_TILE_PATTERN = r"^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$"
_PATCH_PATTERN = r"^[1-9][0-9]{0,3}(x[1-9][0-9]{0,3}){2}$"
_RANGE_PATTERN = r"^(m|n|k|mnk) \d{1,15}-\d{0,15}( (m|n|k|mnk) \d{1,15}-\d{0,15}){0,3}$"


def written(pattern: str, example: str) -> Callable[[type[Parsed]], type[Parsed]]:
    """Make a class with a classmethod `parse` one that YAML writes as text; the arguments are for the JSON schema."""

    def core(cls: Any, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ARG001 - pydantic's signature
        return core_schema.no_info_plain_validator_function(cls.parse)

    def told(cls: Any, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:  # noqa: ARG001
        return {"type": "string", "pattern": pattern, "examples": [example]}

    def add(cls: type[Parsed]) -> type[Parsed]:
        hooks: dict[str, Any] = {"__get_pydantic_core_schema__": core, "__get_pydantic_json_schema__": told}
        for name, hook in hooks.items():
            setattr(cls, name, classmethod(hook))
        return cls

    return add


@written(_TILE_PATTERN, "128x256")
class Tile(NamedTuple):
    """Rows and columns of the output that one CTA computes; `128x256` in YAML."""

    m: int
    n: int

    @classmethod
    def parse(cls, value: object, _info: ValidationInfo | None = None) -> Tile:
        """A tile from its text."""
        if isinstance(value, Tile):
            return value
        rows, times, columns = value.partition("x") if isinstance(value, str) else ("", "", "")
        if not (times and rows.isdecimal() and columns.isdecimal() and 0 < int(rows) < 10000 > int(columns) > 0):
            raise mistake("a tile, rows x columns such as '128x256'", repr(value))
        return cls(int(rows), int(columns))


@written(_PATCH_PATTERN, "4x8x4")
class Patch(NamedTuple):
    """Outputs that one CTA of a convolution computes, by image, row and column; `4x8x4` in YAML."""

    images: int
    rows: int
    columns: int

    @classmethod
    def parse(cls, value: object, _info: ValidationInfo | None = None) -> Patch:
        """A patch from its text."""
        if isinstance(value, Patch):
            return value
        sides = value.split("x") if isinstance(value, str) else []
        if not (len(sides) == 3 and all(side.isdecimal() and 0 < int(side) < 10000 for side in sides)):
            raise mistake("a patch, images x rows x columns such as '4x8x4'", repr(value))
        return cls(*(int(side) for side in sides))


@written(_RANGE_PATTERN, "m 8-16 n 2048- k 512-768")
class ShapeRange(NamedTuple):
    """GEMMs of some sizes, from the least to the most of m, n, k and of m n k; `m 8-16 n 2048- k 512-768` in YAML."""

    m: tuple[float, float] = (0.0, inf)
    n: tuple[float, float] = (0.0, inf)
    k: tuple[float, float] = (0.0, inf)
    mnk: tuple[float, float] = (0.0, inf)

    @property
    def limits(self) -> tuple[tuple[str, tuple[float, float]], ...]:
        """Each size with its least and most."""
        return tuple(self._asdict().items())

    @classmethod
    def parse(cls, value: object, _info: ValidationInfo | None = None) -> ShapeRange:
        """A range from its text."""
        if isinstance(value, ShapeRange):
            return value
        words = value.split(" ") if isinstance(value, str) and re.fullmatch(_RANGE_PATTERN, value) else []
        bounds = [word.split("-") for word in words[1::2]]
        limits = {
            name: (float(least), float(most or inf)) for name, (least, most) in zip(words[::2], bounds, strict=True)
        }
        if not limits or 2 * len(limits) != len(words) or any(least > most for least, most in limits.values()):
            raise mistake(
                "sizes of m, n, k and mnk from least to most, such as 'm 8-16 n 2048- k 512-768'", repr(value)
            )
        return cls(**limits)


Patches = Annotated[tuple[Patch, ...], Field(min_length=1, strict=False)]
Tiles = Annotated[tuple[Tile, ...], Field(min_length=1, strict=False)]
ShapeRanges = Annotated[tuple[ShapeRange, ...], Field(strict=False)]
Splits = Annotated[tuple[Count, ...], Field(min_length=1, strict=False)]
Portion = Annotated[float, Field(ge=0, le=1)]
Exponent = Annotated[float, Field(ge=1, le=64)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Instructions = Annotated[float, Field(ge=0, le=100_000)]
Trips = Annotated[float, Field(ge=0, le=1000)]
Shapes = Annotated[float, Field(ge=1, le=1e9)]


class GemmLibrary(Spec):
    """The GEMM kernels that the vendor's library picks from; the mapping tries them all and takes the fastest."""

    instruction: Literal["mma_sync", "wgmma", "tcgen05"] = about(
        "tensor instruction: mma_sync reads its operands from registers, wgmma from shared memory, tcgen05 from there "
        "too, twice as many rows at once, and keeps its sums in tensor memory",
        "text",
    )
    tiles: Tiles = about(
        "CTA tiles of the tensor-core kernels; but for mma_sync also turned, and every narrower one in steps of 8",
        "rows x columns",
    )
    simt_tiles: Tiles = about("CTA tiles of the kernels that run on the FMA pipes", "rows x columns")
    simt_overlap_exponent: Exponent = about(
        "overlap_exponent of the kernels on the FMA pipes, whose loads and products take issue slots from each other",
        "1",
    )
    modest_tiles: ShapeRanges = about(
        "sizes for which the library takes no tile of more than 128 x 128 elements", "m n k mnk"
    )
    two_stage: ShapeRanges = about(
        "sizes for which the library takes kernels that fetch one k-step ahead and no more, its older ones", "m n k mnk"
    )
    two_stage_overlap_exponent: Exponent = about("overlap_exponent of these kernels, which wait for each k-step", "1")
    two_stage_round_trips: Trips = about("setup_round_trips of these kernels", "1")
    overlap_exponent: Exponent = about("overlap_exponent of GEMMs on the tensor cores", "1")
    dram_overlap_exponent: Exponent = about(
        "how well DRAM traffic of GEMMs overlaps their other work, as overlap_exponent does", "1"
    )
    k_tile_bytes: Capacity = about("bytes of k that one pipeline stage holds for each row or column of the tile", "B")
    max_stages: Count = about("most pipeline stages in shared memory", "1")
    split_k: Splits = about("numbers of CTAs among which k may be split", "1")
    split_k_reduction: Literal["kernel", "in_place"] = about(
        "who adds the partial sums: a second kernel, or the CTAs themselves", "text"
    )
    split_min_products: Count = about("fewest products m n k for which the library splits k", "1")
    split_always_depth: Count = about("k from which it splits those with fewer products too", "1")
    split_reluctance_cycles: Cycles = about("what the library takes splitting to cost beyond what it does", "clk")
    reckoned_latency_share: Portion = about(
        "share of DRAM's latency, beyond an L2 hit's, that the library reckons with when it chooses a kernel", "1"
    )
    multicast: Count = about("CTAs of a cluster to which one L2 read of an operand is delivered", "1")
    epilogue_efficiency: Share = about("share of the L2's rate at which tiles of results are written", "1")
    wave_exposure: Share = about(
        "share of a wave's pipeline fill and epilogue that its neighbours do not hide; small for persistent kernels",
        "1",
    )
    tensor_efficiency: Share = about("share of the tensor cores' rate that main loops reach", "1")
    flight_share: Share = about("share of the pipeline's stages, but the one computed on, that is in flight", "1")
    l2_share: Rate = about("share of the usable L2 that operands can fill: SMs of both partitions keep copies", "1")
    dirty_share: Rate = about(
        "share of the usable L2 that operands and results fill before results are written back", "1"
    )
    l2_rate: Rate = about("L2 read rate of tile fetches over that of streams: multicast and coalescing raise it", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")
    setup_round_trips: Trips = about(
        "dependent L2 round trips before the main loop: parameters, instructions, tensor maps", "1"
    )
    cold_round_trips: Trips = about(
        "dependent DRAM accesses before a kernel whose operands miss L2 is served at full rate", "1"
    )
    quantize_kernels: Annotated[float, Field(ge=2, le=100)] = about(
        "kernels that quantise the activations of a narrow GEMM: largest value, scale, conversion, …", "1"
    )
    gemv: bool = about("whether one row of C is computed by a matrix-vector kernel where that is faster", "text")
    gemv_round_trips: Trips = about("setup_round_trips of that kernel", "1")
    gemv_unroll: Rate = about("16-byte loads of a column that each of its threads keeps in flight", "1")
    gemv_dram_rate: Rate = about("DRAM rate of that kernel over that of streams", "1")
    reduction_round_trips: Trips = about("dependent L2 round trips of the kernel that adds split-K partial sums", "1")


class AttentionLibrary(Spec):
    """The fused attention kernels of the serving engine."""

    overlap_exponent: Exponent = about(
        "overlap_exponent of the attention kernels, whose products and softmax wait for one another", "1"
    )
    decode_overlap_exponent: Exponent = about("the same of the decode kernels, whose loads run ahead", "1")
    prefill_tiles: dict[str, Tile] = about(
        "query rows x keys of a prefill CTA's step, by the largest head dimension served, quoted: '128'", "rows x keys"
    )
    prefill_short_keys: Count = about("most keys for which prefill takes the kernels of prefill_short_tiles", "1")
    prefill_short_tiles: dict[str, Tile] = about("prefill_tiles of contexts of that many keys", "rows x keys")
    narrow_prefill_heads: Splits = about(
        "head dimensions whose prefill multiplies 8-bit operands; others are widened", "1"
    )
    decode_kv_tile: Count = about("keys of one step of the grouped decode kernel", "1")
    split_tokens: Count = about("keys for each of which the grouped decode kernel would have a CTA", "1")
    split_root: Rate = about("its splits are at most the root of this times the CTAs that split_tokens asks for", "1")
    grouped_ctas_per_sm: Rate = about("CTAs per SM up to which the grouped decode kernel splits", "1")
    grouped_least_ctas_per_sm: Rate = about(
        "CTAs per SM, one for each split_tokens keys, below which the one-head kernel serves grouped queries too", "1"
    )
    grouped_load_bytes: Bytes = about("bytes of a key that the grouped decode kernel loads at once", "B")
    head_threads: Count = about("threads of the smallest CTA of the one-head decode kernel", "1")
    head_instructions: Rate = about("FMA-pipe instructions of that kernel for each product: conversion, product", "1")
    l2_rate: Rate = about("L2 read rate over that of streams", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")
    tensor_efficiency: Share = about("share of the tensor cores' rate that prefill reaches", "1")
    softmax_instructions: Trips = about("FMA-pipe instructions per score: scale, maximum, subtract, sum, convert", "1")
    setup_round_trips: Trips = about("dependent L2 round trips before the main loop", "1")
    step_round_trips: Trips = about("L2 round trips that each step over a tile of keys waits for", "1")
    prefill_round_trips: Trips = about("dependent L2 round trips of a prefill CTA outside its loop", "1")
    prefill_tail_share: Share = about("share of what its longest CTA takes beyond others that prefill waits for", "1")
    grouped_round_trips: Trips = about(
        "dependent L2 round trips outside its loop of a decode CTA that computes all query heads of a KV head", "1"
    )
    narrow_grouped_round_trips: Trips = about("the same for an 8-bit KV cache, by a kernel of its own", "1")
    grouped_step_round_trips: Trips = about("L2 round trips that each of its steps over a tile of keys waits for", "1")
    narrow_step_round_trips: Trips = about("grouped_step_round_trips for an 8-bit KV cache", "1")
    narrow_merge_round_trips: Trips = about("merge_round_trips for an 8-bit KV cache", "1")
    narrow_kv_tile: Count = about("decode_kv_tile for an 8-bit KV cache where its products are wgmma", "1")
    narrow_max_splits: Count = about("most CTAs among which the keys of an 8-bit KV cache are split", "1")
    narrow_fused_head_dim: Count = about(
        "least head dimension whose grouped kernel for an 8-bit KV cache rotates and appends by itself", "1"
    )
    narrow_conversions: Trips = about(
        "special-function operations with which the grouped kernel widens an element of an 8-bit KV cache", "1"
    )
    narrow_head_conversions: Trips = about("the same of the one-head kernel", "1")
    narrow_cta_instructions: Instructions = about(
        "instructions of each warp outside its loop, of the grouped kernel for an 8-bit KV cache with wgmma", "1"
    )
    narrow_head_round_trips: Trips = about("head_round_trips for an 8-bit KV cache", "1")
    head_round_trips: Trips = about("the same of a decode CTA that computes one query head", "1")
    head_step_round_trips: Trips = about("L2 round trips that each of its steps over a tile of keys waits for", "1")
    idle_cta_share: Share = about("cost of a decode CTA whose keys are all outside the window, over another's", "1")
    merge_round_trips: Trips = about("dependent L2 round trips of merging partial results", "1")
    partial_round_trips: Trips = about("those of a grouped CTA that hands on a partial result", "1")
    merge_step_round_trips: Trips = about("the same for each of the grouped kernel's partial results", "1")
    head_merge_round_trips: Trips = about("merge_round_trips of the one-head kernel", "1")
    max_group: Count = about("most query heads per KV head that the grouped decode kernel takes", "1")
    queued_share: Share = about("share of a decode CTA's fixed cost that is queueing behind other SMs' CTAs", "1")
    decode_l2_rate: Rate = about("L2 read rate of decode over that of streams: heads of a group share lines", "1")
    decode_dram_rate: Rate = about("DRAM rate of decode over that of streams", "1")
    decode_flight_share: Share = about("share of a decode CTA's KV tiles that is in flight", "1")
    module_kernels_prefill: Trips = about("kernels of the engine's prefill module, the attention kernel included", "1")
    module_kernels_decode: Trips = about("kernels of the engine's decode module, the attention kernel included", "1")


class ConvLibrary(Spec):
    """The convolution algorithms of the library; all but the implicit GEMM run on the FMA pipes alone."""

    simt_tiles: Tiles = about(
        "CTA tiles of implicit GEMMs on the FMA pipes; tensor cores take those of gemm", "rows x columns"
    )
    implicit_efficiency: Share = about("share of the FMA peak that the main loop of an implicit GEMM reaches", "1")
    winograd_patches: Patches = about(
        "outputs that a CTA of the fused Winograd kernels computes", "images x rows x columns"
    )
    winograd_channels: Count = about("output channels that a CTA of the fused Winograd kernel computes", "1")
    winograd_efficiency: Share = about("share of the FMA peak that the fused Winograd kernel's products reach", "1")
    winograd_round_trips: Trips = about(
        "dependent L2 round trips of such a CTA outside its main loop: first loads, transform back, stores", "1"
    )
    product_tile: Tile = about("CTA tile of the batched products between separate transforms", "rows x columns")
    product_efficiency: Share = about("share of the FMA peak that these products reach", "1")
    image_group: Count = about(
        "images that the separate Winograd transforms take together; a batch is filled up to it", "1"
    )
    fft_tiles: Tiles = about("CTA tiles of the complex products between Fourier transforms", "rows x columns")
    fft_efficiency: Share = about("share of the FMA peak that the complex products reach", "1")
    transform_efficiency: Share = about("share of the bytes that Winograd's transforms move which is of use", "1")
    fft_transform_efficiency: Share = about("the same of Fourier transforms", "1")
    call_s: Seconds = about("host time of an eager call up to its first launch, where no other shape was called", "s")
    call_doubling: Shapes = about("other shapes called before that double it; it grows as their square", "1")


class ElementwiseLibrary(Spec):
    """Elementwise and row-wise kernels."""

    threads_per_cta: Count = about("threads of a CTA", "1")
    bytes_per_thread: Bytes = about("bytes that a thread loads at once (16: one vector load)", "B")
    l2_rate: Rate = about("L2 read rate over l2.bandwidth", "1")
    loads_in_flight: Rate = about("independent loads a thread issues before it uses the first", "1")
    setup_round_trips: Trips = about("dependent L2 round trips before the first load", "1")
    norm_threads: Count = about("threads of a CTA that normalises a row", "1")
    softmax_threads: Count = about("most threads of a CTA that computes the softmax of a row", "1")
    softmax_registers: Count = about("elements of a row up to which a softmax holds it in registers", "1")
    layernorm_passes: Count = about("times that a layer norm reads its row: 2 where one finds mean and variance", "1")
    rows_from: Literal["l1", "l2"] = about("cache that a row is read again from", "text")
    row_share: Rate = about("share of the usable L2 that rows which are read again can fill", "1")
    row_sharpness: Exponent = about("eviction_sharpness of such rows, of CTAs in all phases of their work", "1")
    conversion_ctas: Count = about("CTAs of a conversion by a known scale, whatever its size", "1")
    conversion_instructions: Rate = about("instructions of that kernel for each element", "1")
    conversion_round_trips: Trips = about("L2 round trips of its CTAs that their work overlaps", "1")


class Library(Spec):
    """Kernel menus of the vendor's libraries."""

    overlap_exponent: Exponent = about(
        "how well an SM overlaps its resources: the p of t = (sum t_i^p)^(1/p); 1: not at all, large: perfectly", "1"
    )
    barrier_cycles: Cycles = about("a barrier among the warps of a CTA", "clk")
    gemm: GemmLibrary = about("matrix multiplication", "mapping")
    attention: AttentionLibrary = about("attention", "mapping")
    conv: ConvLibrary = about("convolution", "mapping")
    elementwise: ElementwiseLibrary = about("elementwise and row-wise kernels", "mapping")
