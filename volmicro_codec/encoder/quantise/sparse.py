"""Images that are one value almost everywhere, without loss: every other voxel as a point of its own.

With a cut-off of 4 and a scale just under 0.5 a point is zero at all voxels but its own, so nothing that it
spills is to be made up for: thresholded stacks, masks and traced structures take half the bytes that points
as they suit residuals do. Its integral is that of its voxel, so coarser grids keep their brightness.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...entropy.points import BLOCK, empty_arrays
from ...format import EncodedChunk, codings, support_box
from ...primitives import MAX_PRIMITIVES_PER_BYTE
from .coder import POINTS_PLACE
from .residual import PointChunk, boxes, encode_points

CUTOFF, SCALE = 4.0, float(np.float16(0.496))
"""C of a file of such points alone, and their standard deviation in voxels."""
LEAST_BITS = 2.0
"""That a voxel off the background takes."""
SAMPLED, SURELY = 64, 4.0
"""Planes, rows and columns that tell the background, and how many times more than may be must differ from it
in them so that the others need not be looked at."""
LARGEST_HEIGHT = 65504
"""Of a point: the largest float16."""


def sparse_chunks(
    voxels: npt.NDArray[np.integer], at: tuple[int, int], budget: float
) -> tuple[int, list[EncodedChunk]] | None:
    """The background of an image and its points of height 1, or None where they are too many.

    Parameters
    ----------
    voxels : integers [Z, Y, X]
    at : (t, c)
    budget : float
        Bytes of payload that they may take.
    """
    z, y, x = voxels.shape
    some = voxels[:: -(-z // SAMPLED), :: -(-y // SAMPLED), :: -(-x // SAMPLED)]
    background, most = int(np.median(some)), 8.0 * budget / LEAST_BITS
    if np.mean(some != background) > SURELY * most / voxels.size + SURELY / some.size:
        return None
    if np.count_nonzero(voxels != background) > most:
        return None
    chunks: list[EncodedChunk] = []
    for lo, shape in boxes((0, 0, 0), (z, y, x)):
        box = tuple(slice(a, a + n) for a, n in zip(lo, shape, strict=True))
        left = voxels[box].astype(np.int32) - background
        while left.any():  # once more where a height is rounded to float16
            height = np.clip(left, -LARGEST_HEIGHT, LARGEST_HEIGHT).astype(np.float16).astype(np.int32)
            left -= height
            found = _points(height, lo)
            if found.count > MAX_PRIMITIVES_PER_BYTE * found.size:
                return None
            records = found.records()
            support = support_box(records, found.lo, found.shape, (z, y, x), CUTOFF)
            chunks.append(
                EncodedChunk(
                    t=at[0], c=at[1], level=POINTS_PLACE, coding=codings.POINTS, brick_lo=found.lo,
                    brick_shape=found.shape, count=found.count, support_lo=support[0], support_hi=support[1],
                    payload=found.payload or b"",
                )
            )  # fmt: skip
            budget -= found.size
            if budget < 0:
                return None
    return background, chunks


def _points(height: npt.NDArray[np.int32], lo: tuple[int, int, int]) -> PointChunk:
    """The points of a box, cut to the blocks that hold any."""
    there = np.nonzero(height)
    first = [int(k.min()) // BLOCK * BLOCK for k in there]
    last = [min((int(k.max()) // BLOCK + 1) * BLOCK, n) for k, n in zip(there, height.shape, strict=True)]
    grid = (last[0] - first[0], last[1] - first[1], last[2] - first[2])
    blocks, q = empty_arrays(grid)
    q[1:, 1:-1, 1:-1] = height[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    inside = (1 + (k - a) // BLOCK for k, a in zip(there, first, strict=True))
    blocks[tuple(inside)] = 1
    payload = encode_points(blocks, q, 1, SCALE, 1.0)
    start = (lo[0] + first[0], lo[1] + first[1], lo[2] + first[2])
    return PointChunk(start, grid, len(there[0]), len(payload), payload)
