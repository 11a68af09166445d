"""Sets of primitives that are hard on kernels, and what the specification says of them, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from volmicro_codec.decoder import oracle
from volmicro_codec.primitives import F64, Primitives

EPSILON = 1e-4
RELATIVE = 2.0**-22


def scattered(
    n: int,
    shape: tuple[int, int, int],
    *,
    scale: tuple[float, float] = (0.4, 4.0),
    outside: float = 3.0,
    at: float = 0.0,
    seed: int = 0,
) -> Primitives:
    """Primitives anywhere in a box at (at, at, at) and ``outside`` voxels around; scales are log-uniform."""
    r = np.random.default_rng(seed)
    return Primitives(
        at + r.uniform(-outside, np.asarray(shape) + outside, (n, 3)),
        np.exp(r.uniform(*np.log(scale), (n, 3))).astype(np.float32),
        r.normal(size=(n, 4)).astype(np.float32),
        r.normal(size=n).astype(np.float32),
    )


def of_shape(n: int, shape: tuple[int, int, int], scales: tuple[float, float, float]) -> Primitives:
    """Primitives of the same scales, turned any way."""
    p = scattered(n, shape, seed=n)
    return Primitives(p.means, np.tile(np.float32(scales), (n, 1)), p.rotations, p.intensities)


def stacked(n: int, at: tuple[float, float, float], scale: float, seed: int = 0) -> Primitives:
    """Many primitives in one place."""
    r = np.random.default_rng(seed)
    p = scattered(n, (1, 1, 1), scale=(scale, scale * 1.5), outside=0.5, seed=seed)
    return Primitives(p.means + np.asarray(at), p.scales, p.rotations, r.uniform(-1, 1, n).astype(np.float32))


SCENES: dict[str, tuple[Primitives, tuple[int, int, int]]] = {
    "scattered": (scattered(60, (13, 21, 35)), (13, 21, 35)),
    "one voxel": (scattered(9, (1, 1, 1), outside=1.0), (1, 1, 1)),
    "one row": (scattered(20, (1, 1, 67)), (1, 1, 67)),
    "one column": (scattered(20, (41, 1, 1)), (41, 1, 1)),
    "whole tiles": (scattered(40, (16, 32, 32)), (16, 32, 32)),
    "nothing": (Primitives.empty(), (9, 17, 19)),
    "nothing near": (scattered(5, (4, 4, 4), scale=(0.3, 0.6)), (30, 50, 50)),
    "all outside": (scattered(20, (9, 9, 9), at=-40.0), (9, 9, 9)),
    "leaving": (scattered(40, (7, 9, 11), scale=(2, 9), outside=12.0), (7, 9, 11)),
    "long list": (stacked(400, (4.2, 8.1, 8.7), 1.5), (8, 16, 16)),
    "tiny": (scattered(200, (11, 18, 18), scale=(0.03, 0.3), outside=0.5), (11, 18, 18)),
    "needles": (of_shape(30, (14, 30, 30), (0.25, 0.3, 25.0)), (14, 30, 30)),
    "plates": (of_shape(30, (14, 30, 30), (0.2, 15.0, 40.0)), (14, 30, 30)),
    "huge": (scattered(12, (12, 20, 24), scale=(50, 3000), outside=900.0), (12, 20, 24)),
}


def covariances(prims: Primitives) -> F64:
    """zz, zy, zx, yy, yx, xx of each, [N, 6]."""
    axes = oracle.rotation_matrices(prims.rotations) * prims.scales.astype(np.float64)[:, None, :]
    return np.ascontiguousarray((axes @ axes.transpose(0, 2, 1)).reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]])


def offsets_and_g(prims: Primitives, cutoff: float, shape: tuple[int, int, int]) -> tuple[F64, F64]:
    """Offsets from each centre [N, Z, Y, X, 3], and exp(-q/2) where q < cutoff, else 0, [N, Z, Y, X]."""
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape), indexing="ij"), axis=-1)
    d = grid[None] - prims.means[:, None, None, None, :]
    along = np.einsum("nzyxa,nab->nzyxb", d, oracle.rotation_matrices(prims.rotations))
    q = ((along / prims.scales.astype(np.float64)[:, None, None, None, :]) ** 2).sum(axis=-1)
    return d, np.where(q < cutoff, np.exp(-q / 2), 0.0)


def reference(
    prims: Primitives, cutoff: float, lo: tuple[int, int, int], shape: tuple[int, int, int], level: int = 0
) -> tuple[F64, F64]:
    """The sum of the primitives at a box's voxels, and how far a decoder may be from it (spec, 8.5)."""
    value = oracle.render(prims, cutoff, lo, shape, level)
    _, weights = oracle.widened(prims, level)
    touching = np.zeros(shape)
    for i in range(len(prims)):
        one = Primitives(
            prims.means[i : i + 1],
            prims.scales[i : i + 1],
            prims.rotations[i : i + 1],
            np.ones(1, np.float32),
        )
        touching += abs(weights[i]) * (oracle.render(one, cutoff, lo, shape, level) > 0)
    return value, EPSILON * np.maximum(1.0, touching) + RELATIVE * np.abs(value)


def direction(prims: Primitives, seed: int = 0) -> npt.NDArray[np.float32]:
    """A direction [N, 10] of steps that suit each primitive's size."""
    r = np.random.default_rng(seed)
    d = r.normal(size=(len(prims), 10))
    size = prims.scales.min(axis=1).astype(np.float64)[:, None]
    d[:, 1:4] /= size
    d[:, 4:] /= size**2
    return d.astype(np.float32)


def derivative(prims: Primitives, cutoff: float, way: npt.NDArray[Any], shape: tuple[int, int, int]) -> F64:
    """J p of each primitive by itself, float64 [N, Z, Y, X]: the oracle of the kernel ``slope``."""
    d, g = offsets_and_g(prims, cutoff, shape)
    edge = np.exp(-cutoff / 2)
    way = way.astype(np.float64)
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    poly = np.einsum("nzyxa,na->nzyx", d, way[:, 1:4])
    for k, (a, b) in enumerate(pairs):
        poly += d[..., a] * d[..., b] * way[:, 4 + k, None, None, None]
    w = prims.intensities.astype(np.float64)[:, None, None, None]
    inside = g > 0
    return (way[:, 0, None, None, None] * (g - edge) * inside + w * g * poly) / (1 - edge)
