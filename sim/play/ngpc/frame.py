"""A frame on a GPU with a neural-graphics cluster: in closed form, and as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.ngpc import Ngpc
from simexplore.sim.conditions import Launch
from simexplore.sim.demand import RESOURCES
from simexplore.sim.estimate.op_run import OpRun
from simexplore.sim.hardware import cache
from simexplore.sim.hardware.ngpc.cluster import LONGEST_PLAYED, Stages, period_of, schedule
from simexplore.sim.hardware.ngpc.nfp import SteadyRate, steady_rate
from simexplore.sim.hardware.timing import KernelTiming, kernel_timing
from simexplore.sim.play.engine import Clock, seconds
from simexplore.sim.play.flows import FlowNetwork
from simexplore.sim.play.ngpc.offload import Frame, batch_count, frame_of, fused_kernel, handed_over_missing
from simexplore.sim.play.ngpc.pipeline import Pipeline
from simexplore.sim.play.probes import Probe, Probes
from simexplore.sim.play.result import Run
from simexplore.workloads.graph import Graph

METERED = ("ngpc", "power")
"""Not shared: the share of time that the cluster works, and power [W]."""


@dataclass(frozen=True)
class Plan:
    """A frame with the times of both sides."""

    frame: Frame
    stages: Stages
    batches: int
    rate: SteadyRate
    gpu: KernelTiming
    """The GPU's kernel, alone and whole."""
    ngpc_bound: str
    """What bounds the cluster: encode, mlp or l2."""
    gpu_j: float
    ngpc_j: float
    """Dynamic energy of both sides [J]."""

    @property
    def busy_s(self) -> dict[str, float]:
        """Time for which each shared resource, and the cluster, is busy over the whole frame [s]."""
        stages = self.stages
        batches = self.batches - 1 + stages.last_share
        names = [name for name in (*RESOURCES, "ngpc") if name in {*stages.gpu_takes, *stages.ngpc_takes}]
        return {name: batches * (stages.gpu_takes.get(name, 0.0) + stages.ngpc_takes.get(name, 0.0)) for name in names}


def plan_frame(graph: Graph, gpu: Gpu, launch: Launch = "graph") -> Plan | None:
    """What GPU and cluster do for a frame; None where the machine has no cluster, or the graph nothing for it.

    Raises:
        SimexploreError: the cluster cannot hold the encoding.
    """
    ngpc = gpu.ngpc
    frame = None if ngpc is None else frame_of(graph, ngpc)
    if ngpc is None or frame is None:
        return None
    timing = kernel_timing(fused_kernel(frame, gpu, ngpc), gpu)
    batches = batch_count(frame, ngpc)
    full = ngpc.batch.queries / frame.queries  # of the frame, in a full batch
    rate = steady_rate(frame.field, ngpc.encoding, ngpc.mlp)
    ngpc_s, takes, bound = _ngpc_batch(frame, gpu, ngpc, rate)
    launch_s = gpu.launch.graph_s if launch == "graph" else gpu.launch.stream_s
    trip_s = cache.mean_latency_cycles(gpu) / gpu.clock.boost_hz
    busy = {name: float(timing.busy_s[name].item()) * full for name in RESOURCES}
    stages = Stages(
        gpu_s=max(float(timing.run_s.item()) * full, *busy.values()),
        ngpc_s=float(ngpc_s),
        doorbell_s=ngpc.batch.doorbell_round_trips * float(trip_s),
        launch_s=launch_s + float(timing.setup_s.item()),
        last_share=frame.queries / ngpc.batch.queries - (batches - 1),
        gpu_takes={**_used(busy), "power": float(timing.energy_j.item()) * full},
        ngpc_takes={**_used(takes), "power": _ngpc_dynamic_j(frame, gpu, ngpc) * full},
    )
    return Plan(
        frame, stages, batches, rate, timing, bound,
        gpu_j=float(timing.energy_j.item()), ngpc_j=_ngpc_dynamic_j(frame, gpu, ngpc),
    )  # fmt: skip


def _used(takes: dict[str, float]) -> dict[str, float]:
    """Resources that are taken, and those that both sides share in any case."""
    return {name: float(amount) for name, amount in takes.items() if amount > 0.0 or name in ("l2", "dram")}


def _ngpc_batch(frame: Frame, gpu: Gpu, ngpc: Ngpc, rate: SteadyRate) -> tuple[float, dict[str, float], str]:
    """Time of a full batch on the cluster [s], what it takes of each resource, and what bounds it."""
    per_nfp = ngpc.batch.queries / ngpc.nfps
    engines_s = (per_nfp * rate.cycles_per_query + rate.fill_cycles) / ngpc.clock_hz
    spilled = frame.spill_bytes_per_query(gpu.l2.sector_bytes)
    moved = ngpc.batch.queries * (frame.input_bytes + spilled + gpu.l2.write_cost * frame.result_bytes)
    l2_s = moved / (gpu.l2.bandwidth_bytes_per_clk * gpu.clock.boost_hz)
    port_s = ngpc.batch.queries * (frame.input_bytes + spilled + frame.result_bytes)
    port_s /= ngpc.nfps * ngpc.port_bytes_per_clk * gpu.clock.boost_hz
    tables = sum(level.entries for level in frame.spilled) * frame.field.entry_bytes
    missing = handed_over_missing(frame, gpu, ngpc)
    missed = (frame.input_bytes + frame.result_bytes) * missing + spilled * (1.0 - _held_share(tables, gpu))
    dram_s = ngpc.batch.queries * missed / (gpu.dram.bandwidth_bytes_per_s * gpu.dram.efficiency)
    time_s = max(engines_s, l2_s, port_s, dram_s)
    bound = "encode" if rate.mlp_share < 0.85 else "mlp"
    if time_s > engines_s:
        bound = "dram" if time_s == dram_s else "l2"
    return time_s, {"l2": l2_s, "dram": dram_s, "ngpc": time_s}, bound


