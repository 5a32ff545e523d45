"""A learned correction whose file is damaged, made up or endless: one line, in bounded time and memory."""

from __future__ import annotations

import io
import os
import random
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simexplore.archs.load import HERE, load_arch
from simexplore.archs.schema.arrays import MOST_BYTES
from simexplore.archs.schema.residual import MOST_FILE_BYTES, from_bytes
from simexplore.errors import SimexploreError

GOOD = (HERE / "nvidia" / "ampere" / "fitted" / "rtx-3090" / "trtllm.residual.npz").read_bytes()
BASE = "extends: nvidia/rtx-3090\n"
CALL = "from simexplore.cli.main import main; main()"
DAMAGED = 200


def arrays() -> dict[str, Any]:
    with np.load(io.BytesIO(GOOD), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


ARRAYS = arrays()


def saved(content: dict[str, Any]) -> bytes:
    target = io.BytesIO()
    np.savez_compressed(target, **content)
    return target.getvalue()


def cut(draw: random.Random) -> bytes:
    return GOOD[: draw.randrange(len(GOOD))]


def flipped(draw: random.Random) -> bytes:
    """Bits of what the arrays are compressed to, or of the archive's own tables."""
    data = bytearray(GOOD)
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def overwritten(draw: random.Random) -> bytes:
    begin = draw.randrange(len(GOOD))
    noise = draw.randbytes(draw.randint(1, 4096))
    return (GOOD[:begin] + noise + GOOD[begin + len(noise) :])[: len(GOOD)]


def noise(draw: random.Random) -> bytes:
    return draw.choice([b"", b"PK\x03\x04", b"\x93NUMPY", b"PK\x05\x06" + bytes(18)]) + draw.randbytes(999)


def lacking(draw: random.Random) -> bytes:
    gone = draw.choice([name for name in ARRAYS if not name.endswith("knots")])
    return saved({name: array for name, array in ARRAYS.items() if name != gone})


def superfluous(draw: random.Random) -> bytes:
    return saved({**ARRAYS, f"{draw.randint(1, 9)}/shift/more": np.zeros(3)})


def another(draw: random.Random) -> bytes:
    """One array with another shape, kind or content, each of which means something else."""
    name = draw.choice([name for name in ARRAYS if ARRAYS[name].ndim])
    array = ARRAYS[name]
    changed = {
        "longer": lambda: np.concatenate([array, array]),
        "deeper": lambda: array[None],
        "scalar": lambda: np.array(1),
        "complex": lambda: np.zeros(array.shape, dtype=complex),
        "object": lambda: np.array(["x"] * array.size, dtype=object).reshape(array.shape),
        "text": lambda: np.full(array.shape, 1.5).astype("S4"),
    }
    del changed["longer" if name in ("fingerprints", "0/shift/root", "0/spread/root") else "scalar"]
    return saved({**ARRAYS, name: changed[draw.choice(list(changed))]()})


def no_number(draw: random.Random) -> bytes:
    name = draw.choice([name for name, array in ARRAYS.items() if array.dtype.kind == "f"])
    array = ARRAYS[name].copy()
    array.flat[draw.randrange(array.size)] = draw.choice([np.nan, np.inf, -np.inf])
    return saved({**ARRAYS, name: array})


def beyond(draw: random.Random) -> bytes:
    """Indices out of their arrays, and logarithms of nothing that takes a time."""
    name, value = draw.choice(
        [(f"0/{part}/{field}", value) for part in ("shift", "spread") for field, value in
         (("root", 2**31 - 1), ("root", -1), ("feature", 999), ("start", 1e300), ("left", 32_000))]
        + [("0/half_width", 1e9), ("0/half_width", -1.0)]
    )  # fmt: skip
    array = ARRAYS[name].copy()
    array[-1] = value
    return saved({**ARRAYS, name: array})


def lying(draw: random.Random) -> bytes:
    """A header that asks for up to exabytes, before a content of a few bytes."""
    shape = (draw.choice([3, 10**6, 10**10, 10**17]), draw.choice([1, 7]))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": shape, "fortran_order": False, "descr": "<f4"})
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in ARRAYS.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array)
            bad = name == "0/hull/directions"
            file.writestr(f"{name}.npy", header.getvalue() + bytes(8) if bad else content.getvalue())
    return target.getvalue()


KINDS: list[Callable[[random.Random], bytes]] = [
    cut, flipped, overwritten, noise, lacking, superfluous, another, no_number, beyond, lying,
]  # fmt: skip


def same(data: bytes) -> bool:
    """Whether a file holds what the good one does: the damage fell where nothing is read, as on a date."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name].tobytes() for name in file.files} == {n: a.tobytes() for n, a in ARRAYS.items()}
    except Exception:  # noqa: BLE001 - whatever numpy makes of damage, it is not the same
        return False


def test_damaged_files_drawn_by_seed_are_one_line_each(tmp_path: Path) -> None:
    arch, beside = tmp_path / "mine.yaml", tmp_path / "mine.npz"
    arch.write_text(f"{BASE}calibration: {{residual: mine.npz}}\n", encoding="utf-8")
    draw = random.Random(20)
    damaged = 0
    while damaged < DAMAGED:
        data = KINDS[damaged % len(KINDS)](draw)
        if same(data):
            continue
        damaged += 1
        beside.write_bytes(data)
        with pytest.raises(SimexploreError) as caught:
            load_arch(arch)
        line = str(caught.value)
        assert line.startswith(f"{arch}:2: calibration.residual: expected an .npz that simexplore calibrate wrote")
        assert line.isprintable()
    assert from_bytes(GOOD).corrections


def bomb(inflated: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file, file.open("version.npy", "w") as member:
        for _ in range(inflated // 2**20):
            member.write(bytes(2**20))
    return target.getvalue()


def fifo(path: Path) -> None:
    os.mkfifo(path)


ENDLESS: dict[str, Callable[[Path], object]] = {
    "device": lambda path: path.symlink_to("/dev/zero"),
    "pipe": fifo,
    "bomb": lambda path: path.write_bytes(bomb(16 * MOST_BYTES)),
    "long": lambda path: path.write_bytes(bytes(MOST_FILE_BYTES + 1)),
    "folder": lambda path: path.mkdir(),
    "itself": lambda path: path.symlink_to(path),
}


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes among files")
@pytest.mark.parametrize("kind", ENDLESS)
def test_files_without_end_are_one_line_in_bounded_memory(kind: str, tmp_path: Path) -> None:
    """In a process of its own that may not take more than 1 GB, nor more than a minute."""
    arch = tmp_path / "mine.yaml"
    arch.write_text(f"{BASE}calibration: {{residual: mine.npz}}\n", encoding="utf-8")
    ENDLESS[kind](tmp_path / "mine.npz")
    done = subprocess.run(
        [sys.executable, "-c", CALL, "arch", "validate", str(arch)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)),
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"simexplore: {arch}:2: calibration.residual: expected ")
    assert done.stderr.count("\n") == 1
