"""Operators of neural graphics: grid encodings, small fused networks, per-ray kernels. Conventions: see `ops`.

A query is one point at which a neural field is evaluated. Grid encodings follow Müller et al. 2022, "Instant neural
graphics primitives with a multiresolution hash encoding", arXiv:2201.05989, section 3; resolutions and table sizes are
those of tiny-cuda-nn (NVlabs/tiny-cuda-nn, encodings/grid.h): with the growth b from `base` to `finest`,

    scale_l = base b^l - 1,   resolution_l = ceil(scale_l) + 1,   entries_l = min(roundup8(resolution_l^dims), limit)

limit: 2^log2_entries when hashed, base^dims when tiled, none when dense.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.base import Amount, Count, Operator
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, label_of

COORDINATE_BYTES = 4.0
"""Coordinates are fp32."""
PADDED_OUTPUTS = 16
"""The network's output layer is as wide as the tensor cores' tile, or a multiple of it."""
INDEXINGS = ("hash", "dense", "tiled")


class GridLevels(NamedTuple):
    """The levels of a grid; arrays of shape (operators, levels), zero where an operator has fewer levels."""

    resolution: NDArray[np.float64]
    """Grid points along an axis."""
    entries: NDArray[np.float64]
    """Entries of the level's table."""
    hashed: NDArray[np.bool_]
    """Whether points share entries."""


