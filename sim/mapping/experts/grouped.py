"""Grouped matrix products → a kernel demand: one product an expert, all in one launch, with every tile of the menu.

A CTA computes a tile of one expert's result, in steps of `k_tile_bytes` as a GEMM's CTA does (`matmul.gemm`). Tiles
cover each expert's tokens by themselves, so few tokens an expert leave most of a high tile empty.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import ExpertType
from simexplore.sim.demand import Choice, FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.hardware.cache import hit_share
from simexplore.sim.mapping.columns import ceil_div, constant
from simexplore.sim.mapping.matmul.gemm import fetched_bytes, widened_by
from simexplore.sim.mapping.matmul.tiles import WARP_TILE_ROWS, Tiles, grouped_tiles
from simexplore.sim.mapping.traffic import warm_share, written_back_share
from simexplore.workloads.dtypes import SCALED, bytes_of, element_of

WIDE_BYTES = 2.0
"""Of an element that is multiplied as tokens come."""


class Group(NamedTuple):
    """The products of all experts; arrays of shape (rows, 1) but for `tiles`."""

    name: str
    pairs: FloatArray
    """Rows of all results: a token and one of its experts each."""
    active: FloatArray
    """Experts that have any."""
    tiles: FloatArray
    """Tiles along the rows, of all experts, for each tile of the menu; (rows, tiles)."""
    n: FloatArray
    """Columns of a result."""
    k: FloatArray
    dtype: str
    weight_dtype: str
    """What weights are stored in: `dtype`, or a narrower type."""
    output_dtype: str
    input_copies: float | FloatArray
    """Copies of the rows that runs rotate over; 1 also of those that were written just before."""
    weight_copies: float | FloatArray
    """Copies of the weights that runs rotate over."""
    between_bytes: FloatArray
    """What is touched between two reads of the weights, beside them [B]."""
    added_to: FloatArray | None = None
    """Rows of the result where those of a token's experts are added up in place; None: each has a row of its own."""

    @property
    def weight_bytes(self) -> FloatArray:
        """Weights of the experts that have rows [B]."""
        return self.active * self.n * self.k * bytes_of(self.weight_dtype)


def grouped_demand(group: Group, gpu: Gpu) -> KernelDemand:
    """The kernel with all tiles of the menu as candidates.

    Raises SimexploreError where the GPU has no unit for the type.
    """
    library, of_type = gpu.expert_kernels, expert_type((group.dtype, group.weight_dtype), gpu)
    tiles = _tiles(group, gpu)
    columns = ceil_div(group.n, tiles.n)
    ctas = group.tiles * columns
    return KernelDemand(
        kernel=group.name,
        grid=Grid(
            ctas=ctas,
            warps_per_cta=tiles.warps,
            registers_per_thread=tiles.registers,
            shared_bytes_per_cta=tiles.stages * tiles.stage_bytes,
        ),
        work=_work(group, tiles, columns, ctas, gpu),
        latency=_latency(group, tiles, gpu),
        overlap=Overlap(
            sm_l2=gpu.library.gemm.tensor.overlap_exponent,
            dram=of_type.dram_overlap_exponent,
            tensor_efficiency=of_type.tensor_efficiency,
            l2_rate=library.l2_rate,
            dram_rate=library.dram_rate,
            epilogue_efficiency=gpu.library.gemm.epilogue_efficiency,
            wave_exposure=gpu.library.gemm.wave_exposure,
        ),
        choice=Choice(label=(tiles.m, tiles.n)),
    )


def _tiles(group: Group, gpu: Gpu) -> Tiles:
    """The menu for the type that is multiplied; stages hold both operands as they are stored.

    Raises SimexploreError where the GPU has no unit for the type, or none that takes its scales.
    """
    if in_hardware(group.dtype):
        gpu.scaled_gemm(group.dtype)  # refuses
    tiles = grouped_tiles(gpu.expert_kernels.tiles, element_of(group.dtype), gpu)
    if (group.dtype, group.weight_dtype) == (element_of(group.dtype), group.dtype):
        return tiles
    held = tiles.m * bytes_of(group.dtype) + tiles.n * bytes_of(group.weight_dtype)
    return replace(tiles, stage_bytes=held * _k_of_step(group, gpu))


def in_hardware(dtype: str) -> bool:
    """Whether values share scales that tensor cores take; others are applied to sums."""
    return dtype in SCALED and SCALED[dtype].in_hardware


def expert_type(types: tuple[str, str], gpu: Gpu) -> ExpertType:
    """What the engine's layers of a type, and one of their weights, have of their own."""
    library, (dtype, stored) = gpu.expert_kernels, types
    if in_hardware(dtype):
        return library.scaled
    if bytes_of(stored) < bytes_of(dtype):
        return library.widened
    if dtype in SCALED:
        return library.block
    return library.narrow if bytes_of(dtype) < WIDE_BYTES else library.wide


