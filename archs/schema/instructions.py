"""Instructions that micro-benchmarks time one by one: issue, latency and width below what whole kernels ask of an SM.

Optional in an arch file. Whole operators do not need them; published micro-benchmarks (`reproduce`) do.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simexplore.archs.schema.quantities import Capacity, Count, Cycles, OpsPerClk, Spec, about


class MmaSync(Spec):
    """mma.sync, the tensor instruction of one warp."""

    overhead_cycles: Cycles = about("clocks that it keeps its sub-core's tensor core busy beside its arithmetic", "clk")
    stages: Annotated[float, Field(gt=0, le=100)] = about("latency over issue interval of a dependent chain", "1")


class ClusterMemory(Spec):
    """Distributed shared memory: loads from the shared memory of another SM of the cluster."""

    latency_cycles: dict[str, Cycles] = about(
        "mean latency of a remote load by the number of CTAs of the cluster, quoted: '2'", "clk"
    )
    in_flight_bytes: Capacity = about("remote bytes that one SM keeps in flight", "B")


class BulkCopy(Spec):
    """The tensor memory accelerator: asynchronous copies of whole tiles."""

    latency_cycles: Cycles = about("added to the latency of an ordinary load", "clk")


class Instructions(Spec):
    """What single instructions cost."""

    mma_sync: MmaSync = about("tensor instruction of one warp", "mapping")
    min_max_ops_per_clk: OpsPerClk = about("integer minimum and maximum instructions per SM and clock", "op/clk")
    dpx: dict[str, Count] = about("instructions on the min-max pipe that one call of a DPX function compiles to", "1")
    cluster: ClusterMemory | None = about("distributed shared memory; absent: none", "mapping", default=None)
    bulk_copy: BulkCopy | None = about("tensor memory accelerator; absent: none", "mapping", default=None)
