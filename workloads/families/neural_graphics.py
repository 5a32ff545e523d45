"""Frames of instant-ngp's four applications under three encodings, kernel by kernel as it launches them.

A frame goes round after round: make the next queries of the rays alive, encode them, evaluate the network, use the
results, throw dead rays out, read back how many are left. Kernels, their traffic and the limits of the rounds are
counted in NVlabs/instant-ngp (testbed_nerf.cu, testbed_sdf.cu, testbed_image.cu, testbed_volume.cu; February 2023);
how many queries rays ask is traced (`neural_scene`). Networks and encodings: configs/{nerf,sdf,image,volume}/base.json,
configs/nerf/densegrid.json and densegrid_1res.json, the last two taken for all applications.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType

from simexplore.workloads.dtypes import bytes_of
from simexplore.workloads.families import neural_scene as scene
from simexplore.workloads.graph import Graph, Node
from simexplore.workloads.operators.parameters import ParameterError, count_of, dtype_of, label_of
from simexplore.workloads.ops import FusedMlp, Gemm, GridEncoding, HostRead, Operator, RayKernel, Relu
from simexplore.workloads.workload import Workload

WIDTHS = MappingProxyType({"fhd": 1920, "qhd": 2560, "4k": 3840, "5k": 5120, "8k": 7680})
"""Pixels across of every resolution; all are 16 x 9."""
ENCODINGS = MappingProxyType(
    {
        "hashgrid": GridEncoding(1, levels=16, features=2, base=16, finest=2048, indexing="hash"),
        "densegrid": GridEncoding(1, levels=8, features=2, base=16, finest=173, indexing="dense"),
        "lowres-densegrid": GridEncoding(1, levels=2, features=8, base=128, finest=128, indexing="tiled"),
    }
)
APPLICATIONS = MappingProxyType(
    {
        "nerf": "radiance field, marched; instant-ngp configs/nerf/base.json",
        "nsdf": "signed distance function, sphere-traced with shadows; instant-ngp configs/sdf/base.json",
        "gia": "gigapixel image of 20000 pixels across; instant-ngp configs/image/base.json",
        "nvr": "volume, delta-tracked; instant-ngp configs/volume/base.json",
    }
)
TARGET_QUERIES = 2 * 1024 * 1024
MAX_STEPS_PER_ROUND = 8
STEPS_BETWEEN_COMPACTION = 4
CELL_INSTRUCTIONS = 40
"""Of a step over an empty cell: its Morton index, the bit, the distance to the next cell."""
SAMPLE_INSTRUCTIONS = 60
SKIP_RNG_INSTRUCTIONS = 350
"""Of advancing a PCG generator to a thread's own place: a loop over the bits of the distance, in 64-bit products."""
FLIGHT_INSTRUCTIONS = 70
"""Of a tentative flight: a random number, a logarithm, a Morton index, a bit."""
CARRIED = 25
"""Loads, stores, addresses and bounds of a thread whose state lives in memory between kernels."""


