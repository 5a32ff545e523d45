"""What one kernel launch asks of a machine: the meeting point of operator physics and machine physics.

A `KernelDemand` is a grid of identical CTAs. Mappings (operator → demand) make them, machine physics (`sim.hardware`)
times them, in closed form (`sim.estimate`) and as events (`sim.execute`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

RESOURCES = ("tensor", "fma", "special", "shared", "l2", "dram")
"""What kernels share on a GPU; each is 1.0 when the whole machine's is in use."""


def _nothing() -> FloatArray:
    """The work of most kernels on most resources."""
    return np.zeros((1, 1))


@dataclass(frozen=True)
class KernelDemand:
    """One kernel launch; every array broadcasts to one shape, (rows, candidates) while tiles are being chosen.

    Work is per CTA and counts what the hardware does, padding included. Latencies are in cycles of the SM clock.
    """

    kernel: str
    """What runs, e.g. `gemm`, `split_kv`, `merge`."""
    ctas: FloatArray
    """CTAs in the grid."""
    warps_per_cta: FloatArray
    registers_per_thread: FloatArray
    shared_bytes_per_cta: FloatArray
    """Shared memory a CTA reserves [B]; with warps and registers it sets the occupancy."""

    overlap_exponent: float | None = None
    """How well the units of an SM overlap within this kernel, where it is not as SMs and L2 do."""
    machine_overlap_exponent: float | None = None
    """How well SMs and L2 overlap, where it is not as `library.overlap_exponent` says."""
    dram_overlap_exponent: float | None = None
    """How well DRAM traffic overlaps the kernel's other work, where it is not as SMs and L2 do."""
    tensor_dtype: str = "fp16"
    fma_dtype: str = "fp32"
    tensor_ops: FloatArray = field(default_factory=_nothing)
    """Tensor-core operations per CTA (a multiply-add is two)."""
    fma_ops: FloatArray = field(default_factory=_nothing)
    special_ops: FloatArray = field(default_factory=_nothing)
    """Special-function operations per CTA (exponentials, reciprocals)."""
    shared_bytes: FloatArray = field(default_factory=_nothing)
    """Shared-memory traffic per CTA [B]."""
    l2_read_bytes: FloatArray = field(default_factory=_nothing)
    l2_write_bytes: FloatArray = field(default_factory=_nothing)
    """Traffic between SM and L2 per CTA [B]."""
    dram_read_bytes: FloatArray = field(default_factory=_nothing)
    dram_write_bytes: FloatArray = field(default_factory=_nothing)
    """Traffic between L2 and DRAM per CTA [B]: what misses, and what is written back."""
    bytes_in_flight: FloatArray = field(default_factory=_nothing)
    """Loads a CTA keeps outstanding [B] (Little's law); 0 where it does not load."""
    chain_cycles: FloatArray = field(default_factory=_nothing)
    """Dependent latency inside a CTA that its own throughput overlaps (k-steps waiting for one another)."""
    exposed_cycles: FloatArray = field(default_factory=_nothing)
    """Latency per wave that nothing overlaps: pipeline fill, barriers, the last store."""
    epilogue_bytes: FloatArray = field(default_factory=_nothing)
    """Part of `l2_write_bytes` written after the main loop has ended, so not overlapped with it [B per CTA]."""
    tensor_efficiency: float = 1.0
    """Share of the tensor cores' rate at which a main loop that nothing else limits runs."""
    l2_rate: float = 1.0
    """L2 read rate of this kernel over that of streaming ones: multicast and coalesced requests raise it."""
    dram_rate: float = 1.0
    """DRAM rate of this kernel over that of streaming ones."""
    miss_latency_share: float = 1.0
    """Share of what DRAM's latency is beyond an L2 hit's that loads which miss wait for."""
    ramp_cycles: float = 0.0
    """Latency until DRAM serves a kernel at full rate, were all that it loads to come from there."""
    helper_cycles: float = 0.0
    """Latency of each of `extra_launches` beside its launch."""
    epilogue_efficiency: float = 1.0
    """Share of the write rates at which `epilogue_bytes` are written."""
    wave_exposure: float = 1.0
    """Share of each further wave's fill, exposed latency and epilogue that the waves around it do not hide."""
    setup_cycles: FloatArray = field(default_factory=_nothing)
    """Latency once a kernel before its first CTA computes: parameters, descriptors, instructions."""
    extra_launches: FloatArray = field(default_factory=_nothing)
    """Helper kernels launched with this one (e.g. a split-K reduction), each costing one more launch."""
    reckoned_read_bytes: FloatArray = field(default_factory=_nothing)
    """DRAM reads per CTA [B] that the library reckons with when it chooses a candidate, beyond those that happen."""
    reckoned_cycles: FloatArray = field(default_factory=_nothing)
    """Latency [clk] that it reckons with beyond what there is."""
    reckoned_latency_share: float = 1.0
    """The `miss_latency_share` that it reckons with: 0 where it weighs traffic alone."""
    label: tuple[FloatArray, ...] = ()
    """What the candidates are, for people: (tile_m, tile_n, split_k) of a GEMM."""

    def map(self, function: Callable[[FloatArray], FloatArray]) -> KernelDemand:
        """The same demand with `function` applied to each array."""
        changed: dict[str, Any] = {name: function(getattr(self, name)) for name in ARRAY_FIELDS}
        return replace(self, **changed, label=tuple(function(x) for x in self.label))

    def with_extra_launches(self, count: float) -> KernelDemand:
        """The same kernel with `count` more launches of negligible kernels beside it."""
        return replace(self, extra_launches=self.extra_launches + count)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and candidates, while tiles are being chosen."""
        rows, candidates = np.broadcast_shapes(*(getattr(self, name).shape for name in ARRAY_FIELDS))
        return rows, candidates

    def of_rows(self, rows: NDArray[np.intp]) -> KernelDemand:
        """The same candidates for some of the rows."""
        return self.map(lambda x: x[rows] if len(x) > 1 else x)

    def take(self, candidate: NDArray[np.intp]) -> KernelDemand:
        """The chosen candidate of each row: arrays (rows, candidates) → (rows,)."""
        rows = np.arange(len(candidate))

        def chosen(x: FloatArray) -> FloatArray:
            if x.shape[1] > 1:
                return x[rows, candidate] if len(x) > 1 else x[0, candidate]
            return x[:, 0] if len(x) > 1 else np.full(len(rows), x[0, 0])

        return self.map(chosen)


_SCALARS = (
    "kernel",
    "overlap_exponent",
    "machine_overlap_exponent",
    "dram_overlap_exponent",
    "tensor_dtype",
    "fma_dtype",
    "tensor_efficiency",
    "l2_rate",
    "dram_rate",
    "miss_latency_share",
    "reckoned_latency_share",
    "ramp_cycles",
    "helper_cycles",
    "epilogue_efficiency",
    "wave_exposure",
    "label",
)
ARRAY_FIELDS = tuple(f.name for f in fields(KernelDemand) if f.name not in _SCALARS)


@dataclass(frozen=True)
class LinkDemand:
    """Bytes over a path of links: a copy, or one GPU's share of a collective. Arrays have shape (rows,)."""

    kernel: str
    link: str
    """Name of a link: `nvlink` or `pcie` of the GPU that sends, or one between devices."""
    bytes: FloatArray
    """Bytes this GPU sends [B]."""
    steps: FloatArray
    """Dependent messages: each pays the link's latency."""

    def of_rows(self, rows: NDArray[np.intp]) -> LinkDemand:
        """The same transfer for some of the rows."""
        sent, steps = (x[rows] if len(x) > 1 else x for x in (self.bytes, self.steps))
        return replace(self, bytes=sent, steps=steps)


Demand = KernelDemand | LinkDemand


class Algorithm(NamedTuple):
    """One way in which a library computes an operator: its kernels in order, and which rows it can serve at all."""

    kernels: tuple[Demand, ...]
    serves: NDArray[np.bool_]
    """Shape (rows,), or (1,) where all rows are alike."""


ANY_ROW = np.ones(1, dtype=np.bool_)
"""An algorithm that serves every row."""
