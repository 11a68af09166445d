"""Coarse grids of a file that holds an overview: its voxels, and means of them (spec, 8.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..indexing import AxisRange
from .image import ImageEvaluator
from .select import Grid


class OverviewEvaluator:
    """Evaluates boxes of the images of a file on the grid of its overview and coarser ones.

    Parameters
    ----------
    evaluator : ImageEvaluator
        Of the overview.
    level : int
        n of the grid that the overview holds.
    """

    def __init__(self, evaluator: ImageEvaluator, level: int) -> None:
        self.evaluator = evaluator
        self.level = level
        self.full = Grid.of(evaluator.reader.meta.info.shape[2:], 0)

    def voxels(self, t: int, c: int, grid: Grid, ranges: Sequence[AxisRange], out: npt.NDArray[Any]) -> None:
        """Write an image's voxels; parameters are those of `ImageEvaluator.voxels`."""
        step = 1 << (grid.level - self.level)
        if step == 1 or out.size == 0:
            self.evaluator.voxels(t, c, self.full, ranges, out)
            return
        covered = []
        for r, size in zip(ranges, self.full.shape, strict=True):
            first, stop = r.start * step, (r.start + (r.count - 1) * r.step + 1) * step
            covered.append(AxisRange(first, 1, min(stop, size) - first))
        fine = np.empty([r.count for r in covered], out.dtype)
        self.evaluator.voxels(t, c, self.full, covered, fine)
        out[...] = means(fine, step)[tuple(slice(None, None, r.step) for r in ranges)]


def means(voxels: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """Means of cubes of ``step`` voxels a side, at the far walls of those that there are; the same dtype."""
    total = voxels.astype(np.float64 if voxels.dtype.kind == "f" else np.int64)
    counts = []
    for axis, size in enumerate(voxels.shape):
        starts = np.arange(0, size, step)
        total = np.add.reduceat(total, starts, axis=axis)
        counts.append(np.diff(np.append(starts, size)))
    out = total / (counts[0][:, None, None] * counts[1][:, None] * counts[2])
    rounded: npt.NDArray[Any] = out if voxels.dtype.kind == "f" else np.rint(out)
    return rounded.astype(voxels.dtype)
