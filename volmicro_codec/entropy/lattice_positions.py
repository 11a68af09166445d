"""The code of an unordered set of centres: counts down a kd tree, then lattice points inside the leaves.

Normative text: spec/vgm-1-lattice.md, "Cells" and "Centre". Counts down a tree are the code of Devillers and
Gandoin ("Geometric compression for interactive transmission", IEEE Visualization 2000).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..jit import njit
from .lattice_models import TOTAL, code_excess
from .lattice_range import code_part, code_uniform

I64 = npt.NDArray[np.int64]

CELL_FLOOR = 32768  # half a voxel: a cell this small is not split further
TABLED = 255  # counts above this are split by plain uniform numbers
SPREADS = (1, 2, 4, 12, 60)  # twice the beta-binomial's parameter: from clustered to even
FARTHEST = 1 << 34  # that the first lattice coordinate may shift the second
LEAST = 512  # of a mixture weight
BUCKETS = 4


@njit(cache=True, nogil=True)
def _fill_tables(spreads, out):  # type: ignore[no-untyped-def]
    w = np.empty(TABLED + 1, np.int64)
    for a in range(spreads.shape[0]):
        s = spreads[a]
        for n in range(2, TABLED + 1):
            m = n >> 1
            w[m] = 1 << 28
            for k in range(m, 0, -1):
                w[k - 1] = w[k] * k * (2 * (n - k) + s) // ((n - k + 1) * (2 * (k - 1) + s))
            for k in range(m, n):
                w[k + 1] = w[k] * (n - k) * (2 * k + s) // ((k + 1) * (2 * (n - k - 1) + s))
            total = np.int64(0)
            for k in range(n + 1):
                total += w[k]
            below = np.int64(0)
            for k in range(n + 1):
                out[a, n, k] = k + below * (TOTAL - n - 1) // total
                below += w[k]
            out[a, n, n + 1] = TOTAL


_tables: list[I64] = []


def split_tables() -> I64:
    """Cumulative beta-binomial frequencies, int64 [spread, n, k], of a total of 2^20."""
    if not _tables:
        out = np.zeros((len(SPREADS), TABLED + 1, TABLED + 2), np.int64)
        _fill_tables(np.array(SPREADS, np.int64), out)
        _tables.append(out)
    return _tables[0]


def new_mixture() -> I64:
    """Weights of the spreads by size of count, int64 [bucket, spread]."""
    return np.full((BUCKETS, len(SPREADS)), 65536 // len(SPREADS), np.int64)


@njit(cache=True, nogil=True)
def _mixed(tables, weights, total, n, k):  # type: ignore[no-untyped-def]
    out = np.int64(0)
    for a in range(weights.shape[0]):
        out += weights[a] * tables[a, n, k]
    return out // total


@njit(cache=True, nogil=True)
def _code_split(rc, buf, tables, mixture, n, left):  # type: ignore[no-untyped-def]
    """Code how many of n >= 2 are in the first half."""
    if n > TABLED:
        code_uniform(rc, buf, n + 1, left)
        return
    bucket = 0 if n < 4 else (1 if n < 8 else (2 if n < 32 else 3))
    weights = mixture[bucket]
    total = np.int64(0)
    for a in range(weights.shape[0]):
        total += weights[a]
    code_part(rc, buf, _mixed(tables, weights, total, n, left), _mixed(tables, weights, total, n, left + 1))
    total = np.int64(0)
    for a in range(weights.shape[0]):
        weights[a] *= tables[a, n, left + 1] - tables[a, n, left]
        total += weights[a]
    for a in range(weights.shape[0]):
        weights[a] = max((weights[a] << 16) // total, np.int64(LEAST))


@njit(cache=True, nogil=True)
def _partition(points, order, first, n, axis, middle):  # type: ignore[no-untyped-def]
    """Bring those below `middle` to the front of order[first : first + n]; return how many."""
    i = first
    k = first + n
    while i < k:
        if points[order[i], axis] < middle:
            i += 1
        else:
            k -= 1
            t = order[i]
            order[i] = order[k]
            order[k] = t
    return k - first


@njit(cache=True, nogil=True)
def code_cells(rc, buf, tables, mixture, half, margins, points, order, cells):  # type: ignore[no-untyped-def]
    """Code which cell every primitive is in.

    Parameters
    ----------
    tables, mixture
        From `split_tables` and `new_mixture`.
    half : int64 [3]
        Half the brick's sides, in 2^-16 voxel.
    margins : int64 [6]
        Voxels that the domain reaches over the brick: z, y, x below, then above.
    points : int64 [N, 3]
        Centres in 2^-16 voxel.
    order : int64 [N], in and out
        Permuted into the decoder's order.
    cells : int64 [N, 6], out
        Per primitive in decoder's order: low and high of its cell.
    """
    stack = np.empty((256, 8), np.int64)
    box = np.empty(8, np.int64)
    for a in range(3):
        box[a] = -half[a] - (margins[a] << 16)
        box[3 + a] = half[a] + (margins[3 + a] << 16)
    box[6] = 0
    box[7] = order.shape[0]
    depth = 0
    for side in range(6):
        if margins[side] == 0:
            continue
        axis = side % 3
        wall = -half[axis] if side < 3 else half[axis]
        outside = _partition(points, order, box[6], box[7], axis, wall)
        if side >= 3:
            outside = box[7] - outside
        code_excess(rc, buf, outside)
        stack[depth] = box
        stack[depth, 7] = outside
        if side < 3:
            stack[depth, 3 + axis] = wall
            box[6] += outside
            box[axis] = wall
        else:
            stack[depth, 6] = box[6] + box[7] - outside
            stack[depth, axis] = wall
            box[3 + axis] = wall
        box[7] -= outside
        depth += 1
    stack[depth] = box
    depth += 1
    while depth > 0:
        depth -= 1
        box[:] = stack[depth]
        first = box[6]
        n = box[7]
        if n == 0:
            continue
        axis = 0
        if box[4] - box[1] > box[3] - box[0]:
            axis = 1
        if box[5] - box[2] > box[3 + axis] - box[axis]:
            axis = 2
        size = box[3 + axis] - box[axis]
        if n == 1 or size <= CELL_FLOOR:
            for i in range(first, first + n):
                for a in range(6):
                    cells[i, a] = box[a]
            continue
        middle = box[axis] + (size >> 1)
        left = _partition(points, order, first, n, axis, middle)
        _code_split(rc, buf, tables, mixture, n, left)
        stack[depth] = box
        stack[depth, axis] = middle
        stack[depth, 6] = first + left
        stack[depth, 7] = n - left
        depth += 1
        stack[depth] = box
        stack[depth, 3 + axis] = middle
        stack[depth, 7] = left
        depth += 1


@njit(cache=True, nogil=True)
def _ceil_div(a, b):  # type: ignore[no-untyped-def]
    return -((-a) // b)


@njit(cache=True, nogil=True)
def code_centre(rc, buf, basis, cell, n, centre):  # type: ignore[no-untyped-def]
    """Code the lattice point `n` of one centre inside its cell; sets `centre`; False if impossible."""
    for a in range(3):
        offset = np.int64(0)
        stride = 1
        odd = np.int64(0)
        if a == 1:
            offset = n[0] * basis[3]
            if abs(offset) > FARTHEST:
                return False
        elif a == 2:
            stride = 2
            odd = (n[0] + n[1]) & 1
            offset = n[0] * basis[4] + n[1] * basis[5] + odd * basis[2]
        side = stride * basis[a]
        first = _ceil_div(cell[a] - offset, side)
        count = _ceil_div(cell[3 + a] - offset, side) - first
        if count <= 0:
            return False
        m = (n[a] - odd) // stride
        code_uniform(rc, buf, count, m - first)
        centre[a] = offset + m * side
    return True
