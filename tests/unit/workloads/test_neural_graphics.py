"""Neural graphics: the scene's counts, frames kernel by kernel, their kernels on a GPU against published throughput."""

from __future__ import annotations

import numpy as np
import pytest

from simexplore.archs.load import load_arch
from simexplore.sim.conditions import SERVING, Conditions
from simexplore.sim.estimate.graphs import estimate_graph
from simexplore.sim.estimate.operators import predict
from simexplore.workloads import catalog
from simexplore.workloads.families import neural_scene
from simexplore.workloads.families.neural_graphics import APPLICATIONS, ENCODINGS, WIDTHS
from simexplore.workloads.operators.parameters import ParameterError
from simexplore.workloads.ops import FusedMlp, GridEncoding, Operator, RayKernel

NAMES = [f"ngp/{application}/{encoding}" for application in APPLICATIONS for encoding in ENCODINGS]
BATCH = 2**21


def seconds(op: Operator, arch: str = "nvidia/rtx-3090@facts") -> float:
    return float(np.ravel(predict(op, load_arch(arch), Conditions(cache=SERVING)).time_s)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_is_a_chain_of_valid_kernels(name: str) -> None:
    graph = catalog.build(name)
    assert graph.name == name
    assert set(graph.streams().values()) == {0}
    assert {node.group for node in graph.nodes} == {"encoding", "mlp", "rest"}
    assert set(graph.resident_bytes) == {"tables", "weights", "rays"}
    for node in graph.nodes:
        node.op.validate()


@pytest.mark.parametrize("application", APPLICATIONS)
def test_queries_follow_the_pixels(application: str) -> None:
    def asked(resolution: str) -> float:
        nodes = catalog.build(f"ngp/{application}/hashgrid", {"resolution": resolution}).nodes
        return sum(float(n.op.queries - n.op.idle) for n in nodes if isinstance(n.op, GridEncoding))

    fhd = asked("fhd")
    for resolution, width in WIDTHS.items():
        assert asked(resolution) == pytest.approx(fhd * (width / 1920) ** 2, rel=0.05)


def test_every_query_goes_through_every_network() -> None:
    nodes = catalog.build("ngp/nerf/hashgrid").nodes
    encoded = sum(int(n.op.queries) for n in nodes if isinstance(n.op, GridEncoding))
    for outputs in (16, 3):
        evaluated = sum(int(n.op.queries) for n in nodes if isinstance(n.op, FusedMlp) and n.op.outputs == outputs)
        assert evaluated == encoded


def test_table_sizes_are_those_of_tiny_cuda_nn() -> None:
    """../facts of the study: entries of the configurations as tiny-cuda-nn rounds them."""
    sizes = {
        GridEncoding(1): 6_098_120,
        GridEncoding(1, levels=8, finest=173, indexing="dense"): 8_156_024,
        GridEncoding(1, levels=2, features=8, base=128, finest=128, indexing="tiled"): 4_194_304,
        GridEncoding(1, dims=2, log2_entries=24, finest=512): 709_696,
    }
    for op, entries in sizes.items():
        assert op.grid.entries.sum() == pytest.approx(entries, rel=0.03)
    assert GridEncoding(1).grid.entries.max() * 4 == 2 * 1024**2  # a level at fp16 is 2 MiB


def test_coarse_levels_are_dense_and_fine_ones_hashed() -> None:
    hashed = GridEncoding(1).grid.hashed[0]
    assert list(hashed) == sorted(hashed)
    assert hashed.sum() == 11


def test_alive_rays_add_up_to_all_queries() -> None:
    for rays in (
        neural_scene.radiance_rays(1920),
        neural_scene.volume_rays(1920),
        neural_scene.surface_rays(1920).shadow,
    ):
        alive = rays.alive(int(rays.queries.max()) + 1)
        assert alive.sum() == pytest.approx(rays.queries_per_pixel)
        assert np.all(np.diff(alive) <= 0.0)
        assert alive[-1] == 0.0


def test_a_radiance_ray_ends_opaque_and_neighbours_stay_together() -> None:
    rays = neural_scene.radiance_rays(1920)
    assert rays.queries.min() > 10
    assert 30 < rays.queries_per_pixel < 100
    assert rays.warp_excess < 1.1
    closer = neural_scene.radiance_rays(3840).neighbour_distance
    assert closer == pytest.approx(rays.neighbour_distance / 2, rel=0.35)


def test_random_flights_take_neighbours_apart() -> None:
    assert neural_scene.volume_rays(1920).neighbour_distance > 10 * neural_scene.radiance_rays(1920).neighbour_distance


def test_scattered_points_cost_more_than_neighbours() -> None:
    assert seconds(GridEncoding(BATCH)) > 1.5 * seconds(GridEncoding(BATCH, spacing=1400))
    assert seconds(GridEncoding(BATCH)) > 1.5 * seconds(GridEncoding(BATCH, levels=8, finest=173, indexing="dense"))


def test_tables_larger_than_the_l2_are_read_from_dram() -> None:
    small, large = (seconds(GridEncoding(BATCH, log2_entries=bits, finest=4096)) for bits in (19, 24))
    assert large > 1.5 * small


def test_fused_network_against_the_throughput_that_tiny_cuda_nn_shows() -> None:
    """Its README: RTX 3090, 64 wide, 2^21 elements, about 1.08e9 a second with a OneBlob encoding of 2 inputs.

    5 hidden layers, as its configuration has them; OneBlob writes 64 features that the network reads.
    """
    network = FusedMlp(BATCH, inputs=64, hidden=5, outputs=16)
    one_blob = RayKernel(BATCH, read_bytes=8, write_bytes=128, instructions=300)
    assert BATCH / (seconds(network) + seconds(one_blob)) == pytest.approx(1.08e9, rel=0.3)


def test_frame_times_against_reports_of_instant_ngp() -> None:
    """NVlabs/instant-ngp issues 270 (about 100 ms at 1440 x 1080) and 640 (about 200 ms near full HD), other scenes."""
    gpu = load_arch("nvidia/rtx-3090@facts")
    time_s = estimate_graph(catalog.build("ngp/nerf/hashgrid"), gpu, launch="stream").time_s
    assert 0.1 < time_s < 0.3


def test_layers_one_by_one_are_slower_than_the_fused_network() -> None:
    gpu = load_arch("nvidia/rtx-3090@facts")
    fused, layers = (
        estimate_graph(catalog.build("ngp/gia/hashgrid", {"mlp": mlp}), gpu).time_s for mlp in ("fused", "layers")
    )
    assert layers > 1.3 * fused


@pytest.mark.parametrize(
    "arch", ["nvidia/rtx-4090@facts", "nvidia/h200-sxm@facts", "nvidia/v100-sxm", "nvidia/jetson-agx-orin-64gb"]
)
def test_frames_run_on_other_gpus(arch: str) -> None:
    assert estimate_graph(catalog.build("ngp/gia/hashgrid"), load_arch(arch)).time_s > 0.0


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"resolution": "16k"}, "resolution: expected one of fhd, qhd, 4k, 5k, 8k, found '16k'"),
        ({"mlp": "sliced"}, "mlp: expected one of fused, layers, found 'sliced'"),
    ],
)
def test_mistakes_are_one_line(params: dict[str, str], told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        catalog.build("ngp/nerf/hashgrid", params)


@pytest.mark.parametrize(
    ("op", "told"),
    [
        (GridEncoding(1, dims=4), "dims: expected 2 or 3, found 4"),
        (GridEncoding(1, indexing="sparse"), "indexing: expected hash, dense or tiled, found sparse"),
        (GridEncoding(1, base=64, finest=16), "finest: expected at least base = 64, found 16"),
    ],
)
def test_grids_that_make_no_sense(op: GridEncoding, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        op.validate()
