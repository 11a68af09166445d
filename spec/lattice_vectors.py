"""Lattice chunks of symbols chosen one by one: odd but valid ones, and ones that no chunk may hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from volmicro_codec.entropy.lattice import (
    MAX_CLASS,
    ROOT_I0,
    Chunk,
    Parameters,
    canonical_records,
    geometry,
)
from volmicro_codec.primitives import RECORD_DTYPE, Records

I64 = npt.NDArray[np.int64]
Box = tuple[int, int, int]


def written(
    chosen: Chunk, parameters: Parameters, brick: Box, margins: tuple[int, ...] | None = None
) -> tuple[bytes, Records]:
    """The payload of symbols, and their records in its order.

    Symbols that cannot be are written nevertheless: the code ends with the first of them, and there are no
    records.
    """
    n = len(chosen.classes)
    reach = np.zeros(6, np.int64)
    half = np.array(brick, np.int64) << 15
    if n:
        reach[:3] = np.maximum(0, -((chosen.centres.min(axis=0) + half) >> 16))
        reach[3:] = np.maximum(0, ((chosen.centres.max(axis=0) - half) >> 16) + 1)
    if margins is not None:
        reach[:] = margins
    payload, order, bad = chosen.encode(brick, tuple(reach.tolist()), parameters)
    if bad >= 0:
        return payload, np.zeros(0, RECORD_DTYPE)
    factors, _, _ = geometry(parameters.class_steps(), chosen.classes, chosen.shapes)
    return payload, canonical_records(factors, chosen.centres, chosen.amplitudes, parameters.amplitude_step)[
        order
    ]


def even(shapes: I64) -> I64:
    """Shape symbols with the sums made even."""
    out = shapes.copy()
    out[:, 5] += out.sum(axis=1) & 1
    return out


def at(points: npt.NDArray[np.float64], shapes: I64, classes: I64, parameters: Parameters) -> tuple[I64, I64]:
    """Points [N, 3] in voxels from the brick's centre to the lattices: coordinates, and what they mean."""
    _, basis, bad = geometry(parameters.class_steps(), classes, shapes)
    assert bad < 0, f"primitive {bad} is out of range"
    wanted = np.rint(points * 65536).astype(np.int64)
    n = np.zeros_like(wanted)
    n[:, 0] = wanted[:, 0] // basis[:, 0]
    y = n[:, 0] * basis[:, 3]
    n[:, 1] = (wanted[:, 1] - y) // basis[:, 1]
    x = n[:, 0] * basis[:, 4] + n[:, 1] * basis[:, 5]
    odd = (n[:, 0] + n[:, 1]) & 1
    n[:, 2] = 2 * ((wanted[:, 2] - x - odd * basis[:, 2]) // (2 * basis[:, 2])) + odd
    centres = np.stack([n[:, 0] * basis[:, 0], y + n[:, 1] * basis[:, 1], x + n[:, 2] * basis[:, 2]], axis=1)
    return n, centres


def odd_primitives(rng: np.random.Generator, n: int, brick: Box, parameters: Parameters) -> Chunk:
    """Primitives most of which are alike, some nothing like the others: all models are reached."""
    size = np.array(brick, float)
    points = (rng.uniform(0, 1, (n, 3)) - 0.5) * size
    for i in np.flatnonzero(rng.uniform(0, 1, n) < 0.12):
        axis = rng.integers(0, 3)
        points[i, axis] = rng.choice([-1, 1]) * (size[axis] / 2 + rng.uniform(0, 3))
    huddled = rng.uniform(0, 1, n) < 0.1
    points[huddled] = 0.25 + rng.normal(0, 0.03, (int(huddled.sum()), 3))

    octaves = rng.normal(0.2, 0.05, (n, 3))
    strange = rng.uniform(0, 1, n) < 0.15
    octaves[strange] = rng.uniform(-4.9, 3.0, (int(strange.sum()), 3))
    skews = rng.normal(0, 0.1, (n, 3))
    strange = rng.uniform(0, 1, n) < 0.15
    skews[strange] = rng.normal(0, 3.0, (int(strange.sum()), 3))
    plain = rng.uniform(0, 1, n) < 0.1
    skews[plain] = 0.0
    octaves[0], skews[0] = 9.0, 0.0
    octaves[1] = (9.9, -4.9, -4.9)

    weights = 2.0 ** rng.uniform(-11, -1, n)
    volume = 2.0 ** octaves.sum(axis=1)
    k = np.maximum(1, np.rint(weights * ROOT_I0 * np.sqrt(volume) / parameters.amplitude_step)).astype(
        np.int64
    )
    classes = np.rint(np.log2(k)).astype(np.int64) + rng.integers(0, 2, n)
    strange = rng.uniform(0, 1, n) < 0.15
    classes[strange] += rng.integers(-6, 32, int(strange.sum()))
    classes = np.clip(classes, 0, MAX_CLASS)
    k[0], classes[0] = (1 << 24) + 12345, 0

    steps = parameters.class_steps()[classes]
    limit = np.repeat(np.array([[9.99, 63.9]]), n, axis=0) * 65536 // steps[:, :2]
    reals = np.concatenate([octaves * 65536 / steps[:, :1], skews * 65536 / steps[:, 1:2]], axis=1)
    high = np.repeat(limit, 3, axis=1)
    low = -high
    low[:, :3] = -(4.99 * 65536 // steps[:, :1])
    shapes = even(np.clip(np.rint(reals), low, high).astype(np.int64))
    shapes[:, 5] = np.where(np.abs(shapes[:, 5]) * steps[:, 1] > 64 * 65536, shapes[:, 5] - 2, shapes[:, 5])
    lattice, centres = at(points, shapes, classes, parameters)
    signs = np.where(rng.uniform(0, 1, n) < 0.3, -1, 1)
    return Chunk(classes, k * signs, shapes, lattice, centres)


def alike(rng: np.random.Generator, n: int, brick: Box, parameters: Parameters, sign: int) -> Chunk:
    """Primitives that are all the same but for where they are: models learn all that they can."""
    classes, shapes = np.full(n, 16, np.int64), np.zeros((n, 6), np.int64)
    points = (rng.uniform(0, 1, (n, 3)) - 0.5) * np.array(brick)
    lattice, centres = at(points, shapes, classes, parameters)
    return Chunk(classes, np.full(n, sign * (20 << 13) + sign, np.int64), shapes, lattice, centres)


def tilted(rng: np.random.Generator, n: int, brick: Box, parameters: Parameters) -> Chunk:
    """Needles along z that lean to either side, the more the larger x, in the end as far as they may."""
    classes = np.zeros(n, np.int64)
    points = (rng.uniform(0, 1, (n, 3)) - 0.5) * np.array(brick)
    lean = 61.0 * 2.0 ** (7.0 * np.minimum(points[:, 2:] / brick[2] - 0.2, 0.0))
    steps = parameters.class_steps()[classes]
    shapes = np.zeros((n, 6), np.int64)
    shapes[:, :3] = (rng.uniform(-0.5, 0.5, (n, 3)) + np.array([8, -3, -3])) * 65536 // steps[:, :1]
    shapes[:, 3:] = rng.choice([-1, 1], (n, 3)) * lean * 65536 // steps[:, 1:2]
    shapes = even(shapes)
    lattice, centres = at(points, shapes, classes, parameters)
    return Chunk(classes, rng.integers(1, 5, n), shapes, lattice, centres)


def one_primitive(
    parameters: Parameters,
    j: int = 2,
    k: int = 5,
    shape: tuple[int, ...] = (0, 0, 0, 0, 0, 0),
    lattice: Box = (0, 0, 0),
    centre: Box | None = None,
) -> Chunk:
    """A single primitive of the symbols given; the centre is where a decoder is led to believe that it is."""
    classes, shapes = np.array([j], np.int64), np.array([shape], np.int64)
    n = np.array([lattice], np.int64)
    if centre is None:
        _, basis, bad = geometry(parameters.class_steps(), np.clip(classes, 0, MAX_CLASS), shapes)
        b = basis[0].astype(object) if bad < 0 else [0] * 6
        z, y, x = lattice
        centre = (int(z * b[0]), int(z * b[3] + y * b[1]), int(z * b[4] + y * b[5] + x * b[2]))
    where = np.array([centre], np.int64)
    return Chunk(classes, np.array([k], np.int64), shapes, n, where)
