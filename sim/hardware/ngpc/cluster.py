"""The cluster as a whole: how long a batch of queries takes it, what of L2 and DRAM that takes, and its energy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.sim.hardware import cache
from simexplore.sim.hardware.ngpc.area import REFERENCE_BITS
from simexplore.sim.hardware.ngpc.nfp import Field, Level, SteadyRate, steady_rate

ENCODING_BINDS = 0.85
"""Share of the time that MLP arrays are busy, below which the encoding engines are what they wait for."""


@dataclass(frozen=True)
class FieldQueries:
    """Points at which a cluster is to evaluate a field."""

    queries: float
    field: Field
    spilled: tuple[Level, ...]
    """Levels that the cluster reads from L2, because they don't fit its SRAM."""
    input_bytes: float
    """Of a query [B]."""
    result_bytes: float
    """Of an answer [B]."""

    @property
    def macs_per_query(self) -> float:
        """Multiply-accumulates of all layers."""
        return float(sum(inputs * outputs for inputs, outputs in self.field.layers))

    @property
    def sram_bytes_per_query(self) -> float:
        """Bytes read of grid SRAMs [B]."""
        inside = len(self.field.levels) - len(self.spilled)
        return inside * 2.0**self.field.dims * self.field.entry_bytes

    def spill_bytes_per_query(self, sector_bytes: float) -> float:
        """Bytes drawn from L2 for levels that don't fit [B]: a sector a pair of corners along x, and its edges."""
        pairs = 2.0 ** (self.field.dims - 1)
        per_sector = max(sector_bytes / self.field.entry_bytes, 1.0)
        return len(self.spilled) * pairs * (1.0 + 1.0 / per_sector) * sector_bytes


@dataclass(frozen=True)
class BatchTiming:
    """A full batch alone on the cluster."""

    time_s: float
    takes: dict[str, float]
    """Of the GPU's `l2` and `dram`, of the cluster (`ngpc`), its SRAM banks (`ngpc_banks`) and MLP arrays (`ngpc_mlp`)
    [s of the whole resource]."""
    bound: str
    """What takes that long: encode, mlp, l2 or dram."""


def batch_timing(asked: FieldQueries, gpu: Gpu, ngpc: Ngpc) -> BatchTiming:
    """How long a full batch takes, by the slowest of its engines, its ports, L2 and DRAM.

    Raises:
        SimexploreError: the cluster has too few engines for the field's levels.
    """
    rate = steady_rate(asked.field, ngpc.encoding, ngpc.mlp)
    steady_s = ngpc.batch.queries / ngpc.nfps * rate.cycles_per_query / ngpc.clock_hz
    engines_s = steady_s + rate.fill_cycles / ngpc.clock_hz
    spilled = asked.spill_bytes_per_query(gpu.l2.sector_bytes)
    moved = ngpc.batch.queries * (asked.input_bytes + spilled + gpu.l2.write_cost * asked.result_bytes)
    l2_s = moved / (gpu.l2.bandwidth_bytes_per_clk * gpu.clock.top_hz)
    port_s = ngpc.batch.queries * (asked.input_bytes + spilled + asked.result_bytes)
    port_s /= ngpc.nfps * ngpc.port_bytes_per_clk * gpu.clock.top_hz
    dram_s = _missed_bytes(asked, spilled, gpu, ngpc) / (gpu.dram.bandwidth_bytes_per_s * gpu.dram.efficiency)
    time_s = max(engines_s, l2_s, port_s, dram_s)
    busy = {"ngpc": time_s, "ngpc_banks": rate.bank_share * steady_s, "ngpc_mlp": rate.mlp_share * steady_s}
    return BatchTiming(time_s, {"l2": l2_s, "dram": dram_s, **busy}, _bound(rate, time_s, engines_s, dram_s))


def _bound(rate: SteadyRate, time_s: float, engines_s: float, dram_s: float) -> str:
    if time_s > engines_s:
        return "dram" if time_s == dram_s else "l2"
    return "encode" if rate.mlp_share < ENCODING_BINDS else "mlp"


def _missed_bytes(asked: FieldQueries, spilled: float, gpu: Gpu, ngpc: Ngpc) -> float:
    """Bytes of a full batch that come from DRAM [B]; `spilled` are read of spilled tables for each query [B]."""
    tables = sum(level.entries for level in asked.spilled) * asked.field.entry_bytes
    missing = handed_over_missing(asked, gpu, ngpc)
    missed = (asked.input_bytes + asked.result_bytes) * missing + spilled * (1.0 - _held_share(tables, gpu))
    return ngpc.batch.queries * missed


def handed_over_missing(asked: FieldQueries, gpu: Gpu, ngpc: Ngpc) -> float:
    """Share of the batches' bytes that leaves L2 for DRAM before the other side reads them."""
    held = ngpc.batch.in_flight * ngpc.batch.queries * (asked.input_bytes + asked.result_bytes)
    return float(1.0 - cache.hit_share(np.array(held), gpu))


def _held_share(tables_bytes: float, gpu: Gpu) -> float:
    """Share of gathers from spilled tables that hits L2: what of them fits it, since they are looked up at random."""
    room = gpu.l2.usable_share * gpu.l2.capacity_bytes
    return room / max(tables_bytes, room)


def batch_energies(asked: FieldQueries, gpu: Gpu, ngpc: Ngpc) -> dict[str, float]:
    """Dynamic energy for all queries by where it goes [J]: the cluster's products and SRAM reads, and the L2."""
    silicon = ngpc.silicon
    l2_bytes = asked.input_bytes + asked.result_bytes + asked.spill_bytes_per_query(gpu.l2.sector_bytes)
    products = 2.0 * asked.macs_per_query * silicon.mac_j_per_op * ngpc.mlp.weight_bits / REFERENCE_BITS
    return {
        "cluster": asked.queries * (products + asked.sram_bytes_per_query * silicon.sram_j_per_byte),
        "l2": asked.queries * l2_bytes * gpu.energy.l2_j_per_byte,
    }


def doorbell_seconds(gpu: Gpu, ngpc: Ngpc) -> float:
    """From the last byte of a batch until the other side uses the first [s]: round trips to the L2."""
    return ngpc.batch.doorbell_round_trips * gpu.l2.mean_latency_cycles / gpu.clock.top_hz
