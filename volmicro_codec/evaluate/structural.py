"""Structural similarity of volumes and of their maximum projections."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .filters import ndimage
from .tiles import Tile, walk

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]

WINDOW = 7
K1, K2 = 0.01, 0.03


def windows(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Window lengths along z, y, x: 7, or the largest odd number that fits a shorter axis."""
    z, y, x = (min(WINDOW, n - 1 + n % 2) for n in shape)
    return z, y, x


class SsimSum:
    """Adds up the structural similarity of a pair of volumes box by box.

    The mean over all windows of 7 x 7 x 7 voxels that lie in the volume, with sample (co)variances: what
    ``skimage.metrics.structural_similarity`` gives by default for the same data range (Wang et al., 2004).

    Parameters
    ----------
    shape : (Z, Y, X)
    low, peak : float
        Lower end and length of the data range. ``low`` only conditions the arithmetic: the luminance
        term is of the values themselves.
    """

    def __init__(self, shape: tuple[int, ...], low: float, peak: float) -> None:
        self.shape = shape
        self.window = windows(shape)
        self.halo = (self.window[0] // 2, self.window[1] // 2, self.window[2] // 2)
        self.low = low
        self.peak = peak
        self.total = 0.0
        self.count = 0

    def add(self, original: Array, decoded: Array, tile: Tile, inner: tuple[slice, slice, slice]) -> None:
        """Add the windows centred in a box.

        Parameters
        ----------
        original, decoded : arrays of one shape
            The box with at least `halo` around it, where the volume has that.
        tile : Tile
            Its place in the volume.
        inner : three slices
            The core within the arrays.
        """
        keep, picked = [], []
        for core, inside, half, n in zip(tile.core, inner, self.halo, self.shape, strict=True):
            a, b = max(core.start, half), min(core.stop, n - half)
            if b <= a:
                return
            at = inside.start - core.start
            picked.append(slice(a + at - half, b + at + half))
            keep.append(slice(half, half + b - a))
        box, valid = (picked[0], picked[1], picked[2]), (keep[0], keep[1], keep[2])
        similarity = self._map(self._normalised(original[box]), self._normalised(decoded[box]))[valid]
        self.total += float(similarity.sum(dtype=np.float64))
        self.count += similarity.size

    @property
    def mean(self) -> float:
        """The mean over the windows added so far."""
        return self.total / self.count

    def _normalised(self, box: Array) -> F32:
        # In units of the peak and around its middle the float32 moments below lose nothing that matters.
        out = box.astype(np.float64)
        out -= self.low + self.peak / 2
        out /= self.peak
        return out.astype(np.float32)

    def _map(self, x: F32, y: F32) -> F32:
        n = self.window[0] * self.window[1] * self.window[2]
        unbiased = np.float32(n / (n - 1) if n > 1 else 1.0)
        c1, c2 = np.float32(K1**2), np.float32(K2**2)
        middle = np.float32(self.low / self.peak + 0.5)
        mx, my = self._mean(x.copy()), self._mean(y.copy())
        vx = self._mean(x * x) - mx * mx
        vx += self._mean(y * y) - my * my
        cov = self._mean(x * y) - mx * my
        mx += middle
        my += middle
        out = (2 * unbiased * cov + c2) / (unbiased * vx + c2)
        out *= (2 * mx * my + c1) / (mx * mx + my * my + c1)
        return out

    def _mean(self, box: F32) -> F32:
        uniform_filter1d = ndimage().uniform_filter1d
        for axis, size in enumerate(self.window):
            if size > 1:
                uniform_filter1d(box, size, axis=axis, output=box, mode="nearest")
        return box


def ssim(original: Array, decoded: Array, low: float, peak: float) -> float:
    """Mean 3-D structural similarity of two (Z, Y, X) volumes; see `SsimSum`."""
    sums = SsimSum(original.shape, low, peak)
    for tile in walk(original.shape, sums.halo):
        sums.add(original[tile.padded], decoded[tile.padded], tile, tile.inner)
    return sums.mean


class Projections:
    """Maximum projections of a volume along z, y and x, gathered box by box.

    Parameters
    ----------
    shape : (Z, Y, X)
    dtype : numpy.dtype
        Of the volume.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        lowest = -np.inf if dtype.kind == "f" else 0 if dtype.kind == "b" else np.iinfo(dtype).min
        self.images: list[Array] = [
            np.full(tuple(n for a, n in enumerate(shape) if a != axis), lowest, dtype) for axis in range(3)
        ]

    def add(self, box: Array, tile: Tile) -> None:
        """Take in the voxels of ``tile.core``."""
        for axis, image in enumerate(self.images):
            place = tuple(s for a, s in enumerate(tile.core) if a != axis)
            np.maximum(image[place], box.max(axis=axis), out=image[place])


def mip_ssim(original: Projections, decoded: Projections, low: float, peak: float) -> float:
    """Mean of the 2-D structural similarities of the three pairs of maximum projections."""
    pairs = zip(original.images, decoded.images, strict=True)
    return float(np.mean([ssim(a[None], b[None], low, peak) for a, b in pairs]))
