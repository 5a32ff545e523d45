"""Work that users bring: configurations of language models, PyTorch modules and ONNX files."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from simexplore.workloads.importers.imported import Imported

_MODULES = {"hf": "huggingface", "torch": "torch_", "onnx": "onnx_"}
KINDS = tuple(_MODULES)
"""What models come from."""


def import_model(kind: str, source: str, params: Mapping[str, object]) -> Imported:
    """A model as a graph of operators.

    Args:
        kind: one of `KINDS`.
        source: a file, and what of it, as the kind has it.
        params: options of the kind by name.

    Raises:
        SimexploreError: the file is not there or is none of this kind, an unknown parameter or a bad value, or a
            package that reads it is not installed.
    """
    module = import_module(f"simexplore.workloads.importers.{_MODULES[kind]}")
    found: Imported = module.imported(source, params)
    return found
