"""The published starts, for comparison with greedy rounds: random, grid, intensity-weighted, k-means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .gaussians import Model

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Rng = np.random.Generator

KINDS = ("random", "grid", "intensity", "kmeans")
LEAST_SIGMA, WIDEST_SIGMA = 0.6, 12.0
SIGMA_OVER_SPACING = 0.5
FIRST_WEIGHT = 0.5
"""Of the residual at a centre: neighbours add up to the rest."""
SAMPLES_A_CLUSTER = 24
MOST_SAMPLES = 400_000
LLOYD_STEPS = 8
_NEAREST = 3


@dataclass(frozen=True)
class Piece:
    """The voxels of one block in which centres may lie.

    Attributes
    ----------
    origin : int (z, y, x)
        Its first voxel in the image.
    residual : float32 [Z, Y, X]
        What there is to add: target minus model.
    occupied : bool [Z, Y, X]
        Where the gate is open.
    """

    origin: tuple[int, int, int]
    residual: F32
    occupied: npt.NDArray[np.bool_]


def place(
    kind: str,
    pieces: Callable[[], Iterable[Piece]],
    count: int,
    aspect: tuple[float, float, float],
    rng: Rng,
) -> Model:
    """Gaussians to start from.

    Centres lie where the gate is open (anywhere, where it is open nowhere). Sizes follow from the distance
    to the nearest others, with ``kmeans`` from the clusters; weights are a share of the residual at the
    centre and want a refit.

    Parameters
    ----------
    kind : {"random", "grid", "intensity", "kmeans"}
        Uniform; on a regular grid; with a density that follows the absolute residual; means of clusters of
        samples of that density.
    pieces : callable
        Gives pieces that tile the image, one at a time; called twice.
    count : int
        How many. A grid may hold fewer, and none are placed where nothing is left to add.
    aspect : (z, y, x)
        Finest voxel size over each axis's own.
    rng : numpy.random.Generator
    """
    scale = np.asarray(aspect, np.float64)
    by_residual = kind in ("intensity", "kmeans")

    def density(piece: Piece, gated: bool) -> F32:
        d = np.abs(piece.residual) if by_residual else np.ones(piece.residual.shape, np.float32)
        return d * piece.occupied if gated else d

    masses = np.array(
        [[float(density(p, gated).sum(dtype=np.float64)) for gated in (True, False)] for p in pieces()]
    )
    totals = masses.sum(axis=0)
    gated = bool(totals[0] > 0)
    mass = masses[:, 0 if gated else 1]
    if count < 1 or not mass.sum() > 0:
        return Model.empty()
    if kind == "grid":
        step = np.maximum(scale * (mass.sum() / np.prod(scale) / count) ** (1 / 3), 0.5)
        parts = [_nodes(p, density(p, gated), step) for p in pieces()]
    else:
        wanted = max(count, min(SAMPLES_A_CLUSTER * count, MOST_SAMPLES)) if kind == "kmeans" else count
        shares = rng.multinomial(wanted, mass / mass.sum())
        parts = [_draw(p, density(p, gated), int(n), rng) for p, n in zip(pieces(), shares, strict=True)]
    centres, values = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    if len(centres) > count and kind == "grid":
        keep = np.sort(rng.choice(len(centres), count, replace=False))
        centres, values = centres[keep], values[keep]
    if kind == "kmeans":
        return _clusters(centres, values, count, scale, rng)
    sigmas = SIGMA_OVER_SPACING * _spacing(centres / scale)[:, None] * scale
    return Model.isotropic(centres, np.clip(sigmas, LEAST_SIGMA, WIDEST_SIGMA), FIRST_WEIGHT * values)


def _at(piece: Piece, voxels: I64) -> F64:
    return piece.residual[voxels[:, 0], voxels[:, 1], voxels[:, 2]].astype(np.float64)


def _draw(piece: Piece, density: F32, count: int, rng: Rng) -> tuple[F64, F64]:
    """Places [count, 3] in the image, spread over their voxels, and the residual [count] there."""
    planes = density.sum(axis=(1, 2), dtype=np.float64)
    if count == 0 or not planes.sum() > 0:
        return np.zeros((0, 3)), np.zeros(0)
    found = []
    for z, n in enumerate(rng.multinomial(count, planes / planes.sum())):
        if n:
            reach = np.cumsum(density[z], dtype=np.float64)
            flat = np.searchsorted(reach, rng.random(n) * reach[-1], side="right")
            y, x = np.unravel_index(np.minimum(flat, reach.size - 1), density.shape[1:])
            found.append(np.stack([np.full(n, z), y, x], axis=1))
    voxels = np.concatenate(found)
    return voxels + rng.uniform(-0.5, 0.5, voxels.shape) + np.asarray(piece.origin), _at(piece, voxels)


def _nodes(piece: Piece, density: F32, step: F64) -> tuple[F64, F64]:
    """The nodes of the image's grid that lie in open voxels of a piece, and the residual there."""
    axes = []
    for start, n, s in zip(piece.origin, density.shape, step, strict=True):
        k = np.arange(np.ceil(start / s - 0.5), np.ceil((start + n) / s - 0.5))
        axes.append((k + 0.5) * s - 0.5)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    last = np.asarray(density.shape) - 1
    voxels = np.clip(np.rint(grid - np.asarray(piece.origin)).astype(np.int64), 0, last)
    is_open = density[voxels[:, 0], voxels[:, 1], voxels[:, 2]] > 0
    return grid[is_open], _at(piece, voxels[is_open])


def _spacing(points: F64) -> F64:
    """Mean distance of each point [N, 3] to its nearest others; `WIDEST_SIGMA` where it is alone."""
    from scipy.spatial import cKDTree

    k = min(_NEAREST, len(points) - 1)
    if k < 1:
        return np.full(len(points), WIDEST_SIGMA)
    distance, _ = cKDTree(points).query(points, k=k + 1)
    return np.asarray(distance[:, 1:].mean(axis=1))


def _clusters(points: F64, values: F64, count: int, scale: F64, rng: Rng) -> Model:
    """Lloyd's k-means of samples [M, 3]: means, covariances and weights of at most ``count`` clusters."""
    from scipy.spatial import cKDTree

    seeds = rng.permutation(len(points))[:count]
    centres = points[seeds]
    n = len(centres)
    label = np.zeros(len(points), np.int64)
    for _ in range(LLOYD_STEPS):
        label = cKDTree(centres / scale).query(points / scale)[1]
        size = np.bincount(label, minlength=n)
        for axis in range(3):
            total = np.bincount(label, points[:, axis], n)
            centres[:, axis] = np.where(size > 0, total / np.maximum(size, 1), centres[:, axis])
    label = cKDTree(centres / scale).query(points / scale)[1]
    size = np.bincount(label, minlength=n)
    d = points - centres[label]
    covariance = np.zeros((n, 3, 3))
    for i in range(3):
        for j in range(3):
            covariance[:, i, j] = np.bincount(label, d[:, i] * d[:, j], n) / np.maximum(size, 1)
    axes2, vectors = np.linalg.eigh(covariance)
    # A cluster's samples end where the next begins: its Gaussian reaches further.
    axes = np.clip(1.2 * np.sqrt(np.maximum(axes2, 0.0)), LEAST_SIGMA, WIDEST_SIGMA)
    root = vectors * axes[:, None, :]
    weights = FIRST_WEIGHT * np.bincount(label, values, n) / np.maximum(size, 1)
    return Model(centres, root, weights)
