"""What a GPU's die is made of and what it costs: the `silicon:` section of an arch file.

A part's area is given as TSMC N7 would make it; a node says how much larger or smaller logic and SRAM are in it.
The die has all its units, of which a product enables some; `shipped` holds the counts of this very file, so that a
design with other counts keeps their share. No kernel depends on any of it.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from simexplore.archs import units
from simexplore.archs.schema.machine import Machine
from simexplore.archs.schema.quantities import (
    Bytes,
    BytesPerSecond,
    Capacity,
    Count,
    Dollars,
    Metres,
    Quantity,
    Spec,
    SquareMetres,
    about,
    mistake,
)

DollarsPerByte = Annotated[float, Quantity(units.DOLLARS_PER_BYTE)]
SomeOrNone = Annotated[int, Field(ge=0, le=1_000_000)]
Growth = Annotated[float, Field(gt=0, le=20)]


class Parts(Spec):
    """Areas of what every die has, as TSMC N7 would make it."""

    fp32_lane_m2: SquareMetres = about("a lane of fused multiply-add in FP32", "m2")
    fp64_lane_m2: SquareMetres = about("a lane of fused multiply-add in FP64", "m2")
    int32_lane_m2: SquareMetres = about("a lane of 32-bit integers", "m2")
    tensor_fma_m2: SquareMetres = about("a multiply-add of 16 bits in a tensor core, with its share of the core", "m2")
    ray_core_m2: SquareMetres = about("a ray-tracing core", "m2")
    control_m2: SquareMetres = about("the rest of an SM: schedulers, operand paths, caches' logic, textures", "m2")
    crossbar_m2: SquareMetres = about("an SM's share of the network to the L2", "m2")
    sm_bit_m2: SquareMetres = about("a bit of registers, L1 or shared memory, with its share of the macro", "m2")
    l2_bit_m2: SquareMetres = about("a bit of L2 data, with its share of tags and slice logic", "m2")


class Node(Spec):
    """A manufacturing process: its areas over those of TSMC N7, its wafers and their defects."""

    process: str = about("name", "text")
    logic: Growth = about("area of logic over that of TSMC N7, as NVIDIA's dies reach it", "1")
    sram: Growth = about("area of SRAM over that of TSMC N7", "1")
    wafer_usd: Dollars = about("price of a processed wafer", "USD")
    wafer_diameter_m: Metres = about("diameter of a wafer", "m")
    area_per_defect_m2: SquareMetres = about("mean wafer area on which one killing defect falls", "m2")


class Uncore(Spec):
    """What a die has beside SMs and L2. Analog parts have one area in all nodes, since they do not shrink."""

    interface_phy_m2: SquareMetres = about("analog part of one memory interface, in any node", "m2")
    interface_control_m2: SquareMetres = about("controller of one memory interface, as TSMC N7 would make it", "m2")
    link_m2: SquareMetres = about("analog part of one link to other GPUs, in any node", "m2")
    other_m2: SquareMetres = about("everything else (host interface, front end, video), as TSMC N7 would make it", "m2")


class Die(Spec):
    """The whole die, units that no product enables included."""

    sms: Count = about("SMs", "1")
    l2_bytes: Capacity = about("L2", "B")
    interfaces: Count = about("memory interfaces: HBM stacks, or GDDR channels of 32 bits", "1")
    links: SomeOrNone = about("links to other GPUs whose area is not in uncore.other", "1")
    fp64_lanes: SomeOrNone = about("lanes of fused multiply-add in FP64 of one SM", "1")
    int32_lanes: SomeOrNone = about("lanes of 32-bit integers of one SM", "1")
    ray_cores: SomeOrNone = about("ray-tracing cores of one SM", "1")
    l1_beside_shared_bytes: Bytes = about("memory of one SM that is L1 even at the most shared memory", "B")


class Shipped(Spec):
    """Counts of this file as its product has them: what the die's counts are in proportion to."""

    sms: Count = about("SMs that the product enables", "1")
    l2_bytes: Capacity = about("L2 that it enables", "B")
    interfaces: Count = about("memory interfaces that it uses", "1")
    bandwidth_bytes_per_s: BytesPerSecond = about("DRAM bandwidth over all of them", "B/s")


class Assembly(Spec):
    """What the packaged GPU costs beside its die."""

    memory_usd_per_byte: DollarsPerByte = about("price of DRAM", "USD/B")
    package_usd: Dollars = about("package, assembly and test", "USD")


class Silicon(Spec):
    """Parts of the die, process and prices."""

    parts: Parts = about("areas of an SM's parts, the crossbar and L2", "mapping")
    node: Node = about("manufacturing process", "mapping")
    uncore: Uncore = about("areas of the memory interfaces and the rest", "mapping")
    die: Die = about("counts of the whole die", "mapping")
    shipped: Shipped = about("counts of the product", "mapping")
    assembly: Assembly = about("prices beside the die's", "mapping")

    @model_validator(mode="after")
    def _no_more_than_there_is(self) -> Self:
        for key in ("sms", "l2_bytes", "interfaces"):
            there, used = getattr(self.die, key), getattr(self.shipped, key)
            if used > there:
                written = (units.format(v, units.BYTES) if key == "l2_bytes" else str(v) for v in (there, used))
                whole, found = written
                name = key.removesuffix("_bytes")
                raise mistake(f"at most silicon.die.{name}, {whole}", found, key=f"shipped.{name}")
        return self


class Chip(Machine):
    """A machine that is one die: which, and what that is made of."""

    generation: str = about("architecture generation", "text")
    chip: str = about("die", "text")
    kin: str | None = about(
        "machine of the same die, whose learned correction serves where this one has none",
        "text",
        default=None,
        exclude=True,
    )
    silicon: Silicon | None = about("parts, process and prices of the die; absent: unknown", "mapping", default=None)
