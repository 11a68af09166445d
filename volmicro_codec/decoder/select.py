"""Which chunks of a file touch a box of voxels, on the full grid or a coarser one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..format import VgmReader
from ..format.index import ChunkIndex
from ..format.metadata import MAX_GRID

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_MARGIN = 1e-6  # voxels, against rounding


@dataclass(frozen=True)
class Grid:
    """A grid of voxels with the step ``2 ** level`` (spec, 8.4).

    Attributes
    ----------
    level : int
        0 is the full grid.
    shape : (Z, Y, X)
        Of this grid.
    """

    level: int
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, volume_shape: Sequence[int], level: int) -> Grid:
        """The grid ``level`` of a volume of ``volume_shape`` (Z, Y, X).

        Raises
        ------
        UsageError
            For a level that is not 0 to 31.
        """
        if not 0 <= level <= MAX_GRID:
            raise UsageError(f"level {level}: expected 0 to {MAX_GRID}")
        z, y, x = (-(-int(n) // (1 << level)) for n in volume_shape)
        return cls(level, (z, y, x))

    @property
    def step(self) -> int:
        """Voxels of the full grid between neighbours of this one."""
        return 1 << self.level

    @property
    def origin(self) -> float:
        """Coordinate, on the full grid, of the centre of voxel 0."""
        return (self.step - 1) / 2

    @property
    def widening(self) -> float:
        """Variance added to each primitive, in voxels^2 of the full grid."""
        return (float(self.step) ** 2 - 1) / 12


def chunks_of_image(reader: VgmReader, t: int, c: int, grid: Grid) -> I64:
    """Numbers of the chunks of one image that a grid takes, in file order."""
    index, highest = reader.index, reader.meta.highest_level(grid.level)
    return np.flatnonzero((index.t == t) & (index.c == c) & (index.level <= highest))


def reach(
    index: ChunkIndex, ids: I64, volume_shape: Sequence[int], cutoff: float, grid: Grid
) -> tuple[I64, I64]:
    """The half-open boxes of voxels of ``grid`` outside of which chunks are zero.

    Parameters
    ----------
    index : ChunkIndex
    ids : int64 [K]
        Chunk numbers.
    volume_shape : (Z, Y, X)
        Of the full grid.
    cutoff : float
    grid : Grid

    Returns
    -------
    lo, hi : int64 [K, 3]
        On the grid, clipped to it.
    """
    lo, hi = index.support_lo[ids], index.support_hi[ids]
    if grid.level == 0:
        return lo, hi
    low, high = open_reach(index, ids, volume_shape, cutoff, grid)
    size = np.asarray(grid.shape, np.float64)
    first = np.floor((low - _MARGIN - grid.origin) / grid.step) + 1
    stop = np.ceil((high + _MARGIN - grid.origin) / grid.step)
    return np.clip(first, 0, size).astype(np.int64), np.clip(stop, 0, size).astype(np.int64)


def open_reach(
    index: ChunkIndex, ids: I64, volume_shape: Sequence[int], cutoff: float, grid: Grid
) -> tuple[F64, F64]:
    """The open boxes of coordinates of the full grid outside of which chunks are zero (spec, 8.4).

    Parameters
    ----------
    index, ids, volume_shape, cutoff, grid
        As in `reach`.

    Returns
    -------
    lo, hi : float64 [K, 3]
        Infinite where a support box touches the edge of the volume: centres may lie beyond.
    """
    size = np.asarray(volume_shape, np.int64)
    p = math.sqrt(cutoff * grid.widening)
    lo, hi = index.support_lo[ids], index.support_hi[ids]
    low = np.where(lo == 0, -np.inf, lo - 1.0 - p)
    high = np.where(hi == size, np.inf, hi + p)
    return low, high


def meeting(lo: I64, hi: I64, box_lo: Sequence[int], box_hi: Sequence[int]) -> npt.NDArray[np.bool_]:
    """Which of the half-open boxes [lo, hi) share a voxel with the box [box_lo, box_hi); bool [K]."""
    a, b = np.asarray(box_lo, np.int64), np.asarray(box_hi, np.int64)
    met: npt.NDArray[np.bool_] = np.all(np.maximum(lo, a) < np.minimum(hi, b), axis=1)
    return met
