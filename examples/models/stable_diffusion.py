"""Stable Diffusion's U-Nets and TAESD in PyTorch, to import:

    simexplore workload import torch examples/models/stable_diffusion.py:sd15_unet -o g.yaml

Layers are those of `UNet2DConditionModel` (Hugging Face diffusers) with the configurations of stable-diffusion-v1-5 and
sd-turbo, and of madebyollin's taesd.py; a transformer's projections are products, as of sd-turbo. Nothing but PyTorch
is needed, and no weights are: a builder runs on the meta device.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

Built = tuple[nn.Module, tuple[Tensor, ...]]
WIDTHS, BLOCKS, GROUPS, TOKENS = (320, 640, 1280, 1280), 2, 32, 77
HALF = torch.float16


class Residual(nn.Module):
    """Two convolutions after norms, a vector of the time step between them, and the sum with what came in."""

    def __init__(self, cin: int, cout: int, time: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, cin), nn.Conv2d(cin, cout, 3, padding=1)
        self.time = nn.Linear(time, cout)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, cout), nn.Conv2d(cout, cout, 3, padding=1)
        self.short = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        y = self.conv1(functional.silu(self.norm1(x))) + self.time(time)[:, :, None, None]
        result: Tensor = self.short(x) + self.conv2(functional.silu(self.norm2(y)))
        return result


class Attention(nn.Module):
    """Attention of the image's pixels to themselves or to the text."""

    def __init__(self, width: int, features: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width)
        self.k, self.v = nn.Linear(features, width, bias=False), nn.Linear(features, width, bias=False)

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        q, k, v = (
            part.view(part.shape[0], part.shape[1], self.heads, -1).transpose(1, 2)
            for part in (self.q(x), self.k(other), self.v(other))
        )
        attended = functional.scaled_dot_product_attention(q, k, v)
        result: Tensor = self.out(attended.transpose(1, 2).reshape(x.shape))
        return result


class Transformer(nn.Module):
    """Attention to the image, attention to the text, and a gated feed-forward, between two projections."""

    def __init__(self, width: int, heads: int, text: int) -> None:
        super().__init__()
        self.norm, self.proj_in = nn.GroupNorm(GROUPS, width), nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.own, self.cross = Attention(width, width, heads), Attention(width, text, heads)
        self.gated, self.down = nn.Linear(width, 8 * width), nn.Linear(4 * width, width)
        self.proj_out = nn.Linear(width, width)

    def forward(self, image: Tensor, text: Tensor) -> Tensor:
        batch, width, height, _ = image.shape
        x = self.proj_in(self.norm(image).permute(0, 2, 3, 1).reshape(batch, -1, width).contiguous())
        y = self.norms[0](x)
        x = self.own(y, y) + x
        x = self.cross(self.norms[1](x), text) + x
        value, gate = self.gated(self.norms[2](x)).chunk(2, dim=-1)
        x = self.down(value * functional.gelu(gate)) + x
        x = self.proj_out(x).reshape(batch, height, -1, width).permute(0, 3, 1, 2)
        return x + image


class UNet(nn.Module):
    """The way down, the middle, and the way up beside what the way down made."""

    def __init__(self, heads: tuple[int, ...], text: int) -> None:
        super().__init__()

        def block(cin: int, level: int) -> nn.ModuleList:
            parts: list[nn.Module] = [Residual(cin, WIDTHS[level], time)]
            return nn.ModuleList(parts + [Transformer(WIDTHS[level], heads[level], text)] * (level < last))

        time, last = 4 * WIDTHS[0], len(WIDTHS) - 1
        self.time1, self.time2 = nn.Linear(WIDTHS[0], time), nn.Linear(time, time)
        self.conv_in = nn.Conv2d(4, WIDTHS[0], 3, padding=1)
        self.down, self.up, channels, skips = nn.ModuleList(), nn.ModuleList(), WIDTHS[0], [WIDTHS[0]]
        for level, width in enumerate(WIDTHS):
            for _ in range(BLOCKS):
                self.down.append(block(channels, level))
                channels = width
                skips.append(channels)
            if level < last:
                self.down.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        around = [Residual(channels, channels, time) for _ in range(2)]
        self.middle = nn.ModuleList([around[0], Transformer(channels, heads[-1], text), around[1]])
        for level, width in reversed(list(enumerate(WIDTHS))):
            for _ in range(BLOCKS + 1):
                self.up.append(block(channels + skips.pop(), level))
                channels = width
            if level > 0:
                self.up.append(nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)))
        self.norm_out, self.conv_out = nn.GroupNorm(GROUPS, WIDTHS[0]), nn.Conv2d(WIDTHS[0], 4, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
        time = functional.silu(self.time2(functional.silu(self.time1(time))))
        x = self.conv_in(x)
        made = [x]
        for part in self.down:
            x = _through(part, x, time, text)
            made.append(x)
        x = _through(self.middle, x, time, text)
        for part in self.up:
            if isinstance(part, nn.ModuleList):
                x = torch.cat([x, made.pop()], 1)
            x = _through(part, x, time, text)
        result: Tensor = self.conv_out(functional.silu(self.norm_out(x)))
        return result


def _through(part: nn.Module, x: Tensor, time: Tensor, text: Tensor) -> Tensor:
    """A level's block, or its convolution to another size."""
    if not isinstance(part, nn.ModuleList):
        result: Tensor = part(x)
        return result
    for layer in part:
        x = layer(x, time) if isinstance(layer, Residual) else layer(x, text)
    return x


class Block(nn.Module):
    """TAESD's: three convolutions with ReLU between them, the sum with what came in, and a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv2d(64, 64, 3, padding=1) for _ in range(3)]
        self.convs = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.convs(x) + x)


class Clamp(nn.Module):
    """tanh(x / 3) 3."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


def _encoder() -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, padding=1), Block()]
    for _ in range(3):
        layers += [nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False), Block(), Block(), Block()]
    return nn.Sequential(*layers, nn.Conv2d(64, 4, 3, padding=1))


def _decoder() -> nn.Module:
    layers: list[nn.Module] = [Clamp(), nn.Conv2d(4, 64, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [Block(), Block(), Block(), nn.Upsample(scale_factor=2), nn.Conv2d(64, 64, 3, padding=1, bias=False)]
    return nn.Sequential(*layers, Block(), nn.Conv2d(64, 3, 3, padding=1))


def _unet(heads: tuple[int, ...], text: int) -> Built:
    inputs = torch.empty(1, 4, 64, 64), torch.empty(1, WIDTHS[0]), torch.empty(1, TOKENS, text)
    return UNet(heads, text).to(HALF), tuple(each.to(HALF) for each in inputs)


def sd15_unet() -> Built:
    """Stable Diffusion 1.5's, of one image of 512 x 512."""
    return _unet((8, 8, 8, 8), 768)


def sd_turbo_unet() -> Built:
    """SD-Turbo's."""
    return _unet((5, 10, 20, 20), 1024)


def taesd_encoder() -> Built:
    """From an image of 512 x 512 to its latents."""
    return _encoder().to(HALF), (torch.empty(1, 3, 512, 512, dtype=HALF),)


def taesd_decoder() -> Built:
    """From latents to an image of 512 x 512."""
    return _decoder().to(HALF), (torch.empty(1, 4, 64, 64, dtype=HALF),)
