"""Voxels of an image of an open file: select chunks, evaluate whole tiles, store what was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..format import VgmReader
from ..indexing import AxisRange
from ..primitives import Primitives, records_to_primitives
from .backend import Backend
from .block import Block, BlockPrimitives, moved
from .chunk_cache import ChunkCache
from .select import Grid, chunks_of_image, meeting, reach

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

BLOCK_TILES = 1 << 11  # of one pass: 134 million voxels
BLOCK_PRIMITIVES = 1 << 20  # of one pass, unless a few tiles alone have more: some 300 MB of tables
FEW_TILES = 8
# Chunks that meet one tile with more primitives than this are read and summed group by group: their tables
# would be ten times the records. No encoder writes as many in one place; a hostile file can, in a megabyte.
MANY_PRIMITIVES = 1 << 21
GROUP_PRIMITIVES = 1 << 18


class ImageEvaluator:
    """Evaluates boxes of the images of a file.

    Parameters
    ----------
    reader : VgmReader
    cache : ChunkCache
    backend : Backend
    """

    def __init__(self, reader: VgmReader, cache: ChunkCache, backend: Backend) -> None:
        self.reader = reader
        self.cache = cache
        self.backend = backend

    def voxels(self, t: int, c: int, grid: Grid, ranges: Sequence[AxisRange], out: npt.NDArray[Any]) -> None:
        """Write an image's voxels of ``ranges`` (z, y, x of ``grid``, ascending) into ``out`` [Z, Y, X].

        ``out`` is C-contiguous, of the file's dtype, or float32: then voxels are not rounded, but in the
        range of the file's dtype all the same.
        """
        if out.size == 0:
            return
        lo, step, count = (
            np.array([getattr(r, k) for r in ranges], np.int64) for k in ("start", "step", "count")
        )
        pitch = np.array([out.shape[1] * out.shape[2], out.shape[2], 0], np.int64)
        flat = out.reshape(-1)
        for block, at in Block.of(lo, step, count).parts(BLOCK_TILES):
            self._evaluate(t, c, grid, block, flat, moved(pitch, at))
        dtype = self.reader.meta.info.dtype
        if out.dtype.kind == "f" and dtype.kind != "f":
            limits = np.iinfo(dtype)
            np.clip(out, limits.min, limits.max, out=out)

    def _evaluate(
        self, t: int, c: int, grid: Grid, block: Block, out: npt.NDArray[Any], pitch: npt.NDArray[np.int64]
    ) -> None:
        meta, index = self.reader.meta, self.reader.index
        ids = chunks_of_image(self.reader, t, c, grid)
        lo, hi = reach(index, ids, meta.info.shape[2:], meta.cutoff, grid)
        met = meeting(lo, hi, (block.tile_lo * block.tile).tolist(), (block.tile_hi * block.tile).tolist())
        ids, lo, hi = ids[met], lo[met], hi[met]
        count = int(index.count[ids].sum())
        many = count > MANY_PRIMITIVES
        if (block.tiles > FEW_TILES and count > BLOCK_PRIMITIVES) or (block.tiles > 1 and many):
            for part, at in block.parts(max(1, block.tiles // 4)):
                self._evaluate(t, c, grid, part, out, moved(pitch, at))
            return
        tile_lo = np.maximum(lo // block.tile, block.tile_lo)
        tile_hi = np.minimum((hi - 1) // block.tile + 1, block.tile_hi)
        base, gain = meta.images[t * meta.info.shape[1] + c]
        if many:
            store(base + gain * self._sum_of_groups(ids, grid, block, tile_lo, tile_hi), out, pitch)
            return
        primitives = BlockPrimitives(self.cache.get(ids.tolist()), tile_lo, tile_hi)
        self.backend.evaluate(primitives, grid, block, base, gain, out, pitch)

    def _sum_of_groups(self, ids: I64, grid: Grid, block: Block, tile_lo: I64, tile_hi: I64) -> F64:
        """Sums of the primitives of chunks at the voxels wanted of a block of one tile, float64 [z, y, x]."""
        total = np.zeros(block.count, np.float64)
        part = np.empty(block.count, np.float32)
        pitch = np.array([block.count[1] * block.count[2], block.count[2], 0], np.int64)
        for group in self._groups(ids):
            of = [k for k, _ in group]
            primitives = BlockPrimitives([p for _, p in group], tile_lo[of], tile_hi[of])
            self.backend.evaluate(primitives, grid, block, 0.0, 1.0, part.reshape(-1), pitch)
            total += part
        return total

    def _groups(self, ids: I64) -> Iterator[list[tuple[int, Primitives]]]:
        """The primitives of chunks in file order, some at a time, with the place in ``ids`` they come from.

        What is in a group follows from ``ids``, and so from the tile: a voxel does not depend on the request.
        """
        index = self.reader.index
        group: list[tuple[int, Primitives]] = []
        room = GROUP_PRIMITIVES
        batches = np.cumsum(index.count[ids]) // GROUP_PRIMITIVES
        for batch in np.unique(batches):
            places = np.flatnonzero(batches == batch).tolist()
            for k, records in zip(places, self.reader.read_many(ids[places].tolist()), strict=True):
                centre = index.entry(int(ids[k])).brick_centre
                for first in range(0, len(records), GROUP_PRIMITIVES):
                    piece = records[first : first + GROUP_PRIMITIVES]
                    if len(piece) > room:
                        yield group
                        group, room = [], GROUP_PRIMITIVES
                    group.append((k, records_to_primitives(piece, centre)))
                    room -= len(piece)
        yield group


def store(values: F64, out: npt.NDArray[Any], pitch: I64) -> None:
    """Round values [z, y, x] to the dtype of ``out`` (spec, 8.3) and write them (see `backend.Backend`)."""
    if out.dtype.kind != "f":
        limits = np.iinfo(out.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    z, y = (np.arange(n, dtype=np.int64) for n in values.shape[:2])
    rows = pitch[2] + z[:, None] * pitch[0] + y * pitch[1]
    out[rows[:, :, None] + np.arange(values.shape[2])] = values.astype(out.dtype)
