"""Principal axes of fitted Gaussians, as the record holds them: three scales and a quaternion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...geometry import quaternions
from ..fit.gaussians import PAIRS, Model

F64 = npt.NDArray[np.float64]


def principal(model: Model) -> tuple[F64, F64]:
    """Scales [N, 3] and quaternions [N, 4] (w, i, j, k) with R S S R' = B B'."""
    if not len(model):
        return np.zeros((0, 3)), np.zeros((0, 4))
    sigma = np.empty((len(model), 3, 3))
    for (i, j), covariance in zip(PAIRS, model.covariance6().T, strict=True):
        sigma[:, i, j] = sigma[:, j, i] = covariance
    values, vectors = np.linalg.eigh(sigma)
    vectors = vectors * np.where(np.linalg.det(vectors) < 0, -1.0, 1.0)[:, None, None]
    return np.sqrt(np.maximum(values, 1e-12)), quaternions(vectors)
