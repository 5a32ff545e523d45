"""What the number formats of a neural-field processor cost in quality: a small image field, trained here in seconds.

    pip install 'simexplore[torch]'
    python examples/studies/field_quality.py out.png

A hash-grid field with a 32-64-64-3 network is fitted with torch to an analytic picture, then evaluated with numpy as an
NFP would, in several number formats. Printed are the PSNR against the picture and against the field in fp32; the
picture shows target, fp32, fp16 and 8-bit features side by side.
"""

from __future__ import annotations

import argparse
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from simexplore.sim.hardware.ngpc.addresses import cells, corner_entries, corner_offsets
from simexplore.sim.hardware.ngpc.nfp import Level
from simexplore.sim.hardware.ngpc.numbers import NumberFormats, TrainedField, evaluate, psnr
from simexplore.workloads.ops import GridEncoding

SIDE = 128
STEPS = 200
BATCH = 1 << 12
FORMATS = {
    "fp32": NumberFormats(),
    "fp16": NumberFormats("fp16", "fp16", "fp16"),
    "8-bit features": NumberFormats("int8", "fp16", "fp16"),
    "8-bit features and weights": NumberFormats("int8", "int8", "fp16"),
}
Floats = np.ndarray[Any, np.dtype[np.float32]]


def picture(points: np.ndarray[Any, np.dtype[np.float64]]) -> Floats:
    """Colours (n, 3) from 0 to 1 of points (n, 2): rings, checks and a soft light, sharp and smooth parts."""
    x, y = points[:, 0], points[:, 1]
    radius = np.hypot(x - 0.5, y - 0.5)
    rings = 0.5 + 0.5 * np.cos(90.0 * radius * radius)
    checks = ((np.floor(12 * x) + np.floor(12 * y)) % 2) * (radius > 0.38)
    light = np.exp(-8.0 * ((x - 0.3) ** 2 + (y - 0.25) ** 2))
    colours = np.stack([0.7 * rings + 0.3 * light, 0.5 * rings + 0.5 * checks, 0.4 * checks + 0.6 * light], axis=1)
    return np.clip(colours, 0.0, 1.0).astype(np.float32)


def levels_of(op: GridEncoding) -> tuple[Level, ...]:
    rows = zip(op.grid.resolution[0], op.grid.entries[0], op.grid.hashed[0], strict=True)
    return tuple(Level(int(resolution), int(entries), bool(hashed)) for resolution, entries, hashed in rows)


def train(levels: tuple[Level, ...], features: int = 2, seed: int = 0) -> TrainedField:
    """Fit tables and network with Adam on random points of the picture."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    widths = (len(levels) * features, 64, 64, 3)
    tables = [torch.nn.Parameter(1e-2 * torch.randn(level.entries, features)) for level in levels]
    weights = [torch.nn.Parameter(torch.randn(a, b) * (2.0 / a) ** 0.5) for a, b in pairwise(widths)]
    optimiser = torch.optim.Adam([{"params": tables, "lr": 1e-2}, {"params": weights, "lr": 3e-3}], eps=1e-12)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for _ in range(STEPS):
        points = rng.random((BATCH, 2))
        values = torch.cat([_look_up(torch, points, *pair) for pair in zip(levels, tables, strict=True)], dim=1)
        for number, layer in enumerate(weights):
            values = values @ layer if number == len(weights) - 1 else torch.relu(values @ layer)
        loss = torch.mean((values - torch.from_numpy(picture(points))) ** 2)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    return TrainedField(
        levels, tuple(t.detach().numpy().copy() for t in tables), tuple(w.detach().numpy().copy() for w in weights)
    )


def _look_up(torch: Any, points: np.ndarray[Any, np.dtype[np.float64]], level: Level, table: Any) -> Any:
    """Features of points at a level, with gradients to the table."""
    entries = corner_entries(points, level.resolution, level.entries, level.hashed)
    _, place = cells(points, level.resolution - 1.0)
    corner = corner_offsets(2).astype(bool)[None]
    weight = np.where(corner, place[:, None, :], 1.0 - place[:, None, :]).prod(axis=2).astype(np.float32)
    looked_up = torch.nn.functional.embedding(torch.from_numpy(entries.astype(np.int64)), table)
    return (looked_up * torch.from_numpy(weight)[:, :, None]).sum(dim=1)


def write_png(path: Path, image: Floats) -> None:
    """An image (rows, columns, 3) from 0 to 1 as a PNG file."""
    rows, columns, _ = image.shape
    pixels = (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    raw = b"".join(b"\x00" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(raw, 9)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def render(field: TrainedField) -> tuple[Floats, dict[str, Floats]]:
    """The picture and the field in each format, (SIDE, SIDE, 3)."""
    axis = (np.arange(SIDE) + 0.5) / SIDE
    points = np.stack(np.meshgrid(axis, axis, indexing="xy"), axis=-1).reshape(-1, 2)
    shape = (SIDE, SIDE, 3)
    images = {name: evaluate(points, field, formats).reshape(shape) for name, formats in FORMATS.items()}
    return picture(points).reshape(shape), images


def main(path: Path) -> dict[str, tuple[float, float]]:
    field = train(levels_of(GridEncoding(1, dims=2, levels=8, log2_entries=12, base=16, finest=128)))
    target, images = render(field)
    found = {name: (psnr(image, target), psnr(image, images["fp32"])) for name, image in images.items()}
    print(f"{'formats':28s}{'PSNR':>9s}{'against fp32':>16s}")
    for name, (against_target, against_exact) in found.items():
        print(f"{name:28s}{against_target:6.2f} dB{against_exact:13.2f} dB")
    shown = [target, *(images[name] for name in ("fp32", "fp16", "8-bit features"))]
    write_png(path, np.concatenate(shown, axis=1))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default="field_quality.png", help="[default: %(default)s]")
    main(parser.parse_args().file)
