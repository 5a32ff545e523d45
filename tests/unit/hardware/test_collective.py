"""Collectives by hand on the H200's facts: launch 0.92 us, start 4.5, LL 0.6 a step, Simple 1.8 and 3.4, 450 GB/s."""

from __future__ import annotations

import pytest

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.sim.conditions import Conditions, Launch
from simexplore.sim.demand import CollectiveDemand, LinkDemand
from simexplore.sim.estimate.operators import kernels_of, predict
from simexplore.sim.hardware.collective import collective_energies, collective_timing
from simexplore.workloads.ops import parse_operator

US = 1e-6
KIB, MIB = 1024, 1024**2
LAUNCH = 0.92 * US


def h200(**changes: str) -> Gpu:
    return load_arch("nvidia/h200-sxm@facts", {key.replace("__", "."): value for key, value in changes.items()})


def demand(text: str, gpu: Gpu | None = None) -> CollectiveDemand:
    (found,) = kernels_of(parse_operator(text), gpu or h200(), Conditions())
    assert isinstance(found, CollectiveDemand)
    return found


def seconds(text: str, gpu: Gpu | None = None, launch: Launch = "graph") -> float:
    return float(predict(parse_operator(text), gpu or h200(), Conditions(launch=launch)).time_s.item())


def both(copy_s: float, link_s: float) -> float:
    return (copy_s**3 + link_s**3) ** (1 / 3)


def test_a_ring_with_ll() -> None:
    # 8 KiB of 4 GPUs: 6 steps, one channel of 24; each GPU sends 12 KiB, twice that with flags.
    copy_s = 12 * KIB / 24 / (141e9 / 24)
    link_s = 12 * KIB / 0.5 / (0.824 * 450e9)
    first_s = 2 * KIB / (141e9 / 24)
    by_hand = LAUNCH + (4.5 + 6 * 0.6) * US + first_s + both(copy_s, link_s)
    assert seconds("all_reduce(elements=4096,num_gpus=4,dtype=bf16)") == pytest.approx(by_hand, rel=1e-9)


def test_a_ring_with_ll128() -> None:
    # 4 MiB of 4 GPUs: 6 MiB sent, 0.92 of the wire for data; all 24 channels copy half of 36.7 GB/s each.
    link_s = 6 * MIB / 0.92 / (0.824 * 450e9)
    copy_s = 6 * MIB / 24 / (36.7e9 / 2)
    by_hand = LAUNCH + (4.5 + 6 * 0.6 * 1.9 / 0.6) * US + both(copy_s, link_s)
    assert seconds("all_reduce(elements=2097152,num_gpus=4,dtype=bf16)") == pytest.approx(by_hand, rel=1e-9)


def test_a_ring_with_simple() -> None:
    # 64 MiB of 4 GPUs: 6 chunks sent of 16 MiB, 7 worked at, by 24 channels of 36.7 GB/s.
    link_s = 96 * MIB / (0.824 * 450e9)
    copy_s = 7 * 16 * MIB / 24 / 36.7e9
    by_hand = LAUNCH + (4.5 + 1.8 + 6 * 3.4) * US + both(copy_s, link_s)
    assert seconds("all_reduce(elements=33554432,num_gpus=4,dtype=bf16)") == pytest.approx(by_hand, rel=1e-9)


def test_an_all_reduce_in_the_switches() -> None:
    # 32 MiB of 8 GPUs: 8 rounds of 4 MiB, each of which synchronises twice; 9 eighths of it cross a link.
    by_hand = LAUNCH + (4.5 + 1.8 + (2 + 2 * 8) * 3.4) * US + 36 * MIB / (0.824 * 450e9)
    assert seconds("all_reduce(elements=16777216,num_gpus=8,dtype=bf16)") == pytest.approx(by_hand, rel=1e-9)


def test_small_and_large_all_to_alls() -> None:
    small = LAUNCH + (4.5 + 2 * 0.6) * US + both(4 * KIB / (141e9 / 24), 12 * KIB / 0.5 / (0.824 * 450e9))
    assert seconds("alltoall(elements=8192,num_gpus=4,dtype=bf16)") == pytest.approx(small, rel=1e-9)
    # 64 MiB of 4 GPUs: 16 MiB to a peer on 32 channels, the first 512 KiB of each not overlapped.
    copy_s = 64 * MIB / 32 / 36.7e9
    large = LAUNCH + (4.5 + 2 * 0.6 + 3.4) * US + 512 * KIB / 36.7e9 + both(copy_s, 48 * MIB / (0.824 * 450e9))
    assert seconds("alltoall(elements=33554432,num_gpus=4,dtype=bf16)") == pytest.approx(large, rel=1e-9)


