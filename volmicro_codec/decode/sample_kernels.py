"""numba kernel that sums primitives, in their order and in float64, at points sorted into cells."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .compiled import compiled
from .tables import rotate, widen


@compiled
def sum_at_points(
    means: Any, scales: Any, rotations: Any, intensities: Any, cutoff: float, origin: float, step: float,
    widening: float, points: Any, starts: Any, first: Any, edge: Any, cells: Any, z_lo: int, z_hi: int,
    sums: Any,
) -> None:  # fmt: skip
    """Add the primitives of a chunk to the points of some layers of cells.

    Parameters
    ----------
    means, scales, rotations, intensities
        Of the chunk, on the full grid.
    origin, step, widening
        Of the grid that the points are on.
    points : float64 [M, 3]
        In order of their cells.
    starts : int64 [cells + 1]
        First point of each cell.
    first, edge : float64 [3]
        Corner of the first cell, and how long cells are.
    cells : int64 [3]
        How many there are on each axis.
    z_lo, z_hi : int
        Only cells of these layers.
    sums : float64 [M]
    """
    cut = math.exp(-0.5 * cutoff)
    norm = 1.0 / (1.0 - cut)
    rot = np.empty((3, 3), np.float64)
    s = np.empty(3, np.float64)
    m = np.empty(3, np.float64)
    lo = np.empty(3, np.int64)
    hi = np.empty(3, np.int64)
    for n in range(means.shape[0]):
        weight = np.float64(intensities[n]) * norm * widen(scales[n], widening, step, s)
        rotate(rotations[n], rot)
        inside = True
        for a in range(3):
            m[a] = (means[n, a] - origin) / step
            spread = 0.0
            for e in range(3):
                spread += (rot[a, e] * s[e]) ** 2
            half = math.sqrt(cutoff * spread) * (1.0 + 1e-9)
            low, high = (
                math.floor((m[a] - half - first[a]) / edge[a]),
                math.floor((m[a] + half - first[a]) / edge[a]),
            )
            if high < 0 or low > cells[a] - 1:
                inside = False
            lo[a], hi[a] = max(low, 0), min(high, cells[a] - 1) + 1
        if not inside:
            continue
        for z in range(max(lo[0], z_lo), min(hi[0], z_hi)):
            for y in range(lo[1], hi[1]):
                row = (z * cells[1] + y) * cells[2]
                for p in range(starts[row + lo[2]], starts[row + hi[2]]):  # cells along x follow each other
                    dz, dy, dx = points[p, 0] - m[0], points[p, 1] - m[1], points[p, 2] - m[2]
                    q = 0.0
                    for e in range(3):
                        along = (dz * rot[0, e] + dy * rot[1, e] + dx * rot[2, e]) / s[e]
                        q += along * along
                    if q < cutoff:
                        sums[p] += weight * (math.exp(-0.5 * q) - cut)
