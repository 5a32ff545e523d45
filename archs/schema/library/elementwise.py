"""Elementwise and row-wise kernels, and conversions."""

from __future__ import annotations

from typing import Literal

from simexplore.archs.schema.library.menus import Exponent, Rate, Trips
from simexplore.archs.schema.quantities import Capacity, Count, Spec, about


class Rowwise(Spec):
    """Kernels that reduce a row and read it again."""

    rules: Literal["torch"] = about("library whose rules say how rows are laid out over CTAs", "text")
    norm_threads: Count = about("threads of a CTA that normalises a row", "1")
    softmax_threads: Count = about("most threads of a CTA that computes the softmax of a row", "1")
    softmax_registers: Count = about("elements of a row up to which a softmax holds it in registers", "1")
    layernorm_passes: Count = about("times that a layer norm reads its row: 2 where one finds mean and variance", "1")
    again_from: Literal["l1", "l2"] = about("cache that a row is read again from", "text")
    l2_share: Rate = about("share of the usable L2 that rows which are read again can fill", "1")
    eviction_sharpness: Exponent = about("l2.eviction_sharpness of such rows, of CTAs in all phases of their work", "1")


class Conversion(Spec):
    """The kernel that converts a matrix by a known scale."""

    ctas: Count = about("CTAs, whatever the size", "1")
    instructions: Rate = about("instructions for each element", "1")
    round_trips: Trips = about("L2 round trips of its CTAs that their work overlaps", "1")


class ElementwiseLibrary(Spec):
    """Elementwise and row-wise kernels. The first five numbers are of all of them."""

    threads_per_cta: Count = about("threads of a CTA", "1")
    bytes_per_thread: Capacity = about("bytes that a thread loads at once (16: one vector load)", "B")
    l2_rate: Rate = about("L2 read rate over l2.bandwidth", "1")
    loads_in_flight: Rate = about("independent loads a thread issues before it uses the first", "1")
    setup_round_trips: Trips = about("dependent L2 round trips before the first load", "1")
    rowwise: Rowwise = about("kernels that reduce rows", "mapping")
    conversion: Conversion | None = about("conversion by a known scale; absent: none", "mapping", default=None)
