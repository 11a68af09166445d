"""The CPU rasteriser of fits: numba kernels over tiles, in an order that threads cannot change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..decoder.pool import default_threads, run_in_pool
from . import binning, kernels

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

TILE = (16, 16, 32)


@dataclass(frozen=True)
class Packed:
    """Primitives ready for the kernels, with the lists of which tiles they touch.

    Attributes
    ----------
    means : float64 [N, 3]
        Centres relative to the first voxel of the box.
    table : float32 [N, kernels.COLUMNS]
    offsets : int64 [tiles + 1]
    ids : int64 [entries]
        Primitive numbers, tile by tile, ascending inside a tile.
    shape, tile, grid : int64 [3]
    cutoff : float
    """

    means: F64
    table: F32
    offsets: I64
    ids: I64
    shape: I64
    tile: I64
    grid: I64
    cutoff: float


class CpuRasteriser:
    """Adds primitives into a box of voxels, and reduces a box of voxels to moments per primitive.

    Parameters
    ----------
    cutoff : float
        C, the squared Mahalanobis distance at which the kernel is zero.
    threads : int, optional
    tile : (z, y, x)
        Tile shape; a result does not depend on it beyond rounding.
    """

    def __init__(self, cutoff: float, threads: int | None = None, tile: tuple[int, int, int] = TILE) -> None:
        self.cutoff = float(cutoff)
        self.threads = threads or default_threads()
        self.tile = np.asarray(tile, np.int64)

    def single(self) -> CpuRasteriser:
        """The same with one thread, for work that threads share block by block."""
        return type(self)(self.cutoff, 1, (int(self.tile[0]), int(self.tile[1]), int(self.tile[2])))

    def pack(self, means: F64, cov: F64, weights: npt.NDArray[Any], shape: tuple[int, int, int]) -> Packed:
        """Prepare primitives for a box.

        Parameters
        ----------
        means : float64 [N, 3]
            Relative to the box's first voxel.
        cov : float64 [N, 6]
            zz, zy, zx, yy, yx, xx of each covariance.
        weights : [N]
        shape : (Z, Y, X)
        """
        n = means.shape[0]
        means = np.ascontiguousarray(means, np.float64)
        table = np.empty((n, kernels.COLUMNS), np.float32)
        binning.pack(
            means,
            np.ascontiguousarray(cov, np.float64),
            np.ascontiguousarray(weights, np.float64),
            self.cutoff,
            table,
        )
        shp = np.asarray(shape, np.int64)
        grid = -(-shp // self.tile)
        offsets = np.zeros(int(np.prod(grid)) + 1, np.int64)
        binning.bin_count(means, table, shp, self.tile, grid, offsets)
        np.cumsum(offsets, out=offsets)
        ids = np.empty(int(offsets[-1]), np.int64)
        binning.bin_fill(means, table, shp, self.tile, grid, offsets[:-1].copy(), ids)
        return Packed(means, table, offsets, ids, shp, self.tile, grid, self.cutoff)

    def _run(self, packed: Packed, task: Callable[[int, int, F32], None]) -> None:
        """Call ``task(first, last, scratch)`` over runs of tiles of about equal work."""
        tiles = packed.offsets.shape[0] - 1
        scratch = int(packed.tile[0] * packed.tile[1] * (packed.tile[2] + kernels.PAD))
        runs = min(tiles, 1 if self.threads == 1 else 8 * self.threads)
        cost = packed.offsets + np.arange(tiles + 1) * 4
        cuts = np.unique(np.searchsorted(cost, np.linspace(0, cost[-1], runs + 1)[1:-1]))
        bounds = [0, *(int(c) for c in cuts if 0 < c < tiles), tiles]

        def job(k: int) -> None:
            task(bounds[k], bounds[k + 1], np.empty(scratch, np.float32))

        run_in_pool(self.threads, job, len(bounds) - 1)

    def render(self, packed: Packed, out: F32 | None = None) -> F32:
        """Sum of the primitives, float32 [Z, Y, X] (overwrites ``out``)."""
        s = packed.shape
        result = np.empty((int(s[0]), int(s[1]), int(s[2])), np.float32) if out is None else out

        def task(a: int, b: int, buf: F32) -> None:
            kernels.render_tiles(
                a,
                b,
                packed.offsets,
                packed.ids,
                packed.means,
                packed.table,
                packed.cutoff,
                packed.shape,
                packed.tile,
                packed.grid,
                buf,
                result,
            )

        self._run(packed, task)
        return result

    def jvp(self, packed: Packed, direction: F32, out: F32 | None = None) -> F32:
        """Directional derivative, float32 [Z, Y, X], along a table float32 [N, DIRECTION_COLUMNS]."""
        s = packed.shape
        result = np.empty((int(s[0]), int(s[1]), int(s[2])), np.float32) if out is None else out
        direction = np.ascontiguousarray(direction, np.float32)

        def task(a: int, b: int, buf: F32) -> None:
            kernels.jvp_tiles(
                a,
                b,
                packed.offsets,
                packed.ids,
                packed.means,
                packed.table,
                direction,
                packed.cutoff,
                packed.shape,
                packed.tile,
                packed.grid,
                buf,
                result,
            )

        self._run(packed, task)
        return result

    def vjp_moments(self, packed: Packed, residual: F32) -> F64:
        """Moments of ``residual`` [Z, Y, X] under each primitive, float64 [N, kernels.MOMENTS]."""
        parts = np.empty((packed.ids.shape[0], kernels.MOMENTS), np.float32)

        def task(a: int, b: int, buf: F32) -> None:
            kernels.moment_tiles(
                a,
                b,
                packed.offsets,
                packed.ids,
                packed.means,
                packed.table,
                packed.cutoff,
                packed.shape,
                packed.tile,
                packed.grid,
                buf,
                residual,
                parts,
            )

        self._run(packed, task)
        out = np.zeros((packed.means.shape[0], kernels.MOMENTS), np.float64)
        kernels.gather_moments(packed.ids, parts, out)
        return out
