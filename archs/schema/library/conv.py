"""The convolution algorithms of the library; all but the implicit GEMM run on the FMA pipes alone."""

from __future__ import annotations

from typing import Literal

from simexplore.archs.schema.library.menus import Patches, Shapes, Tile, Tiles, Trips
from simexplore.archs.schema.quantities import Count, Seconds, Share, Spec, about


class ImplicitGemm(Spec):
    """The GEMM whose matrix of patches is never in memory."""

    simt_tiles: Tiles = about("CTA tiles on the FMA pipes; tensor cores take those of gemm", "rows x columns")
    efficiency: Share = about("share of the FMA peak that its main loop reaches", "1")


class FusedWinograd(Spec):
    """The Winograd kernel that transforms, multiplies and transforms back."""

    patches: Patches = about("outputs that a CTA computes", "images x rows x columns")
    channels: Count = about("output channels that a CTA computes", "1")
    efficiency: Share = about("share of the FMA peak that its products reach", "1")
    round_trips: Trips = about(
        "dependent L2 round trips of a CTA outside its main loop: first loads, transform back, stores", "1"
    )


class SeparateWinograd(Spec):
    """Winograd with transforms that are kernels of their own."""

    tile: Tile = about("CTA tile of the batched products between the transforms", "rows x columns")
    efficiency: Share = about("share of the FMA peak that these products reach", "1")
    image_group: Count = about("images that the transforms take together; a batch is filled up to it", "1")


class Winograd(Spec):
    """Winograd's algorithm."""

    fused: FusedWinograd = about("in one kernel", "mapping")
    separate: SeparateWinograd = about("with transforms that are kernels of their own", "mapping")
    transform_efficiency: Share = about("share of the bytes that its transforms move which is of use", "1")


class Fft(Spec):
    """Products of Fourier transforms."""

    tiles: Tiles = about("CTA tiles of the complex products", "rows x columns")
    efficiency: Share = about("share of the FMA peak that the complex products reach", "1")
    transform_efficiency: Share = about("share of the bytes that its transforms move which is of use", "1")


class ConvLibrary(Spec):
    """The convolution algorithms, and what calling them costs."""

    rules: Literal["cudnn"] = about("library whose rules say which convolutions an algorithm serves", "text")
    implicit: ImplicitGemm = about("the implicit GEMM", "mapping")
    winograd: Winograd = about("Winograd's algorithm", "mapping")
    fft: Fft = about("Fourier transforms", "mapping")
    call_s: Seconds = about("host time of an eager call up to its first launch, where no other shape was called", "s")
    call_doubling: Shapes = about("other shapes called before that double it; it grows as their square", "1")
