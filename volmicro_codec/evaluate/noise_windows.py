"""Windows of a sample of an image: their level, their variance, how alike neighbours in them are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Axes = tuple[int, ...]

BOX = (14, 34, 34)
MAX_BOXES = 128
WINDOW = 4
"""Voxels a side of the windows whose variance is taken: small, for level and structure to be of one kind."""

HOT, HOT_PLANES = 6.0, 5
"""Standard deviations of a pixel over those around it, on the mean of so many planes or more, that no noise
has."""

LEVELS = 24
LEVEL_WINDOWS = 60


@dataclass(frozen=True)
class Windows:
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

    def of(self, which: Array) -> Windows:
        """Some of them."""
        return Windows(
            self.level[which],
            self.piled[which],
            {k: v[which] for k, v in self.variance.items()},
            {k: v[which] for k, v in self.lagged.items()},
        )


def boxes(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice, slice]]:
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


def cut_offs(values: F32, dtype: np.dtype[Any]) -> tuple[float, float]:
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


def without_hot_pixels(v: F32, ends: tuple[float, float]) -> F32:
    """A box without what single pixels of the camera add to all planes alike.

    A pixel that is brighter than all others around it by far, on the mean of the planes, is brought to their
    middle; how it varies from plane to plane stays. Else windows of dark noise would count as of a higher
    level. What reaches a value where the stack is cut off stays as it is.
    """
    nz, ny, nx = v.shape
    if nz < HOT_PLANES or ny < 5 or nx < 5:
        return v
    mean = v.mean(axis=0, dtype=np.float64)
    shifts = [(a, b) for a in range(3) for b in range(3) if (a, b) != (1, 1)]
    around = np.stack([mean[a : ny - 2 + a, b : nx - 2 + b] for a, b in shifts])
    middle, inner = np.median(around, axis=0), mean[1:-1, 1:-1]
    beyond = inner - middle
    width = 1.4826 * float(np.median(np.abs(beyond - np.median(beyond))))
    # Of a spot that is wider than a pixel, those next to it are as bright as half of it.
    hot = (beyond > HOT * width) & (inner - around.max(axis=0) > 0.5 * beyond)
    core = v[:, 1:-1, 1:-1]
    # What is bright in few planes is a spot: taken off all of them it would leave a shadow in the others.
    hot &= np.median(core, axis=0) - middle > 0.5 * beyond
    hot &= ~((core <= ends[0]) | (core >= ends[1])).any(axis=0)
    if not hot.any():
        return v
    out = v.copy()
    out[:, 1:-1, 1:-1] -= np.where(hot, beyond, 0.0).astype(np.float32)
    return out


def measure(v: F32, ends: tuple[float, float]) -> Windows:
    """Measure the windows of one box."""
    axes = [a for a in range(3) if v.shape[a] >= 5]
    inner = inner_of(v)
    mean = window_means(inner)
    variance: dict[Axes, F64] = {(): np.maximum(window_means(inner * inner) - mean * mean, 0)}
    lagged: dict[int, F64] = {}
    done: dict[Axes, F32] = {(): v}
    for count in range(1, len(axes) + 1):
        for along in combinations(axes, count):
            done[along] = _second_difference(done[along[:-1]], along[-1])
            rest = [a for a in axes if a not in along]
            r = _crop(done[along], rest)
            variance[along] = window_means(r * r)
            if len(rest) == 1:
                wide = np.moveaxis(done[along], rest[0], 0)
                product = wide[1:-1] * wide[2:]
                # Pairs within a window only: what lies beside it may be bright.
                size = min(WINDOW, product.shape[0])
                product[size - 1 :: size] = 0
                lagged[rest[0]] = window_means(np.moveaxis(product, 0, rest[0])) * (size / (size - 1))
    piled = window_means(((inner <= ends[0]) | (inner >= ends[1])).astype(np.float32))
    return Windows(mean, piled, variance, lagged)


def inner_of(v: F32) -> F32:
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


def window_means(v: F32) -> F64:
    """Means over windows."""
    size = [min(n, WINDOW) for n in v.shape]
    nz, ny, nx = (n // s for n, s in zip(v.shape, size, strict=True))
    v = v[: nz * size[0], : ny * size[1], : nx * size[2]]
    out: F64 = v.reshape(nz, size[0], ny, size[1], nx, size[2]).mean((1, 3, 5), dtype=np.float64)
    return out.ravel()


def by_level(seen: Windows) -> list[Windows]:
    """Windows in groups of like level, finer where it is dark: steps of equal width in the level's root."""
    if seen.level.size == 0:
        return []
    order = np.argsort(seen.level, kind="stable")
    root = np.sqrt(np.maximum(seen.level[order] - np.percentile(seen.level, 1), 0))
    step = np.minimum((root * (LEVELS / max(float(root[-1]), 1e-12))).astype(np.int64), LEVELS - 1)
    groups: list[Windows] = []
    start = 0
    for end in np.searchsorted(step, np.arange(LEVELS), "right"):
        if end - start >= LEVEL_WINDOWS:
            groups.append(seen.of(order[start:end]))
            start = int(end)
    return groups or [seen]
