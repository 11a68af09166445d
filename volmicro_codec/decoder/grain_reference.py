"""Grain in plain numpy, as the text says it (spec, 8.6): twin of the native one, source of the vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..indexing import AxisRange
from ..noise_model import NoiseModel

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

# Quantiles of the normal distribution's upper half, 256 to a standard deviation.
QUANTILES = np.array([
    1, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 29, 31, 34, 36, 39, 42, 44, 47, 49, 52, 54, 57, 59, 62, 65,
    67, 70, 72, 75, 78, 80, 83, 86, 88, 91, 94, 96, 99, 102, 104, 107, 110, 113, 115, 118, 121, 124,
    127, 129, 132, 135, 138, 141, 144, 147, 150, 153, 156, 159, 162, 165, 168, 171, 174, 177, 181, 184,
    187, 190, 194, 197, 200, 204, 207, 211, 214, 218, 222, 225, 229, 233, 237, 240, 244, 248, 252, 256,
    261, 265, 269, 274, 278, 283, 287, 292, 297, 302, 307, 312, 318, 323, 329, 334, 340, 347, 353, 360,
    366, 374, 381, 389, 397, 405, 414, 424, 434, 445, 457, 470, 484, 500, 518, 539, 565, 598, 645, 739,
], np.int64)  # fmt: skip

FIXED = 1024
"""What stands for 1 in the taps."""

SUM_VARIANCE = 260815.0625
"""Variance of the sum of four numbers from `QUANTILES`, each with either sign."""

UNIT = FIXED**3 * math.sqrt(SUM_VARIANCE)
ROUNDING = 1 / 12
MOST_VOXELS = 1 << 20
"""Voxels that are worked on at a time."""

LOW = np.uint64(0xFFFFFFFF)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
STEPS = 0x9E3779B9, 0xBB67AE85


def philox(counter: Sequence[U64], key: tuple[int, int]) -> list[U64]:
    """Philox4x32-10: four words of 32 bits for each counter of four.

    Parameters
    ----------
    counter : four arrays of uint64 that broadcast
        Words of 32 bits.
    key : two words of 32 bits

    References
    ----------
    Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC11).
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & LOW,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & LOW,
        )
        k0, k1 = (k0 + STEPS[0]) & 0xFFFFFFFF, (k1 + STEPS[1]) & 0xFFFFFFFF
    return list(np.broadcast_arrays(c0, c1, c2, c3))


def taps(hundredths: int) -> I64:
    """The kernel that gives neighbours a correlation, -50 to 67 hundredths, in parts of `FIXED`."""
    rho = hundredths / 100
    if hundredths == 0:
        weights = [1.0]
    elif hundredths <= 50:
        weights = [1.0, _root(rho)]
    else:
        beyond = 2 * rho - 1
        t = _root(min(beyond / (1 - beyond), 0.5))
        weights = [1.0, 1.0 + t, t]
    norm = math.sqrt(sum(w * w for w in weights))
    return np.array([round(FIXED * w / norm) for w in weights], np.int64)


def _root(rho: float) -> float:
    """The smaller a of which a / (1 + a^2) = rho."""
    return (1 - math.sqrt(1 - 4 * rho * rho)) / (2 * rho)


def _sums() -> I64:
    """For each 16 bits the sum of the two signed quantiles that their bytes choose."""
    one = np.concatenate([QUANTILES, -QUANTILES])
    out: I64 = np.add.outer(one, one).ravel()
    return out


def field(
    time: int, channel: int, seed: int, places: tuple[I64, I64, I64], correlation: tuple[int, int, int]
) -> I64:
    """Integers [Z, Y, X] of standard deviation `UNIT`, each from its voxel's coordinates alone.

    Parameters
    ----------
    time, channel, seed : int
        Seed: 0 to 2^32 - 1.
    places : z, y, x
        Ascending coordinates along each axis.
    correlation : z, y, x
        Of neighbours, in hundredths.
    """
    kernels = [taps(c) for c in correlation]
    # Each voxel's sum takes white numbers at its place and just beyond it.
    wanted = [np.unique(np.add.outer(p, np.arange(len(k)))) for p, k in zip(places, kernels, strict=True)]
    out = _white(time, channel, seed, (wanted[0], wanted[1], wanted[2]))
    for axis, kernel in enumerate(kernels):
        at = np.searchsorted(wanted[axis], places[axis])
        total = kernel[0] * out.take(at, axis)
        for n, weight in enumerate(kernel[1:], 1):
            total += weight * out.take(np.searchsorted(wanted[axis], places[axis] + n), axis)
        out = total
    return out


def _white(time: int, channel: int, seed: int, places: tuple[I64, I64, I64]) -> I64:
    z, y, x = places
    groups, group = np.unique(x // 4, return_inverse=True)
    counter = [
        groups.astype(np.uint64)[None, None, :],
        y.astype(np.uint64)[None, :, None],
        z.astype(np.uint64)[:, None, None],
        np.full((1, 1, 1), time, np.uint64),
    ]
    words = np.stack(philox(counter, (seed, channel)), axis=-1)
    chosen = words[:, :, group, x % 4]
    out: I64 = SUMS[chosen & np.uint64(0xFFFF)] + SUMS[chosen >> np.uint64(16)]
    return out


def add_grain(
    voxels: npt.NDArray[Any],
    model: NoiseModel,
    ranges: Sequence[AxisRange],
    time: int,
    channel: int,
    seed: int = 0,
) -> None:
    """Put noise of a model back into decoded voxels, in place.

    Parameters
    ----------
    voxels : (Z, Y, X)
    model : NoiseModel
        As a file holds it.
    ranges : three `AxisRange`
        The coordinates of the voxels on the full grid.
    time, channel, seed : int
        Seed: 0 to 2^32 - 1.
    """
    z, y, x = (r.start + r.step * np.arange(r.count, dtype=np.int64) for r in ranges)
    rounding = ROUNDING if voxels.dtype.kind in "bui" else 0.0
    rho = [round(100 * v) for v in model.correlation]
    background, gain = model.background, model.gain or 0.0
    if min(voxels.shape) == 0:
        return
    deep = max(1, MOST_VOXELS // max(1, y.size * x.size))
    wide = max(1, MOST_VOXELS // max(1, x.size))
    for z0 in range(0, z.size, deep):
        for y0 in range(0, y.size, wide):
            part = slice(z0, z0 + deep), slice(y0, y0 + wide)
            level = voxels[part].astype(np.float64)
            variance = model.sigma * model.sigma + gain * np.maximum(level - background, 0.0) - rounding
            grain = field(time, channel, seed, (z[part[0]], y[part[1]], x), (rho[0], rho[1], rho[2]))
            level += grain / UNIT * np.sqrt(np.maximum(variance, 0.0))
            if rounding:
                np.rint(level, out=level)
                ends = np.iinfo(voxels.dtype)
                level.clip(ends.min, ends.max, out=level)
            voxels[part] = level


SUMS = _sums()
