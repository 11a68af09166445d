"""Maximum projections of an open file, on a grid coarse enough to be quick and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..decoder import VgmArray

Array = npt.NDArray[Any]
Projections = tuple[Array, Array, Array]
"""Along z [Y, X], along y [Z, X] and along x [Z, Y]."""

MAX_VOXELS = 1 << 28
"""More than these are not evaluated for one picture unless a level is asked for: a few seconds' work."""


def project(
    array: VgmArray, channel: int, time: int, advance: Callable[[int], None] | None = None
) -> Projections:
    """Maximum projections of one image, evaluated slab by slab.

    Parameters
    ----------
    array : VgmArray
        At the grid that is wanted.
    channel, time : int
    advance : callable, optional
        Told the planes of each slab when they are done.

    Returns
    -------
    three arrays of the array's dtype
        Memory: these and a slab.
    """
    depth, height, width = array.info.shape[2:]
    lowest = -np.inf if array.dtype.kind == "f" else np.iinfo(array.dtype).min
    along_z = np.full((height, width), lowest, array.dtype)
    along_y, along_x = np.empty((depth, width), array.dtype), np.empty((depth, height), array.dtype)
    z = 0
    for _, slab in array.iter_slabs(channel=channel, time=time):
        planes = slice(z, z + len(slab))
        np.maximum(along_z, slab.max(axis=0), out=along_z)
        along_y[planes], along_x[planes] = slab.max(axis=1), slab.max(axis=2)
        z += len(slab)
        if advance is not None:
            advance(len(slab))
    return along_z, along_y, along_x


def proportions(voxel_size: Sequence[float | None]) -> tuple[float, float, float] | None:
    """How long a voxel is on z, y, x beside its shortest edge; None where a size is not known."""
    z, y, x = voxel_size
    if not (z and y and x):
        return None
    shortest = min(z, y, x)
    return z / shortest, y / shortest, x / shortest


def suitable_level(array: VgmArray, pixels: float, channels: int) -> int:
    """The coarsest grid that still has a voxel for every pixel of a picture.

    Parameters
    ----------
    array : VgmArray
        At its full grid.
    pixels : float
        Pixels along a voxel's shortest edge, as `proportions` has it.
    channels : int
        How many are to be evaluated; coarser still where they would be more than `MAX_VOXELS` together.
    """
    n = min(max(0, math.floor(math.log2(1 / pixels))), array.coarsest)
    while n < array.coarsest and math.prod(array.level(n).info.shape[2:]) * channels > MAX_VOXELS:
        n += 1
    return n
