"""A machine by name whatever its kind: a GPU, or a system whose file names the devices that it is made of.

A device's entry in a system's file has keys of its own (`count`, `raid`, …); all others change the device's arch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from simexplore.archs.explain import at, explain
from simexplore.archs.load import load_arch, machine_of, overridden, resolve
from simexplore.archs.merge import KeyPath, Layer, overlay
from simexplore.archs.names import HERE
from simexplore.archs.provenance import told
from simexplore.archs.schema.gpu import Gpu
from simexplore.archs.schema.host.cpu import Cpu
from simexplore.archs.schema.host.drive import Drive
from simexplore.archs.schema.machine import Value
from simexplore.archs.schema.system import Device, System
from simexplore.archs.units import show
from simexplore.errors import SimexploreError

KINDS: Mapping[str, type[Cpu | Drive]] = {"cpu": Cpu, "drive": Drive}
"""Devices of a system that are no GPUs, by what their files call themselves."""
NAMES = frozenset(("arch", "beside", "between", "port", "link"))
"""Keys of a system's file that name things and need no source."""
OF_DEVICE = frozenset(info.alias or name for name, info in Device.model_fields.items())


def list_systems() -> list[str]:
    """The names of the systems that come with simexplore, sorted."""
    return sorted(f"systems/{path.stem}" for path in (HERE / "systems").glob("*.yaml"))


def load_machine(
    name_or_path: str | Path, overrides: Mapping[str, Value] | None = None, engine: str | None = None
) -> Gpu | System:
    """A GPU or a system by name (`systems/dgx-h100`) or from a file, with overrides (`{'devices.ssd.count': 6}`).

    Overrides are as those of `load_arch`. Raises SimexploreError in one line, as that does.
    """
    layer = resolve(name_or_path)
    if is_system(layer):
        return system_of_layer(overridden(layer, overrides or {}), engine)
    return load_arch(name_or_path, overrides, engine)


def is_system(layer: Layer) -> bool:
    """Whether merged plain data says that it describes a system."""
    return isinstance(layer.data, dict) and layer.data.get("kind") == "system"


def system_of_layer(layer: Layer, engine: str | None = None) -> System:
    """The system that merged plain data describes, its devices read from their own files.

    Raises:
        SimexploreError: a key is wrong in it, or in a device's file.
    """
    written = layer.data.get("devices")
    if not isinstance(written, dict) or not all(isinstance(device, dict) for device in written.values()):
        raise SimexploreError(f"{at(layer, ('devices',))}: expected devices by name, found {show(written)}")
    archs = {name: _arch(layer, name, engine) for name in written}
    devices = {
        name: {**{key: value for key, value in device.items() if key in OF_DEVICE}, "arch": archs[name]}
        for name, device in written.items()
    }
    data = {key: value for key, value in layer.data.items() if key != "vendor"}
    try:
        system = System.model_validate({**data, "devices": devices})
    except ValidationError as error:
        raise explain(error, layer, System) from None
    sources = {key: source for key, source in told(layer).items() if key.rpartition(".")[2] not in NAMES}
    return system.model_copy(update={"sources": sources})


def _arch(layer: Layer, name: str, engine: str | None) -> Gpu | Cpu | Drive:
    """The arch of a device, with what the system's file changes of it."""
    here: KeyPath = ("devices", name)
    device = layer.data["devices"][name]
    arch = device.get("arch")
    if not isinstance(arch, str):
        raise SimexploreError(f"{at(layer, (*here, 'arch'))}: expected the name of a machine, found {show(arch)}")
    changes = {key: value for key, value in device.items() if key not in OF_DEVICE}
    try:
        own = resolve(_found(layer, arch), engine=engine if engine is not None and arch.startswith("nvidia") else None)
    except SimexploreError as error:
        raise SimexploreError(f"{at(layer, (*here, 'arch'))}: {error}") from None
    return device_of(overlay(own, _below(layer, here, changes)) if changes else own)


def device_of(layer: Layer) -> Gpu | Cpu | Drive:
    """The GPU, CPU or drive that merged plain data describes, by its `kind`.

    Raises:
        SimexploreError: a key is wrong in it.
    """
    kind = layer.data.get("kind")
    if kind not in KINDS:
        return machine_of(layer)
    try:
        record = KINDS[kind].model_validate(layer.data)
    except ValidationError as error:
        raise explain(error, layer, KINDS[kind]) from None
    return record.model_copy(update={"sources": told(layer)})


def _found(layer: Layer, arch: str) -> str | Path:
    """A device's machine by name; by a path relative to the file that names it where it is one."""
    if not arch.endswith((".yaml", ".yml")):
        return arch
    file = layer.files[-1] if layer.files else "."
    return Path(file).parent / arch


def _below(layer: Layer, here: KeyPath, changes: dict[str, Any]) -> Layer:
    """The changes of one device as a layer of their own, each value at the place that it was written."""
    places = {path[len(here) :]: place for path, place in layer.places.items() if path[: len(here)] == here}
    return Layer(changes, {(): layer.place(here), **places}, layer.files)