@pytest.mark.parametrize(("launch", "each_us"), [("graph", 0.92), ("stream", 2.09), ("profiled", 0.0)])
def test_a_collective_is_launched(launch: Launch, each_us: float) -> None:
    text = "all_gather(elements=4096,num_gpus=2,dtype=bf16)"
    assert seconds(text, launch=launch) - seconds(text, launch="profiled") == pytest.approx(each_us * US, abs=1e-12)


def test_gpus_further_apart_have_less_of_pcie() -> None:
    gpu = load_arch("nvidia/l40s@facts", {"library.collectives.pcie.doubling_share": "0.25"})
    shares = [
        demand(f"all_reduce(elements=16777216,num_gpus={n},dtype=bf16)", gpu).link_share.item() for n in (2, 4, 8)
    ]
    assert shares == pytest.approx([0.76, 0.76 / 4, 0.76 / 16])


def test_engines_read_in_one_pass_and_in_two_and_leave_the_rest_to_nccl() -> None:
    one = LAUNCH + (2 + 3 * 0.3) * US + 7 * 128 * KIB / (0.6 * 450e9)
    assert seconds("custom_all_reduce(elements=65536,num_gpus=8)") == pytest.approx(one, rel=1e-9)
    two = LAUNCH + (2 + 3 * 0.3 + 5) * US + 1.75 * 2 * MIB / (0.6 * 450e9)
    assert seconds("custom_all_reduce(elements=1048576,num_gpus=8)") == pytest.approx(two, rel=1e-9)
    beyond = "(elements=4194304,num_gpus=8,dtype=bf16"
    assert seconds(f"custom_all_reduce{beyond})") == pytest.approx(seconds(f"all_reduce{beyond})"))
    assert demand(f"custom_all_reduce{beyond})").engine is None
    assert demand("custom_all_reduce(elements=65536,num_gpus=8,engine=vllm)").engine == "vllm"


def test_two_gpus_read_whole_tensors() -> None:
    found = demand("custom_all_reduce(elements=4194304,num_gpus=2,dtype=bf16)")
    assert (found.engine, found.wire_bytes.item(), found.simple_steps.item()) == ("trtllm", 8 * MIB, 0.0)


def test_memory_sets_the_pace_where_it_is_slower_than_the_link() -> None:
    text = "all_gather(elements=134217728,num_gpus=8,dtype=bf16)"
    slow = h200(dram__bandwidth="100 GB/s")
    timing = collective_timing(demand(text, slow), slow, "graph")
    assert timing.run_s == pytest.approx(256 * MIB * 1.125 / (100e9 * 0.81))
    assert timing.run_s == timing.dram_s > timing.link_s


def test_energy_goes_to_the_link_and_to_memory() -> None:
    gpu = h200()
    found = demand("all_gather(elements=134217728,num_gpus=8,dtype=bf16)", gpu)
    spent = {name: joules.item() for name, joules in collective_energies(found, gpu).items()}
    assert spent["link"] == pytest.approx(256 * MIB * 7 / 8 * gpu.energy.link_j_per_byte)
    assert spent["dram"] == pytest.approx(256 * MIB * 1.125 * gpu.energy.dram_j_per_byte)
    assert spent["l2"] == pytest.approx(256 * MIB * 1.125 * gpu.energy.l2_j_per_byte)


def test_a_machine_that_tells_nothing_of_its_library_has_messages_at_full_rate() -> None:
    gpu = h200(library__collectives__nvlink="null")
    (found,) = kernels_of(parse_operator("all_reduce(elements=1048576,num_gpus=8,dtype=bf16)"), gpu, Conditions())
    assert isinstance(found, LinkDemand)
    assert (found.steps.item(), found.bytes.item()) == (14.0, 1.75 * 2 * MIB)


def test_what_tells_of_several_gpus_is_no_part_of_a_correction_of_ones_kernels() -> None:
    same = h200().digest()
    assert h200(library__collectives__nvlink__step="3 us").digest() == same
    assert h200(library__gemm__wave_exposure="0.3").digest() != same
