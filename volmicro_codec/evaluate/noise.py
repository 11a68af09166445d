"""Estimates the noise of a stack from the stack alone: how it grows with the level, how neighbours share it.

Noise is told from structure by three things. It is white, or near neighbours share some of it, while detail
has the width of the microscope's blur: second differences along all axes hardly see detail. It is everywhere,
and structure only adds to it: of the windows of one level, the quietest show it. And its variance is a line
over the level (Poisson-Gaussian noise; Foi et al., IEEE Trans. Image Process. 17, 1737, 2008). How much the
quietest windows of noise vary less than all is known, since they follow a chi-squared distribution.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..noise_model import LEAST_CORRELATION, MOST_CORRELATION, NoiseModel

__all__ = ["NoiseModel", "estimate_noise"]

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Axes = tuple[int, ...]
_Line = tuple[float, float, float]
"""A level, the variance there, its increase with one unit of level."""

BOX = (14, 34, 34)
MAX_BOXES = 128
WINDOW = 4
"""Voxels a side of the windows whose variance is taken: small, for level and structure to be of one kind."""

QUIET = 0.3
"""Share of the windows of a level that are taken to hold noise alone."""

LEVELS = 24
LEVEL_WINDOWS = 60
SMOOTHEST = 0.07
"""How far beyond the most correlated noise the neighbours' likeness may lie before it is called detail."""

ROUNDS = 4
CURVED = 0.77
"""How much less the likeness falls in quiet windows than on a straight line; of simulated noise."""

MEAN_ERROR, CORRELATION_ERROR = 0.1, 0.015
"""What a level's variance (as a share of it) and the correlation are wrong by at the worst."""

MOST_UNEVEN = 1.18
"""How much more the windows of a level may differ than those of noise alone, lest structure be taken for it:
an estimate that is too high loses detail, one that is too low costs but bytes (thin neurites: 1.25 and more,
dense nuclei: 1.1)."""

FILL_GAP, FILL_SHARE = 6.0, 0.02
"""Variance of the quietest windows that are not of one value, over that of rounding and over the middle
window's, from which on those of one value are a fill and no quiet part of the image (simulated noise of a
window varies by a fifth; smooth clean images have windows of next to nothing)."""

MOST_FILLS = 3
FILL_HELD = 0.1
"""Share of a window's voxels at such a value, from which on it is left out: noise of 4 and more has less."""

FARTHEST = 1e9
"""Ranges of a float image that a voxel may lie from 0; what is beyond is an outlier."""

NORMAL_QUANTILE = -0.5244005
"""Of the standard normal distribution at `QUIET`."""

NORMAL_QUANTILES = np.array([-2.0803, -1.5871, -1.318, -1.1205, -0.9591, -0.8195, -0.6943, -0.5791])
"""Of it at eight places spread over its lowest `QUIET`."""


@dataclass(frozen=True)
class _Windows:
    """Sums over windows of a sample of the volume, each array [windows].

    level: mean; piled: share of voxels at a value where the stack is cut off (zeroed, clipped, saturated);
    variance: by the axes along which second differences were taken (none: the variance itself), scaled so
    that white noise has its own; lagged: by axis, the product of neighbours along it of the differences along
    all other axes.
    """

    level: F64
    piled: F64
    variance: dict[Axes, F64]
    lagged: dict[int, F64]

    def of(self, which: Array) -> _Windows:
        return _Windows(
            self.level[which],
            self.piled[which],
            {k: v[which] for k, v in self.variance.items()},
            {k: v[which] for k, v in self.lagged.items()},
        )


