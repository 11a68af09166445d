"""numba kernels over one tile: add primitives, their moments under a residual, their directional derivative.

Two ways to walk a primitive's box inside a tile:

*box*: eight x lanes at a time; along y, and then z, the exponent of the Gaussian is a quadratic, so
each row follows from the last by two multiplications (the ratio of neighbouring rows is itself a
geometric sequence). No exponential inside the loops, and no mask: the kernel is zero at its
cut-off, so ``max(g - g_cut, 0)`` ends the support.

*row*: for primitives so steep or so tilted that the ratios would leave float32's range: each row
of the ellipsoid gets its own limits and two exponentials.

The walk starts at the tile's or the support's first voxel, never at the caller's region: a voxel's value
does not depend on what else was asked for.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import jit
from . import simd as v

# Columns of the packed float32 table of primitives.
AZZ, AZY, AZX, AYY, AYX, AXX, WEIGHT, HZ, HY, HX, CZZ, CYY, CZY = range(13)
COLUMNS = 13
# Columns of the packed direction table: dw, then the quadratic -dq/2 = l.d + d'Q d.
D_W, D_LZ, D_LY, D_LX, D_ZZ, D_ZY, D_ZX, D_YY, D_YX, D_XX = range(10)
DIRECTION_COLUMNS = 10
# Columns of the moments: sum r (g - g_cut), then sum r g (1, d, d d') over the support.
M_KERNEL, M_1, M_Z, M_Y, M_X, M_ZZ, M_ZY, M_ZX, M_YY, M_YX, M_XX = range(11)
MOMENTS = 11
PAD = 8  # lanes a tile row is padded by, so that the last block of eight may hang over

RANGE_LIMIT = -80.0  # smallest exponent that the walk by ratios may meet (float32 ends near -87)
njit: Any = jit.njit(nogil=True, cache=True, error_model="numpy")
njit_inline: Any = jit.njit(nogil=True, cache=True, error_model="numpy", inline="always")


@njit_inline
def clip_span(m: float, h: float, lo: int, n: int) -> tuple[int, int]:  # pragma: no cover
    """Voxels of [lo, lo + n) within [m - h, m + h], as offsets from lo."""
    a = math.ceil(m - h) - lo
    b = math.floor(m + h) - lo + 1
    if a < 0:
        a = 0
    if b > n:
        b = n
    return a, b


@njit_inline
def exponent(p: Any, dz: float, dy: float, dx: float) -> float:  # pragma: no cover - compiled
    """-q/2 at an offset from the centre."""
    return -0.5 * (p[AZZ] * dz * dz + p[AYY] * dy * dy + p[AXX] * dx * dx) - (
        p[AZY] * dz * dy + p[AZX] * dz * dx + p[AYX] * dy * dx
    )


@njit_inline
def walkable(p: Any, za: float, zb: float, y: float, xa: float, xb: float) -> bool:  # pragma: no cover
    """Whether ratios may carry a Gaussian from its first row (y) over the box: offsets are from its centre.

    The exponent is concave, so over a face it is smallest at a corner; only the first row of every
    plane seeds other rows.
    """
    return (
        exponent(p, za, y, xa) >= RANGE_LIMIT
        and exponent(p, za, y, xb) >= RANGE_LIMIT
        and exponent(p, zb, y, xa) >= RANGE_LIMIT
        and exponent(p, zb, y, xb) >= RANGE_LIMIT
    )


@njit_inline
def row_limits(p: Any, dz: float, dy: float, cutoff: float) -> tuple[float, float, float]:
    """Of the row at (dz, dy): q at its best point, that point's offset from the centre, half-width or -1."""
    axx = np.float64(p[AXX])
    lin = np.float64(p[AZX]) * dz + np.float64(p[AYX]) * dy
    best = -lin / axx
    q = np.float64(p[AZZ]) * dz * dz + 2.0 * np.float64(p[AZY]) * dz * dy + np.float64(p[AYY]) * dy * dy
    q = q - lin * lin / axx
    if q < 0.0:
        q = np.float64(0.0)
    if q >= cutoff:
        return q, best, -1.0
    return q, best, math.sqrt((cutoff - q) / axx)


