"""The order of a lattice chunk's streams; one routine that writes or reads them all.

Normative text: spec/vgm-1-lattice.md, "Chunk" and "Primitive".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

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
from .lattice_range import MODE, bits_so_far, code_uniform
from .lattice_steps import geometry

I64 = npt.NDArray[np.int64]

STREAMS = 11
MAX_MARGIN = 1 << 14  # voxels that a centre may be outside of its brick


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
    """Code the magnitude k >= 1 of an amplitude of class j, which is near 2^j."""
    context = min(j, np.int64(3))
    shift = j - context
    top = min(k >> shift, np.int64(31))
    node = np.int64(1)
    for b in range(4, -1, -1):
        node = node * 2 + code_learned(rc, buf, models, context * 32 + node, (top >> b) & 1)
    top = node - 32
    if top == 31:
        top += code_excess(rc, buf, (k >> shift) - 31)
    return (top << shift) | code_uniform(rc, buf, np.int64(1) << shift, k & ((1 << shift) - 1))


@njit(cache=True, nogil=True)
def code_chunk(  # type: ignore[no-untyped-def]
    rc, buf, models, steps, shape, margins, order, classes, amplitudes, shapes, lattice, centres,
    factors, bits, trace,
):
    """Write or read a chunk.

    Parameters
    ----------
    shape : int64 [3]
        The brick.
    margins : int64 [6]
        z, y, x below, then above, in voxels.
    order : int64 [N]
        Decoder's order: index of each primitive in the arrays below (identity when reading).
    classes, amplitudes : int64 [N]
    shapes : int64 [N, 6]
    lattice : int64 [N, 3]
    centres : int64 [N, 3]
        In 2^-16 voxel, relative to the brick's centre; read for the cells when encoding.
    factors : int64 [N, 6], out
    bits : float64 [STREAMS], out
        Bits of cells, class, sign, amplitude, six shape numbers, the centre when encoding.
    trace : int64 [N or 0, CHANNELS, 2, FEATURES], out
        Features, for those who fit the priors.

    Returns
    -------
    int
        -1, or the index of the primitive that cannot be.
    """
    total = order.shape[0]
    half = np.empty(3, np.int64)
    for a in range(6):
        margins[a] = code_excess(rc, buf, margins[a])
        if margins[a] > MAX_MARGIN:
            return 0
    for a in range(3):
        half[a] = shape[a] << 15
    cells = np.empty((total, 6), np.int64)
    if not code_cells(rc, buf, models[0], models[1], half, margins, centres, order, cells):
        return 0
    encoding = rc[MODE] == 1
    weights = models[3]
    seen = models[4]
    signs = models[5]
    basis = np.empty(6, np.int64)
    x = np.zeros((2, FEATURES), np.int64)
    x[0, 0] = ONE
    x[1, 0] = ONE
    sx = np.zeros(3, np.int64)
    sx[0] = ONE
    recent = np.zeros(11, np.int64)  # class, sign, pivots, off-diagonals, their sizes: Q16, of late
    recent[0] = 5 << 15
    for a in range(3):
        recent[2 + a] = 1 << 15
        recent[8 + a] = -(1 << 15)
    logs = np.zeros(3, np.int64)
    skews = np.zeros(3, np.int64)
    sizes = np.zeros(3, np.int64)
    wide = ONE * 4
    mark = 0.0
    if encoding:
        mark = bits_so_far(rc)
        bits[0] = mark
    for i in range(total):
        at = order[i]
        extent = np.int64(0)
        for a in range(3):
            extent += log2_fixed(cells[i, 3 + a] - cells[i, a]) - (16 << 16)
        room = _clip((extent // 3 >> 4) - 6554, wide)

        x[0, 1] = room
        x[0, 2] = _clip((recent[0] >> 4) - 10240, wide)
        if trace.shape[0]:
            trace[i, 0] = x
        j = code_predicted(
            rc, buf, weights[0], seen[0], x, 3, 1, np.int64(65536), np.int64(32768), classes[at]
        )
        if j < 0 or j >= steps.shape[0]:
            return i
        classes[at] = j
        recent[0] += ((j << 16) - recent[0]) >> 2
        if encoding:
            bits[1] += bits_so_far(rc) - mark
            mark = bits_so_far(rc)

        strength = _clip((j << 12) // 3 - 3277, wide)
        sx[1] = strength
        sx[2] = recent[1] >> 4
        positive = code_sign(rc, buf, signs, sx, 3, np.int64(amplitudes[at] > 0))
        sign = 2 * positive - 1
        recent[1] += (sign * 65536 - recent[1]) >> 2
        if encoding:
            bits[2] += bits_so_far(rc) - mark
            mark = bits_so_far(rc)
        k = _code_amplitude(rc, buf, models[2], j, abs(amplitudes[at]))
        if k < 1:
            return i
        amplitudes[at] = sign * k
        if encoding:
            bits[3] += bits_so_far(rc) - mark
            mark = bits_so_far(rc)

        for s in range(3):
            x[0, 1] = strength
            x[0, 2] = room
            x[0, 3] = _clip((recent[2 + s] >> 4) - 2048, wide)
            x[0, 4] = sign * ONE
            for a in range(s):
                x[0, 5 + a] = _clip((logs[a] >> 4) - 2048, wide)
            x[1, 1] = strength
            x[1, 2] = room
            if trace.shape[0]:
                trace[i, 1 + s] = x
            step = steps[j, 0]
            q = code_predicted(
                rc, buf, weights[1 + s], seen[1 + s], x, 5 + s, 3, step, step >> 1, shapes[at, s]
            )
            shapes[at, s] = q
            logs[s] = q * step
            recent[2 + s] += (_clip(logs[s], np.int64(16 << 16)) - recent[2 + s]) >> 2
            if encoding:
                bits[4 + s] += bits_so_far(rc) - mark
                mark = bits_so_far(rc)
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
            if trace.shape[0]:
                trace[i, 4 + s] = x
            step = steps[j, 1]
            if s < 2:
                q = code_predicted(
                    rc, buf, weights[4 + s], seen[4 + s], x, 2, 6 + s, step, step >> 1, shapes[at, 3 + s]
                )
            else:
                odd = np.int64(0)  # the six sum to an even number
                for a in range(5):
                    odd += shapes[at, a]
                odd &= 1
                q = code_predicted(
                    rc, buf, weights[6], seen[6], x, 3, 8, 2 * step, (1 - odd) * step,
                    (shapes[at, 5] - odd) >> 1,
                )
                q = 2 * q + odd
            shapes[at, 3 + s] = q
            skews[s] = q * step
            sizes[s] = _clip(log2_fixed(abs(skews[s]) + 16384) - (16 << 16), np.int64(2 << 16))
            recent[5 + s] += (_clip(skews[s], np.int64(2 << 16)) - recent[5 + s]) >> 2
            recent[8 + s] += (sizes[s] - recent[8 + s]) >> 2
            if encoding:
                bits[7 + s] += bits_so_far(rc) - mark
                mark = bits_so_far(rc)
        if not geometry(steps[j], shapes[at], factors[at], basis):
            return i
        if not code_centre(rc, buf, basis, cells[i], lattice[at], centres[at]):
            return i
        if encoding:
            bits[10] += bits_so_far(rc) - mark
            mark = bits_so_far(rc)
    return -1
