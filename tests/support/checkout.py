"""The files of the project, as git knows them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("archs", "workloads", "kernels", "sim", "cli")


@cache
def tracked() -> list[Path]:
    """Files that git tracks, or would if they were added, relative to the root; skips where there is no git."""
    call = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(call, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout", allow_module_level=True)
    return sorted(Path(name) for name in listed if (ROOT / name).is_file())
