"""LivePortrait's modules (Guo et al., arXiv:2407.03168; github.com/KwaiVGI/LivePortrait, src/modules, models.yaml).

F makes a volume of features of the source, M reads the motion of a driving frame, W warps the volume by it, G paints
the result; S are three small networks that correct the motion. Sampling a volume at given places is a `Resample`
between eight neighbours. The weights of G's residual blocks are divided by their spectral norm in
every forward: a product of the matrix and a vector, and a division.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from types import MappingProxyType

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.families.diffusion.net import RELU_FLOPS, Net
from simexplore.workloads.families.portrait.volume import Volume
from simexplore.workloads.graph import Graph
from simexplore.workloads.operators.parameters import dtype_of
from simexplore.workloads.ops import Conv, Conv2d, Copy, Gelu, Gemm, LayerNorm, Pointwise, Reduce, Resample, Softmax
from simexplore.workloads.workload import Workload

FACE, FEATURES, DEPTH, VOLUME = 256, 32, 16, 64
"""Pixels of an image; channels, layers and rows of the volume."""
KEYPOINTS = 21
HEATMAP_FLOPS, MOTION_FLOPS, MODULATE_FLOPS, GRN_FLOPS = 8, 6, 3, 3
STAGES = ((96, 3), (192, 3), (384, 9), (768, 3))
"""Widths and blocks of ConvNeXtV2-tiny."""
HEADS = (3 * KEYPOINTS, 1, 66, 66, 66, 3, 3 * KEYPOINTS)
HOURGLASS = (64, 128, 256, 512, 1024)
STITCHING = ((126, 128, 128, 64, 65), (65, 128, 128, 64, 63), (66, 256, 256, 128, 128, 64, 63))


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a module."""

    dtype: str = field(default="fp16", metadata=dtype_of("type of weights and activations"))


def appearance(dtype: str) -> Net:
    """F: two halvings, then six residual blocks on the volume."""
    net = Volume(1, FACE, 3, dtype)
    net.conv("first", 64)
    net.normed("first")
    for index, width in enumerate((128, 256)):
        net.conv(f"down{index}", width)
        net.normed(f"down{index}")
        net.pooled(f"pool{index}")
    net.conv("second", FEATURES * DEPTH, ksize=1)
    net.depth, net.channels = DEPTH, FEATURES
    for block in range(6):
        image = net.last
        assert image is not None
        for part in (1, 2):
            net.normed(f"res3d{block}.{part}")
            net.conv3d(f"res3d{block}.conv{part}", FEATURES)
        net.sum_with(f"res3d{block}.add", image)
    return net


def motion(dtype: str) -> Net:
    """M: ConvNeXtV2-tiny and seven linear heads."""
    net = Net(1, FACE, 3, dtype)
    for stage, (width, blocks) in enumerate(STAGES):
        if stage:
            net.layer_norm(f"s{stage}.ln")
        _patches(net, "stem" if stage == 0 else f"ds{stage}", width, 4 if stage == 0 else 2)
        if stage == 0:
            net.layer_norm("stem.ln")
        for block in range(blocks):
            _convnext(net, f"s{stage}b{block}")
    net.add("pool", Reduce(net.channels, net.hw**2, dtype=dtype, function="mean"))
    net.hw = 1
    pooled = net.layer_norm("ln")
    for index, features in enumerate(HEADS):
        net.last = pooled
        net.linear(f"head{index}", net.channels, features)
    return net


def _patches(net: Net, name: str, width: int, side: int) -> None:
    """A convolution whose filters do not overlap."""
    op = Conv2d(1, net.channels, width, side, net.hw, side, 0, net.dtype)
    net.parameters += width * (net.channels * side**2 + 1)
    net.hw, net.channels = net.hw // side, width
    net.add(name, op)
    net.biased(name)


