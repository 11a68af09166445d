"""How far a decoded image is from the specimen, in the noise's units: what its residual holds beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..noise_model import NoiseModel
from .reference import check_volume

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

BLOCK = 16
QUANTILE = 0.99
"""Of the blocks, ordered by their excess, that `Excess.within` vouches for."""


@dataclass(frozen=True)
class Excess:
    """Estimated error of a decoded image against the unknown signal, block by block.

    Attributes
    ----------
    blocks : float32 [Z', Y', X']
        Of blocks of `BLOCK` voxels a side (smaller at the far ends): sqrt(max(0, mean(r^2 / sigma^2) - 1)),
        r the decoded image minus the stack, sigma^2 the variance of the noise at the decoded level.
    """

    blocks: F32

    @property
    def within(self) -> float:
        """Noise sigmas that the error does not exceed in 99 % of the blocks."""
        return within(self.blocks)

    @property
    def mean(self) -> float:
        """Root of the mean square over blocks."""
        return float(np.sqrt(np.mean(self.blocks.astype(np.float64) ** 2)))


def within(blocks: npt.NDArray[Any]) -> float:
    """The excess that is not exceeded in 99 % of the blocks."""
    return float(np.quantile(blocks, QUANTILE, method="lower"))


def excess(original: Array, decoded: Array, noise: NoiseModel) -> Excess:
    """Estimate a decoded image's error against the signal that its noisy original shows.

    Noise that the decoded image does not hold leaves a residual of one variance; what is beyond is structure
    that was lost. An image that follows the noise has an excess of 0, too, and so tells nothing.

    Parameters
    ----------
    original, decoded : (Z, Y, X)
        Any dtype; read in slabs of `BLOCK` planes.
    noise : NoiseModel
        Of the original.

    Raises
    ------
    InputError
        Where the shapes differ.
    """
    check_volume(original, "original")
    if original.shape != decoded.shape:
        raise InputError(f"decoded: expected the original's shape {original.shape}, got {decoded.shape}")
    planes = [
        block_excess(np.asarray(decoded[box], np.float32) - np.asarray(original[box], np.float32),
                     noise.variance_at(decoded[box]))
        for box in _slabs(original.shape)
    ]  # fmt: skip
    return Excess(np.concatenate(planes))


def block_excess(residual: F32, variance: F32 | F64) -> F32:
    """The excess of each block of a residual [Z, Y, X], given the noise's variance at each voxel."""
    chi: F64 = residual.astype(np.float64) ** 2 / variance
    counts = np.ones(1)
    for axis, n in enumerate(chi.shape):
        starts = np.arange(0, n, BLOCK)
        chi = np.add.reduceat(chi, starts, axis=axis)
        counts = counts[..., None] * np.diff(np.append(starts, n)) if axis else np.diff(np.append(starts, n))
    return np.sqrt(np.maximum(chi / counts - 1.0, 0.0)).astype(np.float32)


def _slabs(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice, slice]]:
    for z in range(0, shape[0], BLOCK):
        yield slice(z, min(z + BLOCK, shape[0])), slice(0, shape[1]), slice(0, shape[2])
