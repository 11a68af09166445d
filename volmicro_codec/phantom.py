"""Makes a stack as a fluorescence microscope would: neurites, nuclei, blur, haze, camera and its noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from .errors import UsageError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U16 = npt.NDArray[np.uint16]
Rng = np.random.Generator

BRIGHTEST = 1e9  # of photons and counts: more than any camera gives
KINDS = ("mixed", "neurites", "nuclei")

Z_STEP = 2.0
"""Distance of two planes in units of the distance of two pixels."""

VOXELS_PER_TREE = 900_000
VOXELS_PER_NUCLEUS = 90_000
SPINE_SPACING = 6.0
HAZE_CELL = (4, 16, 16)
STAMP_BLOCK = 1 << 22
FULL_WELL = 65535


@overload
def make_phantom(
    shape: tuple[int, int, int] = ...,
    seed: int = ...,
    kind: str = ...,
    *,
    photons: float = ...,
    background: float = ...,
    psf: tuple[float, float, float] = ...,
    offset: float = ...,
    gain: float = ...,
    read_noise: float = ...,
    truth: Literal[False] = ...,
) -> U16: ...


@overload
def make_phantom(
    shape: tuple[int, int, int] = ...,
    seed: int = ...,
    kind: str = ...,
    *,
    photons: float = ...,
    background: float = ...,
    psf: tuple[float, float, float] = ...,
    offset: float = ...,
    gain: float = ...,
    read_noise: float = ...,
    truth: Literal[True],
) -> tuple[U16, F32]: ...


def make_phantom(
    shape: tuple[int, int, int] = (64, 256, 256),
    seed: int = 0,
    kind: str = "mixed",
    *,
    photons: float = 500.0,
    background: float = 12.0,
    psf: tuple[float, float, float] = (1.7, 1.1, 1.1),
    offset: float = 100.0,
    gain: float = 1.0,
    read_noise: float = 2.0,
    truth: bool = False,
) -> U16 | tuple[U16, F32]:
    """Make a stack of branching, tapered, spiny neurites and textured nuclei, seen through a microscope.

    Every number is drawn from ``seed``: the same arguments give the same voxels.

    Parameters
    ----------
    shape : (Z, Y, X)
        Planes are twice as far apart as pixels.
    seed : int
        Not negative.
    kind : {"mixed", "neurites", "nuclei"}
    photons : float
        Expected photons of a voxel inside a bright structure, before the blur.
    background : float
        Expected photons of empty space, before it is made uneven.
    psf : (z, y, x)
        Standard deviations of the Gaussian blur, in voxels.
    offset : float
        What the camera gives for no photon.
    gain : float
        Camera counts a photon.
    read_noise : float
        Standard deviation of the camera's own noise, in counts.
    truth : bool
        Also give the stack without noise: what each voxel would hold on average over exposures.

    Returns
    -------
    uint16 array (Z, Y, X)
        With ``truth``, a pair: this and a float32 array of the same shape, in the same counts, not rounded.

    Raises
    ------
    UsageError
        For an unknown kind or numbers that make no stack.
    """
    if kind not in KINDS:
        raise UsageError(f"phantom kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if len(shape) != 3 or any(int(n) != n or n < 1 for n in shape):
        raise UsageError(f"phantom shape: expected three positive integers (Z, Y, X), got {shape}")
    if seed < 0:
        raise UsageError(f"phantom seed: expected 0 or more, got {seed}")
    levels = {"photons": photons, "background": background, "gain": gain, "read_noise": read_noise}
    for name, value in {**levels, "psf": min(psf)}.items():
        if not 0 <= value <= BRIGHTEST:
            raise UsageError(f"phantom {name}: expected 0 to {BRIGHTEST:g}, got {value}")
    if not abs(offset) <= BRIGHTEST:
        raise UsageError(f"phantom offset: expected at most {BRIGHTEST:g}, got {offset}")
    shape = (int(shape[0]), int(shape[1]), int(shape[2]))
    scene = np.zeros(shape, np.float32)
    if kind != "nuclei":
        _draw_neurites(scene, np.random.default_rng([seed, 1]))
    if kind != "neurites":
        _draw_nuclei(scene, np.random.default_rng([seed, 2]))
    haze = _haze(scene, np.random.default_rng([seed, 3]), background / max(photons, 1e-9))
    voxels = np.empty(shape, np.uint16)
    expected = np.empty(shape, np.float32) if truth else None
    for z, light in _planes(scene, haze, psf, photons):
        rng = np.random.default_rng([seed, 4, z])
        counts = rng.poisson(light).astype(np.float32) * np.float32(gain)
        counts += rng.standard_normal(light.shape, np.float32) * np.float32(read_noise)
        counts += np.float32(offset)
        voxels[z] = np.rint(counts.clip(0, FULL_WELL)).astype(np.uint16)
        if expected is not None:
            expected[z] = (light * np.float32(gain) + np.float32(offset)).clip(0, FULL_WELL)
    return voxels if expected is None else (voxels, expected)


# Structures. Positions are (z, y, x) in pixels, z too; a plane is Z_STEP pixels thick.


def _extent(scene: F32) -> F64:
    nz, ny, nx = scene.shape
    return np.array([nz * Z_STEP, ny, nx], np.float64)


def _draw_neurites(scene: F32, rng: Rng) -> None:
    extent = _extent(scene)
    count = max(1, round(scene.size / VOXELS_PER_TREE))
    points, radii, lights = [], [], []
    for _ in range(count):
        light = rng.uniform(0.45, 1.0)
        soma = rng.uniform(0.05, 0.95, 3) * extent
        size = rng.uniform(5.0, 8.5)
        _draw_ellipsoid(scene, soma, size * rng.uniform(0.85, 1.2, 3), 0.9 * light, None, rng)
        dendrites = int(rng.integers(3, 7))
        for _ in range(dendrites):
            heading = _unit(rng.normal(size=3) * [0.5, 1, 1])
            length = rng.uniform(120, 320)
            for p, r, v in _branch(
                soma + heading * size * 0.6, heading, length, rng.uniform(1.4, 2.3), 0, rng
            ):
                points.append(p)
                radii.append(r)
                lights.append(v * light)
        for p, r, v in _axon(soma, rng, float(extent.max())):
            points.append(p)
            radii.append(r)
            lights.append(v * light)
    _stamp(scene, np.concatenate(points), np.concatenate(radii), np.concatenate(lights))


def _branch(
    start: F64, heading: F64, length: float, radius: float, depth: int, rng: Rng
) -> Iterator[tuple[F64, F64, F64]]:
    """Points, radii and brightnesses of a tapered dendrite, of its spines and of its daughters."""
    path, tangents = _wander(start, heading, length, 0.09, rng)
    s = np.linspace(0.0, 1.0, len(path))
    end = 0.45 + 0.2 * radius
    r = end + (radius - end) * (1 - s) ** 1.5
    r *= 1 + 0.12 * _wave(len(path), 24, rng)
    yield path, r, 0.8 + 0.15 * _wave(len(path), 40, rng)
    yield from _spines(path, tangents, r, rng)
    if depth < 3:
        for at in rng.uniform(0.15, 0.9, rng.poisson(length / 90)):
            i = int(at * len(path))
            turn = _unit(tangents[i] + 0.9 * _perpendicular(tangents[i], rng))
            rest = (1 - at) * length * rng.uniform(0.5, 1.0)
            if rest > 15:
                yield from _branch(path[i], turn, rest, float(r[i]) * 0.75, depth + 1, rng)


def _spines(path: F64, tangents: F64, radii: F64, rng: Rng) -> Iterator[tuple[F64, F64, F64]]:
    count = rng.poisson(0.5 * len(path) / SPINE_SPACING)
    for i in rng.integers(0, len(path), count):
        out = _perpendicular(tangents[i], rng)
        reach = rng.uniform(1.5, 3.8)
        neck = path[i] + out * (radii[i] + np.arange(0.0, reach, 0.5)[:, None])
        head = path[i] + out * (radii[i] + reach)
        thick = np.full(len(neck) + 1, 0.45)
        thick[-1] = rng.uniform(0.7, 1.3)
        light = np.full(len(thick), 0.6)
        light[-1] = rng.uniform(0.6, 0.95)
        yield np.vstack([neck, head]), thick, light


def _axon(start: F64, rng: Rng, length: float) -> Iterator[tuple[F64, F64, F64]]:
    """A long thin process with varicosities."""
    path, tangents = _wander(start, _unit(rng.normal(size=3) * [0.4, 1, 1]), length, 0.05, rng)
    r = np.full(len(path), 0.55)
    beads = rng.integers(0, len(path), max(1, len(path) // 50))
    r[beads] = rng.uniform(0.9, 1.4, len(beads))
    light = 0.5 + 0.1 * _wave(len(path), 60, rng)
    light[beads] = 0.9
    yield path, r, light
    for at in rng.integers(len(path) // 8, len(path), 2):
        turn = _unit(tangents[at] + _perpendicular(tangents[at], rng))
        side, _ = _wander(path[at], turn, 0.4 * length, 0.07, rng)
        yield side, np.full(len(side), 0.5), 0.45 + 0.1 * _wave(len(side), 60, rng)


def _wander(start: F64, heading: F64, length: float, bend: float, rng: Rng) -> tuple[F64, F64]:
    """A smooth random walk in steps of half a pixel: positions and unit tangents, each [N, 3]."""
    n = max(4, int(length * 2))
    kicks = rng.normal(0, bend, (n, 3)) * [0.6, 1, 1]
    decay = 0.985
    turned = np.empty((n, 3))
    state = np.zeros(3)
    for i in range(n):
        state = state * decay + kicks[i]
        turned[i] = state
    tangents = heading + turned
    tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9)
    return start + 0.5 * np.cumsum(tangents, axis=0), tangents


def _wave(n: int, period: float, rng: Rng) -> F64:
    """A smooth random signal of n samples, of about unit amplitude."""
    knots = rng.normal(0, 0.7, max(2, int(n / period) + 2))
    return np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots)


def _unit(v: F64) -> F64:
    out: F64 = v / max(float(np.linalg.norm(v)), 1e-9)
    return out


def _perpendicular(tangent: F64, rng: Rng) -> F64:
    v = rng.normal(size=3)
    return _unit(v - tangent * (v @ tangent))


def _stamp(scene: F32, points: F64, radii: F64, lights: F64) -> None:
    """Draw soft balls, the brighter one winning where they overlap (so their order is free)."""
    extent = _extent(scene)
    inside = ((points > -8) & (points < extent + 8)).all(axis=1)
    points, radii, lights = points[inside], radii[inside], lights[inside]
    flat = scene.reshape(-1)
    nz, ny, nx = scene.shape
    for half in range(1, int(np.ceil(radii.max(initial=0) + 1)) + 1):
        members = np.flatnonzero(np.ceil(radii + 0.5) == half)
        half_z = int(np.ceil((half + 0.5) / Z_STEP))
        box = np.mgrid[-half_z : half_z + 1, -half : half + 1, -half : half + 1].reshape(3, -1).T
        block = max(1, STAMP_BLOCK // len(box))
        for k in range(0, len(members), block):
            part = members[k : k + block]
            at = points[part] / [Z_STEP, 1, 1]
            voxel = np.rint(at).astype(np.int64)[:, None, :] + box
            gap = (voxel - at[:, None, :]) * [Z_STEP, 1, 1]
            distance = np.sqrt((gap * gap).sum(axis=2))
            cover = (radii[part, None] - distance + 0.5).clip(0, 1) * lights[part, None]
            hit = (cover > 0) & (voxel >= 0).all(axis=2) & (voxel < [nz, ny, nx]).all(axis=2)
            z, y, x = voxel[hit].T
            np.maximum.at(flat, (z * ny + y) * nx + x, cover[hit].astype(np.float32))


def _draw_nuclei(scene: F32, rng: Rng) -> None:
    extent = _extent(scene)
    wanted = max(1, round(scene.size / VOXELS_PER_NUCLEUS))
    grain = _blur(rng.standard_normal((48, 64, 64), np.float32), (1.1, 2.0, 2.0), "wrap")
    grain /= grain.std()
    placed = np.empty((0, 3))
    for _ in range(wanted * 4):
        if len(placed) == wanted:
            break
        centre = rng.uniform(-0.02, 1.02, 3) * extent
        size = rng.uniform(6.0, 10.0)
        if len(placed) and ((placed - centre) ** 2).sum(axis=1).min() < (2.1 * size) ** 2:
            continue
        placed = np.vstack([placed, centre])
        axes = size * rng.uniform(0.75, 1.2, 3)
        _draw_ellipsoid(scene, centre, axes, rng.uniform(0.2, 0.75), grain, rng)


def _draw_ellipsoid(scene: F32, centre: F64, axes: F64, light: float, grain: F32 | None, rng: Rng) -> None:
    """Draw a soft-walled, turned ellipsoid; with a grain it is chromatin: texture, bright and dark spots."""
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    reach = float(axes.max()) + 1
    shift = rng.integers(0, 64, 3)
    spots = rng.normal(0, 0.45, (int(rng.integers(4, 12)), 3))
    signs = np.where(rng.random(len(spots)) < 0.7, 0.9, -0.7)
    low = np.floor((centre - reach) / [Z_STEP, 1, 1]).astype(int).clip(0)
    high = np.minimum(np.ceil((centre + reach) / [Z_STEP, 1, 1]).astype(int) + 1, scene.shape)
    if (high <= low).any():
        return
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grid = np.mgrid[box].transpose(1, 2, 3, 0)
    local = ((grid * [Z_STEP, 1, 1] - centre) @ q) / axes
    radius = np.sqrt((local * local).sum(axis=3))
    value = ((1 - radius) * float(axes.min()) + 0.5).clip(0, 1)
    if grain is not None:
        z, y, x = (np.arange(a, b) + s for a, b, s in zip(low, high, shift, strict=True))
        texture = 0.75 + 0.22 * grain[np.ix_(z % 48, y % 64, x % 64)].astype(np.float64)
        for spot, sign in zip(spots, signs, strict=True):
            texture += sign * np.exp(-((local - spot) ** 2).sum(axis=3) / (2 * 0.13**2))
        value *= texture.clip(0.1, 2.0)
    np.maximum(scene[box], (light * value).astype(np.float32), out=scene[box])


# The microscope and its camera.


def _haze(scene: F32, rng: Rng, level: float) -> F32:
    """Out-of-focus light and uneven autofluorescence on a coarse grid whose nodes span the volume."""
    nodes = tuple(-(-n // c) + 1 for n, c in zip(scene.shape, HAZE_CELL, strict=True))
    glow = np.zeros(nodes, np.float32)
    for z in range(scene.shape[0]):
        rows = np.add.reduceat(scene[z], np.arange(0, scene.shape[1], HAZE_CELL[1]), axis=0)
        cells = np.add.reduceat(rows, np.arange(0, scene.shape[2], HAZE_CELL[2]), axis=1)
        glow[z // HAZE_CELL[0], : cells.shape[0], : cells.shape[1]] += cells
    glow /= np.float32(np.prod(HAZE_CELL))
    glow = _blur(glow, (2.5, 1.5, 1.5))
    cloud = _blur(rng.standard_normal(nodes, np.float32), (3.0, 4.0, 4.0))
    cloud /= max(float(np.abs(cloud).max()), 1e-9)
    y, x = np.meshgrid(np.linspace(-1, 1, nodes[1]), np.linspace(-1, 1, nodes[2]), indexing="ij")
    beam = np.exp(-0.35 * ((y - 0.2) ** 2 + (x + 0.15) ** 2)).astype(np.float32)
    return (np.float32(level) * (1 + np.float32(0.6) * cloud) + np.float32(0.35) * glow) * beam


def _planes(
    scene: F32, haze: F32, psf: tuple[float, float, float], photons: float
) -> Iterator[tuple[int, F32]]:
    """Blur, add haze, dim with depth: number and expected photons of each plane, worked out in slabs."""
    nz, ny, nx = scene.shape
    halo = _radius(psf[0])
    thick = max(1, min(nz, (1 << 22) // (ny * nx)))
    for z0 in range(0, nz, thick):
        z1 = min(nz, z0 + thick)
        below, above = max(0, z0 - halo), min(nz, z1 + halo)
        slab = _blur(scene[below:above], psf)[z0 - below : z1 - below]
        for z in range(z0, z1):
            light: F32 = slab[z - z0] + _resample(haze, z, ny, nx)
            light *= np.float32(photons * np.exp(-0.35 * z / max(nz - 1, 1)))
            yield z, light


def _resample(coarse: F32, z: int, ny: int, nx: int) -> F32:
    """Plane z of a coarse grid, interpolated linearly; node i is at the middle of cell i."""
    parts: F32 = coarse
    for axis, (at, cell) in enumerate(
        zip((np.array([z]), np.arange(ny), np.arange(nx)), HAZE_CELL, strict=True)
    ):
        place = ((at + 0.5) / cell - 0.5).clip(0, parts.shape[axis] - 1)
        low = np.minimum(place.astype(np.int64), parts.shape[axis] - 2)
        share = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        parts = parts.take(low, axis) * (1 - share) + parts.take(low + 1, axis) * share
    plane: F32 = parts[0]
    return plane


def _radius(sigma: float) -> int:
    return int(np.ceil(3.5 * sigma))


def _blur(volume: F32, sigma: tuple[float, float, float], mode: str = "edge") -> F32:
    """Separable Gaussian blur in plain numpy (a phantom needs no scipy)."""
    for axis, s in enumerate(sigma):
        r = _radius(s)
        if r == 0:
            continue
        taps = np.exp(-0.5 * (np.arange(-r, r + 1) / s) ** 2)
        taps /= taps.sum()
        pad = [(r, r) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(volume, pad, mode=mode)  # type: ignore[call-overload]
        n = volume.shape[axis]
        out = np.zeros_like(volume)
        for i, tap in enumerate(taps):
            window = tuple(slice(i, i + n) if a == axis else slice(None) for a in range(3))
            out += padded[window] * np.float32(tap)
        volume = out
    return volume
