"""The software that a machine ships with: which kernels its libraries choose from. Part of the machine, so in its YAML.

Nothing here is a measured time. It is what a reader of the kernels' sources would count: tiles, stages, instructions,
dependent memory round trips. The mappings turn it into demands.
"""

from simexplore.archs.schema.library.attention import AttentionLibrary
from simexplore.archs.schema.library.collectives import CollectiveLibrary, Collectives, CustomAllReduce
from simexplore.archs.schema.library.conv import ConvLibrary
from simexplore.archs.schema.library.elementwise import Conversion, ElementwiseLibrary
from simexplore.archs.schema.library.engine import Engine
from simexplore.archs.schema.library.experts import ExpertLibrary, ExpertType
from simexplore.archs.schema.library.gemm import GemmLibrary, ScaledGemm
from simexplore.archs.schema.library.latent import LatentLibrary
from simexplore.archs.schema.library.linear import Fused, LinearLibrary
from simexplore.archs.schema.library.menus import Exponent, Patch, ShapeRange, Tile
from simexplore.archs.schema.quantities import Cycles, Spec, about

__all__ = [
    "AttentionLibrary",
    "CollectiveLibrary",
    "Collectives",
    "ConvLibrary",
    "Conversion",
    "CustomAllReduce",
    "ElementwiseLibrary",
    "Engine",
    "ExpertLibrary",
    "ExpertType",
    "Fused",
    "GemmLibrary",
    "HasLibrary",
    "LatentLibrary",
    "Library",
    "LinearLibrary",
    "Patch",
    "ScaledGemm",
    "ShapeRange",
    "Tile",
]


class Library(Spec):
    """Kernel menus of the vendor's libraries."""

    overlap_exponent: Exponent = about(
        "how well an SM overlaps its resources: the p of t = (sum t_i^p)^(1/p); 1: not at all, large: perfectly", "1"
    )
    barrier_cycles: Cycles = about("a barrier among the warps of a CTA", "clk")
    gemm: GemmLibrary = about("matrix multiplication", "mapping")
    elementwise: ElementwiseLibrary = about("elementwise and row-wise kernels", "mapping")
    attention: AttentionLibrary | None = about("attention; absent: none", "mapping", default=None)
    conv: ConvLibrary | None = about("convolution; absent: none", "mapping", default=None)
    moe: ExpertLibrary | None = about("layers of experts; absent: none", "mapping", default=None)
    mla: LatentLibrary | None = about("attention over a latent cache; absent: none", "mapping", default=None)
    linear: LinearLibrary | None = about("linear attention; absent: none", "mapping", default=None)
    collectives: Collectives = about("collectives between GPUs", "mapping", default=Collectives())


class HasLibrary(Spec):
    """As much of a machine as another engine changes."""

    library: Library = about("kernels of the vendor's libraries and of the engine", "mapping")
