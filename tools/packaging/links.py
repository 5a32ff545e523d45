"""The package as it installs, as a folder of links: the rooms lie side by side in the repository, under other names.

    python tools/packaging/links.py DIRECTORY

Editable installs lead to such a folder, and what reads the package without installing it (mypy, mkdocs) is given one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "simexplore"


def link_tree(root: Path, target: Path) -> Path:
    """A folder with the package as it is installed, made of links: its own files, and each room as a whole."""
    package = target / PACKAGE
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    places: Mapping[str, str] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"][
        "package-dir"
    ]
    rooms = {name.partition(".")[2]: root / place for name, place in places.items() if name != PACKAGE}
    own = {path.name: path for path in (root / places[PACKAGE]).iterdir() if path.name != "__pycache__"}
    for name, path in {**own, **rooms}.items():
        os.symlink(path, package / name, target_is_directory=path.is_dir())
    return target


if __name__ == "__main__":
    link_tree(ROOT, Path(sys.argv[1]))
