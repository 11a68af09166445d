"""How far primitives reach: the box of voxels outside of which they are zero (spec, "Support box")."""

from __future__ import annotations

import numpy as np

from ..geometry import half_widths, rotation_matrices
from ..primitives import RECORDS_AT_ONCE, Records, records_to_primitives
from .chunk import Triple, brick_centre

MARGIN = 1e-6  # voxels, against rounding in a decoder


def support_box(
    records: Records,
    brick_lo: Triple,
    brick_shape: Triple,
    volume_shape: Triple,
    cutoff: float,
    margin: float = MARGIN,
) -> tuple[Triple, Triple]:
    """The smallest half-open box of voxels outside of which records are zero.

    Parameters
    ----------
    records : structured array [N] of RECORD_DTYPE, N at least 1
    brick_lo, brick_shape : (z, y, x)
        Of the records' chunk.
    volume_shape : (Z, Y, X)
    cutoff : float
    margin : float
        Voxels added to every half width.

    Returns
    -------
    (lo, hi) : two (z, y, x) of int
        Clipped to the volume; equal along an axis where no voxel is reached.
    """
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for first in range(0, len(records), RECORDS_AT_ONCE):
        part = records[first : first + RECORDS_AT_ONCE]
        p = records_to_primitives(part, brick_centre(brick_lo, brick_shape))
        half = half_widths(p.scales, rotation_matrices(p.rotations), cutoff) + margin
        low = np.minimum(low, (p.means - half).min(axis=0))
        high = np.maximum(high, (p.means + half).max(axis=0))
    lo = np.clip(np.ceil(low), 0, volume_shape).astype(np.int64)
    hi = np.clip(np.floor(high) + 1, 0, volume_shape).astype(np.int64)
    z0, y0, x0 = lo.tolist()
    z1, y1, x1 = hi.tolist()
    return (z0, y0, x0), (z1, y1, x1)
