"""Keys and queries of attention to measure search on: those of a small language model that is trained here.

No weights of a large model are at hand. So a byte-level decoder is trained for some minutes on the source of Python's
own standard library, and then reads modules of it that it was not trained on. Its keys and queries are rotated by
position as Llama 3's are. They have what made-up vectors lack: tokens that recur, a low-rank part, and queries that are
distributed otherwise than keys.
"""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

HEAD_DIM = 128
"""As of Llama 3."""
THETA = 5e5
"""Base of the rotation, as of Llama 3."""
BYTES = 256
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Plan:
    """How the model is made and trained."""

    hidden: int = 256
    layers: int = 2
    steps: int = 200
    batch: int = 8
    context: int = 256
    rate: float = 1e-3
    seed: int = 0


def library_text(seed: int) -> NDArray[np.uint8]:
    """The standard library's modules in an order by chance, as bytes."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts)
    random.Random(seed).shuffle(files)
    return np.frombuffer(b"".join(path.read_bytes() for path in files), dtype=np.uint8)


def rotated(vectors: Tensor, positions: Tensor) -> Tensor:
    """Rotary positions: pairs of the halves of (…, positions, HEAD_DIM) turn by position x THETA^(-2 i / HEAD_DIM)."""
    half = HEAD_DIM // 2
    angles = positions[:, None].double() * THETA ** (-torch.arange(half).double() / half)
    turn, low, high = angles, vectors[..., :half], vectors[..., half:]
    cos, sin = torch.cos(turn).float(), torch.sin(turn).float()
    return torch.cat([low * cos - high * sin, low * sin + high * cos], dim=-1)


class Block(nn.Module):
    """A layer: attention and a feed-forward network, each on the norm of the sum so far."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.heads = hidden // HEAD_DIM
        self.norms = nn.ModuleList([nn.RMSNorm(hidden), nn.RMSNorm(hidden)])
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden, bias=False), nn.Linear(hidden, hidden, bias=False)
        self.up, self.down = nn.Linear(hidden, 4 * hidden, bias=False), nn.Linear(4 * hidden, hidden, bias=False)

    def parts(self, stream: Tensor) -> Tensor:
        """Queries, keys and values before rotation, (3, batch, heads, positions, HEAD_DIM)."""
        batch, positions, _ = stream.shape
        split = self.qkv(self.norms[0](stream)).view(batch, positions, 3, self.heads, HEAD_DIM)
        return split.permute(2, 0, 3, 1, 4)

    def forward(self, stream: Tensor) -> Tensor:
        queries, keys, values = self.parts(stream)
        here = torch.arange(stream.shape[1])
        mixed = functional.scaled_dot_product_attention(
            rotated(queries, here), rotated(keys, here), values, is_causal=True
        )
        stream = stream + self.out(mixed.transpose(1, 2).flatten(2))
        return stream + self.down(functional.gelu(self.up(self.norms[1](stream))))


class Decoder(nn.Module):
    """Embedding, blocks, and a head that is the embedding."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.embedding = nn.Embedding(BYTES, plan.hidden)
        self.blocks = nn.ModuleList([Block(plan.hidden) for _ in range(plan.layers)])
        self.norm = nn.RMSNorm(plan.hidden)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        stream = self.embedding(tokens)
        for block in self.blocks:
            stream = block(stream)
        return functional.linear(self.norm(stream), self.embedding.weight)


def trained(text: NDArray[np.uint8], plan: Plan) -> tuple[Decoder, float]:
    """The model after its training, and its last loss [nat a byte], the mean of twenty steps."""
    torch.manual_seed(plan.seed)
    model, rng = Decoder(plan), np.random.default_rng(plan.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=plan.steps)
    losses = []
    for _ in range(plan.steps):
        starts = rng.integers(len(text) - plan.context - 1, size=plan.batch)
        rows = np.stack([text[start : start + plan.context + 1] for start in starts]).astype(np.int64)
        tokens = torch.from_numpy(rows)
        loss = functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return model, float(np.mean(losses[-20:]))


@torch.no_grad()
def heads_of(model: Decoder, text: NDArray[np.uint8], plan: Plan) -> Iterator[tuple[str, Vectors, Vectors]]:
    """Keys and queries of each head of the last layer over a text, (positions, HEAD_DIM), rotated by position.

    The model reads the text in windows of its training's length that overlap by half; positions count through.
    """
    model.eval()
    step = plan.context // 2
    windows = np.lib.stride_tricks.sliding_window_view(text, plan.context)[::step].astype(np.int64)
    positions = torch.arange(step + step * len(windows))
    stream = model.embedding(torch.from_numpy(windows))
    for number, block in enumerate(model.blocks):
        if number == len(model.blocks) - 1:
            queries, keys, _ = block.parts(stream)
            for head in range(block.heads):
                both = [_joined(part[:, head], step) for part in (keys, queries)]
                turned = [rotated(part, positions[: len(part)]).numpy() for part in both]
                yield f"layer {number}, head {head}", turned[0], turned[1]
        stream = block(stream)


def _joined(parts: Tensor, step: int) -> Tensor:
    """Windows that overlap by half as one: all of the first, the second half of each other one."""
    return torch.cat([parts[0], parts[1:, step:].flatten(0, 1)])
