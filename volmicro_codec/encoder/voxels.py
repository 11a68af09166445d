"""Passes over whole blocks of voxels (smooth, dot, differences), the same for any number of threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..decoder.pool import run_in_pool
from ..jit import njit

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
_fast: Any = njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz", "arcp"})
_SLAB = 8
BLACK, WHITE = 1, 2
"""Of a mask of ends: voxels at the least and at the largest value of their dtype."""


@_fast
def _dot(a: Any, b: Any) -> float:  # pragma: no cover - compiled
    total = np.float64(0.0)
    for z in range(a.shape[0]):
        for y in range(a.shape[1]):
            row = np.float32(0.0)
            for x in range(a.shape[2]):
                row += a[z, y, x] * b[z, y, x]
            total += row
    return total


@_fast
def _subtract(a: Any, b: Any) -> None:  # pragma: no cover - compiled
    for z in range(a.shape[0]):
        for y in range(a.shape[1]):
            for x in range(a.shape[2]):
                a[z, y, x] -= b[z, y, x]


@_fast
def _hold(field: Any, residual: Any, ends: Any) -> None:  # pragma: no cover - compiled
    for z in range(field.shape[0]):
        for y in range(field.shape[1]):
            for x in range(field.shape[2]):
                if ends[z, y, x] != 0 and residual[z, y, x] == 0:
                    field[z, y, x] = 0


@_fast
def _metric(field, weights, weighted, lam, z0, out):  # type: ignore[no-untyped-def] # pragma: no cover
    """Planes from ``z0`` of weights * field - lam * Laplacian of the field, into ``out``."""
    nz, ny, nx = field.shape
    for k in range(out.shape[0]):
        z = z0 + k
        for y in range(ny):
            for x in range(nx):
                out[k, y, x] = field[z, y, x] * weights[z, y, x] if weighted else field[z, y, x]
            if lam == 0.0:
                continue
            if z > 0:
                for x in range(nx):
                    out[k, y, x] += lam * (field[z, y, x] - field[z - 1, y, x])
            if z + 1 < nz:
                for x in range(nx):
                    out[k, y, x] += lam * (field[z, y, x] - field[z + 1, y, x])
            if y > 0:
                for x in range(nx):
                    out[k, y, x] += lam * (field[z, y, x] - field[z, y - 1, x])
            if y + 1 < ny:
                for x in range(nx):
                    out[k, y, x] += lam * (field[z, y, x] - field[z, y + 1, x])
            for x in range(1, nx):
                out[k, y, x] += lam * (field[z, y, x] - field[z, y, x - 1])
            for x in range(nx - 1):
                out[k, y, x] += lam * (field[z, y, x] - field[z, y, x + 1])


@_fast
def _squares(a: Any, mask: Any) -> tuple[float, float]:  # pragma: no cover - compiled
    total = inside = np.float64(0.0)
    for z in range(a.shape[0]):
        for y in range(a.shape[1]):
            row = row_inside = np.float32(0.0)
            for x in range(a.shape[2]):
                v = a[z, y, x] * a[z, y, x]
                row += v
                row_inside += v if mask[z, y, x] else np.float32(0.0)
            total += row
            inside += row_inside
    return total, inside


@_fast
def _convolve_z(src: Any, taps: Any, z0: int, z1: int, out: Any) -> None:  # pragma: no cover - compiled
    r = taps.shape[0] // 2
    for z in range(z0, z1):
        for y in range(src.shape[1]):
            for x in range(src.shape[2]):
                out[z, y, x] = taps[r] * src[z, y, x]
        for k in range(1, r + 1):
            for s in (-k, k):
                q = z + s
                if 0 <= q < src.shape[0]:
                    t = taps[r + k]
                    for y in range(src.shape[1]):
                        for x in range(src.shape[2]):
                            out[z, y, x] += t * src[q, y, x]


@_fast
def _convolve_yx(plane: Any, ty: Any, tx: Any, tmp: Any) -> None:  # pragma: no cover - compiled
    """Convolve one plane [Y, X] along y then x in place; ``tmp`` is [Y, X + 2 rx]."""
    ny, nx = plane.shape
    ry, rx = ty.shape[0] // 2, tx.shape[0] // 2
    for y in range(ny):
        row = tmp[y]
        for x in range(nx):
            row[rx + x] = ty[ry] * plane[y, x]
        for k in range(1, ry + 1):
            t = ty[ry + k]
            if y - k >= 0:
                for x in range(nx):
                    row[rx + x] += t * plane[y - k, x]
            if y + k < ny:
                for x in range(nx):
                    row[rx + x] += t * plane[y + k, x]
    for y in range(ny):
        row = tmp[y]
        for x in range(nx):
            plane[y, x] = tx[rx] * row[rx + x]
        for k in range(1, rx + 1):
            t = tx[rx + k]
            for x in range(nx):
                plane[y, x] += t * (row[rx + x - k] + row[rx + x + k])


def by_slabs(shape: tuple[int, ...], threads: int, task: Callable[[int, int], Any]) -> list[Any]:
    """Results of ``task(z0, z1)`` over slabs of planes, in order; slabs do not depend on ``threads``."""
    cuts = [(z, min(z + _SLAB, shape[0])) for z in range(0, shape[0], _SLAB)]
    return run_in_pool(threads, lambda k: task(*cuts[k]), len(cuts))


def dot(a: F32, b: F32, threads: int) -> float:
    """Sum of products of two blocks [Z, Y, X], in float64 over rows."""
    return float(sum(by_slabs(a.shape, threads, lambda z0, z1: _dot(a[z0:z1], b[z0:z1]))))


def squares(a: F32, mask: npt.NDArray[np.bool_], threads: int) -> tuple[float, float]:
    """Sums of squares of a block [Z, Y, X], over all of it and where a mask is True."""
    parts = by_slabs(a.shape, threads, lambda z0, z1: _squares(a[z0:z1], mask[z0:z1]))
    return float(sum(p[0] for p in parts)), float(sum(p[1] for p in parts))


def subtract(a: F32, b: F32, threads: int) -> None:
    """a -= b."""
    by_slabs(a.shape, threads, lambda z0, z1: _subtract(a[z0:z1], b[z0:z1]))


def hold(field: F32, residual: F32, ends: U8, threads: int) -> None:
    """Set a field [Z, Y, X] to 0 where a voxel is at an end and the residual there is 0: cut off."""
    by_slabs(field.shape, threads, lambda z0, z1: _hold(field[z0:z1], residual[z0:z1], ends[z0:z1]))


def metric(field: F32, weights: F32 | None, gradient: float, threads: int, out: F32) -> F32:
    """Weights (None: 1) times a field [Z, Y, X], and ``gradient`` times the differences' own Laplacian."""
    w = field if weights is None else weights
    lam, weighted = np.float32(gradient), weights is not None
    by_slabs(field.shape, threads, lambda z0, z1: _metric(field, w, weighted, lam, z0, out[z0:z1]))
    return out


