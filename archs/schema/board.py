"""What a GPU's board is: what starting a kernel costs, its links, electrical limits, energies, the vendor's figures."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from simexplore.archs import units
from simexplore.archs.schema.quantities import (
    BytesPerSecond,
    Count,
    Hertz,
    JoulesPerByte,
    JoulesPerOp,
    OpsPerSecond,
    Seconds,
    Spec,
    Watts,
    about,
    mistake,
)

Launched = Literal["graph", "stream", "queued", "profiled"]
"""How a kernel is launched; `queued`: eager calls one behind another; `profiled`: by a profiler's durations."""
DType = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int8", "int4"]


class Clock(Spec):
    """Clocks of the SM array."""

    base_hz: Hertz | None = about("guaranteed clock", "Hz", default=None)
    boost_hz: Hertz = about("highest clock that the vendor specifies", "Hz")
    max_hz: Hertz | None = about(
        "clock that the board reaches by itself where neither power nor heat holds it back; absent: boost",
        "Hz",
        default=None,
    )
    tensor_spec_hz: Hertz | None = about(
        "clock at which the datasheet's tensor peaks hold; absent: boost", "Hz", default=None
    )

    @model_validator(mode="after")
    def _base_is_slowest(self) -> Self:
        if self.base_hz is not None and self.base_hz > self.boost_hz:
            boost, base = (units.format(hz, units.HERTZ) for hz in (self.boost_hz, self.base_hz))
            raise mistake(f"at most clock.boost, {boost!r}", repr(base), key="base")
        if self.max_hz is not None and self.max_hz < self.boost_hz:
            boost, most = (units.format(hz, units.HERTZ) for hz in (self.boost_hz, self.max_hz))
            raise mistake(f"at least clock.boost, {boost!r}", repr(most), key="max")
        return self

    @property
    def top_hz(self) -> float:
        """The clock at which kernels run that nothing holds back [Hz]."""
        return self.boost_hz if self.max_hz is None else self.max_hz


class Launch(Spec):
    """What starting a kernel costs."""

    stream_s: Seconds = about("between kernels launched back to back on a stream", "s")
    graph_s: Seconds = about("between kernels of a graph", "s")
    eager_s: Seconds = about("host time of a framework's eager call on an idle stream, up to its launch", "s")
    calls_s: dict[str, Seconds] = about(
        "host time of a whole eager call, where others are queued before it, by operator, or operator and type of what "
        "it keeps: `gemm`, `gemm fp8`; absent: eager",
        "s",
        default_factory=dict,
    )

    @model_validator(mode="after")
    def _graph_is_cheaper(self) -> Self:
        if self.graph_s > self.stream_s:
            stream, graph = (units.format(s, units.SECONDS) for s in (self.stream_s, self.graph_s))
            raise mistake(f"at most launch.stream, {stream!r}", repr(graph), key="graph")
        return self

    def each_s(self, how: Launched) -> float:
        """What each kernel takes beside itself [s]: nothing by a profiler's durations; calls are queued on a stream."""
        return {"graph": self.graph_s, "stream": self.stream_s, "queued": self.stream_s, "profiled": 0.0}[how]


class Link(Spec):
    """A connection to the host or to other GPUs."""

    bandwidth_bytes_per_s: BytesPerSecond = about("bandwidth in each direction", "B/s")
    latency_s: Seconds = about("of one small message", "s")


class Links(Spec):
    """Connections of the GPU."""

    nvlink: Link | None = about("to the other GPUs of the node; absent: they talk over PCIe", "mapping", default=None)
    pcie: Link = about("to the host", "mapping")
    node_gpus: Count | None = about(
        "GPUs of one node, each of which reaches the others over these links; absent: any number", "1", default=None
    )


class Power(Spec):
    """Electrical limits of the board."""

    tdp_w: Watts = about("power limit", "W")
    idle_w: Watts = about("drawn with nothing to do, clocks up", "W")
    clock_exponent: Annotated[float, Field(ge=2, le=4)] = about(
        "x of dynamic power proportional to clock^x, voltage following the clock", "1"
    )
    voltage_floor_hz: Hertz = about(
        "clock below which the core's voltage no longer falls; absent: it always falls", "Hz", default=0.0
    )
    clocked_share: Annotated[float, Field(ge=0, le=1)] = about(
        "share of the idle power that follows the clock as dynamic power does", "1"
    )
    burst_headroom: Annotated[float, Field(ge=0, le=2)] = about(
        "power beyond the limit that a full energy budget allows, over the limit less idle", "1"
    )
    burst_s: Seconds = about("time constant with which that budget drains", "s")
    time_constant_s: Seconds = about("over ten of them the mean power never passes the limit", "s")

    @model_validator(mode="after")
    def _idle_is_least(self) -> Self:
        if self.idle_w > self.tdp_w:
            tdp, idle = (units.format(w, units.WATTS) for w in (self.tdp_w, self.idle_w))
            raise mistake(f"at most power.tdp, {tdp!r}", repr(idle), key="idle")
        return self


class Energy(Spec):
    """Dynamic energy of the whole GPU per unit of work, above idle."""

    tensor_j_per_op: dict[DType, JoulesPerOp] = about(
        "per tensor-core operation; an FMA is two; absent: no tensor cores", "J/op", default_factory=dict
    )
    fma_j_per_op: dict[DType, JoulesPerOp] = about("per operation of the FMA pipes; an FMA is two", "J/op")
    special_function_j_per_op: JoulesPerOp = about("per special-function operation", "J/op")
    shared_j_per_byte: JoulesPerByte = about("per byte of shared memory or L1", "J/B")
    l2_j_per_byte: JoulesPerByte = about("per byte between L2 and SM", "J/B")
    dram_j_per_byte: JoulesPerByte = about("per byte of DRAM, memory controller and device", "J/B")
    link_j_per_byte: JoulesPerByte = about("per byte that the GPU sends over a link", "J/B")
    operand_share: Annotated[float, Field(ge=0, le=1)] = about(
        "share of the dynamic energy, links' apart, that comes from bits of random operands switching; absent: none",
        "1",
        default=0.0,
    )
    spread: Annotated[float, Field(ge=0.01, le=1)] = about(
        "standard deviation of the logarithm of measured power about this model's", "1"
    )


class Datasheet(Spec):
    """What the vendor prints. Tests compare it with what the rest of the file implies; no model reads it."""

    tensor_ops_per_s: dict[DType, OpsPerSecond] = about("dense tensor peaks", "op/s", default_factory=dict)
    fma_ops_per_s: dict[DType, OpsPerSecond] = about("peaks of the FMA pipes", "op/s", default_factory=dict)
    dram_bandwidth_bytes_per_s: BytesPerSecond | None = about("peak DRAM bandwidth", "B/s", default=None)
