"""The symbols of a points chunk: which blocks hold any, and each node's integer, by contexts that learn.

Normative text: spec/vgm-1-points.md, "Chunk". This writes; libvgm reads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..jit import njit
from .lattice_models import code_excess, code_learned
from .lattice_range import code_uniform

I64 = npt.NDArray[np.int64]

BLOCK = 8  # nodes on a side
UNARY = 14  # learned bits of a magnitude before the plain ones
LARGEST = 1 << 20  # of an integer
CAP = 1023  # of a neighbour's magnitude in a context
ENERGY_STEPS = np.array([1, 2, 4, 6, 9, 14, 20, 28, 40, 60, 90, 140, 220], np.int64)
LEVELS = len(ENERGY_STEPS) + 1
QUIET = 3  # kinds of quiet neighbourhood, told apart by the blocks around

BLOCKS_AT = 0
ZERO_AT = BLOCKS_AT + 4
SIGN_AT = ZERO_AT + LEVELS - 1 + QUIET
MAGNITUDE_AT = SIGN_AT + 5
MODELS = MAGNITUDE_AT + LEVELS * UNARY

PRIOR_WEIGHT = 8
BLOCK_PRIOR = (300, 16000, 44000, 56000)
QUIET_PRIOR = (200, 400, 2000)
ZERO_PRIOR = (2000, 4000, 8500, 10000, 14500, 22500, 31000, 38500, 45000, 51000, 56000, 58000, 60000)
SIGN_PRIOR = (20000, 22000, 32768, 43536, 45536)
FIRST_PRIOR = (900, 1400, 1100, 1200, 1400, 1800, 3500, 8500, 16500, 28000, 38000, 47000, 52000, 56000)
MORE_PRIOR = (5500, 6500, 8000, 9000, 10000, 12000, 16000, 19500, 23000, 28000, 34500, 42000, 46000, 50000)


def models_for_points() -> I64:
    """The models of a chunk, int64 [MODELS, 2]: probability of 1 in 1/65536, observations."""
    models = np.full((MODELS, 2), PRIOR_WEIGHT, np.int64)
    models[BLOCKS_AT:ZERO_AT, 0] = BLOCK_PRIOR
    models[ZERO_AT : ZERO_AT + QUIET, 0] = QUIET_PRIOR
    models[ZERO_AT + QUIET : SIGN_AT, 0] = ZERO_PRIOR
    models[SIGN_AT:MAGNITUDE_AT, 0] = SIGN_PRIOR
    models[MAGNITUDE_AT:, 0] = np.repeat(MORE_PRIOR, UNARY)
    models[MAGNITUDE_AT::UNARY, 0] = FIRST_PRIOR
    return models


def empty_arrays(grid: tuple[int, int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """Blocks and integers of a grid, with their borders, all 0 (see `code_points`)."""
    blocks = np.zeros([-(-n // BLOCK) + 2 for n in grid], np.uint8)
    return blocks, np.zeros((grid[0] + 1, grid[1] + 2, grid[2] + 2), np.int32)


@njit(cache=True, nogil=True, inline="always")
def _size(q):  # type: ignore[no-untyped-def]
    return min(np.int64(abs(q)), np.int64(CAP))


@njit(cache=True, nogil=True)
def energy(q, z, y, x):  # type: ignore[no-untyped-def]
    """Weighted magnitudes of the 13 neighbours coded before node (z, y, x) of the padded array."""
    faces = _size(q[z, y, x - 1]) + _size(q[z, y - 1, x]) + _size(q[z - 1, y, x])
    edges = _size(q[z, y - 1, x - 1]) + _size(q[z, y - 1, x + 1])
    edges += _size(q[z - 1, y, x - 1]) + _size(q[z - 1, y, x + 1])
    edges += _size(q[z - 1, y - 1, x]) + _size(q[z - 1, y + 1, x])
    corners = _size(q[z - 1, y - 1, x - 1]) + _size(q[z - 1, y - 1, x + 1])
    corners += _size(q[z - 1, y + 1, x - 1]) + _size(q[z - 1, y + 1, x + 1])
    return 4 * faces + 2 * edges + corners


@njit(cache=True, nogil=True)
def level_of(e):  # type: ignore[no-untyped-def]
    """Context of an energy, 0 .. LEVELS - 1."""
    n = 0
    while n < LEVELS - 1 and e >= ENERGY_STEPS[n]:
        n += 1
    return n


@njit(cache=True, nogil=True)
def lean(q, z, y, x):  # type: ignore[no-untyped-def]
    """Context of a sign, 0 .. 4, from the three face neighbours coded before."""
    s = np.int64(q[z, y, x - 1]) + np.int64(q[z, y - 1, x]) + np.int64(q[z - 1, y, x])
    if s < 0:
        return 0 if s < -2 else 1
    return 2 if s == 0 else (3 if s <= 2 else 4)


@njit(cache=True, nogil=True)
def shift_of(e):  # type: ignore[no-untyped-def]
    """How many low bits of a magnitude are plain where the neighbours' are large."""
    n = 0
    while (e >> (n + 8)) > 0:
        n += 1
    return n


