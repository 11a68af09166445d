"""The steps of a fit on a device: as libvgm/encoder/steps.c takes them on the host, one thread a Gaussian.

Arrays are the device's, or such as speak DLPack there: mu float64 [N, 3], b float64 [N, 3, 3], w float64 [N],
steps float64 [N, STEP], free uint8 [N, STEP] or None for all. Nothing waits for the device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .device import Device

STEP = 10
_THREADS = 128


class Steps:
    """Steps within some bounds.

    Parameters
    ----------
    device : Device
    widths : (float, float)
        Least and most that an axis may have.
    constants : sequence of float
        Damping; of a bound, what is at the least, what is at the most, what may be at either; the worst
        condition of a matrix; of a gradient, what is rounding: libvgm's (`libvgm/encoder/steps.h`).
    """

    def __init__(self, device: Device, widths: tuple[float, float], constants: tuple[float, ...]) -> None:
        self.device = device
        self._rules = device.array(np.array([*widths, *constants], np.float64), np.float64)

    def gradient(self, b: Any, w: Any, moments: Any, norm: float, added: Any = None, free: Any = None) -> Any:
        """Gradient of half the squared residual by its moments [N, 11], ``added`` [N, STEP] to it."""
        more = np.float64(norm), self._or_none(added), self._or_none(free, np.uint8)
        return self._launch("step_gradient", self._all(b, w, moments), *more)

    def precondition(
        self, b: Any, w: Any, gradient: Any, floor: float, bounded: bool, free: Any = None
    ) -> Any:
        """The gradient times the inverse of each Gaussian's own Gauss-Newton block."""
        more = np.float64(floor), np.int32(bounded), self._rules, self._or_none(free, np.uint8)
        return self._launch("step_precondition", self._all(b, w, gradient), *more)

    def hold(self, b: Any, steps: Any, free: Any = None) -> Any:
        """Steps without what would take an axis past a bound that it is at already."""
        free = self._or_none(free, np.uint8)
        return self._launch("step_hold", self._all(b, steps), self._rules, free)

    def clear(self, b: Any, tables: Any, gradients: bool) -> Any:
        """Steps [K, N, STEP], or gradients, without what changes the width of an axis that is at a bound."""
        d = self.device
        b, tables = self._all(b, tables)
        count, n = int(tables.shape[0]), int(b.shape[0])
        with d.active():
            out = d.xp.empty((count, n, STEP), np.float64)
            more = np.int64(n), np.int64(count), np.int32(gradients), self._rules, out
            d.launch("step_clear", -(-n // _THREADS), _THREADS, b, tables, *more)
            return out

    def between(self, old: tuple[Any, Any, Any], new: tuple[Any, Any, Any], free: Any = None) -> Any:
        """The step from (mu, b, w) to another, to the second order of E."""
        given, d = self._all(*old, *new), self.device
        n, free = int(given[1].shape[0]), self._or_none(free, np.uint8)
        with d.active():
            out = d.xp.empty((n, STEP), np.float64)
            d.launch("step_between", -(-n // _THREADS), _THREADS, *given, np.int64(n), free, out)
            return out

    def table(self, b: Any, steps: Any) -> Any:
        """A step as the table that `CudaRasteriser.jvp` takes, float32 [N, STEP]."""
        return self._launch("step_table", self._all(b, steps), dtype=np.float32)

    def moved(
        self, mu: Any, b: Any, w: Any, steps: Any, alpha: Any, shapes: bool, free: Any = None
    ) -> tuple[Any, Any, Any]:
        """(mu, b, w) after ``alpha`` float64 [1] times a step; without ``shapes`` b stays."""
        d, n = self.device, int(steps.shape[0])
        with d.active():
            out = tuple(d.xp.empty(shape, np.float64) for shape in ((n, 3), (n, 3, 3), (n,)))
            given = (*self._all(mu, b, w, steps), np.int64(n), *self._all(alpha), np.int32(shapes))
            free = self._or_none(free, np.uint8)
            d.launch("step_move", -(-n // _THREADS), _THREADS, *given, self._rules, free, *out)
            return out[0], out[1], out[2]

    def _all(self, *arrays: Any) -> list[Any]:
        return [self.device.array(a, np.float64) for a in arrays]

    def _or_none(self, array: Any, dtype: Any = np.float64) -> Any:
        return None if array is None else self.device.array(array, dtype)

    def _launch(self, kernel: str, given: list[Any], *more: Any, dtype: Any = np.float64) -> Any:
        d, n = self.device, int(given[0].shape[0])
        with d.active():
            out = d.xp.empty((n, STEP), dtype)
            d.launch(kernel, -(-n // _THREADS), _THREADS, *given, np.int64(n), *more, out)
            return out


def covariances(device: Device, b: Any) -> Any:
    """zz, zy, zx, yy, yx, xx of each covariance B B', float64 [N, 6], of b float64 [N, 3, 3]."""
    with device.active():
        b = device.array(b, np.float64)
        n = int(b.shape[0])
        out = device.xp.empty((n, 6), np.float64)
        device.launch("step_covariances", -(-n // _THREADS), _THREADS, b, np.int64(n), out)
        return out


def principal_axes(device: Device, b: Any) -> tuple[Any, Any]:
    """Singular values and right singular vectors of matrices.

    Parameters
    ----------
    device : Device
    b : float64 [N, 3, 3]
        Of the device (or what speaks DLPack there). Non-finite ones give anything.

    Returns
    -------
    (float64 [N, 3], float64 [N, 3, 3])
        Of the device: descending values, and the vectors as rows.
    """
    with device.active():
        b = device.array(b, np.float64)
        n = int(b.shape[0])
        values, axes = device.xp.empty((n, 3), np.float64), device.xp.empty((n, 3, 3), np.float64)
        device.launch("principal_axes", -(-n // _THREADS), _THREADS, b, np.int64(n), values, axes)
        return values, axes