def _convnext(net: Net, name: str) -> None:
    image, width = net.last, net.channels
    assert image is not None
    op = Conv(1, width, width, net.hw, net.hw, cols=7, rows=7, pad_cols=3, pad_rows=3, groups=width, dtype=net.dtype)
    net.parameters += width * (49 + 1)
    net.add(f"{name}.dw7", op)
    net.biased(f"{name}.dw7")
    net.layer_norm(f"{name}.ln")
    net.linear(f"{name}.pw1", width, 4 * width)
    net.add(f"{name}.gelu", Gelu(4 * net.elements, net.dtype))
    net.parameters += 8 * width
    net.add(f"{name}.grn", LayerNorm(4 * width, net.hw**2, net.dtype))
    net.linear(f"{name}.pw2", 4 * width, width)
    net.sum_with(f"{name}.add", image)


def warping(dtype: str) -> Net:
    """W: motions of every key point sampled, an hourglass that weighs them, and the volume sampled once more."""
    net = Volume(1, VOLUME, FEATURES, dtype, depth=DEPTH)
    net.conv3d("compress", 4, 1)
    net.normed("compress")
    _candidates(net)
    _hourglass(net)
    whole = net.conv3d("dec.out", FEATURES + 5 * (KEYPOINTS + 1))
    whole = net.normed("dec.out")
    net.conv3d("mask", KEYPOINTS + 1, 7)
    net.add("mask.softmax", Softmax(net.pixels, KEYPOINTS + 1, dtype))
    net.function("deformation", "weighted_sum", MOTION_FLOPS)
    net.add("grid_sample_feature", _sampled(net, FEATURES, 1))
    sampled, net.last = net.last, whole
    net.depth, net.channels = 1, DEPTH * (FEATURES + 5 * (KEYPOINTS + 1))
    op = Conv2d(1, net.channels, 1, 7, VOLUME, 1, 3, dtype)
    net.parameters += net.channels * 49 + 1
    net.add("occlusion", op)
    net.channels = 1
    occlusion = net.biased("occlusion")
    net.last, net.channels = sampled, FEATURES * DEPTH
    net.conv("third", 256)
    net.normed("third")
    net.conv("fourth", 256, ksize=1)
    net.add("occluded", Pointwise(net.elements, 1, 1, 4, dtype, "sigmoid_mul"), occlusion)
    return net


def _candidates(net: Volume) -> None:
    """The compressed volume moved by each key point, and a heat map of each beside it."""
    points = KEYPOINTS + 1
    image = net.last
    net.function("motions", "sparse_motion", MOTION_FLOPS, elements=3 * points * net.pixels)
    net.add("grid_sample_sparse", _sampled(net, 4 * points, points))
    net.function("heatmaps", "gaussian", HEATMAP_FLOPS, elements=points * net.pixels)
    net.channels = 0
    net.beside("cat", 5 * points, str(image))


def _sampled(net: Volume, planes: int, grids: int) -> Resample:
    """Volumes sampled at places that grids of three coordinates tell, between eight voxels each."""
    return Resample(planes, net.pixels, net.pixels, 8, 3, grids, net.dtype, "grid_linear")


def _hourglass(net: Volume) -> None:
    """Five halvings and five doublings within layers, each level beside its like on the way down."""
    skips = [(str(net.last), net.channels)]
    for level, width in enumerate(HOURGLASS):
        net.conv3d(f"enc{level}", width)
        net.normed(f"enc{level}")
        skips.append((net.pooled(f"enc{level}.pool"), width))
    skips.pop()
    for level, width in reversed(list(enumerate((FEATURES, *HOURGLASS[:-1])))):
        net.up(f"dec{level}.nearest")
        net.conv3d(f"dec{level}", width)
        net.normed(f"dec{level}")
        skip, channels = skips.pop()
        net.beside(f"dec{level}.cat", channels, skip)


