"""Where NVIDIA's shared libraries are: in the wheels that pip installs, else where the system has them."""

from __future__ import annotations

import ctypes.util
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path


def places_of(name: str) -> Iterator[str]:
    """What ctypes may load for a library such as `nvrtc`: of the wheels the newest first, then the system's."""
    spec = find_spec("nvidia")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        yield from sorted((str(path) for path in Path(root).glob(f"*/lib/lib{name}.so.*")), reverse=True)
        yield from sorted((str(path) for path in Path(root).glob(f"*/bin/**/{name}64_*.dll")), reverse=True)
    found = ctypes.util.find_library(name)
    if found:
        yield found
