"""Networks on volumes: a `Net` whose image has layers too."""

from __future__ import annotations

from dataclasses import dataclass

from simexplore.workloads.families.diffusion.net import RELU_FLOPS, Net
from simexplore.workloads.ops import Conv, Copy, Pool

BATCH_NORM_FLOPS = 2
"""A product and a sum by channel, at inference."""


@dataclass
class Volume(Net):
    """A network on one volume of `depth` layers."""

    depth: int = 1

    @property
    def pixels(self) -> int:
        """Voxels."""
        return self.batch * self.depth * self.hw**2

    def conv3d(self, name: str, cout: int, ksize: int = 3) -> str:
        """A convolution of volumes that keeps their size, and its bias."""
        op = Conv(
            self.batch,
            self.channels,
            cout,
            width=self.hw,
            height=self.hw,
            depth=self.depth,
            cols=ksize,
            rows=ksize,
            layers=ksize,
            pad_cols=ksize // 2,
            pad_rows=ksize // 2,
            pad_layers=ksize // 2,
            dtype=self.dtype,
        )
        self.parameters += cout * (self.channels * ksize**3 + 1)
        self.channels = cout
        self.add(name, op)
        return self.biased(name)

    def normed(self, name: str) -> str:
        """Batch normalisation and ReLU."""
        self.parameters += 2 * self.channels
        self.function(f"{name}.bn", "batch_norm", BATCH_NORM_FLOPS)
        return self.function(f"{name}.relu", "relu", RELU_FLOPS)

    def pooled(self, name: str) -> str:
        """The mean of each four neighbours of a layer."""
        half, planes = self.hw // 2, self.batch * self.channels * self.depth
        made = self.add(
            name,
            Pool(planes, self.hw, half, self.hw, cols=2, rows=2, out_height=half, dtype=self.dtype, function="mean"),
        )
        self.hw = half
        return made

    def beside(self, name: str, channels: int, *also_after: str) -> str:
        """More channels beside those that there are, copied."""
        self.channels += channels
        return self.add(name, Copy(self.elements, self.dtype), *also_after)
