"""The level of a noisy image around each voxel, on cells of a few voxels: what tells the variance there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
Box = tuple[slice, slice, slice]

CELL = 2
"""Voxels a side of a cell."""
LEVEL_SIGMA = 1.0
"""Cells over which the level is smoothed."""


def cell_level(voxels: npt.NDArray[Any]) -> F32:
    """Smoothed voxels of an image [Z, Y, X], a value a cell; the image is read `CELL` planes at a time."""
    from scipy.ndimage import gaussian_filter

    nz, ny, nx = (int(n) for n in voxels.shape)
    level = np.empty((-(-nz // CELL), -(-ny // CELL), -(-nx // CELL)), np.float32)
    for k in range(level.shape[0]):
        slab = np.asarray(voxels[CELL * k : CELL * (k + 1)]).astype(np.float32).mean(axis=0)
        level[k] = pairs(pairs(slab, 0), 1)
    return np.asarray(gaussian_filter(level, LEVEL_SIGMA, mode="nearest"))


def level_in(level: F32, box: Box) -> F32:
    """The level of each voxel of a box, given that of all cells."""
    out = level
    for axis, s in enumerate(box):
        out = out.take(np.arange(s.start, s.stop) // CELL, axis)
    return out


def pairs(a: F32, axis: int) -> F32:
    """Means over pairs along an axis; an odd last one stands for itself."""
    n = a.shape[axis]
    if n % 2:
        a = np.concatenate([a, a.take([n - 1], axis)], axis)
    shape = list(a.shape)
    shape[axis : axis + 1] = [-1, 2]
    return np.asarray(a.reshape(shape).mean(axis=axis + 1), np.float32)
