"""GEMM → kernel demands: every kernel of the library's menu as a candidate.

A CTA computes a tile of C over its share of k, in steps of `k_tile_bytes` that a pipeline of stages fetches into
shared memory. Split-K CTAs add their partial sums afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.library import ScaledGemm, Tile
from simexplore.errors import SimexploreError
from simexplore.sim.conditions import Conditions
from simexplore.sim.demand import BoolArray, Choice, FloatArray, Grid, KernelDemand, Latency, Overlap, Work
from simexplore.sim.hardware.accumulate import accumulate_rate
from simexplore.sim.libraries import deep_gemm, gemm_rules
from simexplore.sim.libraries.menus import of_largest
from simexplore.sim.mapping.columns import Pairs, Values, ceil_div, constant, row
from simexplore.sim.mapping.matmul import operands
from simexplore.sim.mapping.matmul.tiles import WARP_TILE_ROWS, Tiles, tiles_of
from simexplore.sim.mapping.rowwise import block_quantize_demands, dynamic_quantize_demands, row_quantize_demands
from simexplore.workloads.dtypes import SCALED, bytes_of, element_of
from simexplore.workloads.operators.columns import column
from simexplore.workloads.ops import Conv, Conv2d, Gemm, Quantize

PARTIAL_SUM_BYTES = 4.0
"""Split-K partial sums are FP32."""


def gemm_demands(op: Gemm, gpu: Gpu, conditions: Conditions, *, two_stage: bool = False) -> tuple[KernelDemand, ...]:
    """Kernels of a GEMM: the quantisation of its activations, if any, and the GEMM with all its candidates.

    `two_stage`: the candidates are the library's older kernels, which fetch one k-step ahead and no more.
    Raises SimexploreError where the GPU has no unit for the operator's type.
    """
    kernels: tuple[KernelDemand, ...] = ()
    if op.activation_dtype is not None and op.activation_dtype != op.dtype:
        rows: Any = np.multiply(op.batch, op.m, dtype=np.float64)  # products of integers overflow
        quantize = Quantize(rows=rows, cols=op.k, dtype=op.dtype, input_dtype=op.activation_dtype)
        kernels = _quantized(quantize, scaled_kernels(op, gpu), gpu, conditions)
    return (*kernels, _gemm_kernel(op, gpu, conditions, two_stage))


def _quantized(op: Quantize, scaled: ScaledGemm | None, gpu: Gpu, conditions: Conditions) -> tuple[KernelDemand, ...]:
    if op.dtype in SCALED:
        return block_quantize_demands(op, gpu, conditions)
    return (
        dynamic_quantize_demands(op, gpu, conditions)
        if scaled is None
        else row_quantize_demands(op, scaled, gpu, conditions)
    )


def scaled_kernels(op: Gemm | Conv2d | Conv, gpu: Gpu) -> ScaledGemm | None:
    """Kernels for operands with several scales: by blocks as the type says, else by rows where the engine has them."""
    if op.dtype in SCALED:
        return gpu.scaled_gemm(op.dtype)
    narrow = isinstance(op, Gemm) and bytes_of(op.dtype) == 1.0 and op.weight_dtype is None
    return gpu.library.gemm.scaled.rows if narrow else None


def gemm_candidates(op: Gemm | Conv2d | Conv, gpu: Gpu) -> int:
    """How many kernels the menu has for a row: tiles, both ways round for wgmma, times splits of k."""
    library = gpu.library.gemm
    if element_of(op.dtype) not in gpu.sm.tensor_ops_per_clk:
        return len(library.simt.tiles) * len(library.split.counts)
    return len(library.tensor.tiles) * len(library.split.counts) * (1 if library.tensor.reads_registers else 2)


class _Candidates(NamedTuple):
    """The kernels that are tried: pairs of a tile and a split of k.

    What follows from one of the two choices is computed once for each of its values, and laid out over the pairs by
    `by_tile` and `by_split`.
    """

    tiles: Tiles
    rows: FloatArray
    """Tiles that cover m; with `columns` the grid of one batch, (rows, tiles)."""
    columns: FloatArray
    of_k: _Splits
    pairs: Pairs

    def by_tile(self, x: Values) -> Values:
        """What follows from the tile, for every pair."""
        return self.pairs.of_first(x)

    def by_split(self, x: Values) -> Values:
        """What follows from the split of k, for every pair."""
        return self.pairs.of_second(x)

    def if_split(self, value: float | FloatArray) -> FloatArray:
        """What splitting costs, and nothing where k is not split, for every pair."""
        return self.by_split(_of_splits(self.of_k, value))


def _candidates(op: Gemm, gpu: Gpu, two_stage: bool) -> _Candidates:
    m, n = column(op.m), column(op.n)
    tiles = tiles_of(m, n, element_of(op.dtype), gpu)
    if op.weight_dtype is not None:
        k_of_step = gpu.library.gemm.pipeline.k_tile_bytes / bytes_of(element_of(op.dtype))
        held = tiles.m * bytes_of(op.dtype) + tiles.n * bytes_of(op.weight_dtype)
        tiles = replace(tiles, stage_bytes=held * k_of_step)
    if two_stage:  # one is computed on while the other fills
        tiles = replace(tiles, stages=constant(2.0))
    of_k = _splits(op, gpu)
    pairs = Pairs(np.broadcast_shapes(tiles.m.shape, tiles.n.shape)[1], of_k.splits.shape[1])
    return _Candidates(tiles, ceil_div(m, tiles.m), ceil_div(n, tiles.n), of_k, pairs)


def _gemm_kernel(op: Gemm, gpu: Gpu, conditions: Conditions, two_stage: bool) -> KernelDemand:
    tried = _candidates(op, gpu, two_stage)
    tiles, splits = tried.tiles, tried.by_split(tried.of_k.splits)
    ctas = tried.by_tile(column(op.batch) * tried.rows * tried.columns) * splits
    traffic = operands.dram_traffic(
        op, gpu, conditions.cache, (tried.rows, tried.columns), (tiles.m, tiles.n), tried.of_k.splits, tried.pairs
    )
    return KernelDemand(
        kernel="gemm",
        grid=Grid(
            ctas=ctas,
            warps_per_cta=tried.by_tile(tiles.warps),
            registers_per_thread=tried.by_tile(tiles.registers),
            shared_bytes_per_cta=tried.by_tile(tiles.stages * tiles.stage_bytes),
        ),
        work=_work(op, tried, traffic, ctas, gpu),
        latency=_latency(op, tried, gpu, two_stage),
        overlap=_overlap(op, tiles, gpu, two_stage),
        choice=Choice(
            offered=_offered(op, tried, gpu),
            reckoned_read_bytes=traffic.unread / ctas,
            reckoned_cycles=tried.if_split(gpu.library.gemm.split.reluctance_cycles),
            reckoned_miss_share=gpu.library.gemm.reckoned_latency_share,
            label=(tried.by_tile(tiles.m), tried.by_tile(tiles.n), splits),
        ),
    )


def _offered(op: Gemm, tried: _Candidates, gpu: Gpu) -> BoolArray:
    """Which pairs are kernels that the library considers, and no repetition of one with a smaller split."""
    scaled = scaled_kernels(op, gpu)
    if scaled is not None and scaled.tile_of_rows is not None:
        tiles = _of_rows(op, tried.tiles, scaled.tile_of_rows)
    else:
        tiles = gemm_rules(gpu).offers_tiles(op, (tried.tiles.m, tried.tiles.n), gpu)
    if scaled is not None:
        tiles = tiles & (tried.tiles.m * tried.tiles.n <= scaled.tile_elements)
        tiles = tiles & deep_gemm.offers_tiles(op, (tried.tiles.m, tried.tiles.n)) if scaled.fill_cycles else tiles
    offered: BoolArray = tried.by_tile(tiles) & tried.by_split(tried.of_k.considered)
    return offered


def _of_rows(op: Gemm, tiles: Tiles, menu: Mapping[str, Tile]) -> BoolArray:
    """The one tile that an engine has for so many rows of C, as vLLM's dispatch does; all where the GPU lacks it."""
    high, wide = of_largest(column(op.m), menu)
    taken: BoolArray = (tiles.m == high) & (tiles.n == wide)
    none: BoolArray = ~np.any(taken, axis=1, keepdims=True)
    return taken | none


