"""Voxels of an image of an open file: select chunks, rasterise whole tiles, keep what was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..format import VgmReader
from ..primitives import Primitives
from .chunk_cache import ChunkCache
from .indexing import AxisRange
from .oracle import rotation_matrices, to_voxels, widened
from .select import Grid, chunks_of_image, meeting, reach

Triple = tuple[int, int, int]


class ImageEvaluator:
    """Evaluates boxes of the images of a file."""

    def __init__(self, reader: VgmReader, cache: ChunkCache, device: str, threads: int | None) -> None:
        self.reader = reader
        self.cache = cache
        self.device = device
        self.threads = threads

    def voxels(
        self, t: int, c: int, grid: Grid, ranges: Sequence[AxisRange], out: npt.NDArray[np.generic]
    ) -> None:
        """Write an image's voxels of ``ranges`` (z, y, x of ``grid``, ascending) into ``out`` [Z, Y, X]."""
        from .cpu import TILE, CpuRasteriser

        meta = self.reader.meta
        base, gain = meta.images[t * meta.info.shape[1] + c]
        if 0 in out.shape:
            return
        lo = np.array([r.start // n * n for r, n in zip(ranges, TILE, strict=True)])
        last = np.array([r.start + (r.count - 1) * r.step for r in ranges])
        hi = np.minimum((last // TILE + 1) * TILE, grid.shape)
        ids = chunks_of_image(self.reader.index, t, c)
        a, b = reach(self.reader.index, ids, meta.info.shape[2:], meta.cutoff, grid)
        ids = ids[meeting(a, b, lo.tolist(), hi.tolist())]
        prims = Primitives.concatenate(self.cache.get(ids.tolist()))
        scales, weights = widened(prims, grid.level)
        rotation = rotation_matrices(prims.rotations) * scales[:, None, :] / grid.step
        cov = rotation @ rotation.transpose(0, 2, 1)
        six = cov.reshape(-1, 9)[:, [0, 1, 2, 4, 5, 8]]
        rasteriser = CpuRasteriser(meta.cutoff, self.threads)
        means = (prims.means - grid.origin) / grid.step - lo
        z, y, x = (int(n) for n in hi - lo)
        total = rasteriser.render(rasteriser.pack(means, six, weights, (z, y, x)))
        first = [r.start - o for r, o in zip(ranges, lo.tolist(), strict=True)]
        part = total[
            tuple(slice(o, o + r.count * r.step, r.step) for r, o in zip(ranges, first, strict=True))
        ]
        out[...] = to_voxels(part.astype(np.float64), base, gain, meta.info.dtype)
