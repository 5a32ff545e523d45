"""Inputs and numpy references of the operators that only frameworks have kernels for: attention and convolution."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from simexplore.kernels.backend.case import Case
from simexplore.kernels.backend.problem import Array, Arrays, Generator, Problem
from simexplore.kernels.problems import draw


def _attention_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    batch, heads, kv_heads, head_dim = (case.count(name) for name in ("batch", "heads", "kv_heads", "head_dim"))
    seq_q = case.count("seq_q") if case.op == "attention_prefill" else 1
    keys = (batch, kv_heads, case.count("seq_kv"), head_dim)
    shapes = {"q": (batch, heads, seq_q, head_dim), "k": keys, "v": keys}
    return {name: draw(rng, shape, case.dtype) for name, shape in shapes.items()}


def _attention(_case: Case, given: Arrays) -> dict[str, Array]:
    """Causal attention whose queries are the last of the keys; heads of keys are shared by groups of query heads."""
    q, k, v = (given[name].astype(np.float64) for name in "qkv")
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    hidden = np.triu(np.ones(scores.shape[-2:], dtype=bool), k=1 + k.shape[2] - q.shape[2])
    weights = np.exp(np.where(hidden, -np.inf, scores - scores.max(axis=-1, keepdims=True)))
    return {"o": weights / weights.sum(axis=-1, keepdims=True) @ v}


def _conv_inputs(case: Case, rng: Generator) -> dict[str, Array]:
    batch, cin, cout, ksize, hw = (case.count(name) for name in ("batch", "cin", "cout", "ksize", "hw"))
    return {
        "x": draw(rng, (batch, cin, hw, hw), case.dtype),
        "w": draw(rng, (cout, cin, ksize, ksize), case.dtype),
    }


def _conv(case: Case, given: Arrays) -> dict[str, Array]:
    """Sum over the filter's positions of the image, shifted and strided, times the filter at that position."""
    pad, stride, ksize = (case.count(name) for name in ("pad", "stride", "ksize"))
    x = np.pad(given["x"].astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    w = given["w"].astype(np.float64)
    side = (x.shape[2] - ksize) // stride + 1
    y = np.zeros((x.shape[0], w.shape[0], side, side))
    for row in range(ksize):
        for column in range(ksize):
            seen = x[:, :, row : row + stride * side : stride, column : column + stride * side : stride]
            y += np.einsum("bchw,oc->bohw", seen[:, :, :side, :side], w[:, :, row, column], optimize=True)
    return {"y": y}


PROBLEMS: Mapping[str, Problem] = MappingProxyType(
    {
        "attention_prefill": Problem(_attention_inputs, _attention),
        "attention_decode": Problem(_attention_inputs, _attention),
        "conv2d": Problem(_conv_inputs, _conv),
    }
)
"""By operator family."""