@njit
def add_rows(
    p: Any,
    mz: float,
    my: float,
    mx: float,
    gc: float,
    cutoff: float,
    buf: Any,
    nz: int,
    ny: int,
    nx: int,
    z0: int,
    y0: int,
    x0: int,
    za: int,
    zb: int,
    ya: int,
    yb: int,
) -> None:  # pragma: no cover
    """As `add_box`, row by row of the ellipsoid."""
    stride = nx + PAD
    w = v.splat(p[WEIGHT])
    cut = v.splat(np.float32(gc))
    bend = v.splat(np.float32(-0.5) * p[AXX])
    for z in range(za, zb):
        dz = z0 + z - mz
        for y in range(ya, yb):
            q, best, width = row_limits(p, dz, y0 + y - my, cutoff)
            if width < 0.0:
                continue
            xa, xb = clip_span(mx + best, width, x0, nx)
            at = (z * ny + y) * stride
            peak = v.splat(np.float32(-0.5 * q))
            end = v.splat(np.float32(x0 + xb - 0.5 - mx - best))
            for xs in range(xa, xb, 8):
                off = v.splat(np.float32(x0 + xs - mx - best)) + v.iota()
                g = v.exp(peak + bend * off * off)
                add = v.keep(v.greater(end, off), w * v.positive(g - cut))
                v.store(buf, at + xs, v.load(buf, at + xs) + add)


@njit
def moments_rows(
    p: Any,
    mz: float,
    my: float,
    mx: float,
    gc: float,
    cutoff: float,
    res: Any,
    nz: int,
    ny: int,
    nx: int,
    z0: int,
    y0: int,
    x0: int,
    za: int,
    zb: int,
    ya: int,
    yb: int,
    out: Any,
) -> None:  # pragma: no cover - compiled
    """As `moments_box`, row by row of the ellipsoid."""
    stride = nx + PAD
    cut = v.splat(np.float32(gc))
    zero = v.splat(np.float32(0.0))
    bend = v.splat(np.float32(-0.5) * p[AXX])
    kern, t1, tz, ty, tx = zero, zero, zero, zero, zero
    tzz, tzy, tzx, tyy, tyx, txx = zero, zero, zero, zero, zero, zero
    for z in range(za, zb):
        dz = z0 + z - mz
        vz = v.splat(np.float32(dz))
        for y in range(ya, yb):
            dy = y0 + y - my
            q, best, width = row_limits(p, dz, dy, cutoff)
            if width < 0.0:
                continue
            xa, xb = clip_span(mx + best, width, x0, nx)
            at = (z * ny + y) * stride
            peak = v.splat(np.float32(-0.5 * q))
            end = v.splat(np.float32(x0 + xb - 0.5 - mx - best))
            b0, b1, b2 = zero, zero, zero
            for xs in range(xa, xb, 8):
                off = v.splat(np.float32(x0 + xs - mx - best)) + v.iota()
                dx = off + v.splat(np.float32(best))
                g = v.exp(peak + bend * off * off)
                rho = v.keep(v.greater(end, off), v.load(res, at + xs))
                kern = kern + rho * v.positive(g - cut)
                t = v.keep(v.greater(g, cut), g * rho)
                td = t * dx
                b0 = b0 + t
                b1 = b1 + td
                b2 = b2 + td * dx
            vy = v.splat(np.float32(dy))
            bz = b0 * vz
            by = b0 * vy
            t1 = t1 + b0
            tz = tz + bz
            ty = ty + by
            tx = tx + b1
            tzz = tzz + bz * vz
            tzy = tzy + bz * vy
            tzx = tzx + b1 * vz
            tyy = tyy + by * vy
            tyx = tyx + b1 * vy
            txx = txx + b2
    out[M_KERNEL] = v.horizontal_sum(kern)
    out[M_1] = v.horizontal_sum(t1)
    out[M_Z], out[M_Y], out[M_X] = v.horizontal_sum(tz), v.horizontal_sum(ty), v.horizontal_sum(tx)
    out[M_ZZ], out[M_ZY], out[M_ZX] = v.horizontal_sum(tzz), v.horizontal_sum(tzy), v.horizontal_sum(tzx)
    out[M_YY], out[M_YX], out[M_XX] = v.horizontal_sum(tyy), v.horizontal_sum(tyx), v.horizontal_sum(txx)


