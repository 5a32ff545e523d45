"""The analytic scene that neural-graphics workloads render, traced to know how many queries a frame asks.

Everything lies in the unit cube. The thing shown is a torus on a pedestal under a sphere; the radiance field is that
in a room, because photographs show surroundings. Of a frame some tiles are traced, 8 x 4 neighbouring pixels
each, spread evenly over it: they say how many queries a pixel asks, how unlike the rays of a warp are, and how far
apart the points are that neighbouring threads look up.

The march, its occupancy grid of 128^3 and its limits are those of instant-ngp (NVlabs/instant-ngp, testbed_nerf.cu,
testbed_sdf.cu, testbed_volume.cu, February 2023); the scene is ours, since that of the paper is not published.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TILES_ACROSS, TILES_DOWN = 16, 9
TILE_COLUMNS, TILE_ROWS = 8, 4
TILE = TILE_COLUMNS * TILE_ROWS
"""Pixels of a tile: the rays of one warp."""
RAYS = TILES_ACROSS * TILES_DOWN * TILE
PROBED = (1, 4, 16, 48)
"""Query numbers of a ray at which the distance to its neighbour's query is taken."""

GRID = 128
"""Cells of the occupancy grid along an axis."""
STEP = np.sqrt(3.0) / 1024.0
"""Distance between samples of a radiance field."""
MAX_SAMPLES = 1024
MIN_TRANSMITTANCE = 0.01
MIN_OPTICAL_THICKNESS = 0.01
"""A cell is occupied when one step through it is at least this thick."""
SURFACE_DENSITY = 100.0
"""Density inside the radiance field's solids, per unit length: 99 % opaque after 0.046, soft as trained fields."""
SURFACE_WIDTH = 0.005
"""Width of the sigmoid from empty to solid."""

CUBE = (np.zeros(3), np.ones(3))
THING = (np.array([0.15, 0.17, 0.15]), np.array([0.85, 0.86, 0.85]))
"""Box around the thing, at which rays towards it start, as those of a mesh or a volume do."""

MIN_DISTANCE = 5e-4
"""A sphere-traced ray has hit when it is this near."""
DISTANCE_SCALE = 0.95
MAX_STEPS = 200
NORMAL_QUERIES = 6
"""Central differences along three axes."""

MAJORANT = 40.0
"""Upper bound of the volume's density per unit length; its inverse is the mean free flight."""
RIM = 0.08
"""Depth over which the cloud grows from thin to dense."""
VOLUME_ROUNDS = 64


@dataclass(frozen=True)
class RayCounts:
    """What rays of one kind did: one entry for each traced ray, tile by tile."""

    queries: NDArray[np.int64]
    """Network queries of each ray."""
    empty_steps: NDArray[np.int64]
    """Steps over empty cells, or tentative flights, that ask for no query."""
    empty_before: NDArray[np.int64]
    """Those of them before the first query."""
    neighbour_distance: float
    """Mean distance between the points that neighbouring rays look up in the same round [edge of the cube]."""

    @property
    def queries_per_pixel(self) -> float:
        """Mean over all pixels of the frame."""
        return float(self.queries.mean())

    def alive(self, rounds: int) -> Floats:
        """Share of all pixels whose ray asks for its k-th query, k from 1 to `rounds`."""
        return 1.0 - np.searchsorted(np.sort(self.queries), np.arange(1, rounds + 1), side="left") / len(self.queries)

    @property
    def warp_excess(self) -> float:
        """Steps of the slowest ray of each warp over the mean, where a warp keeps its tile to the end."""
        return warp_excess(self.queries + self.empty_steps)

    @property
    def steps_before(self) -> float:
        """Empty steps of a thread before its first query, idle lanes of its warp included."""
        return float(self.empty_before.mean()) * warp_excess(self.empty_before)

    @property
    def steps_between(self) -> float:
        """Empty steps of a thread after a query, idle lanes of its warp included."""
        between = self.empty_steps - self.empty_before
        return float(between.sum() / max(self.queries.sum(), 1)) * warp_excess(between)


def warp_excess(steps: NDArray[np.int64]) -> float:
    """Most steps of a ray of each warp over the mean of all rays: what divergence costs."""
    tiles = steps.reshape(-1, TILE)
    return float(tiles.max(axis=1).mean() / tiles.mean()) if steps.any() else 1.0


