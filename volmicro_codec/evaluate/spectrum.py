"""Radially averaged power spectra: which detail an image holds, which the decoded one keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DependencyError, InputError
from .reference import check_volume
from .tiles import Slices

Array = npt.NDArray[Any]
F64 = npt.NDArray[np.float64]

BLOCK = (32, 128, 128)
MAX_BLOCKS = 48
BINS = 32


@dataclass(frozen=True)
class Spectra:
    """Radial spectra of an original, of its decoded image and of their difference.

    Attributes
    ----------
    frequency : float64 [32]
        Middles of the bins, cycles a voxel, 0..0.5; all axes count in voxels.
    original, decoded, error : float64 [32]
        Mean power of a Fourier coefficient in the bin, in squared intensity; white noise of standard
        deviation s has s^2 in every bin. NaN in a bin that no coefficient meets (very small images).
    correlation : float64 [32]
        Fourier shell correlation of the two images, -1..1.
    """

    frequency: F64
    original: F64
    decoded: F64
    error: F64
    correlation: F64


def spectra(original: Array, decoded: Array) -> Spectra:
    """Power spectra by Welch's method: Hann windows over at most 48 blocks of 32 x 128 x 128 voxels.

    Parameters
    ----------
    original, decoded : (Z, Y, X)
        Of one shape. Only the blocks are read, spread evenly over the volume.

    Raises
    ------
    InputError
        Where the shapes differ.
    """
    try:
        from scipy.fft import rfftn
    except ImportError as error:
        raise DependencyError('power spectra need scipy: pip install "volmicro-codec[encode]"') from error
    check_volume(original, "original")
    if original.shape != decoded.shape:
        raise InputError(f"decoded: expected the original's shape {original.shape}, got {decoded.shape}")
    size = tuple(min(n, b) for n, b in zip(original.shape, BLOCK, strict=True))
    window = _window(size)
    bins, weight = _shells(size)
    sums = np.zeros((4, BINS + 1))
    for block in blocks(original.shape, BLOCK, MAX_BLOCKS):
        a, b = original[block].astype(np.float64), decoded[block].astype(np.float64)
        # The mean would leak from frequency 0 through the window into the first bins.
        fa, fb = rfftn((a - a.mean()) * window), rfftn((b - a.mean()) * window)
        for row, power in zip(
            sums, (_power(fa), _power(fb), _power(fa - fb), (fa * fb.conj()).real), strict=True
        ):
            row += np.bincount(bins, (power * weight).ravel(), BINS + 1)
    count = np.bincount(bins, np.broadcast_to(weight, _spectrum_shape(size)).ravel(), BINS + 1)[:BINS]
    blocks_seen = sum(1 for _ in blocks(original.shape, BLOCK, MAX_BLOCKS))
    scale = float((window * window).sum()) * blocks_seen
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sums[:, :BINS] / (count * scale)
        correlation = sums[3, :BINS] / np.sqrt(sums[0, :BINS] * sums[1, :BINS])
    return Spectra((np.arange(BINS) + 0.5) / (2 * BINS), mean[0], mean[1], mean[2], correlation)


def blocks(shape: tuple[int, ...], block: tuple[int, int, int], most: int) -> Iterator[Slices]:
    """At most so many boxes of a size (or of a smaller volume's), spread evenly."""
    size = [min(n, b) for n, b in zip(shape, block, strict=True)]
    counts = [n // s for n, s in zip(shape, size, strict=True)]
    while counts[0] * counts[1] * counts[2] > most:
        counts[int(np.argmax(counts))] -= 1
    starts = [
        [round((n - s) * (i + 0.5) / c) if c == 1 else round((n - s) * i / (c - 1)) for i in range(c)]
        for n, s, c in zip(shape, size, counts, strict=True)
    ]
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                yield slice(z, z + size[0]), slice(y, y + size[1]), slice(x, x + size[2])


def _power(f: npt.NDArray[np.complex128]) -> F64:
    out: F64 = f.real**2 + f.imag**2
    return out


def _window(size: tuple[int, ...]) -> F64:
    window = np.ones(size)
    for axis, n in enumerate(size):
        # Never zero at its ends, so that an axis of one or two voxels keeps its voxels.
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)
        window *= hann.reshape([-1 if a == axis else 1 for a in range(3)])
    return window


def _spectrum_shape(size: tuple[int, ...]) -> tuple[int, int, int]:
    return size[0], size[1], size[2] // 2 + 1


def _shells(size: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], F64]:
    """The bin of each coefficient (the last one: none) and how many of the full spectrum it stands for."""
    fz, fy, fx = np.fft.fftfreq(size[0]), np.fft.fftfreq(size[1]), np.fft.rfftfreq(size[2])
    radius = np.sqrt(fz[:, None, None] ** 2 + fy[:, None] ** 2 + fx**2)
    bins = np.minimum(np.floor(radius * 2 * BINS), BINS).astype(np.int64)
    bins[0, 0, 0] = BINS
    weight = np.where((fx == 0) | (fx == 0.5), 1.0, 2.0)
    return bins.ravel(), weight
