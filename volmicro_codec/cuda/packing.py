"""Primitives as the kernels take them: packed, relative to a box, and listed for the tiles they touch."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..device import parse_device
from ..errors import UsageError
from ..primitives import Primitives
from .device import Device, open_device

TILE = (8, 16, 16)
"""Voxels of a tile (z, y, x), as render.cu has it."""
COLUMNS = 16
MAX_AXIS = 1 << 30
"""Voxels of a box on one axis, so that what a kernel counts from the box fits 32 bits."""
_SCAN_ITEMS = 1024


@dataclass(frozen=True)
class Room:
    """Space that `CudaRasteriser.pack` takes without asking the device how much it needs.

    With it no step of a fit waits for the device; `Packed.fits` says afterwards whether it was enough.

    Attributes
    ----------
    entries : int
        (tile, primitive) pairs.
    items : int
        Runs of rows of supports that `vjp_moments` works on: about one a primitive, and one for each
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


class Packer:
    """Packs primitives for a box on a device.

    Parameters
    ----------
    cutoff : float
        C, the squared Mahalanobis distance at which the kernel is zero.
    device, threads
        As for `rasteriser.CudaRasteriser`.
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
        self._layouts: dict[tuple[int, ...], Any] = {}

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
            d.launch("pack_covariances", blocks_of(n, 128), 128, means, cov, weights, np.int64(n),
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
            d.launch("pack_floats", blocks_of(n, 128), 128, *floats.arrays, *box, anchors, table)
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
        d.launch("bin_count", blocks_of(32 * n, 256), 256, *args, counts)
        offsets = self._scan(counts)
        capacity = int(offsets[-1]) if room is None else room.entries
        ids = d.xp.empty(max(capacity, 1), np.int32)
        cursor = counts
        cursor[...] = offsets[:-1]
        d.launch("bin_fill", blocks_of(32 * n, 256), 256, *args, cursor, ids, np.int64(capacity))
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

    def items(self, packed: Packed) -> tuple[Any, int]:
        """First item of each primitive int64 [N + 1], and the room for items."""
        if packed.items is None:
            d, n = self.device, len(packed)
            counts = d.xp.empty(n, np.int64)
            d.launch(
                "count_items",
                blocks_of(n, 256),
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


def blocks_of(work: int, threads: int) -> int:
    """Blocks of ``threads`` that do so much work."""
    return -(-work // threads)