def estimate_noise(volume: Array) -> NoiseModel:
    """Estimate the noise of one image from at most 2 Mvoxel of it, whatever its size.

    Parameters
    ----------
    volume : (Z, Y, X)
        uint8, uint16 or float32; a memory map is read only where it is sampled.

    Returns
    -------
    NoiseModel
        The standard deviation is within some 10 % where a third of each level's windows is smooth but for
        noise. Detail as fine as the voxels everywhere counts as noise; what is as smooth as a blur of a
        voxel (correlation of neighbours above 0.72), noise that was smoothed included, does not. An image
        of no more than four voxels a side shows none but rounding.

    Raises
    ------
    InputError
        Where it is not one image or holds a voxel that is not finite.
    """
    if volume.ndim != 3 or volume.size == 0:
        raise InputError(f"noise: expected one image of shape (Z, Y, X), got shape {volume.shape}")
    sample = [np.array(volume[box], np.float32) for box in _boxes(volume.shape)]
    if not all(np.isfinite(v).all() for v in sample):
        raise InputError("the volume holds a voxel that is not finite (NaN or infinity)")
    unit = 1.0
    if volume.dtype.kind == "f":
        unit = _unit(np.concatenate([v.ravel() for v in sample]))
        sample = [np.clip(v / np.float32(unit), -FARTHEST, FARTHEST) for v in sample]
    rounding = 1 / 12 if volume.dtype.kind in "bui" else 0.0
    ends = _ends(np.concatenate([v.ravel() for v in sample]), volume.dtype)
    parts = [_measure(v, ends) for v in sample]
    seen = _Windows(
        np.concatenate([p.level for p in parts]),
        np.concatenate([p.piled for p in parts]),
        {k: np.concatenate([p.variance[k] for p in parts]) for k in parts[0].variance},
        {k: np.concatenate([p.lagged[k] for p in parts]) for k in parts[0].lagged},
    )
    seen = _without_fill(seen, sample, rounding)
    least = rounding or max(1e-10 * float(np.ptp(np.percentile(seen.level, (1, 99.9)))) ** 2, 1e-24)
    whole = seen.piled <= 0.02
    levels = _levels(seen.of(whole))
    window = tuple(min(WINDOW, n if n < 5 else n - 2) for n in sample[0].shape)
    kind = _correlation(levels, window, rounding)
    points = [
        (float(w.level.mean()), variance, w.level.size)
        for w in levels
        for variance, uneven in [_variance(w, kind, rounding)]
        # Without second differences noise and structure are one.
        if uneven <= MOST_UNEVEN and len(w.variance) > 1
    ]

    pinned = None
    if np.mean(whole[seen.level <= np.percentile(seen.level, 10)]) < 0.5:
        # Zeroed or clipped: the noise there is another than the brighter levels', and known by itself. As
        # many windows above the middle as below, since clipped noise varies less where its mean is low.
        darkest, middle = np.percentile(seen.level[~whole], (10, 50))
        dark = seen.of(~whole & (seen.level <= 2 * middle - darkest))
        pinned = float(np.median(dark.level)), max(_usual(dark), least)
    low = float(np.percentile(seen.level, 5))
    origin, start, gain = _line(points, least, pinned)
    if pinned is None:
        width = float(np.sqrt(max(start + gain * (low - origin), least)))
        background = float(np.median(seen.level[seen.level <= low + 0.4 * width]))
        variance = max(start + gain * (background - origin), least)
    else:
        background, variance = origin, start
    typical = max(float(np.median([p[1] for p in points])) if points else variance, least)
    shared = np.array(kind.correlation) * max(1 - rounding / typical, 0.0)
    return NoiseModel(
        background * unit,
        float(np.sqrt(max(variance, least))) * unit,
        gain * unit or None,
        (float(shared[0]), float(shared[1]), float(shared[2])),
    )


def _without_fill(seen: _Windows, sample: list[F32], rounding: float) -> _Windows:
    """Without the windows that hold a value that someone filled in: around stitched tiles, or over a mask.

    A clean image has windows of one value too, but then also such as hold next to nothing.
    """
    varies = seen.variance[max(seen.variance, key=len)]
    flat = (varies == 0) & (seen.piled <= 0.02)
    values, counts = np.unique(seen.level[flat], return_counts=True)
    if not len(values):
        return seen
    fills = values[np.argsort(-counts, kind="stable")[:MOST_FILLS]].astype(np.float32)
    held = np.concatenate([_windows(np.isin(_inner(v), fills).astype(np.float32)) for v in sample])
    others = varies[held <= FILL_HELD]
    if others.size < LEVEL_WINDOWS:
        return seen
    quietest, usual = np.quantile(others, (0.05, 0.5))
    gap = quietest > max(FILL_GAP * rounding, FILL_SHARE * usual)
    return seen.of(held <= FILL_HELD) if gap else seen


def _unit(values: F32) -> float:
    """The range of float voxels without the last hundredth, or all of it: squares may be beyond float32."""
    low, high = np.percentile(values, (1, 99))
    return float(high - low) or float(np.ptp(values)) or 1.0


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


