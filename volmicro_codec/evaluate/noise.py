"""Estimates the background level and the noise of a stack from its darkest part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]

BOX = (8, 32, 32)
MAX_BOXES = 256
LOCAL_MEAN = (3, 5, 5)
MEDIAN_OF_SQUARE = 0.4549
"""Median of the square of a standard normal number."""

LEVEL_BINS = 24
LEVEL_BIN_VOXELS = 2000


@dataclass(frozen=True)
class NoiseModel:
    """Background and noise of one image, in the units of its voxels.

    Attributes
    ----------
    background : float
        Level of the darkest part that is more than a few voxels.
    sigma : float
        Standard deviation of the noise there; at least that of rounding to integers (0.29), so never 0.
    gain : float or None
        Increase of the noise's variance with one unit of signal (shot noise); None where the stack does not
        show it: a constant variance is then the best guess.
    """

    background: float
    sigma: float
    gain: float | None = None
    correlation: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def variance_at(self, level):
        return self.sigma_at(level)**2

    def sigma_at(self, level: npt.ArrayLike) -> F32:
        """Standard deviation of the noise where the noiseless image has a level; the shape of ``level``."""
        signal = np.maximum(np.asarray(level, np.float32) - np.float32(self.background), 0)
        variance: F32 = np.float32(self.gain or 0.0) * signal
        variance += np.float32(self.sigma**2)
        out: F32 = np.sqrt(variance)
        return out

    def score(self, values: npt.ArrayLike, averaged: float = 1.0) -> F32:
        """How many standard deviations of the background's noise values lie above the background.

        Parameters
        ----------
        values : array
        averaged : float
            The values are means over noise of which the standard deviation shrank to this fraction.
        """
        out = np.asarray(values, np.float32) - np.float32(self.background)
        return out / np.float32(self.sigma * averaged)


def estimate_noise(volume: Array) -> NoiseModel:
    """Estimate the noise of one image from at most 2 Mvoxel of it, whatever its size.

    The dark part is where the local mean is near the 5th percentile of local means. Its median is the
    background. Its noise is the larger of two robust widths: that of second differences along the axes,
    which no slow structure can raise, and the upper half width of the values around their local means, which
    neither clipping at zero nor correlation between near neighbours can lower much. The gain is the slope
    of the differences' variance over the local mean.

    Parameters
    ----------
    volume : (Z, Y, X)
        uint8, uint16 or float32; a memory map is read only where it is sampled.

    Raises
    ------
    InputError
        Where it is not one image or holds a voxel that is not finite.
    """
    if volume.ndim != 3 or volume.size == 0:
        raise InputError(f"noise: expected one image of shape (Z, Y, X), got shape {volume.shape}")
    means, values, squares = _sample(volume)
    step = 1.0 if volume.dtype.kind in "bui" else 1e-4 * float(np.ptp(np.percentile(values, (1, 99.9))))
    floor = max(float(step / np.sqrt(12.0)), 1e-12)

    low = float(np.percentile(means, 5))
    sigma = _difference_sigma(squares[means <= np.percentile(means, 10)], step)
    for _ in range(4):
        dark = means <= low + 1.5 * max(sigma, floor)
        _, upper = _median_and_upper_width(values[dark] - means[dark], step)
        narrow = max(_difference_sigma(squares[dark], step), floor)
        sigma = max(narrow, min(upper, 5 * narrow))
    background, _ = _median_and_upper_width(values[dark], step)
    sigma = max(sigma, floor)
    return NoiseModel(background, sigma, _gain(means, values, squares, background, sigma))


def _boxes(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice, slice]]:
    """At most `MAX_BOXES` boxes of `BOX` voxels, spread evenly over the volume."""
    size = [min(n, b) for n, b in zip(shape, BOX, strict=True)]
    counts = [-(-n // s) for n, s in zip(shape, size, strict=True)]
    while np.prod(counts, dtype=np.float64) > MAX_BOXES:
        widest = int(np.argmax(counts))
        counts[widest] -= max(1, counts[widest] // 8)
    starts = [
        np.linspace(0, n - s, c).round().astype(np.int64) if c > 1 else np.array([(n - s) // 2])
        for n, s, c in zip(shape, size, counts, strict=True)
    ]
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                z0, y0, x0 = int(z), int(y), int(x)
                yield slice(z0, z0 + size[0]), slice(y0, y0 + size[1]), slice(x0, x0 + size[2])


def _sample(volume: Array) -> tuple[F32, F32, F32]:
    """Local means, values and squared second differences (scaled to the noise's variance) of some voxels."""
    from scipy.ndimage import uniform_filter

    means, values, squares = [], [], []
    for box in _boxes(volume.shape):
        v = np.array(volume[box], np.float32)
        if not np.isfinite(v).all():
            raise InputError("the volume holds a voxel that is not finite (NaN or infinity)")
        means.append(uniform_filter(v, LOCAL_MEAN, mode="nearest").ravel())
        values.append(v.ravel())
        # Of the axes long enough, the one with the smallest difference shows the least structure; taken
        # for a whole box, since the smallest of each voxel would be biased low.
        ways = [_second_difference(v, axis) for axis in (2, 1, 0) if v.shape[axis] >= 3]
        if ways:
            squares.append(min(ways, key=lambda d: float(d.mean())).ravel())
        else:
            squares.append(np.zeros(v.size, np.float32))
    return np.concatenate(means), np.concatenate(values), np.concatenate(squares)


def _second_difference(v: F32, axis: int) -> F32:
    w = np.moveaxis(v, axis, 0)
    d = np.empty_like(w)
    d[1:-1] = w[:-2] - 2 * w[1:-1] + w[2:]
    d[0], d[-1] = d[1], d[-2]
    d *= d / np.float32(6)
    return np.ascontiguousarray(np.moveaxis(d, 0, axis))


def _difference_sigma(squares: F32, step: float) -> float:
    """Standard deviation from squared differences: the median, then the mean of what is not an outlier."""
    variance = float(np.median(squares)) / MEDIAN_OF_SQUARE
    kept = squares[squares <= max(12.0 * variance, step * step)]
    return float(np.sqrt(kept.mean(dtype=np.float64))) if kept.size else 0.0


def _median_and_upper_width(values: F32, step: float) -> tuple[float, float]:
    """Median and distance from it to the 84th percentile, of values spread over their rounding step."""
    if values.min() == values.max():
        return float(values[0]), 0.0
    spread = np.random.default_rng(0).random(values.size, np.float32) - np.float32(0.5)
    median, upper = np.percentile(values + spread * np.float32(step), (50, 84.13))
    return float(median), float(np.sqrt(max((upper - median) ** 2 - step * step / 12, 0.0)))


def _gain(means: F32, values: F32, squares: F32, background: float, sigma: float) -> float | None:
    """The slope of variance over level, from voxels binned by local mean; None without clear evidence."""
    top = float(values.max())
    order = np.flatnonzero((means > background + 2 * sigma) & (means < background + 0.8 * (top - background)))
    bins = min(LEVEL_BINS, order.size // LEVEL_BIN_VOXELS)
    if bins < 3:
        return None
    order = order[np.argsort(means[order], kind="stable")]
    slopes = []
    for part in np.array_split(order, bins):
        variance = float(np.median(squares[part])) / MEDIAN_OF_SQUARE
        slopes.append((variance - sigma**2) / (float(means[part].mean(dtype=np.float64)) - background))
    # Structure only ever adds to the differences, so the lower slopes are nearer the truth.
    low, middle = np.percentile(slopes, (10, 40))
    return float(middle) if low > 0 else None