@njit(cache=True, nogil=True)
def quiet_of(blocks, bz, by, bx):  # type: ignore[no-untyped-def]
    """Kind 0 .. QUIET - 1 of a block (padded array) by how many of its six neighbours hold points."""
    n = np.int64(blocks[bz - 1, by, bx]) + blocks[bz + 1, by, bx] + blocks[bz, by - 1, bx]
    n += np.int64(blocks[bz, by + 1, bx]) + blocks[bz, by, bx - 1] + blocks[bz, by, bx + 1]
    return 0 if n <= 1 else (1 if n <= 4 else 2)


@njit(cache=True, nogil=True)
def zero_model(e, quiet):  # type: ignore[no-untyped-def]
    """Model of "this node is not zero"."""
    n = level_of(e)
    return ZERO_AT + (quiet if n == 0 else QUIET + n - 1)


@njit(cache=True, nogil=True)
def code_points(rc, buf, models, blocks, q):  # type: ignore[no-untyped-def]
    """Code the integers of a grid of nodes, up to one that no decoder takes.

    Parameters
    ----------
    blocks : uint8 [Bz + 2, By + 2, Bx + 2]
        1 where a block of `BLOCK` nodes a side may hold points; a border of 0.
    q : int32 [Z + 1, Y + 2, X + 2]
        The integers, of at most `LARGEST`; borders of 0 before every axis and after y and x.
    """
    nz, ny, nx = q.shape[0] - 1, q.shape[1] - 2, q.shape[2] - 2
    wide = np.zeros(blocks.shape[1], np.uint8)  # rows of blocks with anything in them
    for bz in range(1, blocks.shape[0] - 1):
        for by in range(1, blocks.shape[1] - 1):
            for bx in range(1, blocks.shape[2] - 1):
                n = np.int64(blocks[bz - 1, by, bx]) + blocks[bz, by - 1, bx] + blocks[bz, by, bx - 1]
                code_learned(rc, buf, models, BLOCKS_AT + n, np.int64(blocks[bz, by, bx]))
    for bz in range(1, blocks.shape[0] - 1):
        slab = False
        for by in range(1, blocks.shape[1] - 1):
            wide[by] = blocks[bz, by].any()
            slab = slab or wide[by] != 0
        if not slab:
            continue
        for z in range((bz - 1) * BLOCK + 1, min(bz * BLOCK, nz) + 1):
            for y in range(1, ny + 1):
                by = (y - 1) // BLOCK + 1
                if wide[by] == 0:
                    continue
                for bx in range(1, blocks.shape[2] - 1):
                    if blocks[bz, by, bx] == 0:
                        continue
                    quiet = quiet_of(blocks, bz, by, bx)
                    for x in range((bx - 1) * BLOCK + 1, min(bx * BLOCK, nx) + 1):
                        value = np.int64(q[z, y, x])
                        e = energy(q, z, y, x)
                        code_learned(rc, buf, models, zero_model(e, quiet), np.int64(value != 0))
                        if value == 0:
                            continue
                        code_learned(rc, buf, models, SIGN_AT + lean(q, z, y, x), np.int64(value > 0))
                        low = shift_of(e)
                        rest = abs(value) - 1
                        high = rest >> low
                        at = MAGNITUDE_AT + level_of(e) * UNARY
                        for n in range(min(high + 1, UNARY)):
                            code_learned(rc, buf, models, at + n, np.int64(high > n))
                        if high >= UNARY:
                            code_excess(rc, buf, high - UNARY)
                        code_uniform(rc, buf, np.int64(1) << low, rest & ((1 << low) - 1))
                        if rest >= LARGEST:
                            return