@njit
def slope_rows(
    p: Any,
    d: Any,
    mz: float,
    my: float,
    mx: float,
    gc: float,
    cutoff: float,
    norm: float,
    buf: Any,
    nz: int,
    ny: int,
    nx: int,
    z0: int,
    y0: int,
    x0: int,
    za: int,
    zb: int,
    ya: int,
    yb: int,
) -> None:  # pragma: no cover - compiled
    """As `slope_box`, row by row of the ellipsoid."""
    stride = nx + PAD
    w = np.float64(p[WEIGHT])
    dw = np.float64(d[D_W]) * norm
    cut = v.splat(np.float32(gc))
    base = v.splat(np.float32(dw * gc))
    bend = v.splat(np.float32(-0.5) * p[AXX])
    c2 = v.splat(np.float32(w * d[D_XX]))
    for z in range(za, zb):
        dz = z0 + z - mz
        for y in range(ya, yb):
            dy = y0 + y - my
            q, best, width = row_limits(p, dz, dy, cutoff)
            if width < 0.0:
                continue
            xa, xb = clip_span(mx + best, width, x0, nx)
            at = (z * ny + y) * stride
            peak = v.splat(np.float32(-0.5 * q))
            end = v.splat(np.float32(x0 + xb - 0.5 - mx - best))
            s0 = dw + w * (dz * (d[D_LZ] + d[D_ZZ] * dz + d[D_ZY] * dy) + dy * (d[D_LY] + d[D_YY] * dy))
            c0 = v.splat(np.float32(s0))
            c1 = v.splat(np.float32(w * (d[D_LX] + d[D_ZX] * dz + d[D_YX] * dy)))
            for xs in range(xa, xb, 8):
                off = v.splat(np.float32(x0 + xs - mx - best)) + v.iota()
                dx = off + v.splat(np.float32(best))
                g = v.exp(peak + bend * off * off)
                t = v.keep(v.greater(g, cut), g * (c0 + dx * (c1 + c2 * dx)) - base)
                v.store(buf, at + xs, v.load(buf, at + xs) + v.keep(v.greater(end, off), t))


@njit
def add_box(
    p: Any,
    mz: float,
    my: float,
    mx: float,
    gc: float,
    cutoff: float,
    buf: Any,
    nz: int,
    ny: int,
    nx: int,
    z0: int,
    y0: int,
    x0: int,
) -> None:  # pragma: no cover - compiled
    """Add one primitive into a tile buffer [nz, ny, nx + PAD] whose first voxel is (z0, y0, x0)."""
    za, zb = clip_span(mz, p[HZ], z0, nz)
    ya, yb = clip_span(my, p[HY], y0, ny)
    xa, xb = clip_span(mx, p[HX], x0, nx)
    if za >= zb or ya >= yb or xa >= xb:
        return
    if not walkable(p, z0 + za - mz, z0 + zb - 1 - mz, y0 + ya - my, x0 + xa - mx, x0 + xb - 1 - mx):
        add_rows(p, mz, my, mx, gc, cutoff, buf, nz, ny, nx, z0, y0, x0, za, zb, ya, yb)
        return
    stride = nx + PAD
    azz, azy, azx, ayy, ayx, axx = p[AZZ], p[AZY], p[AZX], p[AYY], p[AYX], p[AXX]
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
    for xs in range(xa, xb, 8):
        dx = v.splat(np.float32(x0 + xs - mx)) + v.iota()
        gz = v.exp(v.splat(e0) + dx * (v.splat(e1) - v.splat(half * axx) * dx))
        rz = v.exp(v.splat(r0) - v.splat(ayx) * dx)
        s = v.exp(v.splat(s0) - v.splat(azx) * dx)
        if xs + 8 > xb:
            inside = v.greater(v.splat(np.float32(x0 + xb - 0.5 - mx)), dx)
            gz, rz, s = v.keep(inside, gz), v.keep(inside, rz), v.keep(inside, s)
        for z in range(za, zb):
            g = gz
            r = rz
            at = (z * ny + ya) * stride + xs
            for _ in range(ya, yb):
                v.store(buf, at, v.load(buf, at) + w * v.positive(g - cut))
                g = g * r
                r = r * cyy
                at += stride
            gz = gz * s
            s = s * czz
            rz = rz * czy


