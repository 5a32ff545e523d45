"""The software that a machine ships with: which kernels its libraries choose from. Part of the machine, so in its YAML.

Nothing here is a measured time. It is what a reader of the kernels' sources would count: tiles, stages, instructions,
dependent memory round trips. The mappings turn it into demands.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from simexplore.archs.quantities import Bytes, Capacity, Count, Cycles, Seconds, Share, Spec, about, mistake

_TILE_PATTERN = r"^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$"


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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "pattern": _TILE_PATTERN, "examples": ["128x256"]}


Tiles = Annotated[tuple[Tile, ...], Field(min_length=1, strict=False)]
Splits = Annotated[tuple[Count, ...], Field(min_length=1, strict=False)]
Exponent = Annotated[float, Field(ge=1, le=64)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Instructions = Annotated[float, Field(ge=0, le=100_000)]
Trips = Annotated[float, Field(ge=0, le=1000)]


class GemmLibrary(Spec):
    """The GEMM kernels that the vendor's library picks from; the mapping tries them all and takes the fastest."""

    instruction: Literal["mma_sync", "wgmma"] = about(
        "tensor instruction: mma_sync reads its operands from registers, wgmma from shared memory", "text"
    )
    tiles: Tiles = about(
        "CTA tiles of the tensor-core kernels; with wgmma also turned, and every narrower one in steps of 8",
        "rows x columns",
    )
    simt_tiles: Tiles = about("CTA tiles of the kernels that run on the FMA pipes", "rows x columns")
    simt_overlap_exponent: Exponent = about(
        "overlap_exponent of the kernels on the FMA pipes, whose loads and products take issue slots from each other",
        "1",
    )
    k_tile_bytes: Capacity = about("bytes of k that one pipeline stage holds for each row or column of the tile", "B")
    max_stages: Count = about("most pipeline stages in shared memory", "1")
    split_k: Splits = about("numbers of CTAs among which k may be split", "1")
    split_k_reduction: Literal["kernel", "in_place"] = about(
        "who adds the partial sums: a second kernel, or the CTAs themselves", "text"
    )
    multicast: Count = about("CTAs of a cluster to which one L2 read of an operand is delivered", "1")
    epilogue_efficiency: Share = about("share of the L2's write rate at which tiles of results are written", "1")
    wave_exposure: Share = about(
        "share of a wave's pipeline fill and epilogue that its neighbours do not hide; small for persistent kernels",
        "1",
    )
    tensor_efficiency: Share = about("share of the tensor cores' rate that main loops reach", "1")
    flight_share: Share = about("share of the pipeline's stages, but the one computed on, that is in flight", "1")
    l2_share: Rate = about("share of the usable L2 that operands can fill: SMs of both partitions keep copies", "1")
    l2_rate: Rate = about("L2 read rate of tile fetches over that of streams: multicast and coalescing raise it", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")
    setup_round_trips: Trips = about(
        "dependent L2 round trips before the main loop: parameters, instructions, tensor maps", "1"
    )
    quantize_kernels: Annotated[float, Field(ge=2, le=100)] = about(
        "kernels that quantise the activations of a narrow GEMM: largest value, scale, conversion, …", "1"
    )
    gemv: bool = about("whether one row of C is computed by a matrix-vector kernel where that is faster", "text")
    gemv_round_trips: Trips = about("setup_round_trips of that kernel", "1")
    gemv_unroll: Rate = about("16-byte loads of a column that each of its threads keeps in flight", "1")
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
    winograd_patch: Tile = about(
        "outputs of one image that a CTA of the fused Winograd kernel computes", "rows x columns"
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
    fft_tile: Tile = about("CTA tile of the complex products between Fourier transforms", "rows x columns")
    fft_efficiency: Share = about("share of the FMA peak that the complex products reach", "1")
    transform_efficiency: Share = about("share of the bytes that separate transforms move which is of use", "1")
    first_call_s: Seconds = about("host time of choosing an algorithm for a shape that is met for the first time", "s")


class ElementwiseLibrary(Spec):
    """Elementwise and row-wise kernels."""

    threads_per_cta: Count = about("threads of a CTA", "1")
    bytes_per_thread: Bytes = about("bytes that a thread loads at once (16: one vector load)", "B")
    l2_rate: Rate = about("L2 read rate over l2.bandwidth", "1")
    loads_in_flight: Rate = about("independent loads a thread issues before it uses the first", "1")
    setup_round_trips: Trips = about("dependent L2 round trips before the first load", "1")
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
