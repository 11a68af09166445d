"""The order of a lattice chunk's streams, and the routines that write them.

Normative text: spec/vgm-1-lattice.md, "Chunk" and "Primitive".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..jit import njit
from .lattice_models import (
    FEATURES,
    ONE,
    amplitude_models,
    code_excess,
    code_learned,
    code_predicted,
    code_sign,
    log2_fixed,
)
from .lattice_positions import code_cells, code_centre, new_mixture, split_tables
from .lattice_priors import CHANNELS, SIGN_PRIOR, WEIGHTS
from .lattice_range import code_uniform
from .lattice_steps import geometry

I64 = npt.NDArray[np.int64]

MAX_MARGIN = 1 << 14  # voxels that a centre may be outside of its brick
AMPLITUDE_BITS = 53  # of a magnitude, which binary64 then holds exactly
LONGEST_EXCESS = (1 << 25) - 2


def models_for_chunk() -> tuple[I64, I64, I64, I64, I64, I64]:
    """Fresh models: split tables, their mixture, amplitudes, weights of numbers, numbers seen, signs."""
    return (
        split_tables(),
        new_mixture(),
        amplitude_models(),
        WEIGHTS.copy(),
        np.zeros((CHANNELS, 1), np.int64),
        SIGN_PRIOR.copy(),
    )


@njit(cache=True, nogil=True)
def _clip(v, limit):  # type: ignore[no-untyped-def]
    return min(max(v, -limit), limit)


@njit(cache=True, nogil=True)
def _code_amplitude(rc, buf, models, j, k):  # type: ignore[no-untyped-def]
    """Code the magnitude k >= 1 of an amplitude of class j, near 2^j; False where it cannot be."""
    context = min(j, np.int64(3))
    shift = j - context
    top = min(k >> shift, np.int64(31))
    node = np.int64(1)
    for b in range(4, -1, -1):
        bit = (top >> b) & 1
        code_learned(rc, buf, models, context * 32 + node, bit)
        node = node * 2 + bit
    if top == 31:
        if (k >> shift) - 31 > LONGEST_EXCESS:
            return False
        code_excess(rc, buf, (k >> shift) - 31)
    if k >> shift >= np.int64(1) << (AMPLITUDE_BITS - shift):
        return False
    code_uniform(rc, buf, np.int64(1) << shift, k & ((1 << shift) - 1))
    return k >= 1


@njit(cache=True, nogil=True)
def code_places(rc, buf, models, shape, margins, order, centres, cells):  # type: ignore[no-untyped-def]
    """Write the start of a chunk: which cell each primitive is in.

    Parameters
    ----------
    shape : int64 [3]
        The brick.
    margins : int64 [6]
        z, y, x below, then above, in voxels.
    order : int64 [N]
        Permuted into the decoder's order.
    centres : int64 [N, 3]
        In 2^-16 voxel, relative to the brick's centre.
    cells : int64 [N, 6], out
        Low and high of each cell, in the decoder's order.

    Returns
    -------
    bool
        False where the places cannot be.
    """
    half = np.empty(3, np.int64)
    for a in range(6):
        code_excess(rc, buf, margins[a])
        if margins[a] > MAX_MARGIN:
            return False
    for a in range(3):
        half[a] = shape[a] << 15
    code_cells(rc, buf, models[0], models[1], half, margins, centres, order, cells)
    return True


def new_late() -> I64:
    """Running means before the first primitive: class, sign, pivots, off-diagonals, their sizes; Q16."""
    return np.array([5 << 15, 0, *[1 << 15] * 3, *[0] * 3, *[-(1 << 15)] * 3], np.int64)


@njit(cache=True, nogil=True)
def code_primitives(  # type: ignore[no-untyped-def]
    rc, buf, models, steps, recent, cells, order, classes, amplitudes, shapes, lattice, centres, factors,
):  # fmt: skip
    """Write the next N primitives of a chunk, in the decoder's order.

    Parameters
    ----------
    recent : int64 [11]
        From `new_late`; goes on from one call to the next.
    cells : int64 [N, 6]
        From `code_places`.
    order : int64 [N]
        Index of each primitive in the arrays below.
    classes, amplitudes : int64
    shapes : int64 [.., 6]
    lattice : int64 [.., 3]
    centres : int64 [.., 3], out
    factors : int64 [.., 6], out

    Returns
    -------
    int
        -1, or which of the N cannot be.
    """
    total = order.shape[0]
    weights = models[3]
    seen = models[4]
    signs = models[5]
    basis = np.empty(6, np.int64)
    x = np.zeros((2, FEATURES), np.int64)
    x[0, 0] = ONE
    x[1, 0] = ONE
    sx = np.zeros(3, np.int64)
    sx[0] = ONE
    logs = np.zeros(3, np.int64)
    skews = np.zeros(3, np.int64)
    sizes = np.zeros(3, np.int64)
    wide = ONE * 4
    for i in range(total):
        at = order[i]
        extent = np.int64(0)
        for a in range(3):
            extent += log2_fixed(cells[i, 3 + a] - cells[i, a]) - (16 << 16)
        room = _clip((extent // 3 >> 4) - 6554, wide)

        x[0, 1] = room
        x[0, 2] = _clip((recent[0] >> 4) - 10240, wide)
        j = classes[at]
        code_predicted(rc, buf, weights[0], seen[0], x, 3, 1, np.int64(65536), np.int64(32768), j)
        if j < 0 or j >= steps.shape[0]:
            return i
        recent[0] += ((j << 16) - recent[0]) >> 2

        strength = _clip((j << 12) // 3 - 3277, wide)
        sx[1] = strength
        sx[2] = recent[1] >> 4
        positive = np.int64(amplitudes[at] > 0)
        code_sign(rc, buf, signs, sx, 3, positive)
        sign = 2 * positive - 1
        recent[1] += (sign * 65536 - recent[1]) >> 2
        if not _code_amplitude(rc, buf, models[2], j, abs(amplitudes[at])):
            return i

        for s in range(3):
            x[0, 1] = strength
            x[0, 2] = room
            x[0, 3] = _clip((recent[2 + s] >> 4) - 2048, wide)
            x[0, 4] = sign * ONE
            for a in range(s):
                x[0, 5 + a] = _clip((logs[a] >> 4) - 2048, wide)
            x[1, 1] = strength
            x[1, 2] = room
            step = steps[j, 0]
            q = shapes[at, s]
            code_predicted(rc, buf, weights[1 + s], seen[1 + s], x, 5 + s, 3, step, step >> 1, q)
            logs[s] = q * step
            recent[2 + s] += (_clip(logs[s], np.int64(16 << 16)) - recent[2 + s]) >> 2
        for s in range(3):
            row = 1 if s == 0 else 2
            col = 0 if s < 2 else 1
            x[0, 1] = recent[5 + s] >> 4
            x[0, 2] = (_clip(skews[0], np.int64(3 << 15)) * _clip(skews[1], np.int64(2 << 16))) >> 20
            x[1, 1] = strength
            x[1, 2] = _clip((logs[col] - logs[row]) >> 4, wide)
            x[1, 3] = _clip((logs[col] >> 4) - 2048, wide)
            x[1, 4] = room
            x[1, 5] = (recent[8 + s] >> 4) + 2048
            for a in range(s):
                x[1, 6 + a] = (sizes[a] >> 4) + 2048
            step = steps[j, 1]
            q = shapes[at, 3 + s]
            if s < 2:
                code_predicted(rc, buf, weights[4 + s], seen[4 + s], x, 2, 6 + s, step, step >> 1, q)
            else:
                odd = np.int64(0)  # the six sum to an even number
                for a in range(5):
                    odd += shapes[at, a]
                odd &= 1
                start = (1 - odd) * step
                code_predicted(rc, buf, weights[6], seen[6], x, 3, 8, 2 * step, start, (q - odd) >> 1)
            skews[s] = q * step
            sizes[s] = _clip(log2_fixed(abs(skews[s]) + 16384) - (16 << 16), np.int64(2 << 16))
            recent[5 + s] += (_clip(skews[s], np.int64(2 << 16)) - recent[5 + s]) >> 2
            recent[8 + s] += (sizes[s] - recent[8 + s]) >> 2
        if not geometry(steps[j], shapes[at], factors[at], basis):
            return i
        if not code_centre(rc, buf, basis, cells[i], lattice[at], centres[at]):
            return i
    return -1
