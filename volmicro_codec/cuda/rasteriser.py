"""The CUDA rasteriser: the methods of the CPU's, on arrays of a device, plus voxels in their final dtype."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..primitives import Primitives
from .device import Device, open_device, parse_device

TILE = (8, 16, 16)
"""Voxels of a tile (z, y, x), as render.cu has it."""
COLUMNS = 16
MOMENTS = 11
CURVATURES = 46
DIRECTION_COLUMNS = 10
MAX_AXIS = 1 << 30
"""Voxels of a box on one axis, so that what a kernel counts from the box fits 32 bits."""
_SCAN_ITEMS = 1024
_HALF_LOG2E = 0.5 * math.log2(math.e)


@dataclass(frozen=True)
class Room:
    """Space that `CudaRasteriser.pack` takes without asking the device how much it needs.

    With it no step of a fit waits for the device; `Packed.fits` says afterwards whether it was enough.

    Attributes
    ----------
    entries : int
        (tile, primitive) pairs.
    items : int
        Runs of rows of supports that `moments` works on: about one a primitive, and one for each
        16384 voxels of larger supports.
    """

    entries: int
    items: int


@dataclass
class Packed:
    """Primitives ready for the kernels, with the lists of which tiles they touch; arrays of the device.

    Attributes
    ----------
    anchors : int32 [N, 3], table : float32 [N, COLUMNS]
        As primitive.cuh has them, relative to the box.
    offsets : int64 [tiles + 1], ids : int32 [capacity]
        Primitive numbers, tile by tile, ascending inside a tile.
    layout : int32 [12]
        Shape, tile, phase and grid (z, y, x each).
    shape : (Z, Y, X)
    tiles : int
    capacity : int
        Length of ``ids``.
    from_host : bool
        Whether the primitives came from host arrays; results then go back to the host.
    """

    anchors: Any
    table: Any
    offsets: Any
    ids: Any
    layout: Any
    shape: tuple[int, int, int]
    tiles: int
    capacity: int
    from_host: bool
    room: Room | None = None
    items: tuple[Any, int] | None = field(default=None)

    def __len__(self) -> int:
        return int(self.anchors.shape[0])

    @property
    def lists(self) -> tuple[Any, ...]:
        """The first arguments of kernels that walk the tiles."""
        return self.anchors, self.table, self.offsets, self.ids, self.layout, np.int64(self.capacity)

    def fits(self) -> bool:
        """Whether the lists hold all entries; waits for the device."""
        need = int(self.offsets[-1])
        items = int(self.items[0][-1]) if self.items is not None else 0
        return need <= self.capacity and (self.items is None or items <= self.items[1])


@dataclass(frozen=True)
class DeviceFloats:
    """Primitives of a volume on the device, not yet bound to a box or grid.

    Attributes
    ----------
    anchors : int64 [N, 3]
        Nearest voxel to each centre.
    floats : float32 [N, 11]
        As a record, position relative to the anchor.
    """

    anchors: Any
    floats: Any

    @property
    def arrays(self) -> tuple[Any, Any, np.int64]:
        """The first arguments of kernels that read them."""
        return self.anchors, self.floats, np.int64(len(self))

    def __len__(self) -> int:
        return int(self.anchors.shape[0])


class CudaRasteriser:
    """Adds primitives into a box of voxels, and reduces a box of voxels to moments per primitive.

    A drop-in for `decode.cpu.CpuRasteriser`: host arrays in, host arrays out. Given arrays of the device
    (CuPy's, or any that speak DLPack) results stay there, in CuPy arrays, which speak DLPack too.
    Work goes to CuPy's current stream.

    Parameters
    ----------
    cutoff : float
        C, the squared Mahalanobis distance at which the kernel is zero.
    device : str, int or Device
        "auto", "cuda", "cuda:N" or N.
    threads : int, optional
        Of the host, for what a caller does there; kept for it, not used here.

    Raises
    ------
    DependencyError
        Where CuPy or the device is not there.
    UsageError
        For a device that is not CUDA's.
    """

    def __init__(
        self, cutoff: float, device: str | int | Device | None = "auto", threads: int | None = None
    ) -> None:
        if device is None or isinstance(device, str | int):
            kind, number = parse_device(device)
            if kind == "cpu":
                raise UsageError(f"device {device!r}: the CUDA rasteriser needs a CUDA device")
            device = open_device(number)
        self.device: Device = device
        self.cutoff = float(cutoff)
        self.threads = threads or os.cpu_count() or 1
        edge = math.exp(-0.5 * self.cutoff)
        self._cut = np.float32(self.cutoff * _HALF_LOG2E), np.float32(edge)  # reach and edge of primitive.cuh
        self._norm = np.float32(1.0 / (1.0 - edge))
        self._layouts: dict[tuple[int, ...], Any] = {}

    # -- primitives ------------------------------------------------------------------------------

    def pack(
        self, means: Any, cov: Any, weights: Any, shape: tuple[int, int, int], *, room: Room | None = None
    ) -> Packed:
        """Prepare primitives for a box.

        Parameters
        ----------
        means : float64 [N, 3]
            Relative to the box's first voxel.
        cov : float64 [N, 6]
            zz, zy, zx, yy, yx, xx of each covariance.
        weights : float64 [N]
        shape : (Z, Y, X)
        room : Room, optional
            Take this much space and do not wait for the device.
        """
        d = self.device
        with d.active():
            from_host = d.is_host(means)
            means, cov, weights = (d.array(v, np.float64) for v in (means, cov, weights))
            n = int(means.shape[0])
            anchors, table = d.xp.empty((n, 3), np.int32), d.xp.empty((n, COLUMNS), np.float32)
            d.launch("pack_covariances", _blocks(n, 128), 128, means, cov, weights, np.int64(n),
                     np.float64(self.cutoff), anchors, table)  # fmt: skip
            return self._bin(anchors, table, shape, TILE, (0, 0, 0), 0.0, from_host, room)

    def upload(self, prims: Primitives) -> DeviceFloats:
        """Primitives (volume coordinates) to the device."""
        nearest = np.rint(prims.means)
        floats = np.empty((len(prims), 11), np.float32)
        floats[:, :3] = prims.means - nearest
        floats[:, 3:6], floats[:, 6:10], floats[:, 10] = prims.scales, prims.rotations, prims.intensities
        return DeviceFloats(
            self.device.array(nearest.astype(np.int64), np.int64), self.device.array(floats, np.float32)
        )

    def expand(
        self, records: npt.NDArray[Any], chunk_first: npt.NDArray[Any], centres: npt.NDArray[Any]
    ) -> DeviceFloats:
        """Records to primitives, on the device.

        Parameters
        ----------
        records : structured [N] of `RECORD_DTYPE`, or uint16 [N, 11]
            Of all chunks, in order. Not checked: `primitives.check_records` does that.
        chunk_first : int64 [K + 1]
            First record of each chunk, and N.
        centres : int64 [K, 3]
            2 brick_lo + brick_shape - 1 of each chunk: twice its brick's centre.
        """
        d = self.device
        bits = np.ascontiguousarray(records).view(np.uint16).reshape(-1, 11)
        n = bits.shape[0]
        with d.active():
            anchors, floats = d.xp.empty((n, 3), np.int64), d.xp.empty((n, 11), np.float32)
            d.launch("expand_records", _blocks(n, 256), 256, d.array(bits, np.uint16), np.int64(n),
                     d.array(chunk_first, np.int64), d.array(centres, np.int64), np.int64(len(centres)),
                     anchors, floats)  # fmt: skip
            return DeviceFloats(anchors, floats)

    def pack_floats(
        self,
        floats: DeviceFloats,
        lo: tuple[int, int, int],
        shape: tuple[int, int, int],
        *,
        level: int = 0,
        tile: tuple[int, int, int] = TILE,
        margin: float = 0.0,
    ) -> Packed:
        """Prepare primitives for a box of the grid ``level`` (spec, 8.4) whose first voxel is ``lo``.

        Tiles lie as they do for the whole volume, so that voxels of a region have the bytes of the whole.
        """
        d, n = self.device, len(floats)
        with d.active():
            anchors, table = d.xp.empty((n, 3), np.int32), d.xp.empty((n, COLUMNS), np.float32)
            box = (np.int64(1 << level), *(np.int64(v) for v in lo), np.float64(self.cutoff))
            d.launch("pack_floats", _blocks(n, 128), 128, *floats.arrays, *box, anchors, table)
            phase = tuple(int(v) % t for v, t in zip(lo, tile, strict=True))
            return self._bin(anchors, table, shape, tile, phase, margin, False, None)

    def _bin(
        self,
        anchors: Any,
        table: Any,
        shape: tuple[int, int, int],
        tile: tuple[int, ...],
        phase: tuple[int, ...],
        margin: float,
        from_host: bool,
        room: Room | None,
    ) -> Packed:
        d, n = self.device, int(anchors.shape[0])
        size = (int(shape[0]), int(shape[1]), int(shape[2]))
        if not all(1 <= s <= MAX_AXIS for s in size):
            raise UsageError(f"box of {size} voxels: expected 1 to {MAX_AXIS} on each axis")
        grid = tuple(-(-(s + p) // t) for s, p, t in zip(size, phase, tile, strict=True))
        layout = self._layout((*size, *tile, *phase, *grid))
        tiles = math.prod(grid)
        args = (anchors, table, np.int64(n), layout, np.float32(margin))
        counts = d.xp.zeros(tiles, np.int64)
        d.launch("bin_count", _blocks(32 * n, 256), 256, *args, counts)
        offsets = self._scan(counts)
        capacity = int(offsets[-1]) if room is None else room.entries
        ids = d.xp.empty(max(capacity, 1), np.int32)
        cursor = counts
        cursor[...] = offsets[:-1]
        d.launch("bin_fill", _blocks(32 * n, 256), 256, *args, cursor, ids, np.int64(capacity))
        d.launch("sort_tiles", tiles, 256, offsets, ids, np.int64(capacity))
        return Packed(anchors, table, offsets, ids, layout, size, tiles, capacity, from_host, room)

    def _layout(self, numbers: tuple[int, ...]) -> Any:
        if numbers not in self._layouts:
            if len(self._layouts) >= 256:
                self._layouts.clear()
            self._layouts[numbers] = self.device.array(np.array(numbers, np.int32), np.int32)
        return self._layouts[numbers]

    def _scan(self, counts: Any) -> Any:
        """Exclusive prefix sums int64 [n + 1]."""
        d, n = self.device, int(counts.shape[0])
        runs = -(-n // _SCAN_ITEMS)
        out, sums = d.xp.empty(n + 1, np.int64), d.xp.empty(max(runs, 1), np.int64)
        d.launch("scan_runs", runs, 256, counts, np.int64(n), out, sums)
        d.launch("scan_sums", 1, 256, sums, np.int64(runs), out[n:])
        d.launch("scan_add", runs, 256, out, np.int64(n), sums)
        return out

    # -- voxels ----------------------------------------------------------------------------------

    def voxels(self, packed: Packed, base: float, gain: float, dtype: npt.DTypeLike, out: Any = None) -> Any:
        """Voxels as they are stored (spec, 8.3): [Z, Y, X] of uint8, uint16 or float32, on the device."""
        d, kind = self.device, np.dtype(dtype)
        with d.active():
            result = d.xp.empty(packed.shape, kind) if out is None else out
            mapping = np.float32(base), np.float32(gain)
            d.launch(f"render_{kind.name}", packed.tiles, 256, *packed.lists, *self._cut, *mapping, result)
            return result

    def render(self, packed: Packed, out: Any = None) -> Any:
        """Sum of the primitives, float32 [Z, Y, X] (overwrites ``out``)."""
        into = None if out is None or self.device.is_host(out) else self.device.array(out, np.float32)
        return self._back(packed, self.voxels(packed, 0.0, 1.0, np.float32, into), out)

    def slope(self, packed: Packed, direction: Any, out: Any = None) -> Any:
        """Directional derivative, float32 [Z, Y, X].

        Parameters
        ----------
        packed : Packed
        direction : float32 [N, DIRECTION_COLUMNS]
            dw, then -dq/2 = l.d + d'Q d as lz, ly, lx, zz, zy, zx, yy, yx, xx.
        out : float32 [Z, Y, X], optional
            Overwritten.
        """
        d = self.device
        with d.active():
            way = d.array(direction, np.float32)
            _expect("direction", way, (len(packed), DIRECTION_COLUMNS))
            keep = out is not None and not d.is_host(out)
            result = d.array(out, np.float32) if keep else d.xp.empty(packed.shape, np.float32)
            d.launch("slope", packed.tiles, 256, *packed.lists, *self._cut, self._norm, way, result)
            return self._back(packed, result, out)

    def _back(self, packed: Packed, result: Any, out: Any) -> Any:
        if out is None:
            return self.device.host(result) if packed.from_host else result
        if self.device.is_host(out):
            out[...] = self.device.host(result)
        return out

    # -- what the fit needs ----------------------------------------------------------------------

    def moments(self, packed: Packed, residual: Any) -> Any:
        """Moments of ``residual`` float32 [Z, Y, X] under each primitive, float64 [N, MOMENTS].

        Columns as in `decode.kernels`: sum r (g - edge), then sum r g (1, z, y, x, zz, zy, zx, yy, yx, xx).
        """
        return self._reduce("moments", packed, residual, MOMENTS)

    def curvature(self, packed: Packed, weights: Any = None) -> Any:
        """Sums of which the blocks of J'J are made, float64 [N, CURVATURES]; see `curvature.normal_blocks`.

        ``weights`` float32 [Z, Y, X] are those of the squared error; None is 1 everywhere.
        """
        return self._reduce("curvature", packed, weights, CURVATURES)

    def _reduce(self, kernel: str, packed: Packed, field: Any, columns: int) -> Any:
        d, n = self.device, len(packed)
        with d.active():
            if field is not None:
                field = d.array(field, np.float32)
                _expect(kernel, field, packed.shape)
            first, capacity = self._items(packed)
            parts = d.xp.empty((max(capacity, 1), columns), np.float32)
            blocks = min(_blocks(32 * capacity, 128), 16 * d.processors)
            d.launch(kernel, blocks, 128, packed.anchors, packed.table, np.int64(n), first, packed.layout,
                     np.int64(capacity), *self._cut, field, parts)  # fmt: skip
            out = d.xp.empty((n, columns), np.float64)
            sizes = np.int64(n), np.int32(columns), np.int64(capacity)
            d.launch("sum_items", _blocks(n * columns, 256), 256, first, *sizes, parts, out)
            return d.host(out) if packed.from_host else out

    def _items(self, packed: Packed) -> tuple[Any, int]:
        """First item of each primitive int64 [N + 1], and the room for items."""
        if packed.items is None:
            d, n = self.device, len(packed)
            counts = d.xp.empty(n, np.int64)
            d.launch(
                "count_items",
                _blocks(n, 256),
                256,
                packed.anchors,
                packed.table,
                np.int64(n),
                packed.layout,
                counts,
            )
            first = self._scan(counts)
            packed.items = first, int(first[-1]) if packed.room is None else packed.room.items
        return packed.items

    # -- points ----------------------------------------------------------------------------------

    def sample_packed(self, packed: Packed, points: Any, base: float = 0.0, gain: float = 1.0) -> Any:
        """Values float32 [M] at points float64 [M, 3] relative to the box, packed with a margin of 1."""
        d = self.device
        with d.active():
            points = d.array(points, np.float64)
            m = int(points.shape[0])
            out = d.xp.empty(m, np.float32)
            mapping = np.float32(base), np.float32(gain)
            given = (*packed.lists, *self._cut, *mapping, points, np.int64(m), out)
            d.launch("sample_tiles", _blocks(m, 128), 128, *given)
            return out

    def sample_nearest(
        self, packed: Packed, points: Any, nearest: Any, base: float = 0.0, gain: float = 1.0
    ) -> Any:
        """Values float32 [M] at points, of the primitives ``nearest`` int64 [M, k] alone (-1 for none)."""
        d = self.device
        with d.active():
            points, nearest = d.array(points, np.float64), d.array(nearest, np.int64)
            m, k = int(points.shape[0]), int(nearest.shape[1])
            out = d.xp.empty(m, np.float32)
            given = (packed.anchors, packed.table, nearest, np.int32(k), *self._cut)
            mapping = np.float32(base), np.float32(gain)
            d.launch("sample_nearest", _blocks(m, 128), 128, *given, *mapping, points, np.int64(m), out)
            return out


def _blocks(work: int, threads: int) -> int:
    return -(-work // threads)


def _expect(what: str, array: Any, shape: tuple[int, ...]) -> None:
    if tuple(array.shape) != tuple(shape):
        raise UsageError(f"{what}: expected an array of shape {tuple(shape)}, got {tuple(array.shape)}")
