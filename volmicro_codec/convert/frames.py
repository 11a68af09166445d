"""Gaussians from one coordinate frame to another: order of axes, steps that differ by axis, quaternions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..decoder.oracle import rotation_matrices

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


def quaternions(matrices: Array) -> F64:
    """Quaternions (w, i, j, k) [N, 4], w >= 0, of rotation matrices [N, 3, 3]."""
    m = np.asarray(matrices, np.float64)
    diagonal = np.stack([m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]], axis=1)
    trace = diagonal.sum(axis=1)
    # Four times the square of each part; the largest is the safe one to divide by.
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
