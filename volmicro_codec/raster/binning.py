"""Before the kernels: primitives packed into their table, and which tiles each one's support touches."""

from __future__ import annotations

import math
from typing import Any

from .kernels import AXX, AYX, AYY, AZX, AZY, AZZ, CYY, CZY, CZZ, HX, HY, HZ, WEIGHT, njit


@njit
def pack(
    means: Any, cov: Any, weights: Any, cutoff: float, table: Any
) -> None:  # pragma: no cover - compiled
    """Fill ``table`` [N, COLUMNS] from covariances [N, 6] (zz, zy, zx, yy, yx, xx) and weights [N]."""
    norm = 1.0 / (1.0 - math.exp(-0.5 * cutoff))
    for i in range(means.shape[0]):
        zz, zy, zx, yy, yx, xx = cov[i, 0], cov[i, 1], cov[i, 2], cov[i, 3], cov[i, 4], cov[i, 5]
        c00 = yy * xx - yx * yx
        c01 = zx * yx - zy * xx
        c02 = zy * yx - zx * yy
        det = zz * c00 + zy * c01 + zx * c02
        inv = 1.0 / det
        a0 = c00 * inv
        a1 = c01 * inv
        a2 = c02 * inv
        a3 = (zz * xx - zx * zx) * inv
        a4 = (zx * zy - zz * yx) * inv
        a5 = (zz * yy - zy * zy) * inv
        hz, hy, hx = math.sqrt(cutoff * zz), math.sqrt(cutoff * yy), math.sqrt(cutoff * xx)
        table[i, AZZ], table[i, AZY], table[i, AZX] = a0, a1, a2
        table[i, AYY], table[i, AYX], table[i, AXX] = a3, a4, a5
        table[i, WEIGHT] = weights[i] * norm
        table[i, HZ], table[i, HY], table[i, HX] = hz, hy, hx
        table[i, CZZ], table[i, CYY], table[i, CZY] = math.exp(-a0), math.exp(-a3), math.exp(-a1)


@njit
def tile_span(m: float, h: float, size: int, tile: int) -> tuple[int, int]:  # pragma: no cover - compiled
    """First and last-plus-one tile that [m - h, m + h] meets on an axis of ``size`` voxels."""
    lo = math.ceil(m - h)
    hi = math.floor(m + h)
    if hi < 0 or lo > size - 1 or hi < lo:
        return 0, 0
    if lo < 0:
        lo = 0
    if hi > size - 1:
        hi = size - 1
    return int(lo) // tile, int(hi) // tile + 1


@njit
def bin_count(means: Any, table: Any, shape: Any, tile: Any, grid: Any, counts: Any) -> None:
    """Add to ``counts`` [tiles + 1] (shifted by one) how many primitives each tile gets."""
    for i in range(means.shape[0]):
        z0, z1 = tile_span(means[i, 0], table[i, HZ], shape[0], tile[0])
        y0, y1 = tile_span(means[i, 1], table[i, HY], shape[1], tile[1])
        x0, x1 = tile_span(means[i, 2], table[i, HX], shape[2], tile[2])
        for tz in range(z0, z1):
            for ty in range(y0, y1):
                row = (tz * grid[1] + ty) * grid[2]
                for tx in range(x0, x1):
                    counts[row + tx + 1] += 1


@njit
def bin_fill(means: Any, table: Any, shape: Any, tile: Any, grid: Any, cursor: Any, ids: Any) -> None:
    """Write primitive numbers into their tiles' lists, in order of the primitives."""
    for i in range(means.shape[0]):
        z0, z1 = tile_span(means[i, 0], table[i, HZ], shape[0], tile[0])
        y0, y1 = tile_span(means[i, 1], table[i, HY], shape[1], tile[1])
        x0, x1 = tile_span(means[i, 2], table[i, HX], shape[2], tile[2])
        for tz in range(z0, z1):
            for ty in range(y0, y1):
                row = (tz * grid[1] + ty) * grid[2]
                for tx in range(x0, x1):
                    ids[cursor[row + tx]] = i
                    cursor[row + tx] += 1