def _k_of_step(group: Group, gpu: Gpu) -> float:
    """Elements of k of a step of the pipeline."""
    return gpu.library.gemm.pipeline.k_tile_bytes / bytes_of(element_of(group.dtype))


def _steps(group: Group, gpu: Gpu) -> FloatArray:
    return ceil_div(group.k, _k_of_step(group, gpu))


def _work(group: Group, tiles: Tiles, columns: FloatArray, ctas: FloatArray, gpu: Gpu) -> Work:
    """What a CTA does: its tile over all of k, of which the rows that exist are read and written."""
    unit = element_of(group.dtype)
    k = _steps(group, gpu) * _k_of_step(group, gpu)
    high, wide = group.pairs / group.tiles, group.n / columns
    cost = 1.0 if group.added_to is None else gpu.expert_kernels.sum_cost
    written = high * wide * bytes_of(group.output_dtype) * cost
    elements = (bytes_of(group.dtype), bytes_of(group.weight_dtype))
    fetched = fetched_bytes(tiles, (high, wide), (group.tiles / np.maximum(group.active, 1.0), columns), elements, gpu)
    read, result = _dram_bytes(group, columns, gpu)
    operations, nothing = 2.0 * tiles.computed * k, constant(0.0)
    return Work(
        tensor_dtype=unit,
        fma_dtype="fp32" if tiles.on_tensor_cores else unit,
        tensor_ops=operations if tiles.on_tensor_cores else nothing,
        fma_ops=_widened(group, tiles, gpu) * k if tiles.on_tensor_cores else operations,
        shared_bytes=tiles.shared_bytes_per_k * k,
        l2_read_bytes=fetched * group.k,
        l2_write_bytes=written,
        dram_read_bytes=read / ctas,
        dram_write_bytes=result / ctas,
        epilogue_bytes=written,
    )


def _widened(group: Group, tiles: Tiles, gpu: Gpu) -> FloatArray:
    """FMA-pipe operations for each element of k that widen a tile's weights; tensor cores take scaled ones as they are.

    Warps above one another widen the columns that they share once each; operands swapped, weights are widened once on
    their way to registers (CUTLASS, mixed-input grouped GEMM; Marlin's tiles are of the former kind).
    """
    if in_hardware(group.dtype) or bytes_of(group.weight_dtype) >= bytes_of(group.dtype):
        return constant(0.0)
    above = np.maximum(tiles.m / WARP_TILE_ROWS, 1.0) if gpu.library.gemm.tensor.reads_registers else 1.0
    return 2.0 * widened_by(group.weight_dtype, gpu) * tiles.n * above


def _dram_bytes(group: Group, columns: FloatArray, gpu: Gpu) -> tuple[FloatArray, FloatArray]:
    """DRAM bytes read and written; experts come one after another, each as a GEMM's tiles do (`matmul.operands`).

    Passes over an expert's rows and weights after the first hit L2 as far as those in flight fit it.
    """
    library, element = gpu.library.gemm.memory, bytes_of(group.dtype)
    active = np.maximum(group.active, 1.0)
    a, b = group.pairs * group.k * element, group.weight_bytes
    c = (group.pairs if group.added_to is None else group.added_to) * group.n * bytes_of(group.output_dtype)
    rows = group.tiles / active
    at_once = np.maximum(gpu.sm.count / np.maximum(rows * columns, 1.0), 1.0)  # experts whose tiles are in flight
    square = np.sqrt(gpu.sm.count / at_once)
    high = np.clip(square, 1.0, rows)
    wide = np.clip(gpu.sm.count / high, 1.0, columns)
    missing = 1.0 - hit_share(at_once * (a + b) / active, gpu, library.l2_share)
    again = np.minimum(a * (columns / wide - 1.0), b * np.maximum(rows / high - 1.0, 0.0)) * missing
    warm_a = warm_share(a, group.input_copies, c, gpu, library.l2_share)
    warm_b = warm_share(b, group.weight_copies, group.between_bytes, gpu, library.l2_share)
    read = a * (1.0 - warm_a) + b * (1.0 - warm_b) + again
    return read, c * written_back_share(a + c, gpu, library.dirty_share)


def _latency(group: Group, tiles: Tiles, gpu: Gpu) -> Latency:
    library, hit = gpu.library.gemm, gpu.l2.mean_latency_cycles
    ahead = tiles.stages - 1.0  # the stage that is computed on is not in flight
    return Latency(
        bytes_in_flight=library.pipeline.flight_share * ahead * tiles.stage_bytes,
        chain_cycles=tiles.chain_cycles * _steps(group, gpu),
        exposed_cycles=constant(hit + gpu.library.barrier_cycles),
        ramp_cycles=library.memory.cold_round_trips * gpu.dram_latency_cycles,
        setup_cycles=constant(gpu.expert_kernels.setup_round_trips * hit),
    )
