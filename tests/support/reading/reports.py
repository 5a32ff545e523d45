"""What reports are made of in tests: a sweep's store without a simulation, a comparison of some rows, small runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from round_host import round_system
from toy_steps import ToySteps

import simexplore
from simexplore.kernels.datasets import read_measurements
from simexplore.sim.compare.comparison import Comparison, compare
from simexplore.sim.estimate.traits import BOUNDS
from simexplore.sim.explore.storage.header import Header
from simexplore.sim.explore.store import Chunk, Store
from simexplore.sim.explore.table import Column
from simexplore.sim.play.execute import execute
from simexplore.sim.play.memory.timeline import MemoryTimeline
from simexplore.sim.report.runs.memory import memory_html
from simexplore.sim.report.serving.page import serving_html
from simexplore.sim.serve.cluster import serve
from simexplore.sim.serve.engine.engine import Engine
from simexplore.sim.serve.engine.settings import Settings
from simexplore.sim.serve.load.request import Request
from simexplore.sim.serve.results import Objectives, Result
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.ops import Add, Transfer

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
"""A name that a careless page would run."""
COLUMNS = (
    Column("dram.bandwidth", "axis", "B/s"),
    Column("l2.capacity", "axis", "B"),
    Column("sm.count", "axis", "1", "int"),
    Column("workload.dtype", "axis", "text", "text", ("bf16", "fp8", HOSTILE)),
    Column("time_s", "objective", "s", direction="min"),
    Column("energy_j", "objective", "J", direction="min"),
    Column("tokens_per_s", "metric", "1/s"),
    Column("peak_memory_bytes", "metric", "B"),
    Column("utilization.dram", "metric", "1"),
    Column("time_low_s", "interval", "s"),
    Column("time_high_s", "interval", "s"),
    Column("bound", "bound", "text", "text", BOUNDS),
    Column("feasible", "feasible", "1", "bool"),
)
FAILED = 3
"""Points without a result, in every store of `make_store`."""


def make_store(folder: Path, points: int, seed: int = 1, columns: tuple[Column, ...] = COLUMNS) -> Store:
    """A sweep of random points over four axes whose time and energy follow from them; one in eight is infeasible.

    Other `columns` are a part of these, in their order.
    """
    random = np.random.default_rng(seed)
    bandwidth, l2 = random.choice([2.4e12, 4.8e12, 9.6e12], points), 2.0**20 * random.choice([25, 50, 100, 200], points)
    sms, dtype = random.integers(60, 200, points), random.integers(0, 3, points)
    dram_s, tensor_s = 0.02 * 4.8e12 / bandwidth / (1 + 1e-9 * l2), 0.02 * 132 / sms / (1 + dtype / 2)
    time_s = np.maximum(dram_s, tensor_s) * random.uniform(0.98, 1.02, points)
    energy_j = time_s * (100 + 2 * sms + bandwidth / 4e10)
    bound = np.where(dram_s > tensor_s, BOUNDS.index("dram"), BOUNDS.index("tensor"))
    found = {
        "dram.bandwidth": bandwidth, "l2.capacity": l2, "sm.count": sms, "workload.dtype": dtype, "time_s": time_s,
        "energy_j": energy_j, "tokens_per_s": 16 / time_s, "peak_memory_bytes": np.full(points, 2e10),
        "utilization.dram": np.minimum(1.0, dram_s / time_s), "time_low_s": 0.9 * time_s, "time_high_s": 1.2 * time_s,
        "bound": bound, "feasible": random.random(points) > 1 / 8,
    }  # fmt: skip
    values = np.stack([np.asarray(found[column.name], dtype=np.float64) for column in columns])
    text = f"arch: nvidia/h200-sxm\ndescription: {HOSTILE}\n"
    store = Store.create(folder, Header({"description": HOSTILE}, text, columns, points, metadata()))
    store.add(Chunk(0, values, {point: f"expected less than {point} B, found {HOSTILE}" for point in range(FAILED)}))
    return store


def metadata() -> dict[str, object]:
    """What a sweep's store knows of its making."""
    arch = {
        "name": f"Test GPU {HOSTILE}",
        "from": "test.yaml",
        "data": {"description": "", "sources": {"sm.count": "datasheet", "dram.efficiency": "calibrated: mape 4.2 %"}},
        "calibration": {"dram.efficiency": "calibrated: mape 4.2 %"},
    }
    work = {"source": "llm/llama-3-8b/decode", "weight": 1.0, "parameters": {"batch": 16}}
    return {
        "versions": {"simexplore": "0.1.0"}, "name": f"Test sweep {HOSTILE}", "seed": 7, "sampler": "random",
        "fidelity": "estimate", "arch": arch, "workloads": {"decode": work},
    }  # fmt: skip


def make_comparison(folder: Path, interval: bool = False) -> Comparison:
    """An H200's predictions against invented times of GEMMs and softmaxes, a source and an operator hostile."""
    random = np.random.default_rng(2)
    lines = ["source,device,op,dtype,m,n,k,rows,cols,time_us"]
    for _ in range(150):
        m, n, k = 2 ** random.integers(0, 14, 3)
        lines.append(f'"mine {HOSTILE.replace(chr(34), chr(34) * 2)}",NVIDIA H200,gemm,bf16,{m},{n},{k},,,')
        lines.append(f"aic/x,NVIDIA H200,softmax,fp32,,,,{m},{n},")
    lines = [lines[0], *(f"{line}{time:.3f}" for line, time in zip(lines[1:], random.uniform(5, 50, 300), strict=True))]
    lines += ["mine,NVIDIA H200,unknown <b>op</b>,bf16,,,,,,9"]
    path = folder / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = compare(simexplore.load_arch("nvidia/h200-sxm"), read_measurements(path))
    if not interval:
        return replace(found, table=found.table.drop(columns=["low_us", "high_us"], errors="ignore"))
    predicted = found.table["predicted_us"]
    table = found.table.assign(low_us=0.7 * predicted, high_us=1.4 * predicted)
    return replace(found, table=table, total=replace(found.total, interval_coverage=0.5))


def memory_page(made: str) -> str:
    """The memory of a short run: what stays on a drive, and what goes by a host to a GPU and is read there."""
    nodes = (
        Node("read", Transfer(10**9), (), 1e9, place="ssd->cpu", kind="weights"),
        Node("up", Transfer(10**9), ("read",), 1e9, place="cpu->gpu", kind="weights"),
        Node("add", Add(10**9 // 4, "fp16"), ("up",), 0.5e9),
    )
    timeline = MemoryTimeline()
    graph = Graph("handed on", nodes, {"weights": 2e9}, (), {"ssd": {"states": 4e9, "weights": 1e9}})
    run = execute(graph, round_system(), probes=[timeline])
    return memory_html(graph.name, "round", timeline, run.memory, made)


def serving_page(made: str) -> str:
    """Two loads of an engine whose steps take a second."""
    engine = Engine(ToySteps(), Settings(page_tokens=4, pages=10))
    served = serve([engine], [Request(0.0, 8, 3), Request(5.0, 4, 2)])
    told = Result(served, [engine], 1, 1, 10.0, Objectives())
    points = [{"deployment": "round", "rate_per_s": rate, **told.to_json()} for rate in (1.0, 2.0)]
    return serving_html(
        "serving", {"a deployment of a rather long name": points}, told.samples(), [("rate", "1,2")], made
    )
