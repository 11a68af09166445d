"""Passes over whole blocks of voxels on a device, as `fit.voxels` and `fit.candidates` do on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .device import Device

_DOT_BLOCKS = 1024
_THREADS = 256


class Fields:
    """Operations on float32 arrays [Z, Y, X] of a device."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def _blocks(self, n: int) -> int:
        return -(-n // _THREADS)

    def dot(self, a: Any, b: Any) -> Any:
        """Sum of products, a float64 array [] of the device; always added in the same order."""
        d = self.device
        with d.active():
            parts = d.xp.empty(min(_DOT_BLOCKS, self._blocks(a.size)), np.float64)
            d.launch("dot", len(parts), _THREADS, a, b, np.int64(a.size), parts)
            return parts.sum(keepdims=True).reshape(())

    def energy(
        self, field: Any, target: Any, weights: Any, lam: float, out: Any = None, saturated: Any = None
    ) -> Any:
        """<r, metric of r> for r = ``field`` - ``target`` (None for 0), float64 [] of the device: one pass.

        r is 0 where ``saturated`` (uint8 [Z, Y, X], None for nowhere; as in `refiner.Block`) says
        that decoding cuts it off. ``weights`` and ``lam`` as in `metric`. ``out`` takes r; it may be
        ``field`` where ``lam`` is 0.
        """
        if lam and out is field:
            raise ValueError("differences need the field as it was: another array for out")
        d = self.device
        with d.active():
            parts = d.xp.empty(min(_DOT_BLOCKS, self._blocks(field.size)), np.float64)
            given = (field, target, saturated, weights, np.float32(lam), *(np.int64(n) for n in field.shape))
            d.launch("energy", len(parts), _THREADS, *given, out, parts)
            return parts.sum(keepdims=True).reshape(())

    def copy_if(self, flag: Any, source: Any, target: Any) -> None:
        """Copy ``source`` to ``target`` (contiguous, of one size) unless ``flag`` int32 [1] is 0."""
        words = source.nbytes // 4
        self.device.launch("copy_if", self._blocks(words), _THREADS, flag, source, np.int64(words), target)

    def metric(self, field: Any, weights: Any, lam: float, out: Any) -> Any:
        """Weights (None for 1) times a field, plus ``lam`` times the Laplacian of its finite differences."""
        d = self.device
        sizes = [np.int64(n) for n in field.shape]
        d.launch("metric", self._blocks(field.size), _THREADS, field, weights, np.float32(lam), *sizes, out)
        return out

    def mask_saturated(self, field: Any, residual: Any, saturated: Any) -> None:
        """As `encoder.voxels.mask_saturated`."""
        n = field.size
        self.device.launch(
            "mask_saturated", self._blocks(n), _THREADS, residual, saturated, np.int64(n), field
        )

    def correlate(self, field: Any, taps: list[npt.NDArray[np.float32]]) -> Any:
        """Correlation with ``taps`` of odd length along z, y and x; zero outside the block."""
        d = self.device
        with d.active():
            for axis in (0, 1, 2):
                if len(taps[axis]) == 1 and taps[axis][0] == 1.0:
                    continue
                out = d.xp.empty(field.shape, np.float32)
                size, stride = _axis(field.shape, axis)
                mine = d.array(taps[axis], np.float32)
                given = (field, np.int64(field.size), np.int64(stride), np.int64(size), mine)
                radius = np.int32(len(taps[axis]) // 2)
                d.launch("correlate", self._blocks(field.size), _THREADS, *given, radius, out)
                field = out
            return field

    def halve(self, field: Any, axes: tuple[bool, bool, bool]) -> Any:
        """Means over pairs along the chosen axes; an odd last plane counts half."""
        d = self.device
        with d.active():
            for axis in (0, 1, 2):
                if not axes[axis]:
                    continue
                size, stride = _axis(field.shape, axis)
                shape = tuple(-(-n // 2) if k == axis else n for k, n in enumerate(field.shape))
                out = d.xp.empty(shape, np.float32)
                given = (field, np.int64(out.size), np.int64(stride), np.int64(size))
                d.launch("halve", self._blocks(out.size), _THREADS, *given, out)
                field = out
            return field

    def peaks(self, field: Any, norms: list[npt.NDArray[Any]], floor: float) -> Any:
        """Gain field^2 / norm at voxels above ``floor`` where no neighbour's field is larger, else 0."""
        d = self.device
        with d.active():
            out = d.xp.empty(field.shape, np.float32)
            sizes = [np.int64(n) for n in field.shape]
            given = (field, *sizes, *(d.array(v, np.float32) for v in norms), np.float32(floor))
            d.launch("peaks", self._blocks(field.size), _THREADS, *given, out)
            return out


def _axis(shape: tuple[int, ...], axis: int) -> tuple[int, int]:
    """Size of an axis, and voxels from one place on it to the next."""
    stride = 1
    for n in shape[axis + 1 :]:
        stride *= int(n)
    return int(shape[axis]), stride
