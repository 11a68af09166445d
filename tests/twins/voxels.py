"""Passes over voxels by numpy and in plain Python: twins of libvgm/encoder's, which find the same bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
LANES = 16


def over_lanes(products: F32) -> float:
    """Sum of [Z, Y, X]: two by 16 lanes in float32 along rows, all in float64 over rows and lanes."""
    n = products.shape[2]
    total = np.zeros(LANES)
    for row in products.reshape(-1, n):
        pair = np.zeros((2, LANES), np.float32)
        whole = n // LANES
        for k in range(whole):
            pair[k % 2] += row[k * LANES : (k + 1) * LANES]
        left = n - whole * LANES
        if left and whole:
            pair[1, LANES - left :] += row[n - left :]
        elif left:
            pair[1, :left] += row
        total += (pair[0] + pair[1]).astype(np.float64)
    while len(total) > 1:
        total = total[: len(total) // 2] + total[len(total) // 2 :]
    return float(total[0])


def metric(field: F32, weights: F32 | None, differences: float) -> F32:
    """Weights times the field, and `differences` times what each voxel is above its neighbours."""
    out = field.copy() if weights is None else field * weights
    for axis in range(3):
        for step in (-1, 1):
            beside = np.copy(field)
            inner = slice(1, None) if step == -1 else slice(None, -1)
            other = slice(None, -1) if step == -1 else slice(1, None)
            np.moveaxis(beside, axis, 0)[inner] = np.moveaxis(field, axis, 0)[other]
            out += np.float32(differences) * (field - beside)
    return out


def correlate(field: F32, taps: tuple[F32, F32, F32]) -> F32:
    """Correlation along z, y and x, 0 outside."""
    for axis, t in enumerate(taps):
        r = len(t) // 2
        wide = np.pad(np.moveaxis(field, axis, 0), ((r, r), (0, 0), (0, 0)))
        n = field.shape[axis]
        out = t[r] * wide[r : r + n]
        for k in range(1, r + 1):
            out += t[r + k] * (wide[r - k : r - k + n] + wide[r + k : r + k + n])
        field = np.moveaxis(out, 0, axis)
    return np.ascontiguousarray(field)


def supported(
    values: F32, variance: F32, window: tuple[int, int, int], limit: float, most: float, sure: float
) -> np.ndarray:
    """Where squares over the variance, up to ``sure`` at most ``most``, are more than a limit in a window."""
    sums = values * values / variance
    sums[(sums > np.float32(most)) & (sums <= np.float32(sure))] = most
    for axis in (2, 1, 0):
        n, size = sums.shape[axis], window[axis]
        wide = np.moveaxis(sums, axis, 0)
        wide = np.pad(wide, ((size // 2, size - 1 - size // 2), (0, 0), (0, 0)), mode="edge")
        total = wide[:n].copy()
        for k in range(1, size):
            total += wide[k : k + n]
        sums = np.moveaxis(total, 0, axis)
    return sums > np.float32(limit)


def peaks(correlation: F32, norms: tuple[F64, F64, F64], floor: float) -> tuple[np.ndarray, F64]:
    """Voxels [M, 3] of a gain above the floor whose 26 neighbours have no larger square, and gains [M]."""
    squares = correlation * correlation
    nz, ny, nx = norms
    gain = squares / (nz[:, None, None] * ny[None, :, None] * nx)
    wide = np.pad(squares, 1)
    best = gain > floor
    z, y, x = correlation.shape
    for dz, dy, dx in np.ndindex(3, 3, 3):
        best &= squares >= wide[dz : dz + z, dy : dy + y, dx : dx + x]
    return np.argwhere(best), gain[best]


def uncovered(
    centres: F64, sigmas: F64, order: np.ndarray, step: F64, reach: float, taken: np.ndarray, limit: int
) -> list[int]:
    """Those, in order, whose cell no kept one before covers."""
    kept: list[int] = []
    for i in order:
        at = np.clip((centres[i] / step).astype(int), 0, np.array(taken.shape) - 1)
        if taken[tuple(at)] or len(kept) == limit:
            continue
        kept.append(int(i))
        z, y, x = (
            ((np.arange(n) - c) / r) ** 2
            for n, c, r in zip(taken.shape, at, reach * sigmas[i] / step, strict=True)
        )
        taken |= (z[:, None, None] + y[None, :, None]) + x <= 1.0
    return kept
