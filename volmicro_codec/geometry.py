"""Rotations and covariances of Gaussians: quaternions to matrices and back, and how far an ellipsoid reaches.

Axes are in the order z, y, x everywhere, and a quaternion (w, i, j, k) stands for the standard rotation
matrix that acts on column vectors in that order (Shoemake 1985, "Animating rotation with quaternion curves").
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]


def rotation_matrices(rotations: npt.NDArray[Any]) -> F64:
    """R [N, 3, 3] of quaternions [N, 4] of any norm but 0 (spec, 8.1)."""
    q = rotations.astype(np.float64)
    q /= np.sqrt((q * q).sum(axis=1, keepdims=True))
    w, i, j, k = q.T
    rows = [
        [1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w)],
        [2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w)],
        [2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j)],
    ]
    out: F64 = np.moveaxis(np.array(rows), 2, 0)
    return out


def quaternions(matrices: npt.NDArray[Any]) -> F64:
    """Unit quaternions (w, i, j, k) [N, 4], w >= 0, of rotation matrices [N, 3, 3].

    By the largest of the four components, which is the safe one to divide by (Shepperd 1978, "Quaternion from
    rotation matrix").
    """
    m = np.asarray(matrices, np.float64)
    diagonal = np.stack([m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]], axis=1)
    trace = diagonal.sum(axis=1)
    # Four times the square of each component.
    squares = np.concatenate([1 + trace[:, None], 1 - trace[:, None] + 2 * diagonal], axis=1)
    best = squares.argmax(axis=1)
    products = np.empty((len(m), 4, 4))
    products[:, range(4), range(4)] = squares
    for a, b, c in ((1, 2, 3), (2, 3, 1), (3, 1, 2)):
        products[:, 0, a] = products[:, a, 0] = m[:, c - 1, b - 1] - m[:, b - 1, c - 1]
        products[:, b, c] = products[:, c, b] = m[:, b - 1, c - 1] + m[:, c - 1, b - 1]
    q = products[np.arange(len(m)), best]
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    out: F64 = np.where(q[:, :1] < 0, -q, q)
    return out


def half_widths(scales: npt.NDArray[Any], rotation: F64, cutoff: float) -> F64:
    """Half widths [N, 3] along z, y, x of the ellipsoids in which (x - mu)' Sigma^-1 (x - mu) < cutoff.

    Parameters
    ----------
    scales : [N, 3]
        Standard deviations along the principal axes.
    rotation : float64 [N, 3, 3]
        Principal axes as columns (`rotation_matrices`).
    cutoff : float
    """
    reach = (rotation * scales.astype(np.float64)[:, None, :]) ** 2
    widths: F64 = np.sqrt(cutoff * reach.sum(axis=2))
    return widths