def gaussian_taps(sigma: float) -> F32:
    """Unit-peak Gaussian taps out to 3 sigma."""
    r = max(1, math.ceil(3.0 * sigma)) if sigma > 0.05 else 0
    x = np.arange(-r, r + 1)
    return np.asarray(np.exp(-0.5 * (x / max(sigma, 0.05)) ** 2), np.float32)


def correlate(src: F32, sigmas: tuple[float, float, float], threads: int, out: F32) -> F32:
    """Correlation of a block [Z, Y, X] with an unnormalised Gaussian (peak 1); zero outside the block."""
    tz, ty, tx = (gaussian_taps(s) for s in sigmas)

    def task(z0: int, z1: int) -> None:
        _convolve_z(src, tz, z0, z1, out)
        tmp = np.zeros((src.shape[1], src.shape[2] + len(tx) - 1), np.float32)
        for z in range(z0, z1):
            _convolve_yx(out[z], ty, tx, tmp)

    by_slabs(src.shape, threads, task)
    return out


def window_norms(n: int, sigma: float) -> npt.NDArray[np.float64]:
    """Sum of squared Gaussian taps that fall inside [0, n), for each centre, [n]."""
    t = gaussian_taps(sigma).astype(np.float64) ** 2
    r = len(t) // 2
    full = np.convolve(np.ones(n), t, mode="full")
    return np.asarray(full[r : r + n])


def window_sums(n: int, sigma: float) -> npt.NDArray[np.float64]:
    """Sum of Gaussian taps that fall inside [0, n), for each centre, [n]."""
    t = gaussian_taps(sigma).astype(np.float64)
    r = len(t) // 2
    return np.asarray(np.convolve(np.ones(n), t, mode="full")[r : r + n])


def halve(src: F32, axes: tuple[bool, bool, bool]) -> F32:
    """Means over pairs along the chosen axes (an odd last plane stands for itself)."""
    out = src
    for ax, yes in enumerate(axes):
        if not yes:
            continue
        n = out.shape[ax]
        even = out[tuple(slice(0, n - n % 2, 2) if a == ax else slice(None) for a in range(3))]
        odd = out[tuple(slice(1, None, 2) if a == ax else slice(None) for a in range(3))]
        half = (even + odd) * np.float32(0.5)
        if n % 2:
            last = out[tuple(slice(n - 1, n) if a == ax else slice(None) for a in range(3))]
            half = np.concatenate([half, last * np.float32(0.5)], axis=ax)
        out = half
    return np.ascontiguousarray(out)
