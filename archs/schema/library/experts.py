"""The kernels of a layer of experts: routing, permutation, and two grouped matrix products."""

from __future__ import annotations

from typing import Literal

from simexplore.archs.schema.library.menus import Exponent, Rate, Tiles, Trips
from simexplore.archs.schema.quantities import Count, Share, Spec, about


class ExpertType(Spec):
    """What differs between layers by the type of their weights."""

    kernels: Trips = about("kernels more than a layer of 16-bit weights has", "1")
    tensor_efficiency: Share = about("share of the tensor cores' rate that the grouped products reach", "1")
    dram_overlap_exponent: Exponent = about(
        "how well the products' DRAM traffic overlaps their other work, as overlap_exponent does", "1"
    )
    stream_rate: Rate = about("L2 and DRAM rates of the kernels between the products over those of streams", "1")


class ExpertLibrary(Spec):
    """The fused layer of experts of a serving engine; what its products share with others' is `gemm`'s."""

    rules: Literal["cutlass", "triton"] = about("engine whose rules say which kernels a layer is made of", "text")
    tiles: Tiles = about("CTA tiles of the grouped products", "tokens x features")
    route_kernels: Count = about("kernels that choose experts and sort tokens by them", "1")
    route_round_trips: Trips = about("dependent L2 round trips of each of them", "1")
    route_instructions: Trips = about("instructions for each token's logit of an expert, in all of them", "1")
    setup_round_trips: Trips = about("dependent L2 round trips of a grouped product before its first CTA computes", "1")
    l2_rate: Rate = about("L2 read rate of the grouped products over that of streams", "1")
    dram_rate: Rate = about("DRAM rate of the grouped products over that of streams", "1")
    sum_cost: Rate = about("L2 traffic of a result that is added to others in place, over that of one written", "1")
    wide: ExpertType = about("weights of 16 bits and more", "mapping")
    narrow: ExpertType = about("weights of 8 bits and fewer with a scale for all of a matrix", "mapping")
    block: ExpertType = about("the same with scales of blocks", "mapping")
    scaled: ExpertType = about("values that share scales which the tensor cores take: mxfp8, mxfp4, nvfp4", "mapping")
    widened: ExpertType = about("weights stored in fewer bits than they are multiplied in", "mapping")
