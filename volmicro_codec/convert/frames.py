"""Gaussians from one coordinate frame to another: order of axes, steps that differ by axis, quaternions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..geometry import quaternions, rotation_matrices

F64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]


def reversed_axes(means: Array, scales: Array, rotations: Array) -> tuple[F64, F64, F64]:
    """The same Gaussians with their axes in the opposite order: z, y, x to x, y, z and back.

    Parameters
    ----------
    means : [N, 3]
    scales : [N, 3]
    rotations : [N, 4]
        Quaternions (w, i, j, k) that act on column vectors in the order of ``means``.
    """
    # Reversal is a reflection, so the axis of a rotation is reversed and negated.
    w, i, j, k = np.asarray(rotations, np.float64).T
    turned = np.stack([w, -k, -j, -i], axis=1)
    return np.asarray(means, np.float64)[:, ::-1], np.asarray(scales, np.float64)[:, ::-1], turned


def stretched(scales: Array, rotations: Array, factors: tuple[float, float, float]) -> tuple[F64, F64]:
    """Scales and rotations after every axis k has been multiplied by ``factors[k]``.

    Parameters
    ----------
    scales : [N, 3]
        Standard deviations.
    rotations : [N, 4]
        Quaternions (w, i, j, k).
    factors : three float
        Positive.

    Returns
    -------
    scales : float64 [N, 3]
    rotations : float64 [N, 4]
        Of norm 1.
    """
    s = np.asarray(scales, np.float64)
    q = np.asarray(rotations, np.float64)
    if factors[0] == factors[1] == factors[2]:
        return s * factors[0], q / np.linalg.norm(q, axis=1, keepdims=True)
    if len(s) == 0:
        return s, q
    roots = np.asarray(factors, np.float64)[:, None] * rotation_matrices(q) * s[:, None, :]
    axes, lengths, _ = np.linalg.svd(roots)
    axes[np.linalg.det(axes) < 0] *= -1
    return lengths, quaternions(axes)
