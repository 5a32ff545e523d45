"""TAESD, the tiny autoencoder of Stable Diffusion's latents (github.com/madebyollin/taesd, taesd.py).

A block is three convolutions with ReLU between them, the sum with what came in, and a ReLU. The encoder halves the
image three times, the decoder doubles it as often, all at 64 channels.
"""

from __future__ import annotations

from simexplore.workloads.families.diffusion.net import Net

WIDTH = 64
LEVELS = 3
"""Times that an image is halved, or doubled."""
BLOCKS = 3
COLOURS, LATENTS = 3, 4


def add_encoder(net: Net) -> None:
    """From an image of three colours to latents an eighth as large along each side."""
    net.conv("in", WIDTH)
    _block(net, "b0")
    for level in range(LEVELS):
        net.conv(f"ds{level}", WIDTH, stride=2, bias=False)
        for block in range(BLOCKS):
            _block(net, f"s{level}b{block}")
    net.conv("out", LATENTS)


def add_decoder(net: Net) -> None:
    """From latents to an image."""
    for function in ("div", "tanh", "mul"):  # tanh(x / 3) 3
        net.function(f"clamp.{function}", function, 1)
    net.conv("in", WIDTH)
    net.relu("in.relu")
    for level in range(LEVELS):
        for block in range(BLOCKS):
            _block(net, f"s{level}b{block}")
        net.up(f"us{level}.nearest")
        net.conv(f"us{level}", WIDTH, bias=False)
    _block(net, "last")
    net.conv("out", COLOURS)


def _block(net: Net, name: str) -> None:
    image = net.last
    assert image is not None
    for index in range(BLOCKS):
        net.conv(f"{name}.{index}", WIDTH)
        if index < BLOCKS - 1:
            net.relu(f"{name}.{index}.relu")
    net.sum_with(f"{name}.add", image)
    net.relu(f"{name}.relu")
