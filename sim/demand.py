"""What one launch asks of one device: the meeting point of operator physics and machine physics.

A `KernelDemand` is a grid of identical CTAs; a `LinkDemand` is bytes over a link; a `CollectiveDemand` is what one GPU
does of an exchange among several. Mappings (operator → demand) make
them. Each kind knows two things: how long it takes alone (`sim.estimate`), and how a device plays it (`sim.play`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

RESOURCES = ("tensor", "fma", "special", "shared", "l2", "dram")
"""What kernels share on a GPU; each is 1.0 when the whole machine's is in use."""


def _nothing() -> FloatArray:
    """The work of most kernels on most resources."""
    return np.zeros((1, 1))


def _none() -> FloatArray:
    """What a column of collectives lacks."""
    return np.zeros(1)


def _whole() -> FloatArray:
    return np.ones(1)


def _no_limit() -> FloatArray:
    return np.full(1, np.inf)


def _always() -> BoolArray:
    return np.ones((1, 1), dtype=np.bool_)


class Symbolic:
    """What stands for an array while the physics is recorded (`sim.estimate.compiled`)."""

    __slots__ = ()


ARRAYS = (np.ndarray, Symbolic)


@dataclass(frozen=True)
class Part:
    """A record whose fields are arrays, or numbers and names that all rows and candidates share."""

    def map(self, function: Callable[[Any], Any]) -> Self:
        """The same with `function` applied to each array, also to those in tuples and in parts of it."""
        values = dict(vars(self))
        for name, value in values.items():
            if isinstance(value, ARRAYS):
                values[name] = function(value)
            elif isinstance(value, Part):
                values[name] = value.map(function)
            elif isinstance(value, tuple) and value:
                values[name] = tuple(function(array) for array in value)
        return type(self)(**values)

    def arrays(self) -> list[NDArray[Any]]:
        """All arrays of this record and of the parts in it."""
        found: list[Any] = []
        for value in vars(self).values():
            if isinstance(value, ARRAYS):
                found.append(value)
            elif isinstance(value, Part):
                found += value.arrays()
            elif isinstance(value, tuple):
                found += value
        return found

    def of_rows(self, rows: NDArray[np.intp]) -> Self:
        """The same for some of the rows."""
        return self.map(lambda x: x[rows] if len(x) > 1 else x)


@dataclass(frozen=True)
class Grid(Part):
    """The CTAs of a kernel, and what each of them reserves of an SM: together these set the occupancy."""

    ctas: FloatArray
    warps_per_cta: FloatArray
    registers_per_thread: FloatArray
    shared_bytes_per_cta: FloatArray
    """Shared memory that a CTA reserves [B]."""


@dataclass(frozen=True)
class Work(Part):
    """What one CTA does on each resource; it counts what the hardware does, padding included."""

    tensor_dtype: str = "fp16"
    fma_dtype: str = "fp32"
    activity: float = 1.0
    """Switching that the operands cause over that of random bits; 0: constants, of which no bit switches."""
    tensor_ops: FloatArray = field(default_factory=_nothing)
    """Tensor-core operations (a multiply-add is two)."""
    padding_ops: FloatArray = field(default_factory=_nothing)
    """Those of them on zeros that fill up a tile, where next to nothing switches."""
    fma_ops: FloatArray = field(default_factory=_nothing)
    special_ops: FloatArray = field(default_factory=_nothing)
    """Special-function operations (exponentials, reciprocals)."""
    shared_bytes: FloatArray = field(default_factory=_nothing)
    """Shared-memory traffic [B]."""
    l2_read_bytes: FloatArray = field(default_factory=_nothing)
    l2_write_bytes: FloatArray = field(default_factory=_nothing)
    """Traffic between SM and L2 [B]."""
    dram_read_bytes: FloatArray = field(default_factory=_nothing)
    dram_write_bytes: FloatArray = field(default_factory=_nothing)
    """Traffic between L2 and DRAM [B]: what misses, and what is written back."""
    epilogue_bytes: FloatArray = field(default_factory=_nothing)
    """Part of `l2_write_bytes` that is written after the main loop has ended, so not overlapped with it [B]."""

    @property
    def l2_bytes(self) -> FloatArray:
        """All traffic between SM and L2 [B]."""
        return self.l2_read_bytes + self.l2_write_bytes

    @property
    def dram_bytes(self) -> FloatArray:
        """All traffic between L2 and DRAM [B]."""
        return self.dram_read_bytes + self.dram_write_bytes