@njit
def moments_box(
    p: Any,
    mz: float,
    my: float,
    mx: float,
    gc: float,
    cutoff: float,
    res: Any,
    nz: int,
    ny: int,
    nx: int,
    z0: int,
    y0: int,
    x0: int,
    out: Any,
) -> None:  # pragma: no cover - compiled
    """Moments of the residual tile ``res`` [nz, ny, nx + PAD] (pad is zero) under one primitive."""
    za, zb = clip_span(mz, p[HZ], z0, nz)
    ya, yb = clip_span(my, p[HY], y0, ny)
    xa, xb = clip_span(mx, p[HX], x0, nx)
    for k in range(MOMENTS):
        out[k] = np.float32(0.0)
    if za >= zb or ya >= yb or xa >= xb:
        return
    if not walkable(p, z0 + za - mz, z0 + zb - 1 - mz, y0 + ya - my, x0 + xa - mx, x0 + xb - 1 - mx):
        moments_rows(p, mz, my, mx, gc, cutoff, res, nz, ny, nx, z0, y0, x0, za, zb, ya, yb, out)
        return
    stride = nx + PAD
    azz, azy, azx, ayy, ayx, axx = p[AZZ], p[AZY], p[AZX], p[AYY], p[AYX], p[AXX]
    half = np.float32(0.5)
    dz0 = np.float32(z0 + za - mz)
    dy0 = np.float32(y0 + ya - my)
    cut = v.splat(np.float32(gc))
    one = v.splat(np.float32(1.0))
    zero = v.splat(np.float32(0.0))
    cyy = v.splat(p[CYY])
    czz = v.splat(p[CZZ])
    czy = v.splat(p[CZY])
    e0 = -half * (azz * dz0 * dz0 + ayy * dy0 * dy0) - azy * dz0 * dy0
    e1 = -(azx * dz0 + ayx * dy0)
    r0 = -(azy * dz0 + ayy * dy0) - half * ayy
    s0 = -(azz * dz0 + azy * dy0) - half * azz
    for xs in range(xa, xb, 8):
        dx = v.splat(np.float32(x0 + xs - mx)) + v.iota()
        gz = v.exp(v.splat(e0) + dx * (v.splat(e1) - v.splat(half * axx) * dx))
        rz = v.exp(v.splat(r0) - v.splat(ayx) * dx)
        s = v.exp(v.splat(s0) - v.splat(azx) * dx)
        if xs + 8 > xb:
            inside = v.greater(v.splat(np.float32(x0 + xb - 0.5 - mx)), dx)
            gz, rz, s = v.keep(inside, gz), v.keep(inside, rz), v.keep(inside, s)
        kern, t1, tz, ty, tzz, tzy, tyy = zero, zero, zero, zero, zero, zero, zero
        dz = v.splat(dz0)
        for z in range(za, zb):
            g = gz
            r = rz
            at = (z * ny + ya) * stride + xs
            a0, a1, a2 = zero, zero, zero
            dy = v.splat(dy0)
            for _ in range(ya, yb):
                rho = v.load(res, at)
                over = g - cut
                kern = kern + rho * v.positive(over)
                t = v.keep(v.greater(g, cut), g * rho)
                td = t * dy
                a0 = a0 + t
                a1 = a1 + td
                a2 = a2 + td * dy
                g = g * r
                r = r * cyy
                dy = dy + one
                at += stride
            t1 = t1 + a0
            ty = ty + a1
            tyy = tyy + a2
            zd = a0 * dz
            tz = tz + zd
            tzz = tzz + zd * dz
            tzy = tzy + a1 * dz
            dz = dz + one
            gz = gz * s
            s = s * czz
            rz = rz * czy
        out[M_KERNEL] += v.horizontal_sum(kern)
        out[M_1] += v.horizontal_sum(t1)
        out[M_Z] += v.horizontal_sum(tz)
        out[M_Y] += v.horizontal_sum(ty)
        out[M_ZZ] += v.horizontal_sum(tzz)
        out[M_ZY] += v.horizontal_sum(tzy)
        out[M_YY] += v.horizontal_sum(tyy)
        out[M_X] += v.horizontal_sum(t1 * dx)
        out[M_XX] += v.horizontal_sum(t1 * dx * dx)
        out[M_ZX] += v.horizontal_sum(tz * dx)
        out[M_YX] += v.horizontal_sum(ty * dx)


