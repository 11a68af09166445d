"""Principal axes of many 3 x 3 matrices: cyclic Jacobi, several times as fast as LAPACK one by one."""

from __future__ import annotations

import numpy as np
import torch

from ...native_encoder import coder

Tensor = torch.Tensor


def principal_axes(b: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values [N, 3] (in no order) and right singular vectors [N, 3 (which), 3] of ``b`` [N, 3, 3].

    Of the host, float64. By Jacobi's rotations of B'B: singular values under 1e-8 of the largest are not
    resolved. (On a device `cuda.axes` does it.)
    """
    matrices = np.ascontiguousarray(b.numpy())
    lengths, directions = np.empty((len(matrices), 3)), np.empty((len(matrices), 3, 3))
    coder.principal_axes(matrices, lengths, directions)
    return torch.from_numpy(lengths), torch.from_numpy(directions)
