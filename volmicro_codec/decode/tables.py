"""numba kernels that prepare primitives for tiles: tables of coefficients, and which tiles each one touches.

Coordinates are those of the grid's voxels, never relative to a request, and tiles are anchored at voxel 0.
What is written for a primitive or a tile follows from the file and the grid alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .compiled import compiled, inlined

# Columns of the float64 table. Centre; half widths of the support; q as sums of squares, which lose nothing:
#   q = IZ dz^2 + IY (dy - YZ dz)^2 + IX (dx - XZ dz - XY dy)^2      along rows of x
#   q = IZ dz^2 + JX (dx - JXZ dz)^2 + JY (dy - JYZ dz - JYX dx)^2   along columns of y
# and q >= JZ dy^2 + KX (dx - KXY dy)^2, whatever dz.
MZ, MY, MX, HZ, HY, HX, IZ, IY, IX, YZ, XZ, XY, JX, JY, JXZ, JYZ, JYX, KX, KXY = range(19)
WIDE_COLUMNS = 19
# Columns of the float32 table: inverse covariance, weight / (1 - edge), ratios of the walk.
AZZ, AZY, AZX, AYY, AYX, AXX, WEIGHT, CZZ, CYY, CZY = range(10)
COLUMNS = 10
MARGIN = 1e-6  # voxels, and relative: which tiles are touched is rounded outwards


@inlined
def rotate(quaternion: Any, rot: Any) -> None:
    """Write the matrix R [3, 3] of a quaternion of any norm but 0."""
    w, i = np.float64(quaternion[0]), np.float64(quaternion[1])
    j, k = np.float64(quaternion[2]), np.float64(quaternion[3])
    length = math.sqrt(w * w + i * i + j * j + k * k)
    w, i, j, k = w / length, i / length, j / length, k / length
    rot[0, 0], rot[0, 1], rot[0, 2] = 1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)
    rot[1, 0], rot[1, 1], rot[1, 2] = 2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)
    rot[2, 0], rot[2, 1], rot[2, 2] = 2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)


@inlined
def widen(scales: Any, widening: float, step: float, s: Any) -> float:
    """Write the standard deviations [3] on a grid, in its voxels; returns the factor on the weight."""
    factor = 1.0
    for a in range(3):
        plain = np.float64(scales[a])
        s[a] = plain
        if widening > 0.0:
            s[a] = math.sqrt(plain * plain + widening)
            factor *= plain / s[a]
        s[a] /= step
    return factor


@compiled
def gather(
    means: Any, scales: Any, rotations: Any, intensities: Any, cutoff: float, origin: float, step: float,
    widening: float, tile: Any, tile_lo: Any, tile_hi: Any, wide: Any, narrow: Any, span: Any,
) -> int:  # fmt: skip
    """Prepare the primitives of one chunk for the tiles [tile_lo, tile_hi) of a grid.

    Writes ``wide`` [N, WIDE_COLUMNS], ``narrow`` [N, COLUMNS] and ``span`` int64 [N, 6]: first and
    last-plus-one tile on z, y, x. A primitive that meets none has an empty span and undefined tables.

    Returns
    -------
    int
        Tiles in all spans.
    """
    norm = 1.0 / (1.0 - math.exp(-0.5 * cutoff))
    reach = math.sqrt(cutoff) * (1.0 + 1e-6)
    rot = np.empty((3, 3), np.float64)
    s = np.empty(3, np.float64)
    entries = 0
    for n in range(means.shape[0]):
        weight = np.float64(intensities[n]) * norm * widen(scales[n], widening, step, s)
        largest = max(s[0], s[1], s[2]) * reach
        inside = True
        for a in range(3):
            m = (means[n, a] - origin) / step
            wide[n, MZ + a] = m
            if m + largest < tile_lo[a] * tile[a] or m - largest > tile_hi[a] * tile[a] - 1:
                inside = False
        span[n, 1] = span[n, 0] = 0
        if not inside:
            continue
        rotate(rotations[n], rot)
        for a in range(3):
            spread = 0.0
            for e in range(3):
                spread += (rot[a, e] * s[e]) ** 2
            half = math.sqrt(cutoff * spread)
            wide[n, HZ + a] = half
            m = wide[n, MZ + a]
            lo, hi = math.ceil(m - half), math.floor(m + half)
            first, stop = tile_lo[a], tile_hi[a]
            if hi < lo or hi < first * tile[a] or lo > stop * tile[a] - 1:
                inside = False
                continue
            if lo > first * tile[a]:
                first = int(lo) // tile[a]
            if hi < stop * tile[a] - 1:
                stop = int(hi) // tile[a] + 1
            span[n, 2 * a], span[n, 2 * a + 1] = first, stop
        if not inside:
            span[n, 1] = span[n, 0] = 0
            continue
        entries += (span[n, 1] - span[n, 0]) * (span[n, 3] - span[n, 2]) * (span[n, 5] - span[n, 4])
        fill_tables(rot, s, weight, wide[n], narrow[n])
    return entries


@inlined
def fill_tables(rot: Any, s: Any, weight: float, wide: Any, narrow: Any) -> None:
    """The columns that follow from rotation, standard deviations and weight, all without cancellation."""
    zz, zy, zx, yy, yx = 0.0, 0.0, 0.0, 0.0, 0.0  # covariance
    block_zy, block_zx, block_yx = 0.0, 0.0, 0.0  # determinants of its 2 x 2 blocks
    a0, a1, a2, a3, a4, a5 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0  # its inverse
    for e in range(3):
        z, y, x = rot[0, e], rot[1, e], rot[2, e]
        square = s[e] * s[e]
        others = s[(e + 1) % 3] * s[(e + 2) % 3]
        inv = 1.0 / square
        zz += z * z * square
        zy += z * y * square
        zx += z * x * square
        yy += y * y * square
        yx += y * x * square
        block_zy += (x * others) ** 2
        block_zx += (y * others) ** 2
        block_yx += (z * others) ** 2
        a0 += z * z * inv
        a1 += z * y * inv
        a2 += z * x * inv
        a3 += y * y * inv
        a4 += y * x * inv
        a5 += x * x * inv
    wide[IZ], wide[IY], wide[IX] = 1.0 / zz, zz / block_zy, a5
    wide[YZ], wide[XZ], wide[XY] = zy / zz, -a2 / a5, -a4 / a5
    wide[JX], wide[JY] = zz / block_zx, a3
    wide[JXZ], wide[JYZ], wide[JYX] = zx / zz, -a1 / a3, -a4 / a3
    wide[KX], wide[KXY] = yy / block_yx, yx / yy
    narrow[AZZ], narrow[AZY], narrow[AZX] = a0, a1, a2
    narrow[AYY], narrow[AYX], narrow[AXX] = a3, a4, a5
    narrow[WEIGHT] = weight
    narrow[CZZ], narrow[CYY], narrow[CZY] = math.exp(-a0), math.exp(-a3), math.exp(-a1)


@inlined
def slab_range(
    m: float, h: float, d0: float, d1: float, hd: float, slope: float, inv_d: float, inv: float, cutoff: float
) -> tuple[float, float]:
    """How far an ellipse reaches along one axis between two offsets of another.

    Parameters
    ----------
    m, h : float
        Centre and half width along the axis.
    d0, d1 : float
        Offsets from the centre along the other axis.
    hd : float
        Half width along the other axis.
    slope, inv_d, inv : float
        q = inv_d d^2 + inv (a - slope d)^2.
    """
    d0, d1 = max(d0, -hd), min(d1, hd)
    top = cutoff * slope / (inv_d * h)  # offset where the ellipse reaches furthest
    du, dl = min(max(top, d0), d1), min(max(-top, d0), d1)
    up = slope * du + math.sqrt(max(0.0, cutoff - inv_d * du * du) / inv)
    low = slope * dl - math.sqrt(max(0.0, cutoff - inv_d * dl * dl) / inv)
    slack = MARGIN * (1.0 + h)
    return m + low - slack, m + up + slack


@inlined
def tile_range(lo: float, hi: float, first: int, stop: int, tile: int) -> tuple[int, int]:
    """Tiles of [first, stop) with a voxel in [lo, hi]."""
    a, b = math.ceil(lo), math.floor(hi)
    if b < a or b < first * tile or a > stop * tile - 1:
        return first, first
    return max(first, int(a) // tile), min(stop, int(b) // tile + 1)


@compiled
def list_entries(
    wide: Any, span: Any, cutoff: float, tile: Any, tile_lo: Any, grid: Any, tiles: Any, ids: Any, counts: Any
) -> int:  # fmt: skip
    """Which tiles the primitives touch, more closely than their spans say.

    Writes pairs ``tiles`` [E], ``ids`` [E] (number of the tile in the block, of the primitive), in order of
    the primitives, and adds to ``counts`` [tiles + 1] (shifted by one) how many each tile has.

    Returns
    -------
    int
        Pairs.
    """
    entries = 0
    for i in range(span.shape[0]):
        if span[i, 0] == span[i, 1]:
            continue
        f = wide[i]
        single = (
            span[i, 1] - span[i, 0] == 1 and span[i, 3] - span[i, 2] == 1 and span[i, 5] - span[i, 4] == 1
        )
        for tz in range(span[i, 0], span[i, 1]):
            ya, yb, xa, xb = span[i, 2], span[i, 3], span[i, 4], span[i, 5]
            if not single:
                d0, d1 = tz * tile[0] - f[MZ], (tz + 1) * tile[0] - 1 - f[MZ]
                lo, hi = slab_range(f[MY], f[HY], d0, d1, f[HZ], f[YZ], f[IZ], f[IY], cutoff)
                ya, yb = tile_range(lo, hi, ya, yb, tile[1])
                lo, hi = slab_range(f[MX], f[HX], d0, d1, f[HZ], f[JXZ], f[IZ], f[JX], cutoff)
                xa, xb = tile_range(lo, hi, xa, xb, tile[2])
            for ty in range(ya, yb):
                a, b = xa, xb
                if b - a > 1:
                    d0, d1 = ty * tile[1] - f[MY], (ty + 1) * tile[1] - 1 - f[MY]
                    lo, hi = slab_range(
                        f[MX], f[HX], d0, d1, f[HY], f[KXY], cutoff / f[HY] ** 2, f[KX], cutoff
                    )
                    a, b = tile_range(lo, hi, a, b, tile[2])
                row = ((tz - tile_lo[0]) * grid[1] + ty - tile_lo[1]) * grid[2] - tile_lo[2]
                for tx in range(a, b):
                    tiles[entries] = row + tx
                    ids[entries] = i
                    entries += 1
                    counts[row + tx + 1] += 1
    return entries


@compiled
def sort_entries(tiles: Any, ids: Any, entries: int, cursor: Any, out: Any) -> None:
    """The primitive numbers of pairs, tile by tile, in order; ``cursor`` [tiles]: where each one's start."""
    for e in range(entries):
        t = tiles[e]
        out[cursor[t]] = ids[e]
        cursor[t] += 1
