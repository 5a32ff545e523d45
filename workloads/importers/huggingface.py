"""Language models from the `config.json` that Hugging Face has beside their weights; neither weights nor a network.

A source is a file or the folder that holds it, and a phase: `path/to/config.json/decode`, `path/to/model/prefill`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from simexplore.errors import SimexploreError
from simexplore.workloads.families.decoder.readers import decoder_of
from simexplore.workloads.families.decoder.shape import Decoder
from simexplore.workloads.families.llm import PHASES, workload
from simexplore.workloads.graph import Graph
from simexplore.workloads.hints import found
from simexplore.workloads.importers.files import read_bytes
from simexplore.workloads.importers.imported import Imported
from simexplore.workloads.operators.parameters import from_values
from simexplore.workloads.workload import Workload

PREFIX = "hf:"
FILE = "config.json"
MOST_BYTES = 10_000_000
"""Largest file read [B]; a configuration has a few thousand."""
_FORM = (
    f"{PREFIX}FILE/decode, {PREFIX}FILE/prefill or {PREFIX}FILE/train, FILE a config.json or the folder that holds it"
)


def read_model(path: Path) -> Decoder:
    """The shape of the model that a `config.json`, or a folder with one, describes.

    Raises:
        SimexploreError: there is no such file, it is no JSON, or it describes no model of a family that is known.
    """
    file = path / FILE if path.is_dir() else path
    text = read_bytes(file, MOST_BYTES, "download the model's config.json first: nothing is fetched")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SimexploreError(f"{file}: expected JSON, found: {' '.join(str(error).split())}") from None
    return decoder_of(data, _name_of(file), str(file))


def find(source: str) -> Workload:
    """A phase of the model that a source such as `path/to/config.json/decode` names, with its parameters.

    Raises:
        SimexploreError: it names no phase, or as `read_model`.
    """
    path, slash, phase = source.removeprefix(PREFIX).rpartition("/")
    if not slash or not path or phase not in PHASES:
        raise SimexploreError(f"expected {_FORM}, found {found(source)}")
    model = read_model(Path(path))
    return workload(model, f"hf/{model.name}/{phase}", phase, f"{phase} of {path}")


def build(source: str, params: Mapping[str, object]) -> Graph:
    """The graph of a source; parameters as of the catalogue's language models.

    Raises:
        SimexploreError: as `find`; an unknown parameter or a bad value; a model that does not divide as asked.
    """
    entry = find(source)
    return entry.builder(from_values(entry.options, entry.name, params, "--param batch=16 --param context=8192"))


def imported(source: str, params: Mapping[str, object]) -> Imported:
    """As `build`; nothing is left out."""
    return Imported(build(source, params))


def _name_of(file: Path) -> str:
    """A model's name from where its file lies: that of its folder, where the file is called as all are."""
    word = file.resolve().parent.name if file.name == FILE else file.stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", word)[:100].strip("-") or "model"
