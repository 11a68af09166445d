"""Structural similarity of volumes and of their maximum projections."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..native_encoder import coder
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

    def of(
        self, original: Array, decoded: Array, tile: Tile, inner: tuple[slice, slice, slice]
    ) -> tuple[float, int]:
        """The sum over the windows centred in a box, and how many these are.

        Parameters
        ----------
        original, decoded : arrays of one shape
            The box with at least `halo` around it, where the volume has that.
        tile : Tile
            Its place in the volume.
        inner : three slices
            The core within the arrays.
        """
        picked = []
        for core, inside, half, n in zip(tile.core, inner, self.halo, self.shape, strict=True):
            a, b = max(core.start, half), min(core.stop, n - half)
            if b <= a:
                return 0.0, 0
            at = inside.start - core.start
            picked.append(slice(a + at - half, b + at + half))
        box = (picked[0], picked[1], picked[2])
        x, y = self._normalised(original[box]), self._normalised(decoded[box])
        n = math.prod(self.window)
        unbiased, middle = n / (n - 1) if n > 1 else 1.0, self.low / self.peak + 0.5
        windows = math.prod(a - b + 1 for a, b in zip(x.shape, self.window, strict=True))
        return coder.similarity(x, y, self.window, middle, K1**2, K2**2, unbiased), windows

    def add(self, found: tuple[float, int]) -> None:
        """Add what `of` gave."""
        self.total += found[0]
        self.count += found[1]

    @property
    def mean(self) -> float:
        """The mean over the windows added so far."""
        return self.total / self.count

    def _normalised(self, box: Array) -> F32:
        # In units of the peak and around its middle the float32 moments lose nothing that matters.
        out: Array = box.astype(np.float32 if box.dtype.itemsize <= 2 else np.float64, order="C")
        np.subtract(out, self.low + self.peak / 2, out=out)
        np.divide(out, self.peak, out=out)
        return out.astype(np.float32, copy=False)


def ssim(original: Array, decoded: Array, low: float, peak: float) -> float:
    """Mean 3-D structural similarity of two (Z, Y, X) volumes; see `SsimSum`."""
    sums = SsimSum(original.shape, low, peak)
    for tile in walk(original.shape, sums.halo):
        sums.add(sums.of(original[tile.padded], decoded[tile.padded], tile, tile.inner))
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
