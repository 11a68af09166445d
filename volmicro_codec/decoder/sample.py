"""Values of an image at real coordinates: sort points into cells, read the chunks that reach them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .. import native
from ..errors import UsageError
from ..format import VgmReader
from ..pool import default_threads, run_in_pool
from .chunk_cache import ChunkCache
from .select import Grid, chunks_of_image, open_reach

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

FAR = float(1 << 33)  # beyond what any primitive can reach
SMALLEST_EDGE = 8.0  # voxels
MAX_CELLS = 1 << 22
PRIMITIVES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Cells:
    """Points sorted into a grid of cells over their bounding box.

    Attributes
    ----------
    points : float64 [M, 3]
        In order of their cells, z slowest.
    order : int64 [M]
        Which point each one was.
    starts : int64 [cells + 1]
        First point of each cell.
    first, edge : float64 [3]
        Corner of the first cell; how long cells are.
    count : int64 [3]
        Cells on each axis.
    """

    points: F64
    order: I64
    starts: I64
    first: F64
    edge: F64
    count: I64

    @classmethod
    def of(cls, points: F64) -> Cells:
        """Sort at least one point."""
        first = np.floor(points.min(axis=0))
        extent = points.max(axis=0) - first
        edge = np.full(3, SMALLEST_EDGE)
        room = min(MAX_CELLS, max(4096, 2 * len(points)))
        while np.prod(np.floor(extent / edge) + 1) > room:
            edge[np.argmax(extent / edge)] *= 2
        count = np.floor(extent / edge).astype(np.int64) + 1
        at = np.minimum(((points - first) / edge).astype(np.int64), count - 1)
        cell = (at[:, 0] * count[1] + at[:, 1]) * count[2] + at[:, 2]
        order = np.argsort(cell, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=int(np.prod(count))))])
        return cls(np.ascontiguousarray(points[order]), order, starts, first, edge, count)

    def met_by(self, lo: F64, hi: F64) -> npt.NDArray[np.bool_]:
        """Which of the boxes [lo, hi] float64 [K, 3] meet a cell that holds a point."""
        summed = np.zeros(tuple(self.count + 1), np.int64)
        summed[1:, 1:, 1:] = np.diff(self.starts).reshape(tuple(self.count)).cumsum(0).cumsum(1).cumsum(2)
        a = np.clip(np.floor((lo - self.first) / self.edge), 0, self.count).astype(np.int64)
        b = np.clip(np.floor((hi - self.first) / self.edge) + 1, 0, self.count).astype(np.int64)
        a = np.minimum(a, b)
        total = np.zeros(len(lo), np.int64)
        for corner in range(8):
            pick = [(b if corner >> axis & 1 else a)[:, axis] for axis in range(3)]
            total += (1 if corner.bit_count() % 2 else -1) * summed[pick[0], pick[1], pick[2]]
        return np.asarray(total > 0)

    def layers(self, runs: int) -> list[tuple[int, int]]:
        """Ranges of cells along z with about the same number of points each."""
        planes = self.starts[:: int(self.count[1] * self.count[2])]
        wanted = np.linspace(0, len(self.points), runs + 1)[1:-1]
        cuts = sorted({0, *np.searchsorted(planes, wanted).tolist(), int(self.count[0])})
        return list(pairwise(cuts))


def check_points(points: npt.ArrayLike) -> F64:
    """Points as float64 [M, 3].

    Raises
    ------
    UsageError
        Another shape, or coordinates that are not finite numbers.
    """
    try:
        array = np.asarray(points, np.float64)
    except (TypeError, ValueError) as exc:
        raise UsageError(f"points: expected numbers of shape [M, 3], got {exc}") from None
    if array.ndim != 2 or array.shape[1] != 3:
        raise UsageError(f"points: expected shape [M, 3] (z, y, x), got {list(array.shape)}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise UsageError(f"points: point {int(np.argmin(finite))} has a coordinate that is not finite")
    return array


def sample(
    reader: VgmReader, cache: ChunkCache, t: int, c: int, grid: Grid, points: F64, threads: int | None
) -> npt.NDArray[np.float32]:
    """Values of an image at points [M, 3] of a grid, before rounding to the dtype; float32 [M]."""
    threads = threads or default_threads()
    meta, index = reader.meta, reader.index
    base, gain = meta.images[t * meta.info.shape[1] + c]
    out = np.full(len(points), base, np.float32)
    if len(points) == 0:
        return out
    cells = Cells.of(np.clip(points, -FAR, FAR))
    ids = chunks_of_image(reader, t, c, grid)
    low, high = open_reach(index, ids, meta.info.shape[2:], meta.cutoff, grid)
    ids = ids[cells.met_by((low - grid.origin) / grid.step, (high - grid.origin) / grid.step)]
    sums = np.zeros(len(points))
    layers = cells.layers(2 * threads if len(points) > 1000 else 1)
    corner, edge, count = (tuple(a.tolist()) for a in (cells.first, cells.edge, cells.count))
    batches = np.cumsum(index.count[ids]) // PRIMITIVES_AT_ONCE
    for batch in np.unique(batches):
        parts = cache.get(ids[batches == batch].tolist())

        def add(k: int, parts: list = parts) -> None:  # type: ignore[type-arg]
            for p in parts:
                native.add_to_points(
                    p.means, p.scales, p.rotations, p.intensities, meta.cutoff, grid.origin, float(grid.step),
                    grid.widening, cells.points, cells.starts, corner, edge, count, *layers[k], sums,
                )  # fmt: skip

        run_in_pool(threads, add, len(layers))
    with np.errstate(over="ignore"):
        out[cells.order] = base + gain * sums
    return out