def _ends(values: F32, dtype: np.dtype[Any]) -> tuple[float, float]:
    """The lowest and the highest value where the voxels pile up there, else infinite ones."""
    low, high = float(values.min()), float(values.max())
    at_low, at_high = np.count_nonzero(values == low), np.count_nonzero(values == high)
    if dtype.kind in "bui":
        beside = np.count_nonzero(values == low + 1), np.count_nonzero(values == high - 1)
        piled = at_low > 1.5 * beside[0], at_high > 1.5 * beside[1]
    else:
        piled = at_low > 1e-3 * values.size, at_high > 1e-3 * values.size
    few = 1e-5 * values.size + 2
    return low if piled[0] and at_low > few else -np.inf, high if piled[1] and at_high > few else np.inf


def _measure(v: F32, ends: tuple[float, float]) -> _Windows:
    """Measure the windows of one box."""
    axes = [a for a in range(3) if v.shape[a] >= 5]
    inner = _inner(v)
    mean = _windows(inner)
    variance: dict[Axes, F64] = {(): np.maximum(_windows(inner * inner) - mean * mean, 0)}
    lagged: dict[int, F64] = {}
    done: dict[Axes, F32] = {(): v}
    for count in range(1, len(axes) + 1):
        for along in combinations(axes, count):
            done[along] = _second_difference(done[along[:-1]], along[-1])
            rest = [a for a in axes if a not in along]
            r = _crop(done[along], rest)
            variance[along] = _windows(r * r)
            if len(rest) == 1:
                wide = np.moveaxis(done[along], rest[0], 0)
                product = wide[1:-1] * wide[2:]
                # Pairs within a window only: what lies beside it may be bright.
                size = min(WINDOW, product.shape[0])
                product[size - 1 :: size] = 0
                lagged[rest[0]] = _windows(np.moveaxis(product, 0, rest[0])) * (size / (size - 1))
    piled = _windows(((inner <= ends[0]) | (inner >= ends[1])).astype(np.float32))
    return _Windows(mean, piled, variance, lagged)


def _inner(v: F32) -> F32:
    """A box without its faces, as second differences have it."""
    return _crop(v, [a for a in range(3) if v.shape[a] >= 5])


def _crop(v: F32, axes: list[int]) -> F32:
    return v[tuple(slice(1, -1) if a in axes else slice(None) for a in range(3))]


def _second_difference(v: F32, axis: int) -> F32:
    w = np.moveaxis(v, axis, 0)
    d = w[:-2] + w[2:]
    d -= 2 * w[1:-1]
    d *= np.float32(6**-0.5)
    return np.moveaxis(d, 0, axis)


