"""The CPU rasteriser of fits: kernels over tiles, in an order that threads cannot change."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..pool import default_threads, pieces_of, run_in_pool
from . import kernels

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
Shape = tuple[int, int, int]

TILE = (32, 32, 64)
"""Most Gaussians lie in one tile, and a tile in the second cache. On one processor with 1 MB of it larger
tiles take 0.85 to 0.93 of the time (`benchmarks/fit_kernels.py`); on those with less that is not known."""


@dataclass(frozen=True)
class Packed:
    """Primitives ready for the kernels, with the lists of which tiles they touch.

    Attributes
    ----------
    gaussians : kernels.GAUSSIAN [N]
    offsets : int64 [tiles + 1]
    ids : int64 [entries]
        Primitive numbers, tile by tile, ascending inside a tile.
    shape, tile : (z, y, x)
    cutoff : float
    """

    gaussians: npt.NDArray[np.void]
    offsets: I64
    ids: I64
    shape: Shape
    tile: Shape
    cutoff: float

    @property
    def box(self) -> tuple[Any, Any, Any, Shape, Shape, float]:
        """As the kernels take it."""
        return self.gaussians, self.offsets, self.ids, self.shape, self.tile, self.cutoff

    @property
    def tiles(self) -> int:
        """How many there are."""
        return len(self.offsets) - 1


MOST_FREE = 3
"""Buffers of a block that a thread keeps: what a refit takes."""


class Scratch(threading.local):
    """Buffers of the thread that asks, kept from one pass to the next: fresh memory costs time."""

    def __init__(self) -> None:
        self._kept: dict[object, F32] = {}
        self._free: list[F32] = []
        self._lent: set[int] = set()

    def lend(self, shape: tuple[int, ...]) -> F32:
        """A buffer of its own for who asks, until it is given back; of whatever was left in it."""
        size = math.prod(shape)
        fitting = [k for k, buffer in enumerate(self._free) if buffer.size >= size]
        if fitting:
            buffer = self._free.pop(min(fitting, key=lambda k: self._free[k].size))
        else:
            self._free = self._free[1:]  # in the place of one that was too small
            buffer = np.empty(size, np.float32)
        self._lent.add(id(buffer))
        return buffer[:size].reshape(shape)

    def take_back(self, lent: F32) -> None:
        """A buffer that was lent to this thread, for the next who asks; of other arrays nothing."""
        buffer = lent.base
        if isinstance(buffer, np.ndarray) and id(buffer) in self._lent:
            self._lent.remove(id(buffer))
            self._free = [*self._free, buffer][-MOST_FREE:]

    def of(self, name: object, shape: tuple[int, ...]) -> F32:
        """A buffer, of whatever was left in it; the next one of that name is the same."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.size < size:
            kept = self._kept[name] = np.empty(size, np.float32)
        return kept[:size].reshape(shape)


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

    def __init__(self, cutoff: float, threads: int | None = None, tile: Shape = TILE) -> None:
        self.cutoff = float(cutoff)
        self.threads = threads or default_threads()
        self.tile = tile
        self.scratch = Scratch()

    def single(self) -> CpuRasteriser:
        """The same with one thread, for work that threads share block by block."""
        return type(self)(self.cutoff, 1, self.tile)

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
        n = len(means)
        gaussians = np.empty(n, kernels.GAUSSIAN)
        kernels.pack(_doubles(means), _doubles(cov), _doubles(weights), n, self.cutoff, gaussians)
        tiles = math.prod(-(-s // t) for s, t in zip(shape, self.tile, strict=True))
        offsets, no_ids = np.zeros(tiles + 1, np.int64), np.empty(0, np.int64)
        counts = np.zeros(tiles + 1, np.int64)
        kernels.count((gaussians, offsets, no_ids, shape, self.tile, self.cutoff), counts)
        np.cumsum(counts, out=offsets)
        ids = np.empty(int(offsets[-1]), np.int64)
        kernels.fill((gaussians, offsets, ids, shape, self.tile, self.cutoff), offsets[:-1].copy(), ids)
        return Packed(gaussians, offsets, ids, shape, self.tile, self.cutoff)

    def _run(self, packed: Packed, task: Callable[[int, int, F32], None]) -> None:
        """Call ``task(first, last, room)`` over runs of tiles of about equal work."""
        tiles, (z, y, x) = packed.tiles, packed.tile
        room = z * y * (x + kernels.PAD) + (y // 2 + 7) * x
        runs = min(tiles, pieces_of(math.prod(packed.shape), self.threads))
        if runs <= 1:
            task(0, tiles, self.scratch.of("room", (room,)))
            return
        cost = packed.offsets + np.arange(tiles + 1) * 4
        cuts = np.unique(np.searchsorted(cost, np.linspace(0, cost[-1], runs + 1)[1:-1]))
        bounds = [0, *(int(c) for c in cuts if 0 < c < tiles), tiles]

        def job(k: int) -> None:
            task(bounds[k], bounds[k + 1], self.scratch.of("room", (room,)))

        run_in_pool(self.threads, job, len(bounds) - 1)

    def render(self, packed: Packed, out: F32 | None = None, *, over: bool = False) -> F32:
        """Sum of the primitives, float32 [Z, Y, X]; ``over`` on top of what is in ``out``."""
        result = np.empty(packed.shape, np.float32) if out is None else out
        self._run(packed, lambda a, b, room: kernels.render(packed.box, a, b, over, room, result))
        return result

    def jvp(self, packed: Packed, direction: F32, out: F32 | None = None, *, over: bool = False) -> F32:
        """Directional derivative, float32 [Z, Y, X], along a table float32 [N, DIRECTION_COLUMNS]."""
        result = np.empty(packed.shape, np.float32) if out is None else out
        table = np.ascontiguousarray(direction, np.float32)
        self._run(packed, lambda a, b, room: kernels.jvp(packed.box, a, b, table, over, room, result))
        return result

    def residual(self, packed: Packed, target: F32, saturated: U8 | None, out: F32) -> float:
        """The sum of the primitives less a target, into ``out``; 0 where decoding clamps.

        Parameters
        ----------
        packed : Packed
        target : float32 [Z, Y, X]
        saturated : uint8 [Z, Y, X] or None
            Where a voxel is 1, no value below it is an error; where it is 2, none above.
        out : float32 [Z, Y, X]

        Returns
        -------
        float
            The sum of its squares.
        """
        return self._residual(packed, target, saturated, out, None, None)

    def residual_and_moments(
        self, packed: Packed, target: F32, saturated: U8 | None, out: F32
    ) -> tuple[float, F64]:
        """`residual`, and the `vjp_moments` of what it leaves, tile by tile while that is at hand."""
        parts = self._parts(packed)
        return self._residual(packed, target, saturated, out, None, parts), gathered(packed, parts)

    def _residual(
        self,
        packed: Packed,
        target: F32,
        saturated: U8 | None,
        out: F32,
        coarse: F32 | None,
        parts: F32 | None,
    ) -> float:
        squares = np.empty(packed.tiles, np.float64)
        self._run(
            packed,
            lambda a, b, room: kernels.residual(
                packed.box, a, b, coarse, target, saturated, room, out, squares, parts
            ),
        )
        return float(squares.sum())

    def _parts(self, packed: Packed) -> F32:
        """Room for the moments of each entry of the lists."""
        return self.scratch.of("parts", (len(packed.ids), kernels.MOMENTS))

    def subtract(self, packed: Packed, field: F32) -> None:
        """Take the sum of the primitives off a field [Z, Y, X]."""
        self._subtract(packed, field, None)

    def _subtract(self, packed: Packed, field: F32, coarse: F32 | None) -> None:
        self._run(packed, lambda a, b, room: kernels.subtract(packed.box, a, b, coarse, room, field))

    def curvature(self, packed: Packed, direction: F32, residual: F32, saturated: U8 | None) -> float:
        """The sum of the squares of the directional derivative, without the voxels that decoding clamps.

        Parameters
        ----------
        packed : Packed
        direction : float32 [N, DIRECTION_COLUMNS]
        residual : float32 [Z, Y, X]
            As `residual` left it.
        saturated : uint8 [Z, Y, X] or None
        """
        return self._curvature(packed, direction, residual, saturated, None)

    def _curvature(
        self, packed: Packed, direction: F32, residual: F32, saturated: U8 | None, coarse: F32 | None
    ) -> float:
        squares = np.empty(packed.tiles, np.float64)
        table = np.ascontiguousarray(direction, np.float32)
        self._run(
            packed,
            lambda a, b, room: kernels.curvature(
                packed.box, a, b, table, coarse, residual, saturated, room, squares
            ),
        )
        return float(squares.sum())

    def vjp_moments(self, packed: Packed, residual: F32) -> F64:
        """Moments of ``residual`` [Z, Y, X] under each primitive, float64 [N, kernels.MOMENTS]."""
        parts = self._parts(packed)
        self._run(packed, lambda a, b, room: kernels.moments(packed.box, a, b, residual, room, parts))
        return gathered(packed, parts)


def gathered(packed: Packed, parts: F32) -> F64:
    """The moments of each entry of the lists, summed for each primitive."""
    out = np.zeros((len(packed.gaussians), kernels.MOMENTS), np.float64)
    kernels.gather(packed.ids, len(out), parts, out)
    return out


def _doubles(values: npt.NDArray[Any]) -> F64:
    return np.ascontiguousarray(values, np.float64)