@dataclass(frozen=True)
class Latency(Part):
    """What a kernel waits for, in cycles of the SM clock, and what it keeps in flight meanwhile."""

    bytes_in_flight: FloatArray = field(default_factory=_nothing)
    """Loads that a CTA keeps outstanding [B] (Little's law); 0 where it does not load."""
    chain_cycles: FloatArray = field(default_factory=_nothing)
    """Dependent latency inside a CTA that its own throughput overlaps (k-steps waiting for one another)."""
    exposed_cycles: FloatArray = field(default_factory=_nothing)
    """Latency per wave that nothing overlaps: pipeline fill, barriers, the last store."""
    setup_cycles: FloatArray = field(default_factory=_nothing)
    """Latency once a kernel before its first CTA computes: parameters, descriptors, instructions."""
    straggler_share: FloatArray = field(default_factory=_nothing)
    """What the longest CTA takes beyond the others, over what one alone takes: waited for once, at the end."""
    extra_launches: FloatArray = field(default_factory=_nothing)
    """Helper kernels launched with this one (e.g. a split-K reduction), each costing one more launch."""
    helper_cycles: float = 0.0
    """Latency of each of `extra_launches` beside its launch."""
    ramp_cycles: float = 0.0
    """Latency until DRAM serves a kernel at full rate, were all that it loads to come from there."""
    miss_share: float = 1.0
    """Share of what DRAM's latency is beyond an L2 hit's that loads which miss wait for."""
    host_s: FloatArray | float = 0.0
    """Time of the host before the launch, during which the GPU waits [s]."""


@dataclass(frozen=True)
class Overlap(Part):
    """How near a kernel comes to the machine's rates, and how well its parts hide one another.

    An exponent that is None is `library.overlap_exponent`; see `hardware.timing` for the equations.
    """

    within_sm: float | None = None
    """Exponent of the units of an SM within this kernel, where it is not as SMs and L2 do."""
    sm_l2: float | None = None
    """Exponent of SMs and L2."""
    dram: float | None = None
    """Exponent of DRAM traffic and the kernel's other work, where it is not as SMs and L2 do."""
    wave_exposure: float = 1.0
    """Share of each further wave's fill, exposed latency and epilogue that the waves around it do not hide."""
    tensor_efficiency: float = 1.0
    """Share of the tensor cores' rate at which a main loop that nothing else limits runs."""
    epilogue_efficiency: float = 1.0
    """Share of the write rates at which `epilogue_bytes` are written."""
    l2_rate: float = 1.0
    """L2 read rate of this kernel over that of streaming ones: multicast and coalesced requests raise it."""
    dram_rate: float = 1.0
    """DRAM rate of this kernel over that of streaming ones."""


@dataclass(frozen=True)
class Choice(Part):
    """What a library goes by when it chooses among the candidates, where that is not what happens then."""

    offered: BoolArray = field(default_factory=_always)
    """Whether the library has this candidate for the row at all."""
    reckoned_read_bytes: FloatArray = field(default_factory=_nothing)
    """DRAM reads per CTA [B] that it reckons with beyond those that happen."""
    reckoned_cycles: FloatArray = field(default_factory=_nothing)
    """Latency [clk] that it reckons with beyond what there is."""
    reckoned_miss_share: float = 1.0
    """The `Latency.miss_share` that it reckons with: 0 where it weighs traffic alone."""
    label: tuple[FloatArray, ...] = ()
    """What the candidates are, for people: (tile_m, tile_n, split_k) of a GEMM."""


