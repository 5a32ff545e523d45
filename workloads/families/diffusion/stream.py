"""StreamDiffusion's pipeline (Kodaira et al., arXiv:2312.12491): one frame in, one frame out, denoised in a batch.

Every frame is encoded to latents, gets noise, and joins the batch; the U-Net denoises all frames of the batch, each at
a step of its own; the oldest is decoded (section 3.1, stream batch). Guidance needs the U-Net for what the prompt is
not: classifier-free guidance for every frame of the batch, its residual form once (one-time negative) or never
(self-negative) (section 3.2; `pipeline.py`, n, n + 1 and 2 n of a batch of n). Text is embedded beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from simexplore.errors import SimexploreError
from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.families.diffusion.net import Net
from simexplore.workloads.families.diffusion.taesd import COLOURS, add_decoder, add_encoder
from simexplore.workloads.families.diffusion.unet import LATENT_CHANNELS, UNETS, UNet, add_unet
from simexplore.workloads.graph import Graph
from simexplore.workloads.operators.parameters import count_of, dtype_of, label_of
from simexplore.workloads.workload import Workload

GUIDANCE = ("none", "self", "onetime", "cfg")
TASKS = ("img2img", "txt2img")
LATENT = 8
"""Pixels along a side of an image for one of its latents."""
NOISE_FLOPS, STEP_FLOPS = 3, 8
"""Of a latent: noise weighed and added; the prediction taken off and weighed, guidance and the next noise added."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of the pipeline."""

    steps: int = field(default=1, metadata=count_of("denoising steps of a frame"))
    guidance: str = field(
        default="none", metadata=label_of("none, self, onetime (residual guidance) or cfg (classifier-free guidance)")
    )
    task: str = field(default="img2img", metadata=label_of("img2img: frames come in; txt2img: noise does"))
    stream_batch: int = field(
        default=1, metadata=count_of("1: all steps in one batch; 0: one step after the other", minimum=0)
    )
    frames: int = field(default=1, metadata=count_of("frames at once"))
    size: int = field(default=512, metadata=count_of("rows and columns of an image; a multiple of 64"))
    dtype: str = field(default="fp16", metadata=dtype_of("type of weights and activations"))


def build(model: UNet, name: str, options: Options) -> Graph:
    """The graph of one frame.

    Raises:
        SimexploreError: an unknown guidance or task, a stream batch that is neither 0 nor 1, or a size that the U-Net
            can't halve.
    """
    _check(name, options)
    parts = _Frame(options)
    if options.task == "img2img":
        parts.begin("encoder.", options.frames, options.size, COLOURS)
        add_encoder(parts.net)
        parts.begin("latents.", options.frames, options.size // LATENT, LATENT_CHANNELS)
        parts.net.function("noise", "add_noise", NOISE_FLOPS, inputs=2)
    held = parts.parameters
    for index, batch in enumerate(_batches(options)):
        parts.begin(f"unet{index}." if index else "unet.", batch, options.size // LATENT, LATENT_CHANNELS)
        add_unet(parts.net, model)
        held = held if index else held + parts.net.parameters
        parts.net.function("step", "scheduler_step", STEP_FLOPS, inputs=2)
    parts.begin("decoder.", options.frames, options.size // LATENT, LATENT_CHANNELS)
    add_decoder(parts.net)
    weights = bytes_of(options.dtype) * (held + parts.net.parameters)
    return Graph(name, tuple(parts.nodes), {"weights": weights})


class _Frame:
    """Networks one after the other."""

    def __init__(self, options: Options) -> None:
        self._dtype = options.dtype
        self.net = Net(1, 1, 1, options.dtype)
        self.nodes = self.net.nodes
        self.parameters = 0

    def begin(self, prefix: str, batch: int, hw: int, channels: int) -> None:
        """The next network, on what the last one made."""
        self.parameters += self.net.parameters
        self.net = Net(batch, hw, channels, self._dtype, prefix, self.net.last, self.nodes)


def _batches(options: Options) -> list[int]:
    """Latent images that the U-Net denoises at once, call by call."""
    frames, steps = options.frames, options.steps
    if options.stream_batch:
        return [frames * {"onetime": steps + 1, "cfg": 2 * steps}.get(options.guidance, steps)]
    first = 2 if options.guidance in ("onetime", "cfg") else 1
    return [frames * first] + [frames * (2 if options.guidance == "cfg" else 1)] * (steps - 1)


def _check(name: str, options: Options) -> None:
    for key, value, known in (("guidance", options.guidance, GUIDANCE), ("task", options.task, TASKS)):
        if value not in known:
            raise SimexploreError(f"{name}: {key}: expected {', '.join(known)}, found {value!r}")
    if options.stream_batch > 1:
        raise SimexploreError(f"{name}: stream_batch: expected 0 or 1, found {options.stream_batch}")
    if options.size % (LATENT * LATENT):
        raise SimexploreError(f"{name}: size: expected a multiple of {LATENT * LATENT}, found {options.size}")


WORKLOADS = tuple(
    Workload(
        f"diffusion/{name}",
        f"a frame of StreamDiffusion (arXiv:2312.12491) with TAESD and the U-Net of {model.source}",
        Options,
        partial(build, model, f"diffusion/{name}"),
    )
    for name, model in UNETS.items()
)
"""The pipeline with each U-Net."""
