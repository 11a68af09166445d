"""Files of nothing but OME-XML, which say which planes are where in TIFF files beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import OutputError
from ..volume import VolumeInfo
from .ome_tiff import read_companion as read
from .ome_tiff import read_companion_lazily as read_lazily

__all__ = ["read", "read_lazily", "write"]


def write(
    path: str,
    slabs: Iterator[npt.NDArray[np.generic]],
    info: VolumeInfo,
    force: bool,
    description: str | None,
) -> Path:
    """Refuse: voxels cannot be put into such a file."""
    raise OutputError(f"{path}: a file of metadata holds no voxels, expected .tif, .npy or .zarr")
