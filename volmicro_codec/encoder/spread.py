"""Principal axes of fitted Gaussians, as the record holds them: three scales and a quaternion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .model import Model

F64 = npt.NDArray[np.float64]


def principal(model: Model) -> tuple[F64, F64]:
    """Scales [N, 3] and quaternions [N, 4] (w, i, j, k) with R S S R' = B B'."""
    if not len(model):
        return np.zeros((0, 3)), np.zeros((0, 4))
    sigma = (model.B @ model.B.transpose(1, 2)).numpy()
    values, vectors = np.linalg.eigh(sigma)
    vectors = vectors * np.where(np.linalg.det(vectors) < 0, -1.0, 1.0)[:, None, None]
    return np.sqrt(np.maximum(values, 1e-12)), quaternions(vectors)


def quaternions(r: F64) -> F64:
    """Unit quaternions [N, 4] (w, i, j, k) of rotation matrices [N, 3, 3], the largest component positive."""
    d = np.einsum("nii->ni", r)
    four = np.stack(
        [
            1 + d[:, 0] + d[:, 1] + d[:, 2],
            1 + d[:, 0] - d[:, 1] - d[:, 2],
            1 - d[:, 0] + d[:, 1] - d[:, 2],
            1 - d[:, 0] - d[:, 1] + d[:, 2],
        ],
        axis=1,
    )
    s0, s1, s2 = r[:, 2, 1] - r[:, 1, 2], r[:, 0, 2] - r[:, 2, 0], r[:, 1, 0] - r[:, 0, 1]
    a01, a02, a12 = r[:, 0, 1] + r[:, 1, 0], r[:, 0, 2] + r[:, 2, 0], r[:, 1, 2] + r[:, 2, 1]
    rows = np.stack(
        [
            np.stack([four[:, 0], s0, s1, s2], 1),
            np.stack([s0, four[:, 1], a01, a02], 1),
            np.stack([s1, a01, four[:, 2], a12], 1),
            np.stack([s2, a02, a12, four[:, 3]], 1),
        ],
        axis=1,
    )
    best = np.argmax(four, axis=1)
    q = rows[np.arange(len(r)), best]
    return np.asarray(q / np.linalg.norm(q, axis=1, keepdims=True))
