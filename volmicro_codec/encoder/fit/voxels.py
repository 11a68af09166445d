"""Passes over whole blocks of voxels (smooth, dot, differences), the same for any number of threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ...native_encoder import cells, coder
from ...pool import pieces_of, run_in_pool

F32 = npt.NDArray[np.float32]
U8 = npt.NDArray[np.uint8]
_SLAB = 8
STORED = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32))
BLACK, WHITE = 1, 2
"""Of a mask of saturated voxels: those at the least and at the largest value of their dtype."""


def by_slabs(shape: tuple[int, ...], threads: int, task: Callable[[int, int], Any]) -> list[Any]:
    """Results of ``task(z0, z1)`` over slabs of planes, in order; slabs do not depend on ``threads``."""
    cuts = [(z, min(z + _SLAB, shape[0])) for z in range(0, shape[0], _SLAB)]
    count = min(len(cuts), pieces_of(math.prod(shape), threads))
    if count <= 1:
        return [task(*cut) for cut in cuts]
    runs = run_in_pool(threads, lambda k: [task(*cut) for cut in cuts[k::count]], count)
    return [runs[k % count][k // count] for k in range(len(cuts))]


def stored(voxels: Any) -> npt.NDArray[Any]:
    """Voxels [Z, Y, X] as passes take them: uint8, uint16 or float32, their rows in one piece."""
    out = np.asarray(voxels)
    if out.dtype.newbyteorder("=") not in STORED:
        return out.astype(np.float32)
    if not out.dtype.isnative or out.strides[-1] != out.itemsize:
        return np.ascontiguousarray(out, out.dtype.newbyteorder("="))
    return out


def normalised(voxels: Any, base: float, gain: float, out: F32 | None = None) -> F32:
    """(voxels - base) / gain of a block [Z, Y, X]; into ``out``."""
    given = stored(voxels)
    out = np.empty(given.shape, np.float32) if out is None else out
    cells.normalise(given, base, 1.0 / gain, out)
    return out


def dot(a: F32, b: F32, threads: int) -> float:
    """Sum of products of two blocks [Z, Y, X], in float64 over rows, in lanes of float32 along them."""
    return float(sum(by_slabs(a.shape, threads, lambda z0, z1: coder.dot(a[z0:z1], b[z0:z1]))))


def squares(a: F32, mask: npt.NDArray[np.bool_], threads: int) -> tuple[float, float]:
    """Sums of squares of a block [Z, Y, X], over all of it and where a mask is True."""
    parts = by_slabs(a.shape, threads, lambda z0, z1: coder.squares(a[z0:z1], mask[z0:z1]))
    return float(sum(p[0] for p in parts)), float(sum(p[1] for p in parts))


def mask_saturated(field: F32, residual: F32, saturated: U8, threads: int) -> None:
    """Set a field [Z, Y, X] to 0 where a voxel is at an end and the residual there is 0: cut off."""
    by_slabs(
        field.shape,
        threads,
        lambda z0, z1: coder.mask_saturated(field[z0:z1], residual[z0:z1], saturated[z0:z1]),
    )


def metric(field: F32, weights: F32 | None, gradient: float, threads: int, out: F32) -> F32:
    """Weights (None: 1) times a field [Z, Y, X], and ``gradient`` times the differences' own Laplacian."""
    by_slabs(field.shape, threads, lambda z0, z1: coder.metric(field, weights, gradient, z0, out[z0:z1]))
    return out


def gaussian_taps(sigma: float) -> F32:
    """Unit-peak Gaussian taps out to 3 sigma."""
    r = max(1, math.ceil(3.0 * sigma)) if sigma > 0.05 else 0
    x = np.arange(-r, r + 1)
    return np.asarray(np.exp(-0.5 * (x / max(sigma, 0.05)) ** 2), np.float32)


def correlate(src: F32, sigmas: tuple[float, float, float], threads: int, out: F32) -> F32:
    """Correlation of a block [Z, Y, X] with an unnormalised Gaussian (peak 1); zero outside the block."""
    z, y, x = (gaussian_taps(s) for s in sigmas)
    by_slabs(src.shape, threads, lambda z0, z1: coder.correlate(src, (z, y, x), z0, z1, out))
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
    """Means over pairs along the chosen axes (an odd last plane counts half)."""
    out = np.empty([-(-n // 2) if yes else n for n, yes in zip(src.shape, axes, strict=True)], np.float32)
    cells.halve(np.ascontiguousarray(src), axes, out)
    return out
