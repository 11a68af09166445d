"""numba kernels that evaluate tiles and store voxels; a voxel never depends on what else was asked for.

A tile is evaluated from its own first voxel whatever part of it is wanted. Three ways to add a primitive:

*walk*: eight x lanes at a time; along y, and then z, the exponent is a quadratic, so each row follows from
the last by two multiplications. No exponential in the loops, and no mask: the kernel is zero at its cut-off.

*columns*: where the terms of the exponent are so much larger than their sum that a walk in float32 would lose
it (needles, tilted sheets): eight x lanes at a time, only the y that their slice of the ellipsoid reaches.

*rows*: where even one slice would lose it: each row gets its limits and its peak in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import simd as v
from .compiled import compiled, inlined
from .tables import (
    AXX,
    AYX,
    AYY,
    AZX,
    AZY,
    AZZ,
    CYY,
    CZY,
    CZZ,
    HX,
    HY,
    HZ,
    IX,
    IY,
    IZ,
    JX,
    JXZ,
    JY,
    JYX,
    JYZ,
    MX,
    MY,
    MZ,
    WEIGHT,
    XY,
    XZ,
    YZ,
)

PAD = 8  # lanes a tile row is padded by, so that the last block of eight may hang over
WALK_LIMIT = 80.0  # largest sum of magnitudes of the exponent's terms that a walk may meet
COLUMN_LIMIT = 400.0  # largest offset, in conditional standard deviations, that a column may meet
STEP_LIMIT = 60.0  # largest power of two that a column may climb by multiplications
FLUSH = 512  # primitives summed in float32 before the sum moves to float64
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding and taking it away rounds to whole numbers, half to even
HALF_LOG2E = 0.5 / math.log(2.0)


@inlined
def clip_span(m: float, h: float, lo: int, n: int) -> tuple[int, int]:
    """Voxels of [lo, lo + n) within [m - h, m + h], as offsets from lo."""
    a, b = math.ceil(m - h), math.floor(m + h) + 1
    if a > lo + n or b < lo:
        return 0, 0
    return max(int(a) - lo, 0), min(int(b) - lo, n)


@inlined
def farthest(a: float, b: float) -> float:
    """The larger magnitude."""
    return max(abs(a), abs(b))


@compiled
def add_rows(p: Any, f: Any, gc: float, cutoff: float, buf: Any, ny: int, nx: int, z0: int, y0: int, x0: int,
             za: int, zb: int, ya: int, yb: int) -> None:  # fmt: skip
    """Add one primitive into rows [za, zb) x [ya, yb) of a tile buffer, row by row of the ellipsoid."""
    stride = nx + PAD
    mz, my, mx = f[MZ], f[MY], f[MX]
    w = v.splat(p[WEIGHT])
    cut = v.splat(np.float32(gc))
    bend = v.splat(np.float32(-0.5 * f[IX]))
    for z in range(za, zb):
        dz = z0 + z - mz
        left = cutoff - f[IZ] * dz * dz
        if left <= 0.0:
            continue
        a, b = clip_span(my + f[YZ] * dz, math.sqrt(left / f[IY]), y0, yb)
        for y in range(max(a, ya), b):
            dy = y0 + y - my
            u = dy - f[YZ] * dz
            rest = left - f[IY] * u * u
            if rest <= 0.0:
                continue
            best = mx + f[XZ] * dz + f[XY] * dy
            xa, xb = clip_span(best, math.sqrt(rest / f[IX]), x0, nx)
            at = (z * ny + y) * stride
            peak = v.splat(np.float32(0.5 * (rest - cutoff)))
            end = v.splat(np.float32(x0 + xb - 0.5 - best))
            for xs in range(xa, xb, 8):
                off = v.splat(np.float32(x0 + xs - best)) + v.iota()
                g = v.exp(peak + bend * off * off)
                add = v.keep(v.greater(end, off), w * v.positive(g - cut))
                v.store(buf, at + xs, v.load(buf, at + xs) + add)


@compiled
def add_columns(p: Any, f: Any, gc: float, cutoff: float, buf: Any, ny: int, nx: int, z0: int, y0: int,
                x0: int, za: int, zb: int, ya: int, yb: int, yc: int, xc: int, xd: int) -> None:  # fmt: skip
    """Add one primitive into planes [za, zb) and rows [ya, yb) of a tile buffer, by columns of y.

    Rows from ``yc`` on and blocks outside [xc, xd) are not wanted.
    """
    stride = nx + PAD
    mz, my, mx = f[MZ], f[MY], f[MX]
    w = v.splat(p[WEIGHT])
    cut = v.splat(np.float32(gc))
    one = v.splat(np.float32(1.0))
    bend_x = v.splat(np.float32(-HALF_LOG2E * f[JX]))
    bend_y = v.splat(np.float32(-HALF_LOG2E * f[JY]))
    tilt = v.splat(np.float32(f[JYX])) * v.iota()
    cyy = v.splat(p[CYY])
    wide_x, wide_y = 1.0 / math.sqrt(f[JX]), 1.0 / math.sqrt(f[JY])
    rise = 7.0 * f[JYX]
    for z in range(za, zb):
        dz = z0 + z - mz
        left = cutoff - f[IZ] * dz * dz
        if left <= 0.0:
            continue
        middle = mx + f[JXZ] * dz
        xa, xb = clip_span(middle, math.sqrt(left) * wide_x, x0, nx)
        for xs in range(xa, min(xb, xd), 8):
            if xs + 8 <= xc:
                continue
            u = x0 + xs - middle
            near = max(u, 0.0, -u - 7.0)
            rest = left - f[JX] * near * near
            if rest <= 0.0:
                continue
            best = my + f[JYZ] * dz + f[JYX] * (x0 + xs - mx)
            reach = math.sqrt(rest) * wide_y
            a = max(math.ceil(best + min(rise, 0.0) - reach) - y0, ya)
            stop = min(math.floor(best + max(rise, 0.0) + reach) - y0 + 1, yb)
            b = min(stop, yc)
            if a >= b:
                continue
            d = y0 + a - best
            du = v.splat(np.float32(u)) + v.iota()
            dv = v.splat(np.float32(d)) - tilt
            level = v.splat(np.float32(HALF_LOG2E * (left - cutoff))) + du * du * bend_x
            at = (z * ny + a) * stride + xs
            if stop - a > 2 and HALF_LOG2E * f[JY] * max(d * d, (d - rise) ** 2) <= STEP_LIMIT:
                g = v.exp2(level + dv * dv * bend_y)
                r = v.exp2((dv + dv + one) * bend_y)
                for _ in range(a, b):
                    v.store(buf, at, v.load(buf, at) + w * v.positive(g - cut))
                    g = g * r
                    r = r * cyy
                    at += stride
            else:
                for _ in range(a, b):
                    g = v.exp2(level + dv * dv * bend_y)
                    v.store(buf, at, v.load(buf, at) + w * v.positive(g - cut))
                    dv = dv + one
                    at += stride


@compiled
def add(p: Any, f: Any, gc: float, cutoff: float, buf: Any, nz: int, ny: int, nx: int, z0: int, y0: int,
        x0: int, wza: int, wzb: int, wyb: int, wxa: int, wxb: int) -> None:  # fmt: skip
    """Add one primitive into the tile whose first voxel is (z0, y0, x0).

    ``buf`` is [nz, ny, nx + PAD]; only the planes [wza, wzb), rows [0, wyb) and blocks of eight that meet
    [wxa, wxb) need be right; no other planes and rows are touched. What is written does not depend on that.
    """
    mz, my, mx = f[MZ], f[MY], f[MX]
    za, zb = clip_span(mz, f[HZ], z0, nz)
    ya, yb = clip_span(my, f[HY], y0, ny)
    xa, xb = clip_span(mx, f[HX], x0, nx)
    z_stop, y_stop = min(zb, wzb), min(yb, wyb)
    if max(za, wza) >= z_stop or ya >= y_stop or xa >= min(xb, wxb):
        return
    azz, azy, azx, ayy, ayx, axx = p[AZZ], p[AZY], p[AZX], p[AYY], p[AYX], p[AXX]
    ez = farthest(z0 + za - mz, z0 + zb - 1 - mz)
    ey = farthest(y0 + ya - my, y0 + yb - 1 - my)
    ex = farthest(x0 + xa - mx, x0 + xb - 1 - mx)
    terms = 0.5 * (azz * ez * ez + ayy * ey * ey + axx * ex * ex)
    terms += abs(azy) * ez * ey + abs(azx) * ez * ex + abs(ayx) * ey * ex
    if not terms <= WALK_LIMIT:
        steep = farthest(y0 + ya - my, y0 + yb - my) + abs(f[JYZ]) * ez + abs(f[JYX]) * (ex + 7.0)
        if steep * steep * f[JY] <= COLUMN_LIMIT**2 and ex * ex * f[JX] <= COLUMN_LIMIT**2:
            planes = max(za, wza), z_stop
            add_columns(p, f, gc, cutoff, buf, ny, nx, z0, y0, x0, *planes, ya, yb, y_stop, wxa, wxb)
        else:
            add_rows(p, f, gc, cutoff, buf, ny, nx, z0, y0, x0, max(za, wza), z_stop, ya, y_stop)
        return
    stride = nx + PAD
    half = np.float32(0.5)
    dz = np.float32(z0 + za - mz)
    dy = np.float32(y0 + ya - my)
    w = v.splat(p[WEIGHT])
    cut = v.splat(np.float32(gc))
    cyy = v.splat(p[CYY])
    czz = v.splat(p[CZZ])
    czy = v.splat(p[CZY])
    e0 = -half * (azz * dz * dz + ayy * dy * dy) - azy * dz * dy
    e1 = -(azx * dz + ayx * dy)
    r0 = -(azy * dz + ayy * dy) - half * ayy
    s0 = -(azz * dz + azy * dy) - half * azz
    for xs in range(xa, min(xb, wxb), 8):
        if xs + 8 <= wxa:
            continue
        dx = v.splat(np.float32(x0 + xs - mx)) + v.iota()
        gz = v.exp(v.splat(e0) + dx * (v.splat(e1) - v.splat(half * axx) * dx))
        rz = v.exp(v.splat(r0) - v.splat(ayx) * dx)
        s = v.exp(v.splat(s0) - v.splat(azx) * dx)
        if xs + 8 > xb:
            inside = v.greater(v.splat(np.float32(x0 + xb - 0.5 - mx)), dx)
            gz, rz, s = v.keep(inside, gz), v.keep(inside, rz), v.keep(inside, s)
        for z in range(za, z_stop):
            if z >= wza:
                g = gz
                r = rz
                at = (z * ny + ya) * stride + xs
                for _ in range(ya, y_stop):
                    v.store(buf, at, v.load(buf, at) + w * v.positive(g - cut))
                    g = g * r
                    r = r * cyy
                    at += stride
            gz = gz * s
            s = s * czz
            rz = rz * czy


@inlined
def wanted(lo: int, step: int, count: int, first: int, n: int) -> tuple[int, int]:
    """Which of lo, lo + step, ... (``count`` of them) lie in [first, first + n): numbers [a, b)."""
    a = max(0, -((lo - first) // step))
    b = min(count, (first + n - 1 - lo) // step + 1)
    return a, b


@inlined
def stored(value: float, least: float, largest: float) -> float:
    """A whole number in least .. largest, half to even."""
    return (min(max(value, least), largest) + ROUND) - ROUND


@compiled
def store_row(out: Any, to: int, count: int, source: Any, at: int, step: int, base: float, gain: float,
              least: float, largest: float) -> None:  # fmt: skip
    """Write ``count`` voxels from ``out[to]`` on, of sums ``source[at]``, ``source[at + step]``, ..."""
    if largest > 0.0:
        if step == 1:
            for k in range(count):
                out[to + k] = stored(base + gain * np.float64(source[at + k]), least, largest)
        else:
            for k in range(count):
                out[to + k] = stored(base + gain * np.float64(source[at + k * step]), least, largest)
    else:
        for k in range(count):
            out[to + k] = base + gain * np.float64(source[at + k * step])


@compiled
def evaluate_tiles(
    first: int, last: int, offsets: Any, ids: Any, wide: Any, narrow: Any, cutoff: float, tile: Any,
    tile_lo: Any, grid: Any, lo: Any, step: Any, count: Any, base: float, gain: float, least: float,
    largest: float, out: Any, pitch: Any,
) -> None:  # fmt: skip
    """Write the wanted voxels of tiles [first, last) of a block.

    Parameters
    ----------
    first, last : int
        Tiles of the block ``grid`` [3] of tiles, whose first tile is ``tile_lo`` [3].
    offsets, ids
        Which primitives each tile has.
    wide, narrow
        Tables of the primitives.
    lo, step, count : int64 [3]
        The voxels wanted: lo, lo + step, ... on each axis.
    least, largest : float
        The range of stored integers; both 0 for floats.
    out : 1-D
        Voxel (0, 0, 0) of those wanted goes to ``out[pitch[2]]``; ``pitch[0]`` is from plane to plane,
        ``pitch[1]`` from row to row.
    """
    gc = math.exp(-0.5 * cutoff)
    nz, ny, nx = tile[0], tile[1], tile[2]
    stride = nx + PAD
    buf = np.empty(nz * ny * stride, np.float32)
    total = np.empty(0, np.float64)
    empty = base
    if largest > 0.0:
        empty = stored(base, least, largest)
    t = first
    while t < last:
        tx = t % grid[2]
        ty = (t // grid[2]) % grid[1]
        tz = t // (grid[2] * grid[1])
        z0, y0, x0 = (tile_lo[0] + tz) * nz, (tile_lo[1] + ty) * ny, (tile_lo[2] + tx) * nx
        za, zb = wanted(lo[0], step[0], count[0], z0, nz)
        ya, yb = wanted(lo[1], step[1], count[1], y0, ny)
        if offsets[t + 1] == offsets[t]:
            stop = t + 1  # neighbours along x that are empty too make longer rows
            while stop < last and stop - t < grid[2] - tx and offsets[stop + 1] == offsets[t]:
                stop += 1
            xa, xb = wanted(lo[2], step[2], count[2], x0, nx * (stop - t))
            for z in range(za, zb):
                for y in range(ya, yb):
                    row = pitch[2] + z * pitch[0] + y * pitch[1]
                    for k in range(row + xa, row + xb):
                        out[k] = empty
            t = stop
            continue
        xa, xb = wanted(lo[2], step[2], count[2], x0, nx)
        if za < zb and ya < yb and xa < xb:
            wza, wzb = lo[0] + za * step[0] - z0, lo[0] + (zb - 1) * step[0] - z0 + 1
            wyb = lo[1] + (yb - 1) * step[1] - y0 + 1
            wxa, wxb = lo[2] + xa * step[2] - x0, lo[2] + (xb - 1) * step[2] - x0 + 1
            for z in range(wza, wzb):
                for k in range(z * ny * stride, (z * ny + wyb) * stride):
                    buf[k] = np.float32(0.0)
            flushed = offsets[t + 1] - offsets[t] > FLUSH
            if flushed:
                if total.size == 0:
                    total = np.empty(nz * ny * stride, np.float64)
                total[:] = 0.0
            for e in range(offsets[t], offsets[t + 1]):
                i = ids[e]
                add(narrow[i], wide[i], gc, cutoff, buf, nz, ny, nx, z0, y0, x0, wza, wzb, wyb, wxa, wxb)
                if flushed and ((e - offsets[t]) % FLUSH == FLUSH - 1 or e == offsets[t + 1] - 1):
                    for z in range(wza, wzb):
                        for k in range(z * ny * stride, (z * ny + wyb) * stride):
                            total[k] += np.float64(buf[k])
                            buf[k] = np.float32(0.0)
            for z in range(za, zb):
                for y in range(ya, yb):
                    to = pitch[2] + z * pitch[0] + y * pitch[1] + xa
                    at = ((lo[0] + z * step[0] - z0) * ny + lo[1] + y * step[1] - y0) * stride + wxa
                    if flushed:
                        store_row(out, to, xb - xa, total, at, step[2], base, gain, least, largest)
                    else:
                        store_row(out, to, xb - xa, buf, at, step[2], base, gain, least, largest)
        t += 1