def _work(op: Gemm, tried: _Candidates, traffic: operands.DramTraffic, ctas: FloatArray, gpu: Gpu) -> Work:
    """What a CTA does: its tile of C over its share of k, and the tile written, or added up, once."""
    tiles, of_k, unit = tried.tiles, tried.of_k, element_of(op.dtype)
    m, n, k = (column(x) for x in (op.m, op.n, op.k))
    k_of_step, steps = gpu.library.gemm.pipeline.k_tile_bytes / bytes_of(unit), tried.by_split(of_k.steps)
    operations = tried.by_tile(2.0 * tiles.computed * k_of_step) * steps
    covered = (m / tried.rows, n / tried.columns)
    element, stored = bytes_of(op.dtype), bytes_of(op.weight_dtype or op.dtype)
    fetched = fetched_bytes(tiles, covered, (tried.rows, tried.columns), (element, stored), gpu)
    widened = 2.0 * widening(op, gpu) * tried.by_tile(tiles.n * np.maximum(tiles.m / WARP_TILE_ROWS, 1.0) * k_of_step)
    results = tried.by_tile(m * n / (tried.rows * tried.columns))
    # A partial sum is written and read once more.
    written = tried.by_split(of_k.result_bytes + _of_splits(of_k, 2.0 * PARTIAL_SUM_BYTES))
    nothing = constant(0.0)
    return Work(
        tensor_dtype=unit,
        fma_dtype="fp32" if tiles.on_tensor_cores else op.dtype,
        tensor_ops=operations if tiles.on_tensor_cores else nothing,
        padding_ops=np.maximum(operations - _wanted(op, ctas), 0.0) if tiles.on_tensor_cores else nothing,
        fma_ops=operations * _promoted(op.dtype, gpu) + widened * steps if tiles.on_tensor_cores else operations,
        shared_bytes=tried.by_tile(tiles.shared_bytes_per_k * k_of_step) * steps,
        l2_read_bytes=tried.by_tile(fetched) * tried.by_split(k / of_k.splits),
        l2_write_bytes=results * written,
        dram_read_bytes=traffic.read / ctas,
        dram_write_bytes=traffic.write / ctas,
        epilogue_bytes=results * tried.by_split(of_k.result_bytes),
    )