def _windows(v: F32) -> F64:
    """Means over windows."""
    size = [min(n, WINDOW) for n in v.shape]
    nz, ny, nx = (n // s for n, s in zip(v.shape, size, strict=True))
    v = v[: nz * size[0], : ny * size[1], : nx * size[2]]
    out: F64 = v.reshape(nz, size[0], ny, size[1], nx, size[2]).mean((1, 3, 5), dtype=np.float64)
    return out.ravel()


def _levels(seen: _Windows) -> list[_Windows]:
    """Windows in groups of like level, finer where it is dark: steps of equal width in the level's root."""
    if seen.level.size == 0:
        return []
    order = np.argsort(seen.level, kind="stable")
    root = np.sqrt(np.maximum(seen.level[order] - np.percentile(seen.level, 1), 0))
    step = np.minimum((root * (LEVELS / max(float(root[-1]), 1e-12))).astype(np.int64), LEVELS - 1)
    groups: list[_Windows] = []
    start = 0
    for end in np.searchsorted(step, np.arange(LEVELS), "right"):
        if end - start >= LEVEL_WINDOWS:
            groups.append(seen.of(order[start:end]))
            start = int(end)
    return groups or [seen]


def _autocorrelation(correlation: float, differences: bool) -> F64:
    """Covariance at lags 0..4 along an axis of noise of variance 1, or of its second differences (scaled)."""
    rho = np.array([1.0, correlation, max(correlation - 0.5, 0.0), 0.0, 0.0, 0.0, 0.0])
    if not differences:
        return rho[:5]
    at = rho[np.abs(np.arange(-2, 7))]
    out: F64 = np.convolve(at, [1 / 6, -4 / 6, 1.0, -4 / 6, 1 / 6], "valid")
    return out


def _sum_of_pairs(a: F64, b: F64, n: int) -> float:
    """Sum over all pairs of places in a window of n of the product of two covariances at their lag."""
    lag = np.arange(min(n, a.size))
    return float(((n - lag) * np.where(lag > 0, 2, 1) * a[lag] * b[lag]).sum())


@dataclass(frozen=True)
class _Kind:
    """A kind of noise: how far known measures of windows lie from what all windows would give.

    correlation: along z, y, x, before rounding; window: shape of the windows.
    """

    correlation: tuple[float, ...]
    window: tuple[int, ...]

    def shrink(self, axes: Axes) -> float:
        """To what share second differences along axes bring the variance."""
        if not axes:
            # What the window's own mean takes off.
            alike = [_autocorrelation(r, False) for r in self.correlation]
            ones = np.ones(5)
            shares = [_sum_of_pairs(r, ones, n) / n**2 for r, n in zip(alike, self.window, strict=True)]
            return max(1 - math.prod(shares), 1e-3)
        return math.prod(float(_autocorrelation(self.correlation[a], True)[0]) for a in axes)

    def freedoms(self, axes: Axes, white: float) -> float:
        """Of the chi-squared distribution of windows' variances; ``white``: rounding's share of them."""
        pairs = _pairs(self, axes)
        mixed = (1 - white) ** 2 * pairs[0] + 2 * white * (1 - white) * pairs[1] + white**2 * pairs[2]
        freedoms = float(np.prod(self.window)) ** 2 / mixed
        return freedoms - 1 if not axes else freedoms

    def quantile(self, axes: Axes, white: float) -> float:
        """The quantile `QUIET` of windows' variances over their mean (Wilson and Hilferty, 1931)."""
        k = max(self.freedoms(axes, white), 1.0)
        return float((1 - 2 / (9 * k) + NORMAL_QUANTILE * np.sqrt(2 / (9 * k))) ** 3)

    def middle(self, axes: Axes, white: float) -> float:
        """The median of windows' variances over their mean."""
        return float((1 - 2 / (9 * max(self.freedoms(axes, white), 1.0))) ** 3)

    def quiet_mean(self, axes: Axes, white: float) -> float:
        """The mean of the quietest share of windows' variances over the mean of all."""
        k = max(self.freedoms(axes, white), 1.0)
        z = NORMAL_QUANTILES
        return float(np.mean((1 - 2 / (9 * k) + z * np.sqrt(2 / (9 * k))) ** 3))

    def likeness(self, axis: int, axes: Axes, white: float) -> float:
        """Lagged products over squares in the quietest windows: less than the correlation, for quiet windows
        are those whose neighbours happen to be unlike."""
        r = _autocorrelation(self.correlation[axis], False) * (1 - white)
        r[0] = 1.0
        n = self.window[axis]
        lag = np.subtract.outer(np.arange(n), np.arange(n))
        at = np.append(r, np.zeros(n))
        both, later = at[np.abs(lag)], at[np.abs(lag - 1)]
        follows = float((both * later)[:, :-1].sum() / (both * both).sum() * n / (n - 1))
        return float(r[1] - CURVED * (follows - r[1]) * (1 / self.quiet_mean(axes, white) - 1))


@functools.lru_cache(64)
def _pairs(kind: _Kind, axes: Axes) -> tuple[float, float, float]:
    """Sums over pairs of places in a window of squared covariances: of noise, mixed, of rounding."""
    sums = np.ones(3)
    for a, n in enumerate(kind.window):
        c, r = (_autocorrelation(rho, a in axes) for rho in (kind.correlation[a], 0.0))
        c, r = c / c[0], r / r[0]
        sums *= [_sum_of_pairs(u, v, n) for u, v in ((c, c), (c, r), (r, r))]
    return float(sums[0]), float(sums[1]), float(sums[2])


def _correlation(levels: list[_Windows], window: tuple[int, ...], rounding: float) -> _Kind:
    """Correlation of neighbours along each axis, before rounding."""
    kind = _Kind((0.0, 0.0, 0.0), window)
    if not levels:
        return kind
    for _ in range(ROUNDS):
        correlation = np.zeros(3)
        for axis in levels[0].lagged:
            axes = tuple(a for a in sorted(levels[0].lagged) if a != axis)
            found = white = total = 0.0
            for w in levels:
                quiet = w.variance[axes] <= np.quantile(w.variance[axes], QUIET)
                size, mean = int(quiet.sum()), float(w.variance[axes][quiet].mean())
                if mean <= 0:
                    continue
                rounded = min(rounding / mean, 0.95)
                for _ in range(3):
                    rounded = min(rounding * kind.quiet_mean(axes, rounded) / mean, 0.95)
                weight = size * (1 - rounded) ** 2
                found += weight * float(w.lagged[axis][quiet].mean()) / mean
                white += weight * rounded
                total += weight
            if total > 0:
                correlation[axis] = _solve(kind, axis, axes, found / total, white / total)
        kind = _Kind(tuple(correlation.tolist()), window)
    return kind


def _solve(kind: _Kind, axis: int, axes: Axes, found: float, white: float) -> float:
    """The correlation along an axis that gives what was found; 0 where it is more than noise can have."""
    low, high = LEAST_CORRELATION, MOST_CORRELATION

    def given(value: float) -> float:
        correlation = tuple(value if a == axis else r for a, r in enumerate(kind.correlation))
        return _Kind(correlation, kind.window).likeness(axis, axes, white)

    if found >= given(high):
        return high if found < given(high) + SMOOTHEST * (1 - white) + 0.02 else 0.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if given(middle) < found else (low, middle)
    return (low + high) / 2


def _variance(w: _Windows, kind: _Kind, rounding: float) -> tuple[float, float]:
    """Variance of the noise of windows of one level: what the way that sees the least structure sees.

    With it, how much more the windows differ than those of noise alone do: the middle one over a quiet one,
    over that ratio of noise. Thin structures leave no window without structure, and show it so.
    Structure only adds, so the way with the lowest upper bound is taken: the more differences, the less
    structure, but the more of correlated noise is taken off too, and has to be put back.
    """
    least, found, uneven = np.inf, 0.0, 1.0
    for axes, values in w.variance.items():
        quantile = float(np.quantile(values, QUIET))
        mean = quantile
        for _ in range(3):
            mean = quantile / kind.quantile(axes, min(rounding / mean, 1.0) if mean > 0 else 1.0)
        value = max(mean - rounding, 0.0) / kind.shrink(axes)
        bound = value + MEAN_ERROR * mean / kind.shrink(axes)
        for axis in axes:
            bound *= 1 + CORRELATION_ERROR * (4 / 3) / kind.shrink((axis,))
        if bound < least:
            white = min(rounding / mean, 1.0) if mean > 0 else 1.0
            middle = float(np.median(values)) / quantile if quantile > 0 else 1.0
            least, found = bound, value
            uneven = middle * kind.quantile(axes, white) / kind.middle(axes, white)
    return found + rounding, uneven


def _usual(w: _Windows) -> float:
    """Mean variance of differences along all axes, without outliers: for noise of any distribution."""
    values = w.variance[max(w.variance, key=lambda axes: len(axes))]
    return float(values[values <= 4 * np.median(values)].mean())


def _line(points: list[tuple[float, float, int]], least: float, pinned: tuple[float, float] | None) -> _Line:
    """The straight line of variance over level, through a pinned point or not; points above it weigh less.

    Neither its slope nor its variance at the lowest level is negative.
    """
    if not points:
        return (0.0, least, 0.0) if pinned is None else (*pinned, 0.0)
    level, variance, count = (np.array(p) for p in zip(*points, strict=True))
    origin = float(level.min()) if pinned is None else pinned[0]
    x = np.maximum(level - origin, 0)
    start, slope = (float(variance.min()) if pinned is None else pinned[1]), 0.0
    weight = np.sqrt(count) / np.maximum(variance, least) ** 2
    for _ in range(12):
        if pinned is None:
            start, slope = _nonnegative(x, variance, weight)
        else:
            moment = float((weight * x * x).sum())
            slope = max(float((weight * x * (variance - start)).sum()) / max(moment, 1e-30), 0.0)
        line = np.maximum(start + slope * x, least)
        above = np.maximum(variance / line - 1, 0.1)
        weight = np.sqrt(count) / line**2 * (0.1 / above) ** 2
    return origin, start, slope


def _nonnegative(x: F64, y: F64, weight: F64) -> tuple[float, float]:
    """Weighted least squares of a straight line with neither part negative."""
    total, mx, my = weight.sum(), np.average(x, weights=weight), np.average(y, weights=weight)
    spread = float((weight * (x - mx) ** 2).sum())
    slope = float((weight * (x - mx) * (y - my)).sum()) / spread if spread > 1e-12 * total else 0.0
    if slope <= 0:
        return float(my), 0.0
    start = float(my - slope * mx)
    if start < 0:
        return 0.0, float((weight * x * y).sum() / (weight * x * x).sum())
    return start, slope
