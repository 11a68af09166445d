"""Values between voxels: by the tile lists, or from the primitives nearest to each point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..primitives import Primitives
from .neighbours import closest
from .rasteriser import CudaRasteriser

F64 = npt.NDArray[np.float64]
MOST_TILES = 1 << 20
NEAREST = 32
"""Neighbours that the published method evaluates at each point."""


def sample(
    raster: CudaRasteriser,
    prims: Primitives,
    points: F64,
    *,
    base: float = 0.0,
    gain: float = 1.0,
    level: int = 0,
) -> Any:
    """base + gain * sum of the primitives at points (spec, 8.2), in the order of the primitives.

    Parameters
    ----------
    raster : CudaRasteriser
    prims : Primitives
        In volume coordinates.
    points : float64 [M, 3]
        (z, y, x) of the full grid, any real numbers.
    base, gain : float
    level : int
        Widen the primitives for this grid (spec, 8.4).

    Returns
    -------
    float32 [M] of the device
    """
    points = np.asarray(points, np.float64).reshape(-1, 3)
    step = 1 << level
    on_grid = (points - 0.5 * (step - 1)) / step
    lo, hi = _box(raster.cutoff, prims, on_grid, step)
    if len(points) == 0 or len(prims) == 0 or (lo >= hi).any():
        return raster.device.array(np.full(len(points), base, np.float32), np.float32)
    shape = (int(hi[0] - lo[0]), int(hi[1] - lo[1]), int(hi[2] - lo[2]))
    edge = 16
    while math.prod(-(-s // edge) + 1 for s in shape) > MOST_TILES:
        edge *= 2
    first = (int(lo[0]), int(lo[1]), int(lo[2]))
    tile = (edge, edge, edge)
    packed = raster.pack_floats(raster.upload(prims), first, shape, level=level, tile=tile, margin=1.0)
    return raster.sample_packed(packed, on_grid - lo, base, gain)


def _box(cutoff: float, prims: Primitives, points: F64, step: int) -> tuple[F64, F64]:
    """The voxels (of the grid) that hold all points which a primitive may reach: first and last plus one."""
    if len(prims) == 0 or len(points) == 0:
        return np.zeros(3), np.zeros(3)
    wide = math.sqrt(float(np.max(prims.scales)) ** 2 + (step**2 - 1) / 12)
    reach = math.sqrt(cutoff) * wide / step + 1.0
    centres = (prims.means - 0.5 * (step - 1)) / step
    lo = np.maximum(np.floor(points.min(axis=0)), np.floor(centres.min(axis=0) - reach))
    hi = np.minimum(np.ceil(points.max(axis=0)), np.ceil(centres.max(axis=0) + reach)) + 1
    return lo, hi


def nearest(means: F64, points: F64, k: int = NEAREST, *, gpu: int | None = None) -> npt.NDArray[np.int64]:
    """The ``k`` centres nearest to each point, by FAISS or scipy (`neighbours.closest`).

    Parameters
    ----------
    means : float64 [N, 3]
    points : float64 [M, 3]
    k : int
    gpu : int, optional
        As for `neighbours.closest`.

    Returns
    -------
    int64 [M, k]
        Ascending; -1 in front where there are fewer than ``k``.

    Raises
    ------
    DependencyError
        Where neither FAISS nor scipy is there.
    """
    points = np.asarray(points, np.float64).reshape(-1, 3)
    few = min(k, len(means))
    out = np.full((len(points), k), -1, np.int64)
    if few and len(points):
        out[:, k - few :] = closest(means, points, few, gpu=gpu)
    return np.sort(out, axis=1)


def sample_nearest(
    raster: CudaRasteriser,
    prims: Primitives,
    points: F64,
    *,
    k: int = NEAREST,
    base: float = 0.0,
    gain: float = 1.0,
) -> Any:
    """As `sample`, of the ``k`` nearest primitives of each point alone: what the published method evaluates.

    Where more than ``k`` reach a point this differs from the specification; it is there to compare with.
    """
    points = np.asarray(points, np.float64).reshape(-1, 3)
    if len(prims) == 0:
        return raster.device.array(np.full(len(points), base, np.float32), np.float32)
    packed = raster.pack_floats(raster.upload(prims), (0, 0, 0), (1, 1, 1))
    near = nearest(prims.means, points, k, gpu=raster.device.number)
    return raster.sample_nearest(packed, points, near, base, gain)