def _wanted(op: Gemm, ctas: FloatArray) -> FloatArray:
    """Operations on elements that there are, a CTA."""
    m, n, k = (column(x) for x in (op.m, op.n, op.k))
    return 2.0 * column(op.batch) * m * n * k / ctas


def _promoted(dtype: str, gpu: Gpu) -> float:
    """FMA operations for each of the tensor cores': sums of a block of k are scaled and added to others in fp32.

    One multiply-add for each element of C and block of k, where the tensor cores do `block` (DeepSeek-V3, arXiv
    2412.19437, 3.3.2). tcgen05 takes scales itself, and DeepGEMM hands it those of fp8_block as powers of two.
    """
    scaled = SCALED.get(dtype)
    if scaled is None or scaled.in_hardware or gpu.library.gemm.tensor.instruction == "tcgen05":
        return 0.0
    return 1.0 / scaled.block


def _latency(op: Gemm, tried: _Candidates, gpu: Gpu, two_stage: bool) -> Latency:
    library, tiles, hit = gpu.library.gemm, tried.tiles, gpu.l2.mean_latency_cycles
    scaled = scaled_kernels(op, gpu)
    round_trips = (library.two_stage if two_stage else scaled or library).setup_round_trips
    scale_cycles, fill_cycles = (scaled.step_cycles, scaled.fill_cycles) if scaled else (0.0, 0.0)
    ragged = tried.by_split(fill_cycles * deep_gemm.missing_rows(op) * tried.of_k.steps) if fill_cycles else 0.0
    ahead = tiles.stages - 1.0  # the stage that is computed on is not in flight
    requested = tiles.stage_bytes * _of_vector(op, tiles)
    return Latency(
        bytes_in_flight=tried.by_tile(library.pipeline.flight_share * ahead * requested),
        chain_cycles=tried.by_tile(tiles.chain_cycles + scale_cycles) * tried.by_split(tried.of_k.steps),
        exposed_cycles=constant(hit + gpu.library.barrier_cycles),
        helper_cycles=library.split.reduction_round_trips * hit,
        ramp_cycles=library.memory.cold_round_trips * gpu.dram_latency_cycles,
        setup_cycles=constant(round_trips * hit) + ragged,
        extra_launches=tried.if_split(float(library.split.reduction == "kernel")),
    )