class _Probe:
    """Notes where each ray's queries of the numbers `PROBED` are."""

    def __init__(self) -> None:
        self._at = {number: np.full((RAYS, 3), np.nan) for number in PROBED}

    def note(self, rays: NDArray[np.int64], numbers: NDArray[np.int64], points: Floats) -> None:
        for number, at in self._at.items():
            now = numbers == number
            at[rays[now]] = points[now]

    def neighbour_distance(self) -> float:
        rows = np.stack([at.reshape(-1, TILE_COLUMNS, 3) for at in self._at.values()])
        apart = np.linalg.norm(np.diff(rows, axis=2), axis=3)
        return float(np.nanmean(apart)) if np.isfinite(apart).any() else 1.0


def thing(p: Floats) -> Floats:
    """Signed distance to torus, pedestal and sphere; points (n, 3), distances (n,)."""
    x, y, z = (p[:, axis] - 0.5 for axis in range(3))
    ring = np.hypot(x, z) - 0.26
    torus = np.hypot(ring, y + 0.02) - 0.085
    sphere = np.sqrt(x * x + (y - 0.2) ** 2 + z * z) - 0.15
    q = np.maximum(np.abs(np.stack([x, y + 0.24, z])) - np.array([[0.3], [0.07], [0.3]]), 0.0)
    pedestal = np.sqrt((q * q).sum(axis=0)) - 0.02
    return np.asarray(np.minimum(np.minimum(torus, sphere), pedestal))


def room(p: Floats) -> Floats:
    """Signed distance to the thing or the walls around it."""
    walls = np.minimum(p.min(axis=1), (1.0 - p).min(axis=1)) - 0.06
    return np.asarray(np.minimum(thing(0.5 + (p - 0.5) / 0.8) * 0.8, walls))