@njit
def slope_box(
    p: Any,
    d: Any,
    mz: float,
    my: float,
    mx: float,
    gc: float,
    cutoff: float,
    norm: float,
    buf: Any,
    nz: int,
    ny: int,
    nx: int,
    z0: int,
    y0: int,
    x0: int,
) -> None:  # pragma: no cover - compiled
    """Add the directional derivative of one primitive (direction ``d``) into a tile buffer."""
    za, zb = clip_span(mz, p[HZ], z0, nz)
    ya, yb = clip_span(my, p[HY], y0, ny)
    xa, xb = clip_span(mx, p[HX], x0, nx)
    if za >= zb or ya >= yb or xa >= xb:
        return
    if not walkable(p, z0 + za - mz, z0 + zb - 1 - mz, y0 + ya - my, x0 + xa - mx, x0 + xb - 1 - mx):
        slope_rows(p, d, mz, my, mx, gc, cutoff, norm, buf, nz, ny, nx, z0, y0, x0, za, zb, ya, yb)
        return
    stride = nx + PAD
    azz, azy, azx, ayy, ayx, axx = p[AZZ], p[AZY], p[AZX], p[AYY], p[AYX], p[AXX]
    w = p[WEIGHT]
    half = np.float32(0.5)
    dz0 = np.float32(z0 + za - mz)
    dy0 = np.float32(y0 + ya - my)
    cut = v.splat(np.float32(gc))
    one = v.splat(np.float32(1.0))
    dw = d[D_W] * np.float32(norm)
    dwc = v.splat(dw * np.float32(gc))
    cyy = v.splat(p[CYY])
    czz = v.splat(p[CZZ])
    czy = v.splat(p[CZY])
    e0 = -half * (azz * dz0 * dz0 + ayy * dy0 * dy0) - azy * dz0 * dy0
    e1 = -(azx * dz0 + ayx * dy0)
    r0 = -(azy * dz0 + ayy * dy0) - half * ayy
    s0 = -(azz * dz0 + azy * dy0) - half * azz
    lz, ly, lx = w * d[D_LZ], w * d[D_LY], w * d[D_LX]
    qzz, qzy, qzx = w * d[D_ZZ], w * d[D_ZY], w * d[D_ZX]
    qyy, qyx, qxx = w * d[D_YY], w * d[D_YX], w * d[D_XX]
    cy2 = v.splat(qyy)
    for xs in range(xa, xb, 8):
        dx = v.splat(np.float32(x0 + xs - mx)) + v.iota()
        gz = v.exp(v.splat(e0) + dx * (v.splat(e1) - v.splat(half * axx) * dx))
        rz = v.exp(v.splat(r0) - v.splat(ayx) * dx)
        s = v.exp(v.splat(s0) - v.splat(azx) * dx)
        if xs + 8 > xb:
            inside = v.greater(v.splat(np.float32(x0 + xb - 0.5 - mx)), dx)
            gz, rz, s = v.keep(inside, gz), v.keep(inside, rz), v.keep(inside, s)
        px = v.splat(dw) + dx * (v.splat(lx) + v.splat(qxx) * dx)
        dz = dz0
        for z in range(za, zb):
            g = gz
            r = rz
            at = (z * ny + ya) * stride + xs
            c0 = px + v.splat(dz * (lz + qzz * dz)) + v.splat(qzx * dz) * dx
            c1 = v.splat(ly + qzy * dz) + v.splat(qyx) * dx
            dy = v.splat(dy0)
            for _ in range(ya, yb):
                poly = c0 + dy * (c1 + cy2 * dy)
                t = v.keep(v.greater(g, cut), g * poly - dwc)
                v.store(buf, at, v.load(buf, at) + t)
                g = g * r
                r = r * cyy
                dy = dy + one
                at += stride
            dz += np.float32(1.0)
            gz = gz * s
            s = s * czz
            rz = rz * czy