@dataclass(frozen=True)
class KernelDemand(Part):
    """One kernel launch; its arrays broadcast to one shape, (rows, candidates) while tiles are being chosen."""

    kernel: str
    """What runs, e.g. `gemm`, `split_kv`, `merge`."""
    grid: Grid
    work: Work = field(default_factory=Work)
    latency: Latency = field(default_factory=Latency)
    overlap: Overlap = field(default_factory=Overlap)
    choice: Choice = field(default_factory=Choice)

    def but(
        self,
        *,
        grid: dict[str, Any] | None = None,
        work: dict[str, Any] | None = None,
        latency: dict[str, Any] | None = None,
    ) -> KernelDemand:
        """The same kernel with some fields of its parts changed."""
        return replace(
            self,
            grid=replace(self.grid, **grid or {}),
            work=replace(self.work, **work or {}),
            latency=replace(self.latency, **latency or {}),
        )

    def with_extra_launches(self, count: float) -> KernelDemand:
        """The same kernel with `count` more launches of negligible kernels beside it."""
        return self.but(latency={"extra_launches": self.latency.extra_launches + count})

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and candidates, while tiles are being chosen."""
        rows, candidates = np.broadcast_shapes(*(array.shape for array in self.arrays()))
        return rows, candidates

    def take(self, candidate: NDArray[np.intp]) -> KernelDemand:
        """The chosen candidate of each row: arrays (rows, candidates) → (rows,)."""
        rows = np.arange(len(candidate))

        def chosen(x: NDArray[Any]) -> NDArray[Any]:
            if x.shape[1] > 1:
                return x[rows, candidate] if len(x) > 1 else x[0, candidate]
            return x[:, 0] if len(x) == len(rows) else np.full(len(rows), x[0, 0])

        return self.map(chosen)


@dataclass(frozen=True)
class LinkDemand(Part):
    """Bytes over a path of links: a copy, or one GPU's share of a collective. Arrays have shape (rows,)."""

    kernel: str
    link: str
    bytes: FloatArray
    """Bytes this GPU sends [B]."""
    steps: FloatArray
    """Dependent messages: each pays the link's latency."""


@dataclass(frozen=True)
class CollectiveDemand(Part):
    """One GPU's share of a collective: what waits, and what channels copy over a link. Arrays: (rows,)."""

    kernel: str
    link: str
    engine: Literal["trtllm", "vllm", "sglang"] | None = None
    """Whose kernel it is; None: the library's."""
    steps: FloatArray = field(default_factory=_none)
    """Dependent steps that end with a flag beside the data."""
    simple_starts: FloatArray = field(default_factory=_none)
    """1 where the exchange begins with credits."""
    simple_steps: FloatArray = field(default_factory=_none)
    """Dependent steps that end with a fence, a flag and a barrier."""
    wire_bytes: FloatArray = field(default_factory=_none)
    """What this GPU sends over the link, flags included [B]."""
    link_share: FloatArray = field(default_factory=_whole)
    """Share of the link's bandwidth that the exchange can reach."""
    channel_bytes: FloatArray = field(default_factory=_none)
    """What the busiest channel, a CTA, copies [B]."""
    channel_rate: FloatArray = field(default_factory=_no_limit)
    """What a channel copies in a second; infinite where the link is always slower [B/s]."""
    first_bytes: FloatArray = field(default_factory=_none)
    """What a channel copies before anything else can overlap with it [B]."""
    channels: FloatArray = field(default_factory=_whole)
    """CTAs, each of which holds an SM."""
    local_bytes: FloatArray = field(default_factory=_none)
    """Traffic of the GPU's own memory [B]."""


Demand = KernelDemand | LinkDemand | CollectiveDemand


class Algorithm(NamedTuple):
    """One way in which a library computes an operator: its kernels in order, and which rows it can serve at all."""

    kernels: tuple[Demand, ...]
    serves: BoolArray
    """Shape (rows,), or (1,) where all rows are alike."""


ANY_ROW = np.ones(1, dtype=np.bool_)
"""An algorithm that serves every row."""
