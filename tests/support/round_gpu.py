"""A GPU of round numbers (`tests/data/round-gpu.yaml`), and whole demands compared with figures worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from simexplore.archs.load import load_arch
from simexplore.archs.schema.gpu import Gpu

FILE = Path(__file__).resolve().parents[1] / "data" / "round-gpu.yaml"
CLOSE = 1e-9
"""Figures by hand and by the code may differ in the order of a sum."""


@cache
def _machine(changes: tuple[tuple[str, str], ...]) -> Gpu:
    return load_arch(FILE, dict(changes))


def round_gpu(changes: Mapping[str, object] | None = None) -> Gpu:
    """The machine, with some values as they would be written in YAML: `{"library.gemm.memory.multicast": 1}`."""
    return _machine(tuple((key, str(value)) for key, value in (changes or {}).items()))


def flat(record: Any, prefix: str = "") -> dict[str, Any]:
    """The fields of a record and of the records in it, by dotted name; arrays as lists, those of one value as it."""
    found: dict[str, Any] = {}
    for each in fields(record):
        value, name = getattr(record, each.name), prefix + each.name
        if is_dataclass(value):
            found |= flat(value, f"{name}.")
        else:
            found[name] = plain(value)
    return found


def plain(value: Any) -> Any:
    """Numbers and lists in place of arrays; a row or a column of candidates is one list, one value is a number."""
    if isinstance(value, tuple):
        return tuple(plain(each) for each in value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return value
    return np.squeeze(value).tolist()


SELDOM_TOLD = {"work.padding_ops"}
"""What follows from the others, and is compared only where a test tells it."""


def differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, str]:
    """What differs, by name: `found …, expected …`. Fields that are the same for all candidates may be given as one."""
    told = {}
    for name in sorted({*found, *expected} - (SELDOM_TOLD - {*expected})):
        if name not in found or name not in expected or not _same(found[name], expected[name]):
            told[name] = f"found {found.get(name, 'no such field')}, expected {expected.get(name, 'nothing')}"
    return told


def _same(found: Any, expected: Any) -> bool:
    if isinstance(found, tuple) and isinstance(expected, tuple):
        return len(found) == len(expected) and all(_same(*pair) for pair in zip(found, expected, strict=True))
    if isinstance(expected, str) or isinstance(found, str) or found is None or expected is None:
        return bool(found == expected)
    shapes = np.shape(found), np.shape(expected)
    return (shapes[0] == shapes[1] or () in shapes) and bool(np.allclose(found, expected, rtol=CLOSE, atol=0.0))


USUAL: dict[str, Any] = {
    "work.tensor_dtype": "fp16",
    "work.fma_dtype": "fp32",
    "work.activity": 1,
    "work.tensor_ops": 0,
    "work.fma_ops": 0,
    "work.special_ops": 0,
    "work.shared_bytes": 0,
    "work.l2_read_bytes": 0,
    "work.l2_write_bytes": 0,
    "work.dram_read_bytes": 0,
    "work.dram_write_bytes": 0,
    "work.epilogue_bytes": 0,
    "latency.bytes_in_flight": 0,
    "latency.chain_cycles": 0,
    "latency.exposed_cycles": 0,
    "latency.setup_cycles": 0,
    "latency.straggler_share": 0,
    "latency.extra_launches": 0,
    "latency.helper_cycles": 0,
    "latency.ramp_cycles": 0,
    "latency.miss_share": 1,
    "latency.host_s": 0,
    "overlap.within_sm": None,
    "overlap.sm_l2": None,
    "overlap.dram": None,
    "overlap.wave_exposure": 1,
    "overlap.tensor_efficiency": 1,
    "overlap.epilogue_efficiency": 1,
    "overlap.l2_rate": 1,
    "overlap.dram_rate": 1,
    "choice.offered": True,
    "choice.reckoned_read_bytes": 0,
    "choice.reckoned_cycles": 0,
    "choice.reckoned_miss_share": 1,
    "choice.label": (),
}
"""A demand that asks for nothing: the fields that most kernels leave alone need not be written in each test."""


def assert_demand(demand: Any, expected: Mapping[str, Any]) -> None:
    """Every field of the demand is as expected, or as `USUAL` where nothing is said; tells those that are not.

    `expected` has dotted names (`work.fma_ops`), and for each a number, or a list of one number a candidate or row.
    """
    wrong = differences(flat(demand), {**USUAL, **expected})
    assert not wrong, "\n".join(["the demand differs:", *(f"  {name}: {what}" for name, what in wrong.items())])
