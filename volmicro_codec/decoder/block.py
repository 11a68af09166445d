"""Whole tiles of a grid: which voxels of them are wanted, and the primitives that may reach them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..native import TILE
from ..primitives import Primitives

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Whole tiles of a grid, and the voxels that are wanted of them.

    Attributes
    ----------
    tile : int64 [3]
        Voxels of a tile.
    tile_lo, tile_hi : int64 [3]
        First and last-plus-one tile.
    lo, step, count : int64 [3]
        The voxels wanted: ``lo, lo + step, ...`` on each axis.
    """

    tile: I64
    tile_lo: I64
    tile_hi: I64
    lo: I64
    step: I64
    count: I64

    @classmethod
    def of(cls, lo: I64, step: I64, count: I64) -> Block:
        """The block of the tiles that hold the voxels wanted."""
        tile = np.array(TILE, np.int64)
        return cls(tile, lo // tile, (lo + (count - 1) * step) // tile + 1, lo, step, count)

    @property
    def grid(self) -> I64:
        """Number of tiles on each axis."""
        return self.tile_hi - self.tile_lo

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return int(np.prod(self.grid))

    def parts(self, limit: int) -> Iterator[tuple[Block, I64]]:
        """Blocks of at most ``limit`` tiles, and the number of each one's first wanted voxel on each axis.

        Cuts lie between tiles, first along z, so no tile is evaluated twice.
        """
        pieces: list[list[tuple[int, int]]] = []
        room = limit
        for axis in (2, 1, 0):
            tiles = int(self.grid[axis])
            a_piece = max(1, min(tiles, room))
            room //= a_piece
            lo, step, n = int(self.lo[axis]), int(self.step[axis]), int(self.tile[axis])
            first = int(self.tile_lo[axis])
            cuts = [0]
            while cuts[-1] < self.count[axis]:
                tile = (lo + cuts[-1] * step) // n - first
                end = (first + (tile // a_piece + 1) * a_piece) * n
                cuts.append(min(int(self.count[axis]), -((lo - end) // step)))
            pieces.append([(a, b - a) for a, b in pairwise(cuts)])
        for z in pieces[2]:
            for y in pieces[1]:
                for x in pieces[0]:
                    at = np.array([z[0], y[0], x[0]], np.int64)
                    count = np.array([z[1], y[1], x[1]], np.int64)
                    yield Block.of(self.lo + at * self.step, self.step, count), at


def moved(pitch: I64, at: I64) -> I64:
    """The pitch of voxels that start ``at`` [3] wanted voxels further on (see `backend.Backend`)."""
    return np.array([pitch[0], pitch[1], pitch[2] + at[0] * pitch[0] + at[1] * pitch[1] + at[2]], np.int64)


@dataclass(frozen=True)
class BlockPrimitives:
    """What a backend needs to know of a block: its primitives, and where they may be.

    Attributes
    ----------
    parts : list of Primitives
        By chunk, in file order.
    tile_lo, tile_hi : int64 [K, 3]
        Tiles that each chunk may touch, within those of the block.
    """

    parts: list[Primitives]
    tile_lo: I64
    tile_hi: I64

    def within(self, block: Block) -> BlockPrimitives:
        """The same for a block that is a part of this one's."""
        return BlockPrimitives(
            self.parts, np.maximum(self.tile_lo, block.tile_lo), np.minimum(self.tile_hi, block.tile_hi)
        )