@njit
def render_tiles(
    first: int,
    last: int,
    offsets: Any,
    ids: Any,
    means: Any,
    table: Any,
    cutoff: float,
    shape: Any,
    tile: Any,
    grid: Any,
    buf: Any,
    out: Any,
) -> None:  # pragma: no cover - compiled
    """Write tiles [first, last) of the sum of the primitives into ``out`` float32 [Z, Y, X]."""
    gc = math.exp(-0.5 * cutoff)
    for t in range(first, last):
        tx = t % grid[2]
        ty = (t // grid[2]) % grid[1]
        tz = t // (grid[2] * grid[1])
        z0, y0, x0 = tz * tile[0], ty * tile[1], tx * tile[2]
        nz, ny, nx = tile[0], tile[1], tile[2]
        stride = nx + PAD
        lz, ly, lx = min(nz, shape[0] - z0), min(ny, shape[1] - y0), min(nx, shape[2] - x0)
        if offsets[t + 1] == offsets[t]:
            for z in range(lz):
                for y in range(ly):
                    for x in range(lx):
                        out[z0 + z, y0 + y, x0 + x] = np.float32(0.0)
            continue
        for k in range(nz * ny * stride):
            buf[k] = np.float32(0.0)
        for e in range(offsets[t], offsets[t + 1]):
            i = ids[e]
            p = table[i]
            add_box(p, means[i, 0], means[i, 1], means[i, 2], gc, cutoff, buf, nz, ny, nx, z0, y0, x0)
        for z in range(lz):
            for y in range(ly):
                at = (z * ny + y) * stride
                for x in range(lx):
                    out[z0 + z, y0 + y, x0 + x] = buf[at + x]


@njit
def jvp_tiles(
    first: int,
    last: int,
    offsets: Any,
    ids: Any,
    means: Any,
    table: Any,
    direction: Any,
    cutoff: float,
    shape: Any,
    tile: Any,
    grid: Any,
    buf: Any,
    out: Any,
) -> None:  # pragma: no cover
    """Write tiles [first, last) of the directional derivative into ``out`` float32 [Z, Y, X]."""
    gc = math.exp(-0.5 * cutoff)
    norm = 1.0 / (1.0 - gc)
    for t in range(first, last):
        tx = t % grid[2]
        ty = (t // grid[2]) % grid[1]
        tz = t // (grid[2] * grid[1])
        z0, y0, x0 = tz * tile[0], ty * tile[1], tx * tile[2]
        nz, ny, nx = tile[0], tile[1], tile[2]
        stride = nx + PAD
        lz, ly, lx = min(nz, shape[0] - z0), min(ny, shape[1] - y0), min(nx, shape[2] - x0)
        for k in range(nz * ny * stride):
            buf[k] = np.float32(0.0)
        for e in range(offsets[t], offsets[t + 1]):
            i = ids[e]
            p = table[i]
            slope_box(
                p,
                direction[i],
                means[i, 0],
                means[i, 1],
                means[i, 2],
                gc,
                cutoff,
                norm,
                buf,
                nz,
                ny,
                nx,
                z0,
                y0,
                x0,
            )
        for z in range(lz):
            for y in range(ly):
                at = (z * ny + y) * stride
                for x in range(lx):
                    out[z0 + z, y0 + y, x0 + x] = buf[at + x]


@njit
def moment_tiles(
    first: int,
    last: int,
    offsets: Any,
    ids: Any,
    means: Any,
    table: Any,
    cutoff: float,
    shape: Any,
    tile: Any,
    grid: Any,
    buf: Any,
    residual: Any,
    parts: Any,
) -> None:  # pragma: no cover
    """Moments of ``residual`` [Z, Y, X] per (tile, primitive) entry, into ``parts`` [entries, MOMENTS]."""
    gc = math.exp(-0.5 * cutoff)
    for t in range(first, last):
        if offsets[t + 1] == offsets[t]:
            continue
        tx = t % grid[2]
        ty = (t // grid[2]) % grid[1]
        tz = t // (grid[2] * grid[1])
        z0, y0, x0 = tz * tile[0], ty * tile[1], tx * tile[2]
        nz, ny, nx = tile[0], tile[1], tile[2]
        stride = nx + PAD
        lz, ly, lx = min(nz, shape[0] - z0), min(ny, shape[1] - y0), min(nx, shape[2] - x0)
        if lz < nz or ly < ny or lx < nx:
            for k in range(nz * ny * stride):
                buf[k] = np.float32(0.0)
        for z in range(lz):
            for y in range(ly):
                at = (z * ny + y) * stride
                for x in range(lx):
                    buf[at + x] = residual[z0 + z, y0 + y, x0 + x]
                for x in range(lx, stride):
                    buf[at + x] = np.float32(0.0)
        for e in range(offsets[t], offsets[t + 1]):
            i = ids[e]
            p = table[i]
            moments_box(
                p, means[i, 0], means[i, 1], means[i, 2], gc, cutoff, buf, nz, ny, nx, z0, y0, x0, parts[e]
            )


@njit
def gather_moments(ids: Any, parts: Any, out: Any) -> None:  # pragma: no cover - compiled
    """Sum entries of ``parts`` into ``out`` float64 [N, MOMENTS], in order of the entries."""
    for e in range(ids.shape[0]):
        i = ids[e]
        for k in range(MOMENTS):
            out[i, k] += np.float64(parts[e, k])
