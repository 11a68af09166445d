"""Principal axes of many Gaussians at once, where they lie: no look at the device is needed for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .device import Device

_THREADS = 128


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
