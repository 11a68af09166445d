"""Estimates the noise of a stack from the stack alone: how it grows with the level, how neighbours share it.

Noise is told from structure by three things. It is white, or near neighbours share some of it, while detail
has the width of the microscope's blur: second differences along all axes hardly see detail. It is everywhere,
and structure only adds to it: of the windows of one level, the quietest show it. And its variance is a line
over the level (Poisson-Gaussian noise; Foi et al., IEEE Trans. Image Process. 17, 1737, 2008). How much the
quietest windows of noise vary less than all is known, since they follow a chi-squared distribution.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..noise_model import LEAST_CORRELATION, MOST_CORRELATION, NoiseModel
from .noise_statistics import QUIET, NoiseKind
from .noise_windows import (
    LEVEL_WINDOWS,
    WINDOW,
    Axes,
    Windows,
    boxes,
    by_level,
    cut_offs,
    inner_of,
    measure,
    window_means,
    without_hot_pixels,
)

__all__ = ["NoiseModel", "estimate_noise"]

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
_Line = tuple[float, float, float]
"""A level, the variance there, its increase with one unit of level."""

SMOOTHEST = 0.07
"""How far beyond the most correlated noise the neighbours' likeness may lie before it is called detail."""

ROUNDS = 4
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

DARK_GAP = 6.0
"""Standard deviations of the darkest other windows above the darkest value, from which on that is a fill."""
MOST_ABOVE_FILL = 0.1
"""Voxels in the lower half of what lies between, over those of the fill."""
MOST_FILLS = 3
FILL_HELD = 0.1
"""Share of a window's voxels at such a value, from which on it is left out: noise of 4 and more has less."""

FARTHEST = 1e9
"""Ranges of a float image that a voxel may lie from 0; what is beyond is an outlier."""


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
    sample = [np.array(volume[box], np.float32) for box in boxes(volume.shape)]
    if not all(np.isfinite(v).all() for v in sample):
        raise InputError("the volume holds a voxel that is not finite (NaN or infinity)")
    unit = 1.0
    if volume.dtype.kind == "f":
        unit = _unit(np.concatenate([v.ravel() for v in sample]))
        sample = [np.clip(v / np.float32(unit), -FARTHEST, FARTHEST) for v in sample]
    rounding = 1 / 12 if volume.dtype.kind in "bui" else 0.0
    ends = cut_offs(np.concatenate([v.ravel() for v in sample]), volume.dtype)
    sample = [without_hot_pixels(v, ends) for v in sample]
    parts = [measure(v, ends) for v in sample]
    seen = Windows(
        np.concatenate([p.level for p in parts]),
        np.concatenate([p.piled for p in parts]),
        {k: np.concatenate([p.variance[k] for p in parts]) for k in parts[0].variance},
        {k: np.concatenate([p.lagged[k] for p in parts]) for k in parts[0].lagged},
    )
    seen = _without_dark_fill(_without_fill(seen, sample, rounding), sample, rounding)
    least = rounding or max(1e-10 * float(np.ptp(np.percentile(seen.level, (1, 99.9)))) ** 2, 1e-24)
    whole = seen.piled <= 0.02
    levels = by_level(seen.of(whole))
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


def _without_fill(seen: Windows, sample: list[F32], rounding: float) -> Windows:
    """Without the windows that hold a value that someone filled in: around stitched tiles, or over a mask.

    A clean image has windows of one value too, but then also such as hold next to nothing.
    """
    varies = seen.variance[max(seen.variance, key=len)]
    flat = (varies == 0) & (seen.piled <= 0.02)
    values, counts = np.unique(seen.level[flat], return_counts=True)
    if not len(values):
        return seen
    fills = values[np.argsort(-counts, kind="stable")[:MOST_FILLS]].astype(np.float32)
    held = np.concatenate([window_means(np.isin(inner_of(v), fills).astype(np.float32)) for v in sample])
    others = varies[held <= FILL_HELD]
    if others.size < LEVEL_WINDOWS:
        return seen
    quietest, usual = np.quantile(others, (0.05, 0.5))
    gap = quietest > max(FILL_GAP * rounding, FILL_SHARE * usual)
    return seen.of(held <= FILL_HELD) if gap else seen


def _without_dark_fill(seen: Windows, sample: list[F32], rounding: float) -> Windows:
    """Without the windows that hold a value far under all others, as around a stack that was turned or moved.

    What a camera clips has other values right above it; a clean image has windows of next to nothing.
    """
    if not (seen.piled > 0.02).any():
        return seen
    varies = seen.variance[max(seen.variance, key=len)]
    darkest = np.float32(min(float(v.min()) for v in sample))
    held = np.concatenate([window_means((inner_of(v) == darkest).astype(np.float32)) for v in sample])
    rest = held == 0
    if len(held) != len(seen.level) or rest.sum() < LEVEL_WINDOWS:
        return seen
    quietest, usual = np.quantile(varies[rest], (0.05, 0.5))
    low = np.quantile(seen.level[rest], 0.05)
    noise = max(float(np.median(varies[rest & (seen.level <= low)])), rounding, 1e-30)
    fill = low - darkest > DARK_GAP * np.sqrt(noise) and quietest > max(
        FILL_GAP * rounding, FILL_SHARE * usual
    )
    if not fill:
        return seen
    # What was clipped has values right above it, a fill has none.
    at = sum(int(np.count_nonzero(v == darkest)) for v in sample)
    above = sum(int(np.count_nonzero((v > darkest) & (v < 0.5 * (darkest + low)))) for v in sample)
    return seen.of(rest) if above < MOST_ABOVE_FILL * at else seen


def _unit(values: F32) -> float:
    """The range of float voxels without the last hundredth, or all of it: squares may be beyond float32."""
    low, high = np.percentile(values, (1, 99))
    return float(high - low) or float(np.ptp(values)) or 1.0


def _correlation(levels: list[Windows], window: tuple[int, ...], rounding: float) -> NoiseKind:
    """Correlation of neighbours along each axis, before rounding."""
    kind = NoiseKind((0.0, 0.0, 0.0), window)
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
        kind = NoiseKind(tuple(correlation.tolist()), window)
    return kind


def _solve(kind: NoiseKind, axis: int, axes: Axes, found: float, white: float) -> float:
    """The correlation along an axis that gives what was found; 0 where it is more than noise can have."""
    low, high = LEAST_CORRELATION, MOST_CORRELATION

    def given(value: float) -> float:
        correlation = tuple(value if a == axis else r for a, r in enumerate(kind.correlation))
        return NoiseKind(correlation, kind.window).likeness(axis, axes, white)

    if found >= given(high):
        return high if found < given(high) + SMOOTHEST * (1 - white) + 0.02 else 0.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if given(middle) < found else (low, middle)
    return (low + high) / 2


def _variance(w: Windows, kind: NoiseKind, rounding: float) -> tuple[float, float]:
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


def _usual(w: Windows) -> float:
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
