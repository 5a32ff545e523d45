"""The kernels of linear attention: short convolutions, scans of prompts by chunks, and steps of states."""

from __future__ import annotations

from typing import Literal

from simexplore.archs.schema.library.menus import Exponent, Rate, Trips
from simexplore.archs.schema.quantities import Count, Cycles, Share, Spec, about


class Convolution(Spec):
    """Causal convolutions of a few taps."""

    rules: Literal["rows", "tokens"] = about(
        "how a prompt is divided: rows: a CTA takes a channel of a sequence; tokens: some tokens of many channels",
        "text",
    )
    setup_round_trips: Trips = about("dependent L2 round trips before the first load", "1")
    round_trips: Trips = about("dependent L2 round trips of a CTA outside its loop", "1")
    instructions: Rate = about("instructions for each element of the result", "1")
    overlap_exponent: Exponent = about("overlap_exponent within an SM, where a load waits for the store before it", "1")


class Step(Spec):
    """The kernel that reads states, moves them on by a token and writes them."""

    value_columns: Count = about("columns of a head's state that a CTA, a warp, holds", "1")
    setup_round_trips: Trips = about("dependent L2 round trips before the first load", "1")
    round_trips: Trips = about("dependent L2 round trips of a CTA beside its states' load", "1")
    instructions: Rate = about("instructions for each element of the state", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")


class Chunked(Spec):
    """Scans as chains of kernels: all chunks at once, but for the one that carries states from chunk to chunk."""

    chunk: Count = about("tokens of a chunk", "1")
    value_columns: Count = about("columns of a head's state that a CTA carries", "1")
    setup_round_trips: Trips = about("dependent L2 round trips of each kernel before its first load", "1")
    round_trips: Trips = about("dependent L2 round trips of a CTA outside its loop", "1")
    step_round_trips: Trips = about("L2 round trips that each chunk waits for where states are carried", "1")
    inverse: Literal["apart", "within"] = about(
        "who inverts the four blocks of a chunk's products: a CTA each; or the CTA that multiplied, one after another",
        "text",
    )
    row_cycles: Cycles = about("latency of a row of a block that is inverted, which waits for those before", "clk")
    tensor_efficiency: Share = about("share of the tensor cores' rate that products of chunks reach", "1")
    overlap_exponent: Exponent = about("overlap_exponent within an SM, where products wait for one another", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")


class Fused(Spec):
    """A scan as one kernel, whose CTA takes a sequence's head from its first chunk to its last."""

    chunk: Count = about("tokens of a chunk", "1")
    value_columns: Count = about("columns of a head's state that a CTA carries", "1")
    warps: Count = about("warps of a CTA", "1")
    kernels: Count = about("kernels of a scan, those that prepare it included", "1")
    setup_round_trips: Trips = about("dependent L2 round trips before the first load", "1")
    round_trips: Trips = about("dependent L2 round trips of a CTA outside its loop", "1")
    step_cycles: Cycles = about("latency of a chunk's products, each of which waits for another", "clk")
    tensor_efficiency: Share = about("share of the tensor cores' rate that products of chunks reach", "1")
    dram_rate: Rate = about("DRAM rate over that of streams", "1")


class LinearLibrary(Spec):
    """Linear attention of a serving engine."""

    convolution: Convolution = about("short convolutions", "mapping")
    step: Step = about("states by a token at a time", "mapping")
    chunked: Chunked = about("scans of prompts as chains of kernels", "mapping")
    fused_gdn: Fused | None = about(
        "gated delta networks' scan as one kernel; absent: chunked", "mapping", default=None
    )
    fused_kda: Fused | None = about("Kimi's delta attention's; absent: chunked", "mapping", default=None)