@dataclass(frozen=True, slots=True)
class Options:
    """What all frames have in common."""

    resolution: str = field(default="fhd", metadata=label_of(f"size of the frame: {', '.join(WIDTHS)}"))
    dtype: str = field(default="fp16", metadata=dtype_of("type of tables, weights and activations"))
    mlp: str = field(default="fused", metadata=label_of("fused: one kernel a network; layers: one GEMM a layer"))
    log2_entries: int = field(
        default=0,
        metadata=count_of("base-2 logarithm of a hashed level's most entries; 0: the application's", minimum=0),
    )
    finest: int = field(
        default=0, metadata=count_of("resolution of the finest level; 0: that of application and encoding", minimum=0)
    )

    @property
    def width(self) -> int:
        """Pixels across."""
        return WIDTHS[self.resolution]

    @property
    def pixels(self) -> int:
        """Pixels of the frame."""
        return self.width * (self.width * 9 // 16)


class _Frame:
    """The chain of kernels of one frame."""

    def __init__(self, name: str, encoding: GridEncoding, networks: tuple[FusedMlp, ...], options: Options) -> None:
        self.name, self.options = name, options
        self.encoding, self.networks = encoding, networks
        self.nodes: list[Node] = []

    def add(self, name: str, op: Operator, group: str = "rest") -> None:
        after = (self.nodes[-1].name,) if self.nodes else ()
        self.nodes.append(Node.of(f"{name}.{len(self.nodes)}", op, after, group))

    def rays(
        self, function: str, rays: float, read: float, write: float, instructions: float, carried: float = CARRIED,
        loads: float = 0.0, group: str = "rest",
    ) -> None:  # fmt: skip
        """A per-ray kernel; nothing when there is no ray. `carried` instructions fall away when kernels are fused."""
        if round(rays) < 1:
            return
        op = RayKernel(
            rays=round(rays),
            read_bytes=round(read),
            write_bytes=round(write),
            instructions=round(instructions),
            carried_instructions=min(round(carried), round(instructions)),
            dependent_loads=round(loads),
            function=function,
        )
        self.add(function, op, group)

    def evaluate(self, queries: float, spacing: float, idle: float = 0.0) -> None:
        """Encode so many points, the neighbours' 1 / `spacing` apart, and evaluate all networks."""
        self.encode(queries, spacing, idle)
        for network in self.networks:
            self.network(network, queries)

    def encode(self, queries: float, spacing: float, idle: float = 0.0) -> None:
        op = replace(self.encoding, queries=round(queries), spacing=max(round(spacing), 1), idle=round(idle))
        self.add("encode", op, "encoding")

    def network(self, shape: FusedMlp, queries: float) -> None:
        network = replace(shape, queries=round(queries))
        if self.options.mlp == "fused":
            self.add("mlp", network, "mlp")
            return
        widths = [network.inputs, *[network.width] * int(network.hidden), int(network.padded_outputs)]
        for layer, (k, n) in enumerate(pairwise(widths)):
            self.add("layer", Gemm(m=network.queries, n=n, k=k, dtype=network.dtype), "mlp")
            if layer < network.hidden:
                self.add("relu", Relu(int(network.queries) * int(n), network.dtype), "mlp")

    def convert(self, queries: float, outputs: int) -> None:
        """The network's padded fp16 outputs to the fp32 that the application reads."""
        self.rays("convert", queries, 2 * 16, 4 * outputs, 30, carried=30)

    def compact(self, rays: float, state_bytes: float) -> None:
        """Keep the rays alive, and tell the host how many they are."""
        self.rays("compact", rays, state_bytes, state_bytes, 40, carried=40)
        self.add("count", HostRead(1))

    def clear(self) -> None:
        """Colour and depth of every pixel to nothing."""
        self.rays("clear", self.options.pixels, 1, 20, 8, carried=8)

    def show(self) -> None:
        """Accumulate the samples of a pixel, and map its tones."""
        pixels = self.options.pixels
        self.rays("accumulate", pixels, 32, 16, 40)
        self.rays("tonemap", pixels, 16, 16, 90)

    def graph(self, state_bytes: float) -> Graph:
        table = self.encoding.table_bytes
        weights = sum(bytes_of(net.dtype) * net.weights for net in self.networks)
        held = {"tables": table, "weights": weights, "rays": state_bytes * self.options.pixels}
        return Graph(self.name, tuple(self.nodes), {key: float(size) for key, size in held.items()})


def build_nerf(name: str, encoding: GridEncoding, options: Options) -> Graph:
    """March rays through the room; up to eight samples of a ray between compactions."""
    rays, pixels = scene.radiance_rays(options.width), options.pixels
    state, sample = 60, 28
    features = int(encoding.levels * encoding.features)
    density = FusedMlp(1, inputs=features, hidden=1, outputs=16, dtype=options.dtype)
    colour = FusedMlp(1, inputs=32, hidden=2, outputs=3, dtype=options.dtype)
    frame = _Frame(name, replace(encoding, stride_bytes=sample), (density, colour), options)
    alive, excess = rays.alive(scene.MAX_SAMPLES), rays.warp_excess
    first, later = rays.steps_before, rays.steps_between
    frame.clear()
    frame.rays("init_rays", pixels, 16, state, 150)
    frame.rays("advance", pixels, 40, 8, 40 + CELL_INSTRUCTIONS * first, loads=first)
    done, before = 0, float(pixels)
    while done < len(alive) and round(now := alive[done] * pixels) >= 1:
        steps = int(min(max(TARGET_QUERIES // now, 1), MAX_STEPS_PER_ROUND))
        queries = now * steps
        frame.compact(before, state)
        marching = SAMPLE_INSTRUCTIONS * excess + CELL_INSTRUCTIONS * later
        frame.rays("march", now, 40, 8 + sample * steps, 40 + marching * steps, loads=steps * (1.0 + later))
        asked = float(alive[done : done + steps].sum()) * pixels
        frame.encode(queries, 1.0 / rays.neighbour_distance, idle=max(queries - asked, 0.0))
        frame.network(density, queries)
        frame.rays("encode_direction", queries, sample, 32, 70, carried=70, group="encoding")
        frame.network(colour, queries)
        frame.rays("extract_density", queries, 32, 32, 20, carried=20)
        per_sample = SAMPLE_INSTRUCTIONS * 1.5 * excess
        frame.rays("composite", now, state + (32 + sample) * steps, state, 40 + per_sample * steps)
        before, done = now, done + steps
    frame.rays("shade", pixels, 20, 20, 60)
    frame.show()
    return frame.graph(2.0 * state)


def build_nsdf(name: str, encoding: GridEncoding, options: Options) -> Graph:
    """Sphere-trace the thing, take normals by central differences, trace shadows, shade."""
    rays, pixels = scene.surface_rays(options.width), options.pixels
    network = FusedMlp(1, inputs=int(encoding.levels * encoding.features), hidden=2, outputs=1, dtype=options.dtype)
    frame = _Frame(name, encoding, (network,), options)
    state, hits = 40, rays.hit_share * pixels
    frame.clear()
    frame.rays("init_rays", pixels, 16, state + 4, 200)
    _sphere_trace(frame, rays.primary, state)
    for _ in range(2):
        frame.rays("offset", hits, 12, 36, 40, carried=40)
        for _ in range(3):
            frame.evaluate(hits, 1.0 / rays.primary.neighbour_distance)
            frame.convert(hits, 1)
    frame.rays("normal", hits, 24, 12, 30)
    frame.rays("init_shadows", hits, 48, state + 12, 120)
    _sphere_trace(frame, rays.shadow, state + 12)
    frame.rays("shade", hits, 72, 16, 300)
    frame.show()
    return frame.graph(3.0 * state)


def _sphere_trace(frame: _Frame, rays: scene.RayCounts, state: int) -> None:
    """Rounds of up to four steps; a ray that ends within a round still takes part in it."""
    pixels, alive = frame.options.pixels, rays.alive(scene.MAX_STEPS)
    done, before, steps = 0, alive[0] * pixels, 1
    while round(now := alive[done] * pixels) >= 1:
        frame.compact(before, state)
        for step in range(done, done + steps):
            frame.evaluate(now, 1.0 / rays.neighbour_distance, idle=now - float(alive[step]) * pixels)
            frame.convert(now, 1)
            frame.rays("advance", now, state, state, 120 * rays.warp_excess)
        before, done, steps = now, done + steps, min(done + steps + 1, STEPS_BETWEEN_COMPACTION)


def build_gia(name: str, encoding: GridEncoding, options: Options) -> Graph:
    """One query for each pixel of the image seen whole."""
    network = FusedMlp(1, inputs=int(encoding.levels * encoding.features), hidden=2, outputs=3, dtype=options.dtype)
    frame = _Frame(name, replace(encoding, dims=2, stride_bytes=8), (network,), options)
    pixels = options.pixels
    frame.clear()
    frame.rays("init_coordinates", pixels, 4, 8, 50)
    frame.evaluate(pixels, options.width)
    frame.convert(pixels, 3)
    frame.rays("shade", pixels, 12, 20, 60)
    frame.show()
    return frame.graph(40.0)


def build_nvr(name: str, encoding: GridEncoding, options: Options) -> Graph:
    """Fly to the next event, look it up, absorb a part: up to 64 rounds."""
    rays, pixels = scene.volume_rays(options.width), options.pixels
    network = FusedMlp(1, inputs=int(encoding.levels * encoding.features), hidden=2, outputs=4, dtype=options.dtype)
    frame = _Frame(name, encoding, (network,), options)
    state = 12 + 32
    first, later = 1.0 + rays.steps_before, 1.0 + rays.steps_between
    alive = rays.alive(scene.VOLUME_ROUNDS)
    frame.clear()
    frame.rays(
        "init_rays",
        pixels,
        16,
        20 + state * alive[0],
        150 + SKIP_RNG_INSTRUCTIONS + FLIGHT_INSTRUCTIONS * first,
        loads=first,
    )
    frame.add("count", HostRead(1))
    for share in alive:
        if round(now := share * pixels) < 1:
            break
        frame.evaluate(now, 1.0 / rays.neighbour_distance)
        frame.convert(now, 4)
        again = CARRIED + SKIP_RNG_INSTRUCTIONS
        instructions = 100 + SKIP_RNG_INSTRUCTIONS + FLIGHT_INSTRUCTIONS * later
        frame.rays("step", now, state + 16, state, instructions, carried=again, loads=later)
        frame.add("count", HostRead(1))
    frame.show()
    return frame.graph(2.0 * state)


Builder = Callable[[str, GridEncoding, Options], Graph]
BUILDERS: dict[str, Builder] = {"nerf": build_nerf, "nsdf": build_nsdf, "gia": build_gia, "nvr": build_nvr}
IMAGE_FINEST = 10_000
"""Half of the image's 20000 pixels."""


def build(application: str, encoding: str, options: Options) -> Graph:
    """The graph of one frame.

    Raises:
        ParameterError: an unknown resolution or way to run the network.
    """
    name = f"ngp/{application}/{encoding}"
    for option, known in (("resolution", tuple(WIDTHS)), ("mlp", ("fused", "layers"))):
        if getattr(options, option) not in known:
            raise ParameterError(name, option, f"one of {', '.join(known)}", repr(getattr(options, option)))
    shape, of_image = ENCODINGS[encoding], application == "gia"
    finest = options.finest or (IMAGE_FINEST if of_image and encoding == "hashgrid" else int(shape.finest))
    grid = replace(
        shape,
        dims=2 if of_image else 3,
        log2_entries=options.log2_entries or (24 if of_image else 19),
        finest=max(finest, int(shape.base)),
        dtype=options.dtype,
    )
    return BUILDERS[application](name, grid, options)


WORKLOADS = tuple(
    Workload(
        f"ngp/{application}/{encoding}",
        f"one frame of a {what}; {encoding}",
        Options,
        partial(build, application, encoding),
    )
    for application, what in APPLICATIONS.items()
    for encoding in ENCODINGS
)
"""Every application under every encoding."""
