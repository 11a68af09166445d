"""Each primitive's own block of J'J, from the sums that the kernel ``curvature`` makes."""

from __future__ import annotations

import math
from typing import Any

MONOMIALS: dict[int, tuple[tuple[int, int, int], ...]] = {
    degree: tuple(
        (a, b, c) for a in range(degree + 1) for b in range(degree + 1 - a) for c in range(degree + 1 - a - b)
    )
    for degree in (2, 4)
}
"""Powers of (z, y, x) up to a degree, in the order of the kernel's sums."""

COLUMNS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2))
"""Powers of (z, y, x) of the columns of a direction after the first."""


def normal_blocks(xp: Any, sums: Any, weights: Any, cutoff: float) -> Any:
    """Blocks float64 [N, 10, 10] of J'J over the columns of a direction (`CudaRasteriser.slope`).

    Parameters
    ----------
    xp : module
        numpy, or cupy for arrays of a device.
    sums : float64 [N, 46]
        What `CudaRasteriser.curvature` returns.
    weights : float64 [N]
        w of each primitive.
    cutoff : float
    """
    edge = math.exp(-0.5 * cutoff)
    norm = 1.0 / (1.0 - edge)
    two = {m: sums[:, k] for k, m in enumerate(MONOMIALS[4])}
    one = {m: sums[:, len(two) + k] for k, m in enumerate(MONOMIALS[2])}
    scale = weights * norm
    out = xp.empty((sums.shape[0], 10, 10), sums.dtype)
    zero = (0, 0, 0)
    out[:, 0, 0] = norm**2 * (two[zero] - 2 * edge * one[zero] + edge**2 * sums[:, -1])
    for k, p in enumerate(COLUMNS, 1):
        out[:, 0, k] = out[:, k, 0] = norm * scale * (two[p] - edge * one[p])
        for j, q in enumerate(COLUMNS, 1):
            out[:, k, j] = scale**2 * two[p[0] + q[0], p[1] + q[1], p[2] + q[2]]
    return out
