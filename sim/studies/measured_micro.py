"""Rows of the CUDA suites `micro` and `hopper` beside what a machine gives for the same micro-benchmarks.

The suites time the loops that `sim.studies.hopper` plays; here a row is turned into the figure that such a benchmark
has (clocks an instruction, operations a clock, bytes a second) and set beside it. Rows without one are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.studies import hopper

Row = Mapping[str, Any]
GIB, MIB = 2.0**30, 2.0**20
DPX_CALLS_PER_TRIP = 16
"""Of dpx.cu."""


@dataclass(frozen=True)
class Figure:
    """One kind of figure that rows of an operator may have."""

    op: str
    quantity: str
    unit: str
    of: Callable[[Row], bool]
    """Which rows have it."""
    measured: Callable[[Row], float]
    simulated: Callable[[Gpu, Row], float]


@dataclass(frozen=True)
class Beside:
    """One measured figure and the simulated one."""

    quantity: str
    unit: str
    measured: float
    simulated: float

    @property
    def ratio(self) -> float:
        return self.simulated / self.measured


def _any(_row: Row) -> bool:
    return True


def _mma(row: Row) -> dict[str, Any]:
    return {"m": 16, "n": 8, "k": int(row["k"]), "dtype": str(row["dtype"])}


def _wgmma(row: Row) -> dict[str, Any]:
    return {"n": int(row["n"]), "dtype": str(row["dtype"]), "operands": "SS" if row["a_in_shared"] else "RS"}


def _warps(row: Row, warps: int, chains: int) -> bool:
    return bool(row["warps"] == warps and row["chains"] == chains)


def _calls(row: Row) -> float:
    return float(DPX_CALLS_PER_TRIP * row["iterations"] * row["threads"])


def _ctas_per_sm(gpu: Gpu, row: Row) -> int:
    return max(round(float(row["ctas"]) / gpu.sm.count), 1)


def _box_kib(row: Row) -> float:
    return float(row["box_x"] * row["box_y"] * row["box_z"] * 4 / 1024)


def _tera(row: Row) -> float:
    return float(row["gflop_per_s"]) / 1e3


FIGURES = (
    Figure("mma_sync", "mma.sync m16n8k{k} {dtype}, latency", "clk", lambda r: _warps(r, 1, 1),
           lambda r: r["cycles"] / r["iterations"], lambda gpu, r: hopper.mma_latency(gpu, **_mma(r))),
    Figure("mma_sync", "mma.sync m16n8k{k} {dtype}, one SM", "FMA/clk", lambda r: _warps(r, 4, 4),
           lambda r: 16 * 8 * r["k"] * 16 * r["iterations"] / r["cycles"],
           lambda gpu, r: hopper.mma_per_clock(gpu, **_mma(r))),
    Figure("mma_sync", "mma.sync m16n8k{k} {dtype}, whole chip", "TFLOPS", lambda r: _warps(r, 16, 4),
           _tera, lambda gpu, r: hopper.mma_rate(gpu, **_mma(r))),
    Figure("wgmma", "wgmma m64n{n}k{k} {dtype}, A in shared: {a_in_shared}, interval", "clk",
           lambda r: bool(r["ctas"] == 1 and not r["wait_each"]),
           lambda r: r["cycles"] / r["iterations"], lambda gpu, r: hopper.wgmma_interval(gpu, **_wgmma(r))),
    Figure("wgmma", "wgmma m64n{n}k{k} {dtype}, A in shared: {a_in_shared}, whole chip", "TFLOPS",
           lambda r: bool(r["ctas"] > 1 and not r["wait_each"]),
           _tera, lambda gpu, r: hopper.wgmma_rate(gpu, **_wgmma(r), data="random")),
    Figure("dpx", "{function}, one SM", "calls/clk", lambda r: bool(r["threads"] == 1024),
           lambda r: _calls(r) / r["cycles"], lambda gpu, r: hopper.dpx(gpu, str(r["function"]))),
    Figure("pointer_chase", "pointer chase over {bytes} B, past L1", "clk", lambda r: not r["cached"],
           lambda r: r["cycles"] / r["loads"], lambda gpu, r: hopper.chase(gpu, r["bytes"] / MIB)),
    Figure("bulk_copy", "bulk copies of {load_bytes} B by {ctas} CTAs", "GiB/s", _any,
           lambda r: r["gb_per_s"] * 1e9 / GIB,
           lambda gpu, r: hopper.bulk_copy(gpu, int(r["load_bytes"] // 1024), _ctas_per_sm(gpu, r))),
    Figure("tensor_copy", "boxes of {box_x} x {box_y} x {box_z} words by {ctas} CTAs, one in flight", "GiB/s",
           lambda r: bool(r["ctas"] > 1 and r["stages"] == 1 and r["work_bytes"] >= 256 * MIB and _box_kib(r) >= 1),
           lambda r: r["gb_per_s"] * 1e9 / GIB,
           lambda gpu, r: hopper.bulk_copy(gpu, int(_box_kib(r)), _ctas_per_sm(gpu, r), int(r["rank"]))),
    Figure("cluster_read", "distributed shared memory, clusters of {cluster}", "TB/s", _any,
           lambda r: r["gb_per_s"] / 1e3, lambda gpu, r: hopper.cluster_copy(gpu, int(r["cluster"]))),
)  # fmt: skip


def beside(gpu: Gpu, table: pd.DataFrame) -> tuple[list[Beside], Counter[str]]:
    """Every figure that the rows have, measured and simulated, and how many rows have none, by why.

    Args:
        gpu: the machine; its file must have `instructions`.
        table: rows of suite `micro` or `hopper`, as `measure` writes them.
    """
    found: list[Beside] = []
    without: Counter[str] = Counter()
    frame = table.assign(work_bytes=table["gb_per_s"] * table["time_us"] * 1e3)
    for record in frame.to_dict(orient="records"):
        row = {str(name): value for name, value in record.items()}
        matching = [figure for figure in FIGURES if figure.op == row["op"] and figure.of(row)]
        if not matching:
            without[f"{row['op']}: no benchmark of the study is this loop"] += 1
        for figure in matching:
            try:
                simulated = figure.simulated(gpu, row)
            except (SimexploreError, KeyError) as error:
                without[f"{row['op']}: {error}"] += 1
                continue
            found.append(Beside(_text(figure, row), figure.unit, float(figure.measured(row)), simulated))
    return found, without


def _text(figure: Figure, row: Row) -> str:
    return figure.quantity.format(**{name: _whole(value) for name, value in row.items()})


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def settled(table: pd.DataFrame) -> dict[str, float]:
    """What such rows settle of a GPU that data sheets leave open, as far as they are there.

    Returns:
        `l2_near_clk` and `l2_far_clk` (latency of the same lines from the nearest and the farthest SM),
        `wgmma_alone_clk` (m64n256k16 fp16 waited for each time), `busy_sm_mhz` (lowest SM clock of a row that fills the
        chip with wgmma), `l2_knee_bytes` (footprint after which a chase first takes half as long again).
    """
    return {**_near_and_far(table), **_of_wgmma(table), **_knee(table)}


def _near_and_far(table: pd.DataFrame) -> dict[str, float]:
    by_sm = table[table["op"] == "l2_by_sm"]
    if by_sm.empty:
        return {}
    widest = by_sm.sort_values("bytes").tail(1)
    near, far = (float((widest[name] / widest["loads"]).iloc[0]) for name in ("cycles_low", "cycles_high"))
    return {"l2_near_clk": near, "l2_far_clk": far}


def _of_wgmma(table: pd.DataFrame) -> dict[str, float]:
    wgmma, figures = table[table["op"] == "wgmma"], {}
    if wgmma.empty:
        return {}
    in_shared = (wgmma["wait_each"] == 1) & (wgmma["a_in_shared"] == 1)
    alone = wgmma[in_shared & (wgmma["n"] == 256) & (wgmma["dtype"] == "fp16")]
    if len(alone):
        figures["wgmma_alone_clk"] = float((alone["cycles"] / alone["iterations"]).iloc[0])
    if "sm_mhz" in wgmma:
        figures["busy_sm_mhz"] = float(wgmma.loc[wgmma["ctas"] > 1, "sm_mhz"].min())
    return figures


def _knee(table: pd.DataFrame) -> dict[str, float]:
    chase = table[table["op"] == "pointer_chase"]
    if chase.empty:
        return {}
    past_l1 = chase[chase["cached"] == 0].sort_values("bytes")
    latency = (past_l1["cycles"] / past_l1["loads"]).to_numpy()
    steps = (latency[1:] > 1.5 * latency[:-1]).nonzero()[0]
    return {"l2_knee_bytes": float(past_l1["bytes"].to_numpy()[steps[0]])} if len(steps) else {}
