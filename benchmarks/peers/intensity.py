"""Map voxels to the integer range a picture codec takes, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .contract import Voxels, to_dtype


@dataclass(frozen=True)
class IntensityMap:
    """A linear map of [low, high] to [0, top]; values outside are clipped.

    Attributes
    ----------
    name : str
        "min-max", or "p99.99" where hot voxels are clipped there.
    """

    name: str
    low: float
    high: float
    dtype: np.dtype[Any]

    def forward(self, voxels: Voxels, top: float) -> Voxels:
        """Voxels as uint16 in [0, top]."""
        scaled = (voxels.astype(np.float32) - self.low) * (top / (self.high - self.low))
        codes: Voxels = np.clip(np.rint(scaled), 0, int(top)).astype(np.uint16)
        return codes

    def back(self, codes: Voxels, top: float) -> Voxels:
        """Codes back to voxels of the image's dtype."""
        return to_dtype(codes.astype(np.float64) * ((self.high - self.low) / top) + self.low, self.dtype)


def candidates(voxels: Voxels) -> list[IntensityMap]:
    """Min-max, and clipping at p99.99 where that makes the range at least 2 % smaller."""
    low, high = float(voxels.min()), float(voxels.max())
    if high <= low:
        high = low + 1.0
    maps = [IntensityMap("min-max", low, high, voxels.dtype)]
    cut = float(np.percentile(voxels, 99.99))
    if low < cut < low + 0.98 * (high - low):
        maps.append(IntensityMap("p99.99", low, cut, voxels.dtype))
    return maps