def _held_share(tables_bytes: float, gpu: Gpu) -> float:
    """Share of gathers from spilled tables that hits L2: what of them fits it, since they are looked up at random."""
    room = gpu.l2.usable_share * gpu.l2.capacity_bytes
    return min(room / tables_bytes, 1.0) if tables_bytes else 1.0


def _ngpc_dynamic_j(frame: Frame, gpu: Gpu, ngpc: Ngpc) -> float:
    """Dynamic energy of the cluster for a frame [J]: products, SRAM reads, and traffic with L2."""
    silicon = ngpc.silicon
    l2_bytes = frame.input_bytes + frame.result_bytes + frame.spill_bytes_per_query(gpu.l2.sector_bytes)
    per_query = (
        2.0 * frame.macs_per_query * silicon.mac_j_per_op * ngpc.mlp.weight_bits / 16.0
        + frame.sram_bytes_per_query * silicon.sram_j_per_byte
        + l2_bytes * gpu.energy.l2_j_per_byte
    )
    return frame.queries * per_query


def estimate_frame(plan: Plan, gpu: Gpu) -> tuple[float, float, tuple[OpRun, ...]]:
    """Time [s], energy [J] and parts of a frame in closed form."""
    ngpc = _of(gpu)
    time_s = schedule(plan.stages, plan.batches, ngpc.batch.in_flight)
    return time_s, _energy_j(plan, gpu, time_s), _parts(plan)


def play_frame(plan: Plan, gpu: Gpu, graph: Graph, probes: Sequence[Probe]) -> Run:
    """A frame as events. Of very many batches those in the middle are not played: they repeat those before them.

    Probes then see a frame that is shorter by as many batches.
    """
    ngpc = _of(gpu)
    observers = Probes(probes)
    clock = Clock()
    taken = {*plan.stages.gpu_takes, *plan.stages.ngpc_takes}
    capacities = {name: inf if name in METERED else 1.0 for name in (*RESOURCES, *METERED) if name in taken}

    def on_rates(rates: Mapping[str, float]) -> None:
        observers.on_rates(clock.now_fs, rates)

    network = FlowNetwork(clock, capacities, on_rates if probes else None)
    held = sum(graph.resident_bytes.values())
    observers.on_memory(0, held)
    played = min(plan.batches, LONGEST_PLAYED)
    pipeline = Pipeline(clock, network, observers, plan.stages, played, ngpc.batch.in_flight)
    pipeline.start()
    clock.run()
    time_s = seconds(clock.now_fs) + (plan.batches - played) * period_of(pipeline.marks)
    return Run(
        time_s=time_s,
        energy_j=_energy_j(plan, gpu, time_s),
        peak_memory_bytes=held,
        utilization=_utilization(plan, gpu, time_s),
        ops=_parts(plan),
    )


def _utilization(plan: Plan, gpu: Gpu, time_s: float) -> dict[str, float]:
    """Mean shares in use: of shared resources, of the cluster, and of its SRAM banks and MLP arrays."""
    rate, ngpc = plan.rate, _of(gpu)
    engines_s = plan.frame.queries / ngpc.nfps * rate.cycles_per_query / ngpc.clock_hz
    return {
        # Sums of rounded shares may pass 1 by some 1e-16.
        **{name: min(busy_s / time_s, 1.0) for name, busy_s in plan.busy_s.items()},
        "ngpc_banks": rate.bank_share * engines_s / time_s,
        "ngpc_mlp": rate.mlp_share * engines_s / time_s,
    }


def _energy_j(plan: Plan, gpu: Gpu, time_s: float) -> float:
    ngpc = _of(gpu)
    idle_w = gpu.power.idle_w + ngpc.nfps * ngpc.silicon.leakage_w
    return plan.gpu_j + plan.ngpc_j + idle_w * time_s


def _parts(plan: Plan) -> tuple[OpRun, ...]:
    """What the GPU and the cluster do, each with the time that it is busy."""
    stages, batches = plan.stages, plan.batches - 1 + plan.stages.last_share
    gpu = max(plan.gpu.busy_s, key=lambda name: float(plan.gpu.busy_s[name].item()))
    text = plan.frame.name
    return (
        OpRun("rest", text, stages.launch_s, stages.gpu_s * batches, gpu, plan.gpu_j, "rest_fused"),
        OpRun(
            "encode and mlp", text, stages.launch_s, stages.ngpc_s * batches, plan.ngpc_bound, plan.ngpc_j, "ngpc"
        ),
    )  # fmt: skip


def _of(gpu: Gpu) -> Ngpc:
    assert gpu.ngpc is not None, "a plan exists only for a machine with a cluster"
    return gpu.ngpc
