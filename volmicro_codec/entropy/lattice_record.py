"""From lattice integers to the canonical float16 record: the procedure that gives the same bits everywhere.

Normative text: spec/vgm-1-lattice.md, "Canonical record". Only float64 + - * / and sqrt, each rounded by
itself: no fastmath here, so that no multiply-add is contracted.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..jit import njit
from ..primitives import RECORD_DTYPE, Records

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

SWEEPS = 6
UNIT = 1.0 / 65536.0
ROOT_I0 = float.fromhex("0x1.2e0ba61625c5dp+1")  # pi^0.75


@njit(cache=True, nogil=True)
def _orthogonalise(m):  # type: ignore[no-untyped-def]
    """One-sided Jacobi (Hestenes 1958): rotate the columns of `m` [3, 3] until they are orthogonal."""
    for _ in range(SWEEPS):
        for pair in range(3):
            p = 0 if pair < 2 else 1
            q = 1 if pair == 0 else 2
            a = m[0, p] * m[0, p] + m[1, p] * m[1, p] + m[2, p] * m[2, p]
            b = m[0, q] * m[0, q] + m[1, q] * m[1, q] + m[2, q] * m[2, q]
            g = m[0, p] * m[0, q] + m[1, p] * m[1, q] + m[2, p] * m[2, q]
            if g == 0.0:
                continue
            z = (b - a) / (2.0 * g)
            t = 1.0 / (abs(z) + math.sqrt(1.0 + z * z))
            if z < 0.0:
                t = -t
            c = 1.0 / math.sqrt(1.0 + t * t)
            s = c * t
            for r in range(3):
                u = m[r, p]
                v = m[r, q]
                m[r, p] = c * u - s * v
                m[r, q] = s * u + c * v


@njit(cache=True, nogil=True)
def canonical_values(factors, centres, amplitudes, dc, out):  # type: ignore[no-untyped-def]
    """Values of the records before they are rounded to float16, float64 [N, 11] in the record's order."""
    m = np.empty((3, 3), np.float64)
    r = np.empty((3, 3), np.float64)
    scale = np.empty(3, np.float64)
    rank = np.empty(3, np.int64)
    for i in range(factors.shape[0]):
        for a in range(3):
            out[i, a] = centres[i, a] * UNIT
        f = factors[i]
        m[0, 0] = f[0] * UNIT
        m[0, 1] = 0.0
        m[0, 2] = 0.0
        m[1, 0] = f[3] * UNIT
        m[1, 1] = f[1] * UNIT
        m[1, 2] = 0.0
        m[2, 0] = f[4] * UNIT
        m[2, 1] = f[5] * UNIT
        m[2, 2] = f[2] * UNIT
        volume = m[0, 0] * m[1, 1] * m[2, 2]
        out[i, 10] = (amplitudes[i] * dc) / (ROOT_I0 * math.sqrt(volume))
        _orthogonalise(m)
        for a in range(3):
            scale[a] = math.sqrt(m[0, a] * m[0, a] + m[1, a] * m[1, a] + m[2, a] * m[2, a])
            rank[a] = a
        for a, b in ((0, 1), (1, 2), (0, 1)):
            if scale[rank[b]] > scale[rank[a]]:
                t = rank[a]
                rank[a] = rank[b]
                rank[b] = t
        for a in range(3):
            out[i, 3 + a] = scale[rank[a]]
        for a in range(2):
            for b in range(3):
                r[b, a] = m[b, rank[a]] / scale[rank[a]]
        r[0, 2] = r[1, 0] * r[2, 1] - r[2, 0] * r[1, 1]
        r[1, 2] = r[2, 0] * r[0, 1] - r[0, 0] * r[2, 1]
        r[2, 2] = r[0, 0] * r[1, 1] - r[1, 0] * r[0, 1]
        _quaternion(r, out[i, 6:10])


@njit(cache=True, nogil=True)
def _quaternion(r, q):  # type: ignore[no-untyped-def]
    """Unit quaternion (w, i, j, k) of a rotation matrix; its first component that is not 0 is positive."""
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    if trace > r[0, 0] and trace > r[1, 1] and trace > r[2, 2]:
        d = math.sqrt(1.0 + trace) * 2.0
        q[0] = d / 4.0
        q[1] = (r[2, 1] - r[1, 2]) / d
        q[2] = (r[0, 2] - r[2, 0]) / d
        q[3] = (r[1, 0] - r[0, 1]) / d
    elif r[0, 0] >= r[1, 1] and r[0, 0] >= r[2, 2]:
        d = math.sqrt(1.0 + r[0, 0] - r[1, 1] - r[2, 2]) * 2.0
        q[0] = (r[2, 1] - r[1, 2]) / d
        q[1] = d / 4.0
        q[2] = (r[0, 1] + r[1, 0]) / d
        q[3] = (r[0, 2] + r[2, 0]) / d
    elif r[1, 1] >= r[2, 2]:
        d = math.sqrt(1.0 + r[1, 1] - r[0, 0] - r[2, 2]) * 2.0
        q[0] = (r[0, 2] - r[2, 0]) / d
        q[1] = (r[0, 1] + r[1, 0]) / d
        q[2] = d / 4.0
        q[3] = (r[1, 2] + r[2, 1]) / d
    else:
        d = math.sqrt(1.0 + r[2, 2] - r[0, 0] - r[1, 1]) * 2.0
        q[0] = (r[1, 0] - r[0, 1]) / d
        q[1] = (r[0, 2] + r[2, 0]) / d
        q[2] = (r[1, 2] + r[2, 1]) / d
        q[3] = d / 4.0
    flip = False
    for a in range(4):
        if q[a] != 0.0:
            flip = q[a] < 0.0
            break
    if flip:
        for a in range(4):
            q[a] = -q[a]


def canonical_records(factors: I64, centres: I64, amplitudes: I64, dc: float) -> Records:
    """Lattice integers to records.

    Parameters
    ----------
    factors : int64 [N, 6]
        Cholesky factors (zz, yy, xx, yz, xz, xy) in 2^-16 voxel.
    centres : int64 [N, 3]
        Relative to the brick's centre, in 2^-16 voxel.
    amplitudes : int64 [N]
        Signed energy amplitudes in steps.
    dc : float
        The step.
    """
    n = len(amplitudes)
    values = np.empty((n, 11), np.float64)
    canonical_values(factors, centres, amplitudes, dc, values)
    with np.errstate(over="ignore", under="ignore"):
        halves = values.astype("<f2")
    bits = halves.view("<u2")
    bits[bits == 0x8000] = 0
    return halves.reshape(-1).view(RECORD_DTYPE)
