"""A neural field evaluated as an NFP would: grid features and weights in its number formats, sums in fp32.

What an SRAM of half the size costs in quality is the difference between two of these formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simexplore.sim.hardware.ngpc.addresses import cells, corner_entries, corner_offsets
from simexplore.sim.hardware.ngpc.nfp import Level

Floats = NDArray[np.float32]
Format = Literal["fp32", "fp16", "int8"]
FORMATS: tuple[Format, ...] = ("fp32", "fp16", "int8")
INT8_LARGEST = 127.0
DECIBEL = 10.0
"""Of a ratio of powers, over its decimal logarithm."""


@dataclass(frozen=True)
class TrainedField:
    """A trained grid encoding and its network."""

    levels: tuple[Level, ...]
    tables: tuple[Floats, ...]
    """One for each level, (entries, features)."""
    weights: tuple[Floats, ...]
    """One for each layer, (inputs, outputs); ReLU between layers, none after the last."""


@dataclass(frozen=True)
class NumberFormats:
    """Formats of an NFP: of table entries, of weights, and of the activations between layers."""

    features: Format = "fp32"
    weights: Format = "fp32"
    activations: Format = "fp32"


def quantized(values: Floats, number: Format) -> Floats:
    """Values as a format holds them; int8 has one scale for the whole array, its largest value at 127."""
    if number == "fp16":
        return values.astype(np.float16).astype(np.float32)
    if number == "int8":
        largest = float(np.abs(values).max(initial=0.0))
        scale = largest / INT8_LARGEST if largest > 0.0 else 1.0
        return np.asarray(np.clip(np.rint(values / scale), -INT8_LARGEST, INT8_LARGEST) * scale, np.float32)
    return values


def encode(points: NDArray[np.float64], field: TrainedField, number: Format) -> Floats:
    """Features of points (n, dims): at each level those of its cell's corners by nearness; (n, levels * f)."""
    features = []
    for level, table in zip(field.levels, field.tables, strict=True):
        entries = corner_entries(points, level.resolution, level.entries, level.hashed)
        _, place = cells(points, level.resolution - 1.0)
        corner = corner_offsets(points.shape[1]).astype(bool)[None]
        weight = np.where(corner, place[:, None, :], 1.0 - place[:, None, :]).prod(axis=2)
        features.append((quantized(table, number)[entries] * weight[:, :, None].astype(np.float32)).sum(axis=1))
    return np.concatenate(features, axis=1).astype(np.float32)


def evaluate(points: NDArray[np.float64], field: TrainedField, formats: NumberFormats) -> Floats:
    """The field at points (n, dims) in an NFP's number formats, (n, outputs)."""
    values = quantized(encode(points, field, formats.features), formats.activations)
    for number, weights in enumerate(field.weights):
        values = values @ quantized(weights, formats.weights)
        if number < len(field.weights) - 1:
            values = np.maximum(values, 0.0)
        values = quantized(values, formats.activations)
    return values


def psnr(image: Floats, reference: Floats) -> float:
    """Peak signal-to-noise ratio of images with values from 0 to 1 [dB]; infinite where they are the same."""
    error = float(np.mean((image.astype(np.float64) - reference.astype(np.float64)) ** 2))
    with np.errstate(divide="ignore"):
        return -DECIBEL * float(np.log10(error))
