"""The reference: the formulas of the specification in plain numpy float64, in the order it gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..geometry import half_widths, rotation_matrices
from ..primitives import F64, Primitives


def widened(prims: Primitives, level: int) -> tuple[F64, F64]:
    """Standard deviations [N, 3] and weights [N] on the grid ``level`` (spec, 8.4).

    Sigma + v I has the axes of Sigma, so widening adds v to each squared scale.
    """
    s = prims.scales.astype(np.float64)
    weights = prims.intensities.astype(np.float64)
    if level == 0:
        return s, weights
    wide = np.sqrt(s * s + (4.0**level - 1) / 12)
    return wide, weights * np.prod(s / wide, axis=1)


def at_points(prims: Primitives, cutoff: float, points: npt.ArrayLike, level: int = 0) -> F64:
    """Sum of w k(q) at points.

    Parameters
    ----------
    prims : Primitives
    cutoff : float
    points : [M, 3]
        (z, y, x), real coordinates of the full grid.
    level : int
        Widen the primitives for this grid; the points are still those of the full grid.

    Returns
    -------
    float64 [M]
    """
    points = np.asarray(points, np.float64)
    scales, weights = widened(prims, level)
    rotation = rotation_matrices(prims.rotations)
    edge = np.exp(-cutoff / 2)
    total = np.zeros(points.shape[0])
    for i in range(len(prims)):
        along = (points - prims.means[i]) @ rotation[i] / scales[i]
        q = (along * along).sum(axis=1)
        total += weights[i] * np.where(q < cutoff, (np.exp(-q / 2) - edge) / (1 - edge), 0.0)
    return total


def render(prims: Primitives, cutoff: float, lo: Sequence[int], shape: Sequence[int], level: int = 0) -> F64:
    """Sum of w k(q) at the voxels of a box.

    Parameters
    ----------
    prims : Primitives
        Of one image, in the order of the file.
    cutoff : float
        C, the squared Mahalanobis distance at which the kernel is zero.
    lo : (z, y, x)
        First voxel of the box, on the grid ``level``.
    shape : (Z, Y, X)
        Of the box.
    level : int
        Grid with the step ``2 ** level``.

    Returns
    -------
    float64 [Z, Y, X]
    """
    step = 2.0**level
    scales, weights = widened(prims, level)
    rotation = rotation_matrices(prims.rotations)
    half = half_widths(scales, rotation, cutoff)
    edge = np.exp(-cutoff / 2)
    total = np.zeros(tuple(int(n) for n in shape))
    centres = [(np.arange(n) + a) * step + (step - 1) / 2 for n, a in zip(total.shape, lo, strict=True)]
    for i in range(len(prims)):
        part = []
        for axis, x in enumerate(centres):  # one voxel more on either side than can be reached
            a = np.searchsorted(x, prims.means[i, axis] - half[i, axis]) - 1
            b = np.searchsorted(x, prims.means[i, axis] + half[i, axis]) + 1
            part.append(slice(max(int(a), 0), int(b)))
        z, y, x = (c[s] - m for c, s, m in zip(centres, part, prims.means[i], strict=True))
        q = np.zeros((z.size, y.size, x.size))
        for axis in range(3):
            r = rotation[i, :, axis] / scales[i, axis]
            q += (z[:, None, None] * r[0] + y[:, None] * r[1] + x * r[2]) ** 2
        kernel = np.where(q < cutoff, (np.exp(-q / 2) - edge) / (1 - edge), 0.0)
        total[tuple(part)] += weights[i] * kernel
    return total


def to_voxels(total: F64, base: float, gain: float, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """Stored voxels of a sum of primitives (spec, 8.2 and 8.3).

    Parameters
    ----------
    total : float64, any shape
    base, gain : float
        Of the image.
    dtype : uint8, uint16, int16 or float32
    """
    value = base + gain * total
    kind = np.dtype(dtype)
    if kind.kind != "f":
        return np.clip(np.rint(value), np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
    return value.astype(kind)
