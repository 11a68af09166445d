"""From files to voxels: chunk selection, the reference, the CPU rasteriser, and an array of a file."""

from __future__ import annotations

from ..indexing import BoundsError
from .array import VgmArray, open
from .multiscale import MultiscaleArray

__all__ = ["BoundsError", "MultiscaleArray", "VgmArray", "open"]
