"""How a volume is cut into bricks, and where each one's levels lie in the store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from ..io.levels import level_shapes
from ..volume import VolumeInfo

Shape3 = tuple[int, int, int]
Box = tuple[slice, slice, slice]

EDGE = 1024
HALO = 32
"""Voxels that a brick sees around it. Of what a fit misses near a wall, 16 leave nothing that was measured;
twice that is whole voxels of the levels down to 16 times coarser."""
LEAST_EDGE = 64
"""Of a chunk of a coarser level; levels yet coarser are joined from these when all bricks are there."""


@dataclass(frozen=True)
class Brick:
    """One brick: an image and a box of its voxels.

    Attributes
    ----------
    number : int
    t, c : int
    at : (z, y, x)
        Which brick along each axis.
    box : three slices
        Voxels of the full grid.
    """

    number: int
    t: int
    c: int
    at: Shape3
    box: Box

    @property
    def voxels(self) -> int:
        """How many it has."""
        return math.prod(s.stop - s.start for s in self.box)


@dataclass(frozen=True)
class Grid:
    """Bricks of one edge that tile all images of a volume.

    Attributes
    ----------
    info : VolumeInfo
    edge : int
        Voxels, a multiple of 16.
    """

    info: VolumeInfo
    edge: int

    def __post_init__(self) -> None:
        if self.edge % 16 or not 32 <= self.edge <= EDGE:
            raise UsageError(f"bricks of {self.edge} voxels: expected a multiple of 16 from 32 to {EDGE}")

    @property
    def shape(self) -> Shape3:
        """Of the volume, (Z, Y, X)."""
        z, y, x = self.info.shape[2:]
        return z, y, x

    @property
    def counts(self) -> Shape3:
        """Bricks along z, y and x."""
        z, y, x = (-(-n // self.edge) for n in self.shape)
        return z, y, x

    def __len__(self) -> int:
        return math.prod(self.info.shape[:2]) * math.prod(self.counts)

    def brick(self, number: int) -> Brick:
        """The brick of a number; they are counted over t, c, z, y, x."""
        nz, ny, nx = self.counts
        rest, x = divmod(number, nx)
        rest, y = divmod(rest, ny)
        rest, z = divmod(rest, nz)
        t, c = divmod(rest, self.info.shape[1])
        at = (z, y, x)
        low = [self.edge * a for a in at]
        box = [slice(a, min(a + self.edge, n)) for a, n in zip(low, self.shape, strict=True)]
        return Brick(number, t, c, at, (box[0], box[1], box[2]))

    def numbers(self, at: Mapping[str, int]) -> list[int]:
        """Of the bricks of all images, or of those at an index on T, on C or on both."""
        every = np.arange(len(self)).reshape(*self.info.shape[:2], -1)
        found: list[int] = every[at.get("T", slice(None)), at.get("C", slice(None))].ravel().tolist()
        return found

    @property
    def levels(self) -> list[Shape3]:
        """Shapes of all levels of the pyramid, from the full grid on."""
        return level_shapes(self.shape)

    @property
    def own_levels(self) -> int:
        """How many levels, from the full grid on, have a chunk for each brick."""
        n = 1
        while n < len(self.levels) and self.edge % (2 << (n - 1)) == 0 and self.edge >> n >= LEAST_EDGE:
            n += 1
        return n

    def chunk(self, level: int) -> Shape3:
        """Shape of the chunks of a level that has one for each brick."""
        return (self.edge >> level,) * 3

    def key(self, brick: Brick, level: int) -> str:
        """Where the chunk of a brick lies."""
        at = {"T": brick.t, "C": brick.c, **dict(zip("ZYX", brick.at, strict=True))}
        return "/".join([str(level), "c", *(str(at[a]) for a in self.info.axes)])

    def with_halo(self, box: Box) -> tuple[Box, Box]:
        """A box and what a fit sees around it, and the box within that."""
        around = [
            slice(max(s.start - HALO, 0), min(s.stop + HALO, n)) for s, n in zip(box, self.shape, strict=True)
        ]
        within = [slice(s.start - a.start, s.stop - a.start) for s, a in zip(box, around, strict=True)]
        return (around[0], around[1], around[2]), (within[0], within[1], within[2])
