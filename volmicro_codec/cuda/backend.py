"""Evaluates blocks of an open file's voxels on a CUDA device, in slabs whose copies out overlap the work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..primitives import Primitives
from .device import Device
from .packing import TILE, DeviceFloats
from .rasteriser import CudaRasteriser

if TYPE_CHECKING:
    from ..decoder.block import Block, BlockPrimitives
    from ..decoder.select import Grid

SLAB_BYTES = 64 << 20
"""Voxels of a slab: two lie on the device and two in pinned host memory at a time."""

Box = tuple[int, int, int]


class CudaBackend:
    """As `decoder.backend.CpuBackend`, on a CUDA device.

    Parameters
    ----------
    cutoff : float
    device : str, int or Device
        "auto", "cuda", "cuda:N" or N.

    Raises
    ------
    DependencyError
        Where CuPy or the device is not there.
    """

    def __init__(
        self, cutoff: float, device: str | int | Device | None = "auto", slab_bytes: int = SLAB_BYTES
    ) -> None:
        self.rasteriser = CudaRasteriser(cutoff, device)
        self.slab_bytes = slab_bytes

    @property
    def name(self) -> str:
        """ "cuda:0", ..."""
        return self.rasteriser.device.name

    def evaluate(
        self,
        primitives: BlockPrimitives,
        grid: Grid,
        block: Block,
        base: float,
        gain: float,
        out: npt.NDArray[Any],
        pitch: npt.NDArray[np.int64],
    ) -> None:
        """Write the voxels that ``block`` wants into ``out``; as in `decoder.backend.Backend`."""
        lo, step, count = (_three(a) for a in (block.lo, block.step, block.count))
        size = _three([(n - 1) * s + 1 for n, s in zip(count, step, strict=True)])
        strides = (int(pitch[0]) * out.itemsize, int(pitch[1]) * out.itemsize, out.itemsize)
        target = np.lib.stride_tricks.as_strided(out[int(pitch[2]) :], count, strides)
        prims = self.rasteriser.upload(Primitives.concatenate(list(primitives.parts)))
        self.fill(prims, grid.level, lo, size, base, gain, _Strided(target, step))

    def fill(
        self, prims: DeviceFloats, level: int, lo: Box, shape: Box, base: float, gain: float, into: _Strided
    ) -> None:
        """Evaluate a box of the grid ``level`` slab by slab."""
        raster, device, kind = self.rasteriser, self.rasteriser.device, into.target.dtype
        plane = shape[1] * shape[2] * kind.itemsize
        room = max(plane, min(self.slab_bytes, device.free_bytes() // 8))
        planes = min(shape[0], room // plane)
        if planes < shape[0] and planes > TILE[0]:
            planes -= planes % TILE[0]
        nbytes = planes * plane
        with device.active():
            slots = 1 if planes == shape[0] else 2
            buffers = [device.xp.empty(planes * shape[1] * shape[2], kind) for _ in range(slots)]
            pinned = [device.pinned(nbytes) for _ in range(slots)]
            under_way: list[tuple[Any, int, int] | None] = [None] * slots

            def collect(slot: int) -> None:
                job = under_way[slot]
                if job is None:
                    return
                token, first, n = job
                device.wait(token)
                into.put(first, pinned[slot][: n * plane].view(kind).reshape(n, shape[1], shape[2]))
                under_way[slot] = None

            cuts = _cuts(lo[0], shape[0], planes)
            for k, (first, n) in enumerate(cuts):
                slot = k % slots
                collect(slot)
                part = (n, shape[1], shape[2])
                packed = raster.pack_floats(prims, (lo[0] + first, lo[1], lo[2]), part, level=level)
                voxels = buffers[slot][: n * shape[1] * shape[2]].reshape(part)
                raster.voxels(packed, base, gain, kind, voxels)
                under_way[slot] = device.copy_out(voxels, pinned[slot][: n * plane]), first, n
            for k in range(len(cuts), len(cuts) + slots):
                collect(k % slots)

    def decode(
        self,
        prims: Primitives,
        shape: Box,
        base: float,
        gain: float,
        dtype: npt.DTypeLike,
        *,
        lo: Box = (0, 0, 0),
        level: int = 0,
    ) -> npt.NDArray[Any]:
        """Voxels [Z, Y, X] of a box of primitives in volume coordinates, as large as the host can hold."""
        out = np.empty(shape, dtype)
        self.fill(self.rasteriser.upload(prims), level, lo, shape, base, gain, _Strided(out, (1, 1, 1)))
        return out


class _Strided:
    """A host array [Z, Y, X] that takes every ``step``-th voxel of slabs of a box."""

    def __init__(self, target: npt.NDArray[Any], step: Box) -> None:
        self.target = target
        self.step = step

    def put(self, first: int, slab: npt.NDArray[Any]) -> None:
        """Take what is wanted of a slab whose first plane is plane ``first`` of the box."""
        sz, sy, sx = self.step
        a, b = -(-first // sz), -(-(first + slab.shape[0]) // sz)
        if a < b:
            self.target[a:b] = slab[a * sz - first :: sz, ::sy, ::sx]


def _three(values: Iterable[Any]) -> Box:
    z, y, x = (int(v) for v in values)
    return z, y, x


def _cuts(lo: int, planes: int, most: int) -> list[tuple[int, int]]:
    """(first, planes) of slabs of at most ``most`` planes, cut where tiles end if a slab holds one."""
    cuts, at = [], 0
    while at < planes:
        end = min(planes, at + most)
        aligned = (lo + end) // TILE[0] * TILE[0] - lo
        if end < planes and aligned > at:
            end = aligned
        cuts.append((at, end - at))
        at = end
    return cuts