def painting(dtype: str) -> Net:
    """G: residual blocks whose norms are modulated by the warped features (SPADE, arXiv:1903.07291)."""
    net = Net(1, VOLUME, 256, dtype)
    features = net.add("features", Copy(net.elements, dtype))
    net.conv("fc", 512)
    for block in range(6):
        _spade_block(net, f"mid{block}", 512, features)
    for index, width in enumerate((256, 64)):
        net.up(f"up{index}.nearest")
        image, channels = net.last, net.channels
        net.channels = 256
        features = net.add(f"up{index}.features", Copy(net.elements, dtype), features)
        net.last, net.channels = image, channels
        _spade_block(net, f"up{index}", width, features)
    net.function("out.relu", "leaky_relu", RELU_FLOPS)
    net.conv("conv_img", 12)
    net.function("out.sigmoid", "sigmoid", RELU_FLOPS)
    return net


def _spade_block(net: Net, name: str, width: int, features: str) -> None:
    image, channels = str(net.last), net.channels
    shortcut = image
    if width != channels:
        _spade(net, f"{name}.norms", features)
        shortcut = _spectral(net, f"{name}.convs", width, ksize=1)
        net.last, net.channels = image, channels
    for part, middle in enumerate((min(channels, width), width)):
        _spade(net, f"{name}.norm{part}", features)
        net.function(f"{name}.relu{part}", "leaky_relu", RELU_FLOPS)
        _spectral(net, f"{name}.conv{part}", middle)
    net.sum_with(f"{name}.add", shortcut)


def _spade(net: Net, name: str, features: str) -> None:
    """Normalisation of each channel, then a scale and a shift for each pixel, of the features."""
    channels = net.channels
    normal = net.add(f"{name}.instance", LayerNorm(channels, net.hw**2, net.dtype))
    net.last, net.channels = features, 256
    net.conv(f"{name}.shared", 128)
    shared = net.relu(f"{name}.act")
    made = []
    for part in ("gamma", "beta"):
        net.last, net.channels = shared, 128
        made.append(net.conv(f"{name}.{part}", channels))
    net.last = normal
    net.add(f"{name}.modulate", Pointwise(net.elements, 3, 1, MODULATE_FLOPS, net.dtype, "modulate"), *made)


def _spectral(net: Net, name: str, width: int, ksize: int = 3) -> str:
    """A convolution whose filters are divided by their largest singular value first."""
    image, depth = net.last, net.channels * ksize**2
    net.last = None
    net.add(f"{name}.sigma", Gemm(1, width, depth, dtype=net.dtype))
    filters = net.add(f"{name}.weight", Pointwise(width * depth, 1, 1, 1, net.dtype, "div"))
    net.last = image
    op = Conv2d(1, net.channels, width, ksize, net.hw, 1, ksize // 2, net.dtype)
    bias = ksize > 1
    net.parameters += width * (depth + bias)
    net.channels = width
    made = net.add(name, op, filters)
    return net.biased(name) if bias else made


def stitching(dtype: str) -> Net:
    """S: three networks, one after the other."""
    net = Net(1, 1, 1, dtype)
    for index, widths in enumerate(STITCHING):
        net.last = None
        for layer, (cin, cout) in enumerate(pairwise(widths)):
            net.linear(f"mlp{index}.{layer}", cin, cout)
            if layer < len(widths) - 2:
                net.function(f"mlp{index}.{layer}.relu", "relu", RELU_FLOPS, elements=cout)
    return net


MODULES: Mapping[str, Callable[[str], Net]] = MappingProxyType(
    {"F": appearance, "M": motion, "W": warping, "G": painting, "S": stitching}
)
"""By the letter that the paper has for it."""


def build(module: str, options: Options) -> Graph:
    """The graph of a module, and its weights."""
    net = MODULES[module](options.dtype)
    return Graph(f"liveportrait/{module}", tuple(net.nodes), {"weights": bytes_of(options.dtype) * net.parameters})


WORKLOADS = tuple(
    Workload(
        f"liveportrait/{module}",
        f"module {module} of LivePortrait (arXiv:2407.03168), one image: {(maker.__doc__ or '').split(':')[1].strip()}",
        Options,
        partial(build, module),
    )
    for module, maker in MODULES.items()
)
"""The modules."""
