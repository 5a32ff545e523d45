"""A convolutional network in the making: nodes in order, the value that they pass on, and parameters as they come."""

from __future__ import annotations

from dataclasses import dataclass, field

from simexplore.workloads.graph import Node
from simexplore.workloads.ops import (
    Add,
    Conv2d,
    EncoderAttention,
    Gelu,
    Gemm,
    GroupNorm,
    LayerNorm,
    Mul,
    Operator,
    Pointwise,
    Relu,
    Resample,
)

GROUPS = 32
"""Of group normalisation."""
SILU_FLOPS, RELU_FLOPS = 4, 1


@dataclass
class Net:
    """Nodes of a network on `batch` square images.

    Args:
        batch: images.
        hw: rows and columns of the image now.
        channels: of the image now.
        dtype: of all tensors.
        prefix: of all names.
        last: name of the node that made the image, if any.
    """

    batch: int
    hw: int
    channels: int
    dtype: str
    prefix: str = ""
    last: str | None = None
    nodes: list[Node] = field(default_factory=list)
    parameters: int = 0

    @property
    def pixels(self) -> int:
        """Of all images."""
        return self.batch * self.hw**2

    @property
    def elements(self) -> int:
        """Of all images."""
        return self.pixels * self.channels

    def add(self, name: str, op: Operator, *also_after: str | None) -> str:
        """A node on the image, and its name."""
        after = tuple(dict.fromkeys(each for each in (self.last, *also_after) if each is not None))
        self.nodes.append(Node.of(f"{self.prefix}{name}", op, after, self.prefix.rstrip(".")))
        self.last = f"{self.prefix}{name}"
        return self.last

    def conv(self, name: str, cout: int, *, ksize: int = 3, stride: int = 1, bias: bool = True) -> str:
        """A convolution with as much padding as keeps the image's size, and its bias."""
        op = Conv2d(self.batch, self.channels, cout, ksize, self.hw, stride, ksize // 2, self.dtype)
        self.parameters += cout * (self.channels * ksize**2 + bias)
        self.hw, self.channels = int(op.out), cout
        made = self.add(name, op)
        return self.biased(name) if bias else made

    def biased(self, name: str) -> str:
        """The bias of a convolution, which PyTorch adds by a kernel of its own (ATen/native/Convolution.cpp)."""
        return self.add(f"{name}.bias", Pointwise(self.elements, 1, 1, 1, self.dtype, "add"))

    def linear(self, name: str, cin: int, cout: int, *, rows: int | None = None, bias: bool = True) -> str:
        """A product with weights, of every pixel unless `rows` says of how many."""
        self.parameters += cout * (cin + bias)
        return self.add(name, Gemm(rows or self.pixels, cout, cin, dtype=self.dtype))

    def group_norm(self, name: str) -> str:
        """Normalisation of each group of channels of an image."""
        self.parameters += 2 * self.channels
        return self.add(name, GroupNorm(self.batch, self.channels, self.hw**2, GROUPS, self.dtype))

    def layer_norm(self, name: str) -> str:
        """Normalisation of each pixel's channels."""
        self.parameters += 2 * self.channels
        return self.add(name, LayerNorm(self.pixels, self.channels, self.dtype))

    def function(self, name: str, function: str, flops: int, *, inputs: int = 1, elements: int | None = None) -> str:
        """A pointwise function of the image, or of so many elements."""
        return self.add(name, Pointwise(elements or self.elements, inputs, 1, flops, self.dtype, function))

    def relu(self, name: str) -> str:
        """max(x, 0) of the image."""
        return self.add(name, Relu(self.elements, self.dtype))

    def gated(self, name: str, elements: int) -> str:
        """One half of what was made is multiplied by the GELU of the other half."""
        self.add(f"{name}.gelu", Gelu(elements, self.dtype))
        return self.add(f"{name}.mul", Mul(elements, self.dtype))

    def sum_with(self, name: str, other: str) -> str:
        """The image and another one of its size added up."""
        return self.add(name, Add(self.elements, self.dtype), other)

    def up(self, name: str) -> str:
        """The image twice as large, each pixel four times."""
        planes, before = self.batch * self.channels, self.hw**2
        self.hw *= 2
        return self.add(name, Resample(planes, before, self.hw**2, dtype=self.dtype))

    def attention(self, name: str, heads: int, tokens: int, *also_after: str) -> str:
        """Attention of the pixels of an image to as many tokens."""
        width = self.channels // heads
        op = EncoderAttention(self.batch, heads, heads, width, self.hw**2, tokens, self.dtype)
        return self.add(name, op, *also_after)
