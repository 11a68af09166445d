"""The CUDA rasteriser: the methods of the CPU's, on arrays of a device, plus voxels in their final dtype."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .device import Device
from .packing import Packed, Packer, blocks_of

MOMENTS = 11
DIRECTION_COLUMNS = 10
_HALF_LOG2E = 0.5 * math.log2(math.e)


class CudaRasteriser(Packer):
    """Adds primitives into a box of voxels, and reduces a box of voxels to moments per primitive.

    A drop-in for `raster.rasteriser.CpuRasteriser`: host arrays in, host arrays out. Given arrays of the
    device (CuPy's, or any that speak DLPack) results stay there, in CuPy arrays, which speak DLPack too.
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
        super().__init__(cutoff, device, threads)
        edge = math.exp(-0.5 * self.cutoff)
        self._cut = np.float32(self.cutoff * _HALF_LOG2E), np.float32(edge)  # reach and edge of primitive.cuh
        self._norm = np.float32(1.0 / (1.0 - edge))

    # -- voxels ----------------------------------------------------------------------------------

    def voxels(self, packed: Packed, base: float, gain: float, dtype: npt.DTypeLike, out: Any = None) -> Any:
        """Voxels as they are stored (spec, 8.3): [Z, Y, X] of a dtype of the format, on the device."""
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

    def jvp(self, packed: Packed, direction: Any, out: Any = None) -> Any:
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

    def vjp_moments(self, packed: Packed, residual: Any) -> Any:
        """Moments of ``residual`` float32 [Z, Y, X] under each primitive, float64 [N, MOMENTS].

        Columns as in `raster.kernels`: sum r (g - edge), then sum r g (1, z, y, x, zz, zy, zx, yy, yx, xx).
        """
        return self._reduce("moments", packed, residual, MOMENTS)

    def _reduce(self, kernel: str, packed: Packed, field: Any, columns: int) -> Any:
        d, n = self.device, len(packed)
        with d.active():
            if field is not None:
                field = d.array(field, np.float32)
                _expect(kernel, field, packed.shape)
            first, capacity = self.items(packed)
            parts = d.xp.empty((max(capacity, 1), columns), np.float32)
            blocks = min(blocks_of(32 * capacity, 128), 16 * d.processors)
            d.launch(kernel, blocks, 128, packed.anchors, packed.table, np.int64(n), first, packed.layout,
                     np.int64(capacity), *self._cut, field, parts)  # fmt: skip
            out = d.xp.empty((n, columns), np.float64)
            sizes = np.int64(n), np.int32(columns), np.int64(capacity)
            d.launch("sum_items", blocks_of(n * columns, 256), 256, first, *sizes, parts, out)
            return d.host(out) if packed.from_host else out

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
            d.launch("sample_tiles", blocks_of(m, 128), 128, *given)
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
            d.launch("sample_nearest", blocks_of(m, 128), 128, *given, *mapping, points, np.int64(m), out)
            return out


def _expect(what: str, array: Any, shape: tuple[int, ...]) -> None:
    if tuple(array.shape) != tuple(shape):
        raise UsageError(f"{what}: expected an array of shape {tuple(shape)}, got {tuple(array.shape)}")
