"""Machines by name: which come with simexplore, which a file extends, and what a name that is none may have meant."""

from __future__ import annotations

from pathlib import Path

from simexplore.archs.explain import at
from simexplore.archs.merge import KeyPath, Layer
from simexplore.archs.units import nearest, show
from simexplore.errors import SimexploreError

HERE = Path(__file__).resolve().parent
AROUND = ("cpu", "drives", "systems")
"""Folders of what stands around a GPU, `cpu/file.yaml`; what has a folder more is a machine that kernels run on."""


def list_archs() -> list[str]:
    """The names of the machines that come with simexplore: `vendor/file`, sorted."""
    return sorted(_shipped(families=False))


def _shipped(*, families: bool) -> dict[str, Path]:
    """Name -> file: `vendor/machine` -> `vendor/generation/machine.yaml`.

    With `families`, also CPUs, drives and systems, and what machines extend: `vendor/generation` ->
    `vendor/generation/parts/family.yaml`, and `vendor/generation/x` -> `vendor/generation/parts/x.yaml`.
    """
    found = {f"{path.parent.parent.name}/{path.stem}": path for path in HERE.glob("*/*/*.yaml")}
    for path in HERE.glob("*/*/parts/*.yaml") if families else ():
        generation = path.parent.parent
        branch = "" if path.stem == "family" else f"/{path.stem}"
        found[f"{generation.parent.name}/{generation.name}{branch}"] = path
    return found | _around() if families else found


def _around() -> dict[str, Path]:
    """Name -> file of CPUs, drives and systems: `systems/x` -> `systems/x.yaml`."""
    return {f"{folder}/{path.stem}": path for folder in AROUND for path in (HERE / folder).glob("*.yaml")}


def arch_path(name_or_path: str | Path, beside: Path | None = None) -> Path:
    """The file of a machine: a shipped name, or a path that ends in .yaml or .yml (relative to `beside`).

    Raises SimexploreError that suggests the nearest names when nothing has that name.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")):
        return (beside or Path()) / text
    shipped = dict(sorted(_shipped(families=True).items()))
    if text in shipped:
        return shipped[text]
    found = _on_disk((beside or Path()) / text) or (
        show(text) + (nearest(text, list(shipped)) or nearest(f"nvidia/{text}", list(shipped)))
    )
    raise SimexploreError(
        f"expected the name of a machine (simexplore arch list) or the path of a .yaml file, found {found}"
    )


def shipped_name(path: Path) -> str | None:
    """The name of the machine whose file this is, or whose part it is: `parts/x.yaml` of `vendor/x`; None: no such."""
    real, machines = real_path(path), _shipped(families=False) | _around()
    own = real.parent.parent / real.name if real.parent.name == "parts" else real
    return next((name for name, file in machines.items() if real_path(file) == own), None)


def real_path(path: Path) -> Path:
    """A file by the one name that it has whoever names it; as it is where nothing has its name."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # too long, a null character, links that lead in a circle
        return path


def _on_disk(path: Path) -> str:
    """What there is in place of a machine's file; nothing where there is nothing."""
    try:
        written = repr(str(path))
        inside = sorted(path.glob("*.yaml"))[:3] if path.name and path.is_dir() else []
        if path.name and path.is_dir():
            named = f" (did you mean {str(inside[0])!r}?)" if inside else " without any .yaml file in it"
            return f"the folder {written}{named}"
        return f"the file {written}, whose name does not end in .yaml" if path.is_file() else ""
    except (OSError, ValueError):  # a name that no file can have
        return ""


def parents_of(layer: Layer, path: Path) -> list[Path]:
    """The files that `extends` names, in order: a later one overrides an earlier one."""
    if "extends" not in layer.data:
        return []
    names = layer.data["extends"]
    if not isinstance(names, list):
        return [_parent(layer, path, names, ("extends",))]
    return [_parent(layer, path, name, ("extends", position)) for position, name in enumerate(names)]


def _parent(layer: Layer, path: Path, name: object, key: KeyPath) -> Path:
    if not isinstance(name, str):
        raise SimexploreError(f"{at(layer, key)}: expected a name or path in one word, found {show(name)}")
    try:
        parent = arch_path(name, beside=path.parent)
    except SimexploreError as error:
        raise SimexploreError(f"{at(layer, key)}: {error}") from None
    if not _is_file(parent):
        files = sorted(file.name for file in path.parent.glob("*.yaml"))
        hint = nearest(name, files)
        raise SimexploreError(f"{at(layer, key)}: expected a file that exists, found {show(name)}{hint}")
    return parent


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a null character
        return False
