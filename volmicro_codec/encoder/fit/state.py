"""What the fit of an image has come to, as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from .gaussians import Model


@dataclass(frozen=True)
class FitState:
    """Gaussians and their error: never changed, so what is to be gone back to need only be kept.

    Attributes
    ----------
    model : Model
        All Gaussians of the image, in image coordinates.
    block_sse : tuple of float
        Squared error in each block's core as of the last refit, normalised intensity; NaN before the first.
    """

    model: Model
    block_sse: tuple[float, ...]

    @classmethod
    def empty(cls, blocks: int) -> FitState:
        """No Gaussians, nothing evaluated."""
        return cls(Model.empty(), (math.nan,) * blocks)

    @cached_property
    def sse(self) -> float:
        """Squared error over the image."""
        return math.fsum(self.block_sse)


def psnr_of(sse: float, voxel_count: int) -> float:
    """PSNR in dB of a sum of squared errors in normalised intensity (peak 1 is p99.99 - p0.01)."""
    return 10.0 * math.log10(voxel_count / max(sse, 1e-30))
