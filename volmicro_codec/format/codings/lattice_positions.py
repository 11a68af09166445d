"""The code of an unordered set of centres: counts down a kd tree, then lattice points inside the leaves.

Normative text: spec/vgm-1-lattice.md, "Cells" and "Centres".
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .lattice_models import code_learned, code_magnitude
from .lattice_range import code_uniform

MARGIN_CONTEXTS = 72
SPLIT_CONTEXTS = 4096
CELL_FLOOR = 32768  # half a voxel: a cell this small is not split further


@njit(cache=True, nogil=True)
def _code_split(rc, buf, models, n, left):  # type: ignore[no-untyped-def]
    """How many of `n` are in the first half: binary search of 0..n."""
    low = np.int64(0)
    high = n
    if n < 32:
        base = n * 32
        # a tree over 0..n, nodes named by the interval's middle
        while low < high:
            middle = (low + high) >> 1
            bit = code_learned(rc, buf, models, base + middle, np.int64(left > middle))
            if bit == 1:
                low = middle + 1
            else:
                high = middle
        return low
    bucket = np.int64(0)
    while (n >> bucket) > 1:
        bucket += 1
    node = np.int64(1)
    while low < high:
        middle = (low + high) >> 1
        if node < 64:
            at = 1024 + (min(bucket, np.int64(20)) * 64) + node
            bit = code_learned(rc, buf, models, at, np.int64(left > middle))
        else:
            bit = code_uniform(rc, buf, np.int64(2), np.int64(left > middle))
        node = node * 2 + bit
        if bit == 1:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def code_cells(rc, buf, models, low, high, points, order, cells):  # type: ignore[no-untyped-def]
    """Code which cell every primitive is in.

    Parameters
    ----------
    low, high : int64 [3]
        The domain, in 2^-16 voxel, high exclusive.
    points : int64 [N, 3]
        Centres in the same units (read when encoding).
    order : int64 [N], in and out when encoding
        Permuted into the decoder's order.
    cells : int64 [N, 6], out
        Per primitive in decoder's order: low and high of its cell.
    """
    total = order.shape[0]
    stack = np.empty((512, 8), np.int64)
    depth = 1
    for a in range(3):
        stack[0, a] = low[a]
        stack[0, 3 + a] = high[a]
    stack[0, 6] = 0
    stack[0, 7] = total
    encoding = rc[7] == 1
    while depth > 0:
        depth -= 1
        c = stack[depth].copy()
        first = c[6]
        n = c[7]
        axis = 0
        if c[4] - c[1] > c[3] - c[0]:
            axis = 1
        if c[5] - c[2] > c[3 + axis] - c[axis]:
            axis = 2
        size = c[3 + axis] - c[axis]
        if n == 1 or size <= CELL_FLOOR:
            for i in range(first, first + n):
                for a in range(6):
                    cells[i, a] = c[a]
            continue
        middle = c[axis] + (size >> 1)
        left = np.int64(0)
        if encoding:
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
            left = k - first
        left = _code_split(rc, buf, models, n, left)
        if left < n:
            stack[depth] = c
            stack[depth, axis] = middle
            stack[depth, 6] = first + left
            stack[depth, 7] = n - left
            depth += 1
        if left > 0:
            stack[depth] = c
            stack[depth, 3 + axis] = middle
            stack[depth, 7] = left
            depth += 1


@njit(cache=True, nogil=True)
def _ceil_div(a, b):  # type: ignore[no-untyped-def]
    return -((-a) // b)


@njit(cache=True, nogil=True)
def code_centre(rc, buf, basis, cell, n, centre):  # type: ignore[no-untyped-def]
    """Code the lattice point of one centre inside its cell; sets `n` and `centre`; False if impossible."""
    for a in range(3):
        offset = np.int64(0)
        if a == 1:
            offset = n[0] * basis[3]
        elif a == 2:
            offset = n[0] * basis[4] + n[1] * basis[5]
        first = _ceil_div(cell[a] - offset, basis[a])
        count = _ceil_div(cell[3 + a] - offset, basis[a]) - first
        if count <= 0:
            return False
        n[a] = first + code_uniform(rc, buf, count, n[a] - first)
        centre[a] = offset + n[a] * basis[a]
    return True


@njit(cache=True, nogil=True)
def code_margins(rc, buf, models, margins):  # type: ignore[no-untyped-def]
    """Code how many voxels the domain reaches over the brick on its six sides."""
    for i in range(6):
        margins[i] = code_magnitude(rc, buf, models, np.int64(0), margins[i])