def _overlap(op: Gemm, tiles: Tiles, gpu: Gpu, two_stage: bool) -> Overlap:
    library, scaled = gpu.library.gemm, scaled_kernels(op, gpu)
    within = None if tiles.on_tensor_cores else library.simt.overlap_exponent
    return Overlap(
        within_sm=library.two_stage.overlap_exponent if two_stage else within,
        sm_l2=library.tensor.overlap_exponent if tiles.on_tensor_cores else None,
        dram=library.tensor.dram_overlap_exponent if tiles.on_tensor_cores else None,
        tensor_efficiency=(scaled or library.tensor).efficiency * accumulate_rate(op, gpu),
        l2_rate=library.memory.l2_rate,
        dram_rate=library.memory.dram_rate,
        epilogue_efficiency=library.epilogue_efficiency,
        wave_exposure=library.wave_exposure,
    )


class _Splits(NamedTuple):
    """The ways in which k can be split among CTAs; arrays (rows, splits)."""

    splits: FloatArray
    steps: FloatArray
    """Steps of a CTA's main loop."""
    considered: BoolArray
    """Whether it is one to consider: others repeat a smaller split."""
    result_bytes: FloatArray
    """Of an element of C, or of a partial sum."""


def _splits(op: Gemm, gpu: Gpu) -> _Splits:
    library = gpu.library.gemm
    k = column(op.k)
    menu = row([float(split) for split in library.split.counts])
    steps_of_k = ceil_div(k * bytes_of(element_of(op.dtype)), library.pipeline.k_tile_bytes)
    steps = ceil_div(steps_of_k, menu)
    splits = ceil_div(steps_of_k, steps)  # CTAs that have a step at all: 5 steps among 4 are 2, 2 and 1
    new = splits == np.minimum(menu, steps_of_k)
    never = scaled_kernels(op, gpu) is not None or stores_narrow(
        op
    )  # kernels of engines, which the vendor's library does not have
    splitting = np.zeros((1, 1), dtype=np.bool_) if never else gemm_rules(gpu).splits_k(op, gpu)
    considered = new & ((splits == 1.0) | splitting)
    return _Splits(splits, steps, considered, np.where(splits > 1.0, PARTIAL_SUM_BYTES, bytes_of(op.output_dtype)))


def _of_splits(of_k: _Splits, value: float | FloatArray) -> FloatArray:
    """What splitting costs, and nothing where k is not split."""
    return np.where(of_k.splits > 1.0, value, 0.0)


def fetched_bytes(
    tiles: Tiles,
    covered: tuple[FloatArray, FloatArray],
    grid: tuple[FloatArray, FloatArray],
    elements: tuple[float, float],
    gpu: Gpu,
) -> FloatArray:
    """Bytes of A and of B that a CTA draws from L2 for each element of k: of rows and columns that exist.

    `covered` are the rows and columns of C that a tile has on average; what lies outside C is not fetched. `elements`
    are the bytes of an element of either operand. The longer side is shared in a cluster.
    """
    cluster = float(gpu.library.gemm.memory.multicast)
    high, wide = covered
    share_b = np.where((tiles.n >= tiles.m) & (grid[0] >= cluster), cluster, 1.0)
    share_a = np.where((tiles.n < tiles.m) & (grid[1] >= cluster), cluster, 1.0)
    return elements[0] * high / share_a + elements[1] * wide / share_b


def _of_vector(op: Gemm, tiles: Tiles) -> FloatArray:
    """Loads of unaligned rows over those of 16 bytes: a thread has as many of them in flight, whatever their width."""
    return operands.load_bytes(op) / operands.VECTOR_BYTES if tiles.on_tensor_cores else constant(1.0)


def stores_narrow(op: Gemm) -> bool:
    """Whether B is stored in fewer bits than it is multiplied in, and widened on its way to the tensor cores."""
    return op.weight_dtype is not None and bytes_of(op.weight_dtype) < bytes_of(op.dtype)


def widening(op: Gemm, gpu: Gpu) -> float:
    """FMA-pipe instructions for each element of B that is stored in fewer bits than it is multiplied in.

    Every warp widens the columns that it multiplies, so that those of a tile are widened once for each of the warps
    above one another (CUTLASS, mixed-input GEMM).
    """
    return widened_by(op.weight_dtype, gpu) if op.weight_dtype is not None and stores_narrow(op) else 0.0


def widened_by(stored: str, gpu: Gpu) -> float:
    """FMA-pipe instructions that widen an element of weights. Raises SimexploreError where no kernel does."""
    for known, instructions in gpu.library.gemm.widening.items():
        if known == stored:
            return instructions
    offered = ", ".join(sorted(gpu.library.gemm.widening)) or "none"
    raise SimexploreError(f"{gpu.name} has no kernel that widens {stored} weights; it widens {offered}")
