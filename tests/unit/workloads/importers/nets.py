"""PyTorch modules that torch builds by itself, each with inputs; called on the meta device by the importer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Built = tuple[nn.Module, object]


def perceptron() -> Built:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32), nn.GELU(), nn.Linear(32, 10)), torch.empty(
        8, 64
    )


def convolutions() -> Built:
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 64, 10), nn.Softmax(-1)), torch.empty(4, 3, 16, 16)


def patches() -> Built:
    """A ViT's embedding of rectangular images and an encoder."""
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2)
    return nn.Sequential(nn.Conv2d(3, 64, 8, stride=8), nn.Flatten(2), Turned(), encoder), torch.empty(2, 3, 32, 64)


class Turned(nn.Module):
    """Channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def encoder() -> Built:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False), torch.empty(2, 16, 64)


def encoder_decoder() -> Built:
    return nn.Transformer(32, 4, 2, 2, 64, batch_first=True), (torch.empty(2, 10, 32), torch.empty(2, 7, 32))


def decoder() -> Built:
    stack = nn.TransformerDecoder(nn.TransformerDecoderLayer(32, 2, 64, batch_first=True), 2)
    return stack, (torch.empty(2, 5, 32), torch.empty(2, 9, 32))


def attention() -> Built:
    """Attention that gives its weights has no fused kernel."""
    x = torch.empty(2, 12, 32)
    return nn.MultiheadAttention(32, 4, batch_first=True), (x, x, x)


def recurrent() -> Built:
    return nn.LSTMCell(16, 32), torch.empty(4, 16)


def gated() -> Built:
    return nn.GRUCell(16, 32), (torch.empty(4, 16), torch.empty(4, 32))


def einsum() -> Built:
    return Summed(), (torch.empty(3, 4, 5), torch.empty(3, 5, 6))


class Summed(nn.Module):
    """A product of stacks of matrices, and a table of its own making."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum("bij,bjk->bik", a, b) + torch.ones(6)


def one_pixel() -> Built:
    return nn.Sequential(nn.Conv2d(8, 16, 1), nn.SiLU(), nn.Conv2d(16, 4, 1)), torch.empty(2, 8, 12, 20)


def grouped() -> Built:
    layers = [nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 3, groups=2), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(16, 4, 3, stride=2), nn.Conv2d(4, 4, 3)), torch.empty(1, 8, 20, 20)


def unlike() -> Built:
    """What no operator stands for: a transposed convolution with strides of two sizes, and a solver."""
    layers = [nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 3, stride=(1, 2)), Solving()]
    return nn.Sequential(*layers), torch.empty(1, 3, 6, 5)


class Solving(nn.Module):
    """Inverts each plane."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(torch.linalg.inv(x[..., :6]))


def images() -> Built:
    """What vision networks do to images, one after the other."""
    layers = [
        nn.Conv2d(3, 8, 3, dilation=2),
        nn.Conv2d(8, 8, (1, 3), stride=(1, 2), padding=(0, 1)),
        nn.GroupNorm(2, 8),
        nn.InstanceNorm2d(8),
        nn.MaxPool2d(3, 2, 1),
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1),
        nn.AdaptiveAvgPool2d(4),
        nn.PixelShuffle(2),
        nn.AdaptiveAvgPool2d(1),
    ]
    return nn.Sequential(*layers), torch.empty(2, 3, 20, 36)


def arrays() -> Built:
    return Arrays(), torch.empty(4, 6, 10)


class Arrays(nn.Module):
    """What goes along an axis, or by an index."""

    def forward(self, x: Tensor) -> Tensor:
        index = torch.zeros(4, 6, 3, dtype=torch.long)
        picked = x.gather(2, index) + x[:, :, torch.zeros(3, dtype=torch.long)]
        rows = x.index_select(1, torch.zeros(2, dtype=torch.long)).mean((0, 2))
        x = x.scatter_add(2, index, picked)
        largest = x.amax(1) + x.max(1).values + x.sum(0).cumsum(0)[:4]
        ordered = x.sort(-1).values + x.topk(3).values.std()
        return ordered.sum() + rows.sum() + largest.argmax(1) + torch.logsumexp(x, 2).norm()


def masked() -> Built:
    """A decoder that sees a mask, and its memory; then heads whose values are narrower than keys."""
    return Masked(), (torch.empty(2, 4, 6, 8), torch.empty(2, 4, 9, 8), torch.empty(6, 9))


class Masked(nn.Module):
    """Attention in three ways."""

    def forward(self, q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
        attend = functional.scaled_dot_product_attention
        q = attend(q, k, k, attn_mask=mask) + attend(q, k, k)
        return attend(q, k, k[..., :4])


class Block(nn.Module):
    """A layer of a causal language model."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.ffn_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, inner, bias=False), nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = self.qkv(self.attention_norm(x)).view(batch, tokens, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, tokens, width))
        return x + self.down(functional.silu(self.up(self.ffn_norm(x))))


class Causal(nn.Module):
    """A causal language model."""

    def __init__(self, vocabulary: int, width: int, heads: int, inner: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Block(width, heads, inner) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.head(self.norm(x))
        return logits


def causal() -> Built:
    return Causal(100, 64, 4, 128, 3), torch.zeros(2, 16, dtype=torch.long)


def joined() -> Built:
    return Joining(), (torch.empty(4, 8), torch.empty(4, 16))


class Joining(nn.Module):
    """Elementwise functions, copies, and sizes that change."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        both = torch.cat([a, b], 1)
        half = both.to(torch.float16).masked_fill(both > 1.0, 2.0)
        return torch.sigmoid(half).sum(1).mul_(torch.ones(4)).clamp(0.0, 1.0)


def of_one_size() -> Built:
    """A module whose forward looks at a number, which the meta device has not."""
    return Peeking(), torch.empty(4, 4)


class Peeking(nn.Module):
    """Runs nowhere but on real numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if x.sum().item() > 0 else x


def no_module() -> object:
    return 3


def raising() -> Built:
    raise RuntimeError("no weights\nhere")


number = 3
