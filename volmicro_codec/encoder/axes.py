"""Principal axes of many 3 x 3 matrices: cyclic Jacobi, several times as fast as LAPACK one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from ..jit import njit

Tensor = torch.Tensor
SWEEPS = 12  # of which few are run: it ends when the off-diagonal is nothing beside the diagonal


@njit(cache=True, nogil=True)
def _axes(b: Any, lengths: Any, directions: Any) -> None:  # pragma: no cover - compiled
    s, v = np.empty((3, 3)), np.empty((3, 3))
    for n in range(b.shape[0]):
        for i in range(3):
            for j in range(3):
                s[i, j] = b[n, 0, i] * b[n, 0, j] + b[n, 1, i] * b[n, 1, j] + b[n, 2, i] * b[n, 2, j]
                v[i, j] = 1.0 if i == j else 0.0
        for _ in range(SWEEPS):
            off = s[0, 1] * s[0, 1] + s[0, 2] * s[0, 2] + s[1, 2] * s[1, 2]
            if not off > 1e-30 * (s[0, 0] * s[0, 0] + s[1, 1] * s[1, 1] + s[2, 2] * s[2, 2]):
                break
            for p in range(2):
                for q in range(p + 1, 3):
                    if s[p, q] == 0.0:
                        continue
                    theta = 0.5 * (s[q, q] - s[p, p]) / s[p, q]
                    t = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
                    if theta < 0.0:
                        t = -t
                    c = 1.0 / math.sqrt(t * t + 1.0)
                    d = t * c
                    for k in range(3):
                        x, y = s[k, p], s[k, q]
                        s[k, p], s[k, q] = c * x - d * y, d * x + c * y
                    for k in range(3):
                        x, y = s[p, k], s[q, k]
                        s[p, k], s[q, k] = c * x - d * y, d * x + c * y
                        x, y = v[k, p], v[k, q]
                        v[k, p], v[k, q] = c * x - d * y, d * x + c * y
        for k in range(3):
            lengths[n, k] = math.sqrt(max(s[k, k], 0.0))
            for i in range(3):
                directions[n, k, i] = v[i, k]


def principal_axes(b: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values [N, 3] (in no order) and right singular vectors [N, 3 (which), 3] of ``b`` [N, 3, 3].

    Of the host, float64. By Jacobi's rotations of B'B: singular values under 1e-8 of the largest are not
    resolved. (On a device `cuda.axes` does it.)
    """
    matrices = b.numpy()
    out = np.empty((len(matrices), 3)), np.empty((len(matrices), 3, 3))
    _axes(matrices, *out)
    return torch.from_numpy(out[0]), torch.from_numpy(out[1])