@dataclass(frozen=True, slots=True)
class GridEncoding(Operator):
    """Features of a point, interpolated from the corners of its cell at every level of a grid.

    flops = queries levels (2^dims (2 features + dims) + 2 dims): a weight for each corner, and a weighted sum.
    min_bytes = queries (4 B dims + levels features b) + sum over levels min(2^dims queries, entries) features b.
    """

    op: ClassVar[str] = "grid_encoding"
    example: ClassVar[str] = "grid_encoding(queries=1048576,dtype=fp16)"

    queries: Count = field(metadata=count_of("points looked up"))
    dims: Count = field(default=3, metadata=count_of("coordinates of a point: 2 or 3"))
    levels: Count = field(default=16, metadata=count_of("resolution levels"))
    features: Count = field(default=2, metadata=count_of("features of an entry"))
    log2_entries: Count = field(default=19, metadata=count_of("base-2 logarithm of a hashed level's most entries"))
    base: Count = field(default=16, metadata=count_of("resolution of the coarsest level"))
    finest: Count = field(default=2048, metadata=count_of("resolution of the finest level"))
    spacing: Count = field(
        default=0,
        metadata=count_of(
            "inverse distance of neighbouring threads' points in cube edges; 0: random points", minimum=0
        ),
    )
    idle: Count = field(
        default=0,
        metadata=count_of("of the points, those of rays that have ended since the last compaction", minimum=0),
    )
    stride_bytes: Count = field(default=12, metadata=count_of("bytes from one point's coordinates to the next"))
    dtype: str = field(default="fp16", metadata=dtype_of("type of table and features"))
    indexing: str = field(default="hash", metadata=label_of("hash, dense or tiled"))

    @property
    def corners(self) -> Amount:
        """Table entries that one query reads at each level."""
        return 2.0**self.dims

    @property
    def entry_bytes(self) -> Amount:
        """Bytes of one table entry [B]."""
        return bytes_of(self.dtype) * self.features

    @property
    def grid(self) -> GridLevels:
        """Resolutions and table sizes of the levels."""
        dims, levels, base, finest = (
            np.atleast_1d(np.asarray(x, np.float64))[:, None] for x in (self.dims, self.levels, self.base, self.finest)
        )
        level = np.arange(int(levels.max()), dtype=np.float64)[None, :]
        growth = (finest / base) ** (1.0 / np.maximum(levels - 1.0, 1.0))
        here = level < levels
        # 1e-9: the finest level's resolution is `finest` whatever the rounding of the power.
        resolution = np.where(here, np.ceil(base * growth**level - 1.0 - 1e-9) + 1.0, 0.0)
        points = np.ceil(resolution**dims / 8.0) * 8.0
        if self.indexing == "hash":
            limit = 2.0 ** np.atleast_1d(np.asarray(self.log2_entries, np.float64))[:, None]
        else:
            limit = base**dims if self.indexing == "tiled" else np.full_like(base, np.inf)
        return GridLevels(resolution, np.minimum(points, limit), (points > limit) & here)

    @property
    def table_bytes(self) -> Amount:
        """Bytes of all levels' tables [B]."""
        return self._per_operator(self.grid.entries.sum(axis=1)) * self.entry_bytes

    @property
    def flops(self) -> Amount:
        per_level = self.corners * (2.0 * self.features + self.dims) + 2.0 * self.dims
        return 1.0 * self.queries * self.levels * per_level

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * self.queries * self.levels * self.entry_bytes

    @property
    def min_bytes(self) -> Amount:
        read = np.atleast_1d(np.asarray(self.corners * self.queries, np.float64))[:, None]
        touched = self._per_operator(np.minimum(read, self.grid.entries).sum(axis=1))
        return COORDINATE_BYTES * self.queries * self.dims + touched * self.entry_bytes + self.output_bytes

    def _per_operator(self, sums: NDArray[np.float64]) -> Amount:
        shapes = (self.queries, self.dims, self.levels, self.base, self.finest, self.log2_entries)
        return sums if any(np.ndim(x) for x in shapes) else float(sums[0])

    def check_relations(self) -> None:
        for name, holds, expected in (
            ("dims", np.isin(self.dims, (2, 3)), "2 or 3"),
            ("levels", np.less_equal(self.levels, 64), "at most 64"),
            ("log2_entries", np.less_equal(self.log2_entries, 40), "at most 40"),
            ("finest", np.greater_equal(self.finest, self.base), f"at least base = {self.base}"),
            ("idle", np.less_equal(self.idle, self.queries), f"at most queries = {self.queries}"),
            ("indexing", self.indexing in INDEXINGS, "hash, dense or tiled"),
        ):
            if not np.all(holds):
                raise ParameterError(self.op, name, expected, str(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class FusedMlp(Operator):
    """A network of `hidden` layers, all `width` wide, whose activations stay on chip between layers.

    The output is padded to a multiple of 16, as tensor cores multiply it.
    flops = 2 queries weights, weights = inputs width + (hidden - 1) width^2 + width outputs.
    min_bytes = (queries (inputs + outputs) + weights) b.
    """

    op: ClassVar[str] = "fused_mlp"
    example: ClassVar[str] = "fused_mlp(queries=1048576,dtype=fp16)"

    queries: Count = field(metadata=count_of("points evaluated"))
    inputs: Count = field(default=32, metadata=count_of("features in"))
    width: Count = field(default=64, metadata=count_of("neurons of a hidden layer"))
    hidden: Count = field(default=2, metadata=count_of("hidden layers"))
    outputs: Count = field(default=3, metadata=count_of("features out, padded to a multiple of 16"))
    dtype: str = field(default="fp16", metadata=dtype_of("type of weights and activations"))

    @property
    def padded_outputs(self) -> Amount:
        """Columns of the output layer that are computed and written."""
        return np.ceil(np.true_divide(self.outputs, PADDED_OUTPUTS)) * PADDED_OUTPUTS

    @property
    def layers(self) -> Count:
        """Matrix products of one query."""
        return self.hidden + 1

    @property
    def weights(self) -> Amount:
        """Elements of all weight matrices."""
        inner = self.inputs + (self.hidden - 1.0) * self.width + self.padded_outputs
        return _plain(1.0 * self.width * inner)

    @property
    def flops(self) -> Amount:
        return 2.0 * self.queries * self.weights

    @property
    def matmul_flops(self) -> Amount:
        return self.flops

    @property
    def output_bytes(self) -> Amount:
        return _plain(bytes_of(self.dtype) * self.queries * self.padded_outputs)

    @property
    def min_bytes(self) -> Amount:
        element = bytes_of(self.dtype)
        return element * self.queries * self.inputs + element * self.weights + self.output_bytes


@dataclass(frozen=True, slots=True)
class RayKernel(Operator):
    """A kernel with one thread for each ray, sample or pixel: its traffic and its instructions are given.

    flops = rays instructions, whatever they compute.  min_bytes = rays (read_bytes + write_bytes).
    """

    op: ClassVar[str] = "ray_kernel"
    example: ClassVar[str] = "ray_kernel(rays=1048576,read_bytes=60,write_bytes=60,instructions=100,dtype=fp32)"

    rays: Count = field(metadata=count_of("threads that work"))
    read_bytes: Count = field(metadata=count_of("bytes that a thread reads"))
    write_bytes: Count = field(metadata=count_of("bytes that a thread writes"))
    instructions: Count = field(metadata=count_of("instructions of a thread"))
    carried_instructions: Count = field(
        default=0,
        metadata=count_of("of those, the ones not needed where the chain of kernels is one kernel", minimum=0),
    )
    dependent_loads: Count = field(
        default=0, metadata=count_of("loads of a thread that each wait for the one before", minimum=0)
    )
    dtype: str = field(default="fp32", metadata=dtype_of("type of the arithmetic"))
    function: str = field(default="rays", metadata=label_of("what is computed"))

    @property
    def flops(self) -> Amount:
        return 1.0 * self.rays * self.instructions

    @property
    def output_bytes(self) -> Amount:
        return 1.0 * self.rays * self.write_bytes

    @property
    def min_bytes(self) -> Amount:
        return 1.0 * self.rays * self.read_bytes + self.output_bytes

    def check_relations(self) -> None:
        if np.any(np.greater(self.carried_instructions, self.instructions)):
            most = f"at most instructions = {self.instructions}"
            raise ParameterError(self.op, "carried_instructions", most, str(self.carried_instructions))


@dataclass(frozen=True, slots=True)
class HostRead(Operator):
    """The host waits for a few words from the device before it launches more: a copy and a synchronisation.

    flops = 0.  min_bytes = 8 B words: read on the device, written on the host.
    """

    op: ClassVar[str] = "host_read"
    example: ClassVar[str] = "host_read(words=1,dtype=fp32)"

    words: Count = field(metadata=count_of("32-bit words"))
    dtype: str = field(default="fp32", metadata=dtype_of("type of a word"))

    @property
    def flops(self) -> Amount:
        return 0.0 * self.words

    @property
    def output_bytes(self) -> Amount:
        return bytes_of(self.dtype) * self.words

    @property
    def min_bytes(self) -> Amount:
        return 2.0 * self.output_bytes


def _plain(amount: Amount) -> Amount:
    """numpy's scalars as Python floats; columns as they are."""
    return amount if np.ndim(amount) else float(amount)
