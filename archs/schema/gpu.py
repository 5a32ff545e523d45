"""What a GPU is: the records that an arch file fills, each field with its meaning and unit.

A YAML key is the Python name without its unit: `l2.capacity: 50 MiB` becomes `gpu.l2.capacity_bytes == 52428800.0`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from simexplore.archs import units
from simexplore.archs.schema.board import Clock, Datasheet, DType, Energy, Launch, Links, Power
from simexplore.archs.schema.instructions import Instructions
from simexplore.archs.schema.library import (
    AttentionLibrary,
    CollectiveLibrary,
    Conversion,
    ConvLibrary,
    Engine,
    ExpertLibrary,
    LatentLibrary,
    Library,
    LinearLibrary,
    ScaledGemm,
)
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.archs.schema.quantities import (
    Bytes,
    BytesPerClk,
    BytesPerSecond,
    Capacity,
    Count,
    Cycles,
    OpsPerClk,
    Seconds,
    Share,
    Spec,
    about,
    mistake,
)
from simexplore.archs.schema.silicon import Chip, Silicon
from simexplore.errors import SimexploreError

Section = TypeVar("Section", bound=Spec)


NOT_OF_THE_KERNELS = (
    *("abstract", "name", "description", "datasheet", "sources", "calibration", "ngpc", "silicon"),
    *("engine", "engines"),
)
"""What a machine tells that changes none of its kernels."""
_UNMEASURED: Any = {"collectives": True, "linear": True, "gemm": {"tensor": {"fp16_accumulate_rate"}}}
_BETWEEN_GPUS: dict[str, Any] = {"links": {"node_gpus"}, "library": _UNMEASURED}
"""Of its parts, what tells of several GPUs together, or of sums in a type that no measured row has."""


class SmLatency(Spec):
    """Latencies within one SM."""

    shared_cycles: Cycles = about("load from shared memory", "clk")
    l1_cycles: Cycles = about("load that hits L1", "clk")
    fma_cycles: Cycles = about("dependent FP32 FMA", "clk")
    special_function_cycles: Cycles = about("dependent special-function operation", "clk")
    tensor_cycles: Cycles = about(
        "tensor instruction from issue to result, beyond the clocks that it occupies the pipe; absent: no tensor cores",
        "clk",
        default=0.0,
    )


class StreamingMultiprocessors(Spec):
    """The SM array: what one SM holds, does per clock and how long it takes."""

    count: Count = about("SMs that are enabled", "1")
    warp_size: Count = about("threads per warp", "1", default=32)
    schedulers: Count = about("warp schedulers (sub-cores) per SM", "1")
    max_warps: Count = about("resident warps per SM", "1")
    max_ctas: Count = about("resident CTAs (thread blocks) per SM", "1")
    registers: Count = about("32-bit registers per SM", "1")
    shared_memory_bytes: Capacity = about("shared memory that the CTAs of one SM can hold together", "B")
    shared_memory_per_cta_bytes: Capacity = about("shared memory that one CTA can ask for (opt-in limit)", "B")
    shared_memory_reserved_bytes: Bytes = about("shared memory that the driver takes per CTA", "B")
    tensor_ops_per_clk: dict[DType, OpsPerClk] = about(
        "dense tensor-core operations per SM and clock by operand type; an FMA is two; FP32 accumulate; absent: none",
        "op/clk",
        default_factory=dict,
    )
    fma_ops_per_clk: dict[DType, OpsPerClk] = about(
        "operations of the ordinary FMA pipes per SM and clock; an FMA is two", "op/clk"
    )
    special_function_ops_per_clk: OpsPerClk = about("exp2, rsqrt, … per SM and clock", "op/clk")
    shared_bandwidth_bytes_per_clk: BytesPerClk = about("shared-memory bytes per SM and clock", "B/clk")
    l1_bandwidth_bytes_per_clk: BytesPerClk = about("L1 bytes per SM and clock, 16-byte loads", "B/clk")
    l2_port_bytes_per_clk: BytesPerClk = about("bytes that one SM can draw from L2 per clock", "B/clk")
    latency: SmLatency = about("how long one load or operation takes", "mapping")

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        room = self.shared_memory_bytes
        for key, asked in (
            ("shared_memory_per_cta", self.shared_memory_per_cta_bytes),
            ("shared_memory_reserved", self.shared_memory_reserved_bytes),
        ):
            if asked > room:
                written = [units.format(value, units.BYTES) for value in (room, asked)]
                raise mistake(f"at most sm.shared_memory, {written[0]!r}", repr(written[1]), key=key)
        if self.max_warps % self.schedulers:
            raise mistake(f"a multiple of sm.schedulers, {self.schedulers}", str(self.max_warps), key="max_warps")
        if self.tensor_ops_per_clk and "tensor_cycles" not in self.latency.model_fields_set:
            raise mistake("a number of clock cycles, since sm.tensor has rates", "nothing", key="latency.tensor")
        return self


class L2(Spec):
    """The cache that the SMs share. Each partition is near to a part of them and far from the others."""

    capacity_bytes: Capacity = about("capacity", "B")
    partitions: Count = about("partitions with a latency of their own", "1")
    bandwidth_bytes_per_clk: BytesPerClk = about("bytes read by all SMs together per SM clock", "B/clk")
    write_cost: Annotated[float, Field(ge=0.5, le=8)] = about(
        "time that a written byte keeps the L2 busy, over that of a byte read", "1"
    )
    near_latency_cycles: Cycles = about("load that hits the partition of its own SM", "clk")
    far_latency_cycles: Cycles = about("load that hits another partition", "clk")
    usable_share: Share = about(
        "share of the capacity that a rotating working set can use without evicting itself", "1"
    )
    eviction_sharpness: Annotated[float, Field(ge=1, le=100)] = about(
        "steepness of the fall from hit to miss over the log of the working set", "1"
    )
    sector_bytes: Capacity = about("smallest transfer", "B", default=32.0)

    @property
    def mean_latency_cycles(self) -> float:
        """Latency of a hit averaged over near and far partitions [clk]; lines are spread evenly over them."""
        near = 1.0 / self.partitions
        return near * self.near_latency_cycles + (1.0 - near) * self.far_latency_cycles

    @model_validator(mode="after")
    def _near_is_nearer(self) -> Self:
        if self.near_latency_cycles > self.far_latency_cycles:
            far, near = (units.format(clk, units.CYCLES) for clk in (self.far_latency_cycles, self.near_latency_cycles))
            raise mistake(f"at most l2.far_latency, {far!r}", repr(near), key="near_latency")
        return self


class Dram(Spec):
    """Device memory."""

    technology: str = about("HBM3e, GDDR6, …", "text")
    capacity_bytes: Capacity = about("capacity", "B")
    bandwidth_bytes_per_s: BytesPerSecond = about("peak bandwidth, reads and writes together", "B/s")
    efficiency: Share = about("share of the peak that streaming kernels reach", "1")
    latency_s: Seconds = about("whole latency of a load that misses L2", "s")


class Gpu(Chip):
    """A GPU: hardware, launch costs, energy, and the kernels that its libraries choose from."""

    kind: Literal["gpu"] = about("what the file describes", "text")
    compute_capability: str | None = about(
        "CUDA compute capability, quoted: '9.0'; absent: it runs no CUDA", "text", default=None
    )
    clock: Clock = about("clocks", "mapping")
    sm: StreamingMultiprocessors = about("the SM array", "mapping")
    l2: L2 = about("the cache that the SMs share", "mapping")
    dram: Dram = about("device memory", "mapping")
    launch: Launch = about("what starting a kernel costs", "mapping")
    links: Links = about("connections", "mapping")
    power: Power = about("electrical limits", "mapping")
    energy: Energy = about("energy per unit of work", "mapping")
    library: Library = about("kernels of the vendor's libraries and of the engine", "mapping")
    engine: str = about("the serving engine that `library` tells of; absent: none", "text", default="")
    engines: dict[str, Engine] = about(
        "other engines that run on it, by name: what differs from `library`", "mapping", default_factory=dict
    )
    ngpc: Ngpc | None = about("a neural-graphics cluster beside the SMs; absent: none", "mapping", default=None)
    instructions: Instructions | None = about(
        "what single instructions cost, for published micro-benchmarks", "mapping", default=None
    )
    datasheet: Datasheet | None = about("the vendor's figures, for tests", "mapping", default=None)

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        hit_s = self.l2.near_latency_cycles / self.clock.top_hz
        if self.dram.latency_s < hit_s:
            l2, dram = (units.format(seconds, units.SECONDS) for seconds in (hit_s, self.dram.latency_s))
            raise mistake(f"at least l2.near_latency, {l2!r}", repr(dram), key="dram.latency")
        for part, rates, energies in (
            ("tensor", self.sm.tensor_ops_per_clk, self.energy.tensor_j_per_op),
            ("fma", self.sm.fma_ops_per_clk, self.energy.fma_j_per_op),
        ):
            for dtype in rates:
                if dtype not in energies:
                    raise mistake(f"an energy, since sm.{part} has {dtype}", "nothing", key=f"energy.{part}.{dtype}")
        if self.sm.tensor_ops_per_clk and "tensor" not in self.library.gemm.model_fields_set:
            raise mistake("kernels, since sm.tensor has rates", "nothing", key="library.gemm.tensor")
        return self

    @property
    def dram_latency_cycles(self) -> float:
        """Latency of a load that misses L2, in clocks of unthrottled SMs [clk]: memory does not follow their clock."""
        return self.dram.latency_s * self.clock.top_hz

    def tensor_peak_ops_per_s(self, dtype: str) -> float:
        """Dense tensor peak [op/s] = SMs x rate x the clock that the datasheet's peaks hold at."""
        clock_hz = self.clock.tensor_spec_hz or self.clock.boost_hz
        return self.sm.count * self._rate(self.sm.tensor_ops_per_clk, "tensor", dtype) * clock_hz

    def fma_peak_ops_per_s(self, dtype: str) -> float:
        """Peak of the FMA pipes [op/s] = SMs x rate x boost clock."""
        return self.sm.count * self._rate(self.sm.fma_ops_per_clk, "FMA", dtype) * self.clock.boost_hz

    def values_of_the_kernels(self) -> dict[str, Any]:
        """What its kernels' times depend on, as plain data in SI without what is left at its default."""
        left_out: Any = {**dict.fromkeys(NOT_OF_THE_KERNELS, True), **_BETWEEN_GPUS}
        return self.model_dump(mode="json", exclude=left_out, exclude_defaults=True)

    def digest(self) -> str:
        """What a learned correction belongs to: the same for GPUs whose values, names apart, are the same."""
        return hashlib.sha256(json.dumps(self.values_of_the_kernels(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def is_of_other_engine(self) -> bool:
        """Whether its kernels are those of one of `engines`, not those that its file tells of first."""
        return self.engine in self.engines

    @property
    def attention_kernels(self) -> AttentionLibrary:
        """`library.attention`. Raises SimexploreError where the machine has none."""
        return self._kernels(self.library.attention, "attention kernels", "library.attention")

    @property
    def conv_kernels(self) -> ConvLibrary:
        """`library.conv`. Raises SimexploreError where the machine has none."""
        return self._kernels(self.library.conv, "convolution kernels", "library.conv")

    @property
    def expert_kernels(self) -> ExpertLibrary:
        """`library.moe`. Raises SimexploreError where the machine has none."""
        return self._kernels(self.library.moe, "kernels for layers of experts", "library.moe")

    @property
    def latent_kernels(self) -> LatentLibrary:
        """`library.mla`. Raises SimexploreError where the machine has none."""
        return self._kernels(self.library.mla, "kernels for attention over a latent cache", "library.mla")

    @property
    def linear_kernels(self) -> LinearLibrary:
        """`library.linear`. Raises SimexploreError where the machine has none."""
        return self._kernels(self.library.linear, "kernels for linear attention", "library.linear")

    @property
    def conversion_kernel(self) -> Conversion:
        """`library.elementwise.conversion`. Raises SimexploreError where the machine has none."""
        return self._kernels(
            self.library.elementwise.conversion, "kernel that converts", "library.elementwise.conversion"
        )

    def scaled_gemm(self, dtype: str) -> ScaledGemm:
        """`library.gemm.scaled` of a block-scaled type. Raises SimexploreError where the machine has none."""
        kernels: ScaledGemm | None = getattr(self.library.gemm.scaled, dtype)
        if kernels is None:
            raise SimexploreError(f"{self.name} has no kernels for {dtype} matrices (library.gemm.scaled.{dtype})")
        return kernels

    @property
    def its_silicon(self) -> Silicon:
        """`silicon`. Raises SimexploreError where the machine's file says nothing of its die."""
        return self._kernels(self.silicon, "known die, so neither area nor cost", "silicon")

    @property
    def collective_library(self) -> CollectiveLibrary | None:
        """The section of `library.collectives` for the link to the other GPUs; None: it tells nothing of it."""
        collectives = self.library.collectives
        return collectives.pcie if self.links.nvlink is None else collectives.nvlink

    def _kernels(self, section: Section | None, what: str, key: str) -> Section:
        if section is None:
            raise SimexploreError(f"{self.name} has no {what} ({key})")
        return section

    def _rate(self, rates: dict[DType, float], unit: str, dtype: str) -> float:
        for known, rate in rates.items():
            if known == dtype:
                return rate
        raise SimexploreError(f"{self.name} has no {unit} rate for {dtype}; expected one of {', '.join(sorted(rates))}")
