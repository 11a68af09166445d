"""Which brick each Gaussian belongs to: boxes that tile the image, split until none holds too many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Shape3 = tuple[int, int, int]

MAX_EDGE = 128
MAX_COUNT = 2048
FEW, FEW_EDGE = 512, 256
"""Gaussians that one brick holds of edges up to so many voxels, unless a size was asked for: another takes 10
to 25 bytes of index and learns its statistics anew."""


@dataclass(frozen=True)
class Brick:
    """A box of voxels and the Gaussians whose centres it holds.

    Attributes
    ----------
    lo, shape : (z, y, x)
    members : int64 [n]
        Their numbers, ascending.
    """

    lo: Shape3
    shape: Shape3
    members: npt.NDArray[np.int64]


def divide(
    mu: npt.NDArray[np.float64], shape: Shape3, *, max_edge: int = MAX_EDGE, few: int = 0
) -> list[Brick]:
    """Bricks that hold all centres [N, 3]; empty ones are left out.

    A box is halved along its longest edge while that is longer than ``max_edge`` or it holds more than
    `MAX_COUNT`, unless it holds no more than ``few`` and is no longer than `FEW_EDGE`. Centres outside the
    image belong to the brick of the nearest voxel.
    """
    at = np.clip(np.rint(mu), 0, np.array(shape) - 1).astype(np.int64)
    out: list[Brick] = []

    def visit(lo: Shape3, size: Shape3, members: npt.NDArray[np.int64]) -> None:
        if not len(members):
            return
        axis = int(np.argmax(size))
        as_one = size[axis] <= FEW_EDGE and len(members) <= few
        if as_one or (size[axis] <= max_edge and (len(members) <= MAX_COUNT or max(size) < 16)):
            out.append(Brick(lo, size, members))
            return
        first = size[axis] // 2
        upper = at[members, axis] >= lo[axis] + first
        a, b = list(size), list(size)
        a[axis], b[axis] = first, size[axis] - first
        start = list(lo)
        start[axis] += first
        visit(lo, (a[0], a[1], a[2]), members[~upper])
        visit((start[0], start[1], start[2]), (b[0], b[1], b[2]), members[upper])

    visit((0, 0, 0), shape, np.arange(len(mu), dtype=np.int64))
    return out
