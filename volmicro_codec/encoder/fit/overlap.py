"""Which Gaussians of a fit overlap those that came or went: what a refit after a small change moves."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

from .gaussians import Model

I64 = npt.NDArray[np.int64]

CELL = 4  # voxels a side
REACH = 1.5
"""Standard deviations to either side that a Gaussian is taken to fill."""
LEAST = 0.1
"""Part of a Gaussian's box that must be filled anew: a small spot moves no wide background."""


def overlapping(model: Model, changed: Model, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Which of a model overlap any of ``changed``, bool [N]; both in voxels of an image of a shape."""
    grid = np.array([-(-n // CELL) for n in shape], np.int64)
    edges = np.zeros(grid + 1, np.int64)
    lo, hi = _boxes(changed, grid)
    for corner in product((0, 1), repeat=3):
        z, y, x = np.where(corner, hi, lo).T
        np.add.at(edges, (z, y, x), (-1) ** sum(corner))
    inside = np.zeros(grid + 1, np.int64)
    inside[1:, 1:, 1:] = _summed(edges)[:-1, :-1, :-1] > 0
    before = _summed(inside)  # cells filled anew below each corner
    lo, hi = _boxes(model, grid)
    count = np.zeros(len(model), np.int64)
    for corner in product((0, 1), repeat=3):
        z, y, x = np.where(corner, hi, lo).T
        count += (-1) ** (3 - sum(corner)) * before[z, y, x]
    return np.asarray(count > LEAST * (hi - lo).prod(axis=1))


def _boxes(model: Model, grid: I64) -> tuple[I64, I64]:
    """First and last-plus-one cell that each Gaussian fills, [N, 3]; at least one, inside of the grid."""
    mu, half = model.mu, model.half_extents(REACH**2)
    lo = np.clip(np.floor((mu - half) / CELL), 0, grid - 1).astype(np.int64)
    hi = np.clip(np.floor((mu + half) / CELL) + 1, lo + 1, grid).astype(np.int64)
    return lo, hi


def _summed(a: I64) -> I64:
    """Sums over all indices up to each."""
    for axis in range(3):
        a = a.cumsum(axis=axis)
    return a
