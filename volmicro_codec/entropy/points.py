"""The code of a points chunk: which blocks hold any, and each node's integer, by contexts that learn.

Normative text: spec/vgm-1-points.md, "Chunk". This writes; libvgm reads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..native_encoder import coder

BLOCK = coder.BLOCK
"""Nodes on a side of a block."""
LARGEST = coder.LARGEST
"""Of an integer."""


def empty_arrays(grid: tuple[int, int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Blocks and integers of a grid, with their borders, all 0 (see `encode`)."""
    blocks = np.zeros([-(-n // BLOCK) + 2 for n in grid], np.uint8)
    return blocks, np.zeros((grid[0] + 1, grid[1] + 2, grid[2] + 2), np.int32)


def encode(blocks: npt.NDArray[np.uint8], q: npt.NDArray[np.int32]) -> bytes:
    """The code of the integers of a grid of nodes, up to one that no decoder takes.

    Parameters
    ----------
    blocks : uint8 [Bz + 2, By + 2, Bx + 2]
        1 where a block of `BLOCK` nodes a side may hold points; a border of 0.
    q : int32 [Z + 1, Y + 2, X + 2]
        The integers, of at most `LARGEST`; borders of 0 before every axis and after y and x.
    """
    return coder.encode_points(blocks, q)
