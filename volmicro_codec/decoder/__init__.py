"""From files to voxels: chunk selection, the reference, the CPU rasteriser, and an array of a file."""

from __future__ import annotations

from .array import VgmArray, open
from .indexing import BoundsError

__all__ = ["BoundsError", "VgmArray", "open"]