def camera_rays(width: int, inside: bool) -> tuple[Floats, Floats]:
    """Origins and unit directions (RAYS, 3) of the traced tiles of a 16 x 9 frame `width` pixels wide.

    The camera is in a corner of the room, or outside the cube; it looks at the thing.
    """
    eye = np.array([0.12, 0.62, 0.12]) if inside else np.array([-0.25, 0.95, -0.55])
    forward = np.array([0.5, 0.45, 0.5]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    height = width * 9 // 16
    x = _tile_pixels(width, TILES_ACROSS, TILE_COLUMNS)[None, :, None, :]
    y = _tile_pixels(height, TILES_DOWN, TILE_ROWS)[:, None, :, None]
    u, v = np.broadcast_arrays((2.0 * x - width) / width, (2.0 * y - height) / width)
    half = np.tan(np.radians(32.0 if inside else 30.0))
    d = forward + half * (u.reshape(-1, 1) * right + v.reshape(-1, 1) * up)
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    return np.broadcast_to(eye, d.shape).copy(), d


def _tile_pixels(extent: int, tiles: int, size: int) -> Floats:
    """Pixel centres along one axis, shape (tiles, size), of tiles spread evenly."""
    first = np.floor((np.arange(tiles) + 0.5) / tiles * extent - size / 2)
    return np.asarray(first[:, None] + np.arange(size) + 0.5, np.float64)


def enter_box(o: Floats, d: Floats, box: tuple[Floats, Floats] = CUBE) -> tuple[Floats, Floats]:
    """Distances at which rays enter and leave a box; entry >= exit where they miss it."""
    with np.errstate(divide="ignore"):
        t = np.stack([(box[0] - o) / d, (box[1] - o) / d])
    return np.maximum(t.min(axis=0).max(axis=1), 0.0), t.max(axis=0).min(axis=1)


def occupied(p: Floats) -> NDArray[np.bool_]:
    """Whether the cells of the occupancy grid that hold these points are."""
    centre = (np.floor(p * GRID) + 0.5) / GRID
    nearest = room(centre) - 0.5 * np.sqrt(3.0) / GRID  # the densest point that the cell may hold
    return np.asarray(density(nearest) * STEP > MIN_OPTICAL_THICKNESS)


def density(distance: Floats) -> Floats:
    """Density of the radiance field [1/length] at a signed distance from a surface."""
    return SURFACE_DENSITY / (1.0 + np.exp(np.clip(distance / SURFACE_WIDTH, -50.0, 50.0)))


@cache
def radiance_rays(width: int) -> RayCounts:
    """March the room: a query at each step in an occupied cell until the ray is opaque."""
    o, d = camera_rays(width, inside=True)
    t, leaves = enter_box(o, d)
    queries, empty, before = (np.zeros(RAYS, np.int64) for _ in range(3))
    thickness = np.zeros(RAYS)
    probe = _Probe()
    live = np.flatnonzero(t < leaves)
    while live.size:
        p = o[live] + t[live, None] * d[live]
        full = occupied(p)
        at, skip = live[full], live[~full]
        thickness[at] += density(room(p[full])) * STEP
        queries[at] += 1
        probe.note(at, queries[at], p[full])
        t[at] += STEP
        empty[skip] += 1
        before[skip] += queries[skip] == 0
        t[skip] += np.maximum(_to_next_cell(p[~full], d[skip]), STEP)
        done = (t[live] >= leaves[live]) | (thickness[live] > -np.log(MIN_TRANSMITTANCE))
        live = live[~done & (queries[live] < MAX_SAMPLES)]
    return RayCounts(queries, empty, before, probe.neighbour_distance())


def _to_next_cell(p: Floats, d: Floats) -> Floats:
    """Distance along a ray to the wall of its cell."""
    inside = p * GRID - np.floor(p * GRID)
    with np.errstate(divide="ignore", invalid="ignore"):
        walls = np.where(d > 0.0, (1.0 - inside) / d, -inside / d)
    return np.asarray(np.where(np.isfinite(walls), walls, np.inf).min(axis=1) / GRID + 1e-6)


@dataclass(frozen=True)
class SurfaceRays:
    """Sphere tracing of the thing: primary rays, and shadow rays from what they hit."""

    primary: RayCounts
    shadow: RayCounts
    hit_share: float
    """Pixels that show the thing."""


@cache
def surface_rays(width: int) -> SurfaceRays:
    """Sphere-trace the thing from the camera, then from each hit towards the light."""
    o, d = camera_rays(width, inside=False)
    enter, leaves = enter_box(o, d, THING)
    start = o + (enter[:, None] + 1e-6) * d
    primary, hit, end = _sphere_trace(start, d, enter < leaves)
    light = np.array([-0.4, 0.8, -0.45]) / np.linalg.norm([-0.4, 0.8, -0.45])
    shadow, _, _ = _sphere_trace(end + 4.0 * MIN_DISTANCE * light, np.broadcast_to(light, d.shape), hit)
    return SurfaceRays(primary, shadow, float(hit.mean()))


def _sphere_trace(p: Floats, d: Floats, alive: NDArray[np.bool_]) -> tuple[RayCounts, NDArray[np.bool_], Floats]:
    """What the rays did, whether they hit, and where they ended."""
    p, hit, queries = p.copy(), np.zeros(RAYS, bool), np.zeros(RAYS, np.int64)
    probe = _Probe()
    live = np.flatnonzero(alive)
    for _ in range(MAX_STEPS):
        if not live.size:
            break
        distance = thing(p[live])
        queries[live] += 1
        probe.note(live, queries[live], p[live])
        hit[live] = distance < MIN_DISTANCE
        p[live] += np.where(hit[live], 0.0, distance * DISTANCE_SCALE)[:, None] * d[live]
        inside = np.all((p[live] >= THING[0]) & (p[live] <= THING[1]), axis=1)
        live = live[inside & ~hit[live]]
    nothing = np.zeros(RAYS, np.int64)
    return RayCounts(queries, nothing, nothing, probe.neighbour_distance()), hit, p


@cache
def volume_rays(width: int) -> RayCounts:
    """Delta-track the thing as a cloud: random flights, a query where one ends in an occupied cell."""
    rng = np.random.default_rng(1)
    o, d = camera_rays(width, inside=False)
    t, leaves = enter_box(o, d, THING)
    queries, flights, before = (np.zeros(RAYS, np.int64) for _ in range(3))
    covered = np.zeros(RAYS)
    probe = _Probe()
    live = np.flatnonzero(t < leaves)
    while live.size:
        t[live] += rng.exponential(1.0 / MAJORANT, len(live))
        flights[live] += 1
        live = live[t[live] < leaves[live]]
        p = o[live] + t[live, None] * d[live]
        distance = thing(p)
        near = distance < 1.0 / GRID
        at = live[near]
        before[live[~near]] += queries[live[~near]] == 0
        queries[at] += 1
        probe.note(at, queries[at], p[near])
        extinct = np.clip(-distance[near] / RIM, 0.0, 1.0)
        covered[at] += (1.0 - covered[at]) * extinct
        live = live[(covered[live] <= 1.0 - MIN_TRANSMITTANCE) & (queries[live] < VOLUME_ROUNDS)]
    return RayCounts(queries, flights - queries, before, probe.neighbour_distance())
