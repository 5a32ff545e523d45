"""A neural-graphics cluster (NGPC) beside a GPU's shader arrays: the `ngpc:` section of an arch file.

After Mubarik et al., "Hardware acceleration of neural graphics", ISCA 2023, arXiv:2303.05735. What the paper
does not publish (clock, banks, ports, FIFOs, batch size, number formats) is a key like any other, its assumption
in `sources`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simexplore.archs.schema.quantities import (
    BytesPerClk,
    Capacity,
    Count,
    Cycles,
    Hertz,
    JoulesPerByte,
    JoulesPerOp,
    Metres,
    Spec,
    SquareMetres,
    Watts,
    about,
)


class EncodingEngines(Spec):
    """The input-encoding engines of one neural-field processor (NFP); each holds the table of one level."""

    count: Count = about("engines per NFP", "1")
    sram_bytes: Capacity = about("grid SRAM of one engine", "B")
    banks: Count = about("banks of the grid SRAM", "1")
    interleave: Literal["parity", "index"] = about(
        "how entries lie across the banks. index: by their number in the table; parity: by whether their corner's "
        "coordinates are odd or even, which the table must be trained with, so that a cell's corners never meet",
        "text",
    )
    ports: Count = about("reads of one bank per clock", "1")
    word_bytes: Capacity = about("word of a bank: what one read gives", "B")
    lanes: Count = about("corner addresses that grid_index makes per clock", "1")
    bank_fifo: Count = about("requests that wait at a bank", "1")
    output_fifo: Count = about("queries whose features wait for those of the other engines", "1")
    latency_cycles: Cycles = about("of pos_fract, grid_index, lookup and interpolate together", "clk")
    overflow: Literal["assume_fits", "narrow", "spill"] = about(
        "what becomes of a level whose table is larger than the SRAM. assume_fits: nothing, as in the paper; narrow: "
        "its features are stored in 8 bits, and what is still too large spills; spill: it is read from the GPU's L2",
        "text",
    )


class MlpEngine(Spec):
    """The array of multiply-accumulate units of one NFP."""

    rows: Count = about("inputs that are multiplied at once", "1")
    columns: Count = about("outputs that are accumulated at once", "1")
    packing: Literal["packed", "whole"] = about(
        "whole: a layer takes the array whatever its size; packed: queries share what of the array a layer leaves free",
        "text",
    )
    slice: Count = about("queries that go through a layer before its weights are exchanged", "1")
    switch_cycles: Cycles = about("to exchange weights and drain the array between layers", "clk")
    weight_bits: Annotated[int, Field(ge=4, le=32)] = about("bits of a weight", "1")


class Batches(Spec):
    """How GPU and NGPC hand each other work."""

    queries: Count = about("queries of a batch", "1")
    in_flight: Count = about("batches between GPU and NGPC at once; two: double buffering", "1")
    doorbell_round_trips: Count = about("L2 round trips from a batch's last byte to its first use", "1")


class Silicon(Spec):
    """What area and energy are computed from."""

    bit_area_m2: SquareMetres = about(
        "area of one SRAM bit, single port, with its share of the array's periphery", "m2"
    )
    port_growth: Annotated[float, Field(ge=0, le=4)] = about("growth of a bit's area for each further port", "1")
    bank_area_m2: SquareMetres = about("decoder, sense amplifiers and crossbar port of a bank", "m2")
    mac_area_m2: SquareMetres = about(
        "a 16-bit multiplier and 32-bit accumulator with its registers, at mac_node", "m2"
    )
    mac_node_m: Metres = about("technology node of mac_area", "m")
    engine_area_m2: SquareMetres = about("logic of an encoding engine, at mac_node", "m2")
    node_m: Metres = about("technology node of the NGPC", "m")
    mac_j_per_op: JoulesPerOp = about("per operation of the MLP engine; a multiply-accumulate is two", "J/op")
    sram_j_per_byte: JoulesPerByte = about("per byte read of a grid SRAM", "J/B")
    leakage_w: Watts = about("of one NFP", "W")
    published_area_m2: SquareMetres = about("area of one NFP that the paper's figures imply", "m2")
    published_power_w: Watts = about("power of one NFP that the paper's figures imply", "W")
    host_area_m2: SquareMetres = about("die of the GPU that area is relative to", "m2")


class Ngpc(Spec):
    """A cluster of neural-field processors on the GPU's L2."""

    nfps: Count = about("neural-field processors", "1")
    clock_hz: Hertz = about("clock", "Hz")
    port_bytes_per_clk: BytesPerClk = about("bytes between one NFP and the L2 per clock of the GPU", "B/clk")
    result_bits: Annotated[int, Field(ge=8, le=32)] = about("bits of each output that goes back to the GPU", "1")
    encoding: EncodingEngines = about("encoding engines", "mapping")
    mlp: MlpEngine = about("MLP engine", "mapping")
    batch: Batches = about("handing over of work", "mapping")
    silicon: Silicon = about("area and energy", "mapping")
