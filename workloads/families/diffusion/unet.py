"""The U-Net of Stable Diffusion (Rombach et al., arXiv:2112.10752): a denoiser of latent images, conditioned on text.

Layers are those of `UNet2DConditionModel` of Hugging Face's diffusers with the configurations of the weights. A
residual block adds a vector of the time step between its convolutions. A transformer block attends to the image's
pixels, then to the tokens of the text, then has a gated feed-forward. Biases are added by the operators before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from simexplore.workloads.families.diffusion.net import SILU_FLOPS, Net
from simexplore.workloads.ops import Copy, Pointwise

LATENT_CHANNELS = 4
TEXT_TOKENS = 77
"""Tokens of a prompt, padded (CLIP)."""


@dataclass(frozen=True, slots=True)
class UNet:
    """A configuration.

    Args:
        widths: channels of each level; all but the last have transformers, and all but the last halve the image.
        heads: heads of attention of each level.
        text: features of a token of the text.
        blocks: residual blocks of a level on the way down; one more on the way up.
        source: citation.
    """

    widths: tuple[int, ...]
    heads: tuple[int, ...]
    text: int
    source: str
    blocks: int = 2

    @property
    def time(self) -> int:
        """Features of the time step."""
        return 4 * self.widths[0]


WIDTHS = (320, 640, 1280, 1280)
UNETS: Mapping[str, UNet] = MappingProxyType(
    {
        "sd-1.5": UNet(
            WIDTHS,
            (8, 8, 8, 8),
            768,
            "unet/config.json of runwayml/stable-diffusion-v1-5: 8 heads",
        ),
        "sd-turbo": UNet(WIDTHS, (5, 10, 20, 20), 1024, "unet/config.json of stabilityai/sd-turbo: 5 to 20 heads"),
    }
)
"""By the name that the catalogue has for it."""


def add_unet(net: Net, model: UNet) -> None:
    """All layers, from a latent image to what is to be taken from it."""
    image = net.last
    net.last = None
    net.linear("time1", model.widths[0], model.time, rows=net.batch)
    net.function("time_silu", "silu", SILU_FLOPS, elements=net.batch * model.time)
    net.linear("time2", model.time, model.time, rows=net.batch)
    time = net.function("time_act", "silu", SILU_FLOPS, elements=net.batch * model.time)
    net.last = image
    skips = [(net.conv("conv_in", model.widths[0]), net.channels)]
    last = len(model.widths) - 1
    for level, width in enumerate(model.widths):
        for block in range(model.blocks):
            _residual(net, f"d{level}.r{block}", width, time, model)
            if level < last:
                _transformer(net, f"d{level}.a{block}", model.heads[level], model)
            skips.append((_image(net), net.channels))
        if level < last:
            skips.append((net.conv(f"d{level}.down", width, stride=2), net.channels))
    _residual(net, "mid.r0", model.widths[-1], time, model)
    _transformer(net, "mid.a", model.heads[-1], model)
    _residual(net, "mid.r1", model.widths[-1], time, model)
    for level, width in enumerate(reversed(model.widths)):
        for block in range(model.blocks + 1):
            _with_skip(net, f"u{level}.cat{block}", *skips.pop())
            _residual(net, f"u{level}.r{block}", width, time, model)
            if level > 0:
                _transformer(net, f"u{level}.a{block}", model.heads[last - level], model)
        if level < last:
            net.up(f"u{level}.nearest")
            net.conv(f"u{level}.up", width)
    net.group_norm("gn_out")
    net.function("act_out", "silu", SILU_FLOPS)
    net.conv("conv_out", LATENT_CHANNELS)


def _image(net: Net) -> str:
    assert net.last is not None
    return net.last


def _with_skip(net: Net, name: str, skip: str, channels: int) -> None:
    """The image beside one of the way down: channels one after the other, copied."""
    net.channels += channels
    net.add(name, Copy(net.elements, net.dtype), skip)


def _residual(net: Net, name: str, width: int, time: str, model: UNet) -> None:
    image, channels = _image(net), net.channels
    shortcut = image
    if channels != width:
        shortcut = net.conv(f"{name}.short", width, ksize=1)
    net.last = time
    shift = net.linear(f"{name}.temb", model.time, width, rows=net.batch)
    net.last, net.channels = image, channels
    net.group_norm(f"{name}.gn1")
    net.function(f"{name}.silu1", "silu", SILU_FLOPS)
    net.conv(f"{name}.conv1", width)
    net.add(f"{name}.shift", Pointwise(net.elements, 1, 1, 1, net.dtype, "add"), shift)  # the vector is not counted
    net.group_norm(f"{name}.gn2")
    net.function(f"{name}.silu2", "silu", SILU_FLOPS)
    net.conv(f"{name}.conv2", width)
    net.sum_with(f"{name}.add", shortcut)


def _transformer(net: Net, name: str, heads: int, model: UNet) -> None:
    """Projections around attention to the image, attention to the text, and a feed-forward."""
    width, image = net.channels, _image(net)
    net.group_norm(f"{name}.gn")
    whole = net.linear(f"{name}.proj_in", width, width)
    for part in ("self", "x"):
        norm = net.layer_norm(f"{name}.{'ln1' if part == 'self' else 'ln2'}")
        tokens, features = (net.hw**2, width) if part == "self" else (TEXT_TOKENS, model.text)
        made = [net.linear(f"{name}.{part}.q", width, width, bias=False)]
        for which in "kv":
            net.last = norm if part == "self" else None
            made.append(net.linear(f"{name}.{part}.{which}", features, width, rows=net.batch * tokens, bias=False))
        net.attention(f"{name}.{part}.attention", heads, tokens, *made)
        net.linear(f"{name}.{part}.o", width, width)
        whole = net.sum_with(f"{name}.{part}.add", whole)
    net.layer_norm(f"{name}.ln3")
    net.linear(f"{name}.ff.geglu", width, 8 * width)
    net.gated(f"{name}.ff.gate", net.pixels * 4 * width)
    net.linear(f"{name}.ff.out", 4 * width, width)
    net.sum_with(f"{name}.ff.add", whole)
    net.linear(f"{name}.proj_out", width, width)
    net.sum_with(f"{name}.add", image)
