"""The build backend: setuptools', but an editable install is a folder of links, which type checkers can follow.

The rooms lie side by side in the repository and install under one name. What setuptools makes of that for an editable
install is a hook in Python's import system, of which mypy and pyright know nothing: to them the package is not there.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from links import PACKAGE, ROOT, link_tree
from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

EDITABLE = ROOT / ".editable"
"""Where editable installs lead: not in `build`, which people delete."""


def build_editable(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """An editable wheel whose one path file leads to the folder of links; setuptools' own where links can't be made."""
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    try:
        links = link_tree(ROOT, EDITABLE)
    except OSError:  # Windows lets few users make links
        return name
    _lead_to(Path(wheel_directory) / name, links)
    return name


def _lead_to(wheel: Path, folder: Path) -> None:
    """The wheel with a path file to a folder, in place of what else it would install beside its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        files = {item: archive.read(item) for item in archive.namelist() if ".dist-info/" in item}
    record = next(item for item in files if item.endswith(".dist-info/RECORD"))
    del files[record]
    files[f"__editable__.{PACKAGE}.pth"] = f"{folder}\n".encode()
    lines = [f"{item},sha256={_digest(data)},{len(data)}" for item, data in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for item, data in files.items():
            archive.writestr(item, data)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]
