"""The order of a lattice chunk's streams; one routine that writes or reads them all.

Normative text: spec/vgm-1-lattice.md, "Chunk".
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from .lattice_models import NUMBER_CONTEXTS, code_learned, code_number, new_models
from .lattice_positions import (
    MARGIN_CONTEXTS,
    SPLIT_CONTEXTS,
    code_cells,
    code_centre,
    code_margins,
)
from .lattice_range import MODE, bits_so_far
from .lattice_steps import MAX_CLASS, exp2_fixed, geometry

I64 = npt.NDArray[np.int64]

_WIDTH = NUMBER_CONTEXTS + 2
_CLASS_AT = 0
_SIGN_AT = 64
_AMPLITUDE_AT = 128
_SHAPE_AT = _AMPLITUDE_AT + (MAX_CLASS + 1) * _WIDTH
_TOTAL = _SHAPE_AT + 6 * (MAX_CLASS + 1) * _WIDTH


def models_for_chunk() -> tuple[I64, I64, I64]:
    """Fresh models: margins, cell counts, everything else."""
    return new_models(MARGIN_CONTEXTS), new_models(SPLIT_CONTEXTS), new_models(_TOTAL)


@njit(cache=True, nogil=True)
def code_chunk(  # type: ignore[no-untyped-def]
    rc, buf, models, per_octave, steps, shape, margins, order, classes, amplitudes, shapes, lattice, centres,
    factors, bits,
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
    bits : float64 [5], out
        Bits of cells, classes, amplitudes, shapes, centres when encoding.

    Returns
    -------
    int
        -1, or the index of the primitive that cannot be.
    """
    total = order.shape[0]
    code_margins(rc, buf, models[0], margins)
    low = np.empty(3, np.int64)
    high = np.empty(3, np.int64)
    for a in range(3):
        low[a] = -(shape[a] << 15) - (margins[a] << 16)
        high[a] = (shape[a] << 15) + (margins[3 + a] << 16)
    cells = np.empty((total, 6), np.int64)
    code_cells(rc, buf, models[1], low, high, centres, order, cells)
    encoding = rc[MODE] == 1
    if encoding:
        bits[0] = bits_so_far(rc)
    m = models[2]
    means = np.zeros(6, np.int64)
    basis = np.empty(6, np.int64)
    mark = 0.0
    for i in range(total):
        at = order[i]
        if encoding:
            mark = bits_so_far(rc)
        node = np.int64(1)
        for b in range(5, -1, -1):
            node = node * 2 + code_learned(rc, buf, m, _CLASS_AT + node, (classes[at] >> b) & 1)
        j = node - 64
        classes[at] = j
        if encoding:
            bits[1] += bits_so_far(rc) - mark
            mark = bits_so_far(rc)
        negative = code_learned(rc, buf, m, _SIGN_AT + j, np.int64(amplitudes[at] < 0))
        nominal = exp2_fixed((j << 16) // per_octave) >> 30
        k = nominal + code_number(rc, buf, m, _AMPLITUDE_AT + j * _WIDTH, abs(amplitudes[at]) - nominal)
        if k < 1:
            return i
        amplitudes[at] = -k if negative == 1 else k
        if encoding:
            bits[2] += bits_so_far(rc) - mark
            mark = bits_so_far(rc)
        for s in range(6):
            step = steps[j, 0 if s < 3 else 1]
            expected = means[s] // step if s < 3 else np.int64(0)
            q = expected + code_number(rc, buf, m, _SHAPE_AT + (s * (MAX_CLASS + 1) + j) * _WIDTH,
                                       shapes[at, s] - expected)
            shapes[at, s] = q
            if s < 3:
                means[s] += (q * step - means[s]) >> 5
        if encoding:
            bits[3] += bits_so_far(rc) - mark
            mark = bits_so_far(rc)
        if not geometry(steps[j], shapes[at], factors[at], basis):
            return i
        if not code_centre(rc, buf, basis, cells[i], lattice[at], centres[at]):
            return i
        if encoding:
            bits[4] += bits_so_far(rc) - mark
    return -1
