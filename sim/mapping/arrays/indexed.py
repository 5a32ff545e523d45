"""Gathers and scatters → one streaming kernel each; pieces smaller than a sector move whole sectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import FloatArray, KernelDemand
from simexplore.sim.mapping.columns import ceil_div
from simexplore.sim.mapping.streaming import Stream, stream_demand
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Gather, Scatter


class _Pieces(NamedTuple):
    """What moves between the table and the SMs, and between it and DRAM [B]; arrays of shape (rows, 1)."""

    moved: FloatArray
    touched: FloatArray


def _pieces(op: Gather | Scatter, gpu: Gpu) -> _Pieces:
    """Pieces as whole sectors, as they lie anywhere; of a table no more than all of it comes from DRAM."""
    sector = gpu.l2.sector_bytes
    piece = ceil_div(column(op.run) * bytes_of(op.dtype), sector) * sector
    moved = column(op.indices) * piece
    table = ceil_div(column(op.table) * bytes_of(op.dtype), sector) * sector
    return _Pieces(moved, np.minimum(moved, table))


def gather_demands(op: Gather, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Indices, then the pieces that they tell: a load that waits for another."""
    pieces, index, result = _pieces(op, gpu), column(op.index_bytes), column(op.output_bytes)
    cold = 1.0 - warm_share(pieces.touched + index, conditions.cache.activation_copies, result, gpu)
    read = pieces.moved + index
    stream = Stream(
        read_bytes=read,
        write_bytes=result,
        flops=np.zeros_like(read),
        special_ops=np.zeros_like(read),
        warm_share=1.0 - (pieces.touched + index) * cold / read,
        written_back_share=written_back_share(pieces.touched + index + result, gpu),
    )
    return (_after_an_index(stream_demand(op.op, stream, gpu), gpu),)


def scatter_demands(op: Scatter, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    """Indices and pieces, which go to their places in L2; sectors that are written in part are read from DRAM first."""
    pieces, index = _pieces(op, gpu), column(op.index_bytes)
    source = column(op.elements) * bytes_of(op.dtype)
    cold = 1.0 - warm_share(source + index, conditions.cache.activation_copies, pieces.touched, gpu)
    partly = (column(op.run) * bytes_of(op.dtype)) % gpu.l2.sector_bytes > 0.0
    fetched = np.where(partly | (column(op.adds) > 0.0), pieces.touched, 0.0)
    missing = 1.0 - warm_share(pieces.touched, conditions.cache.activation_copies, source + index, gpu)
    read = source + index
    stream = Stream(
        read_bytes=read,
        write_bytes=pieces.moved,
        flops=column(op.flops),
        special_ops=np.zeros_like(read),
        warm_share=1.0 - cold,
        written_back_share=pieces.touched / pieces.moved * written_back_share(read + pieces.touched, gpu),
    )
    demand = _after_an_index(stream_demand(op.op, stream, gpu), gpu)
    more = fetched * missing / demand.grid.ctas
    return (demand.but(work={"dram_read_bytes": demand.work.dram_read_bytes + more}),)


def _after_an_index(demand: KernelDemand, gpu: Gpu) -> KernelDemand:
    """The kernel with one more L2 round trip before its pieces arrive."""
    return demand.but(latency={"exposed_cycles": demand.latency.exposed_cycles + gpu.l2.mean_latency_cycles})
