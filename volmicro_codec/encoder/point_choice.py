"""Compiled passes over voxels that choose points: which blocks hold any, and each node's integer.

The bits that a choice costs are those of the models of `codings.points_chunk` as they stand.
"""

from __future__ import annotations

import math

import numpy as np

from ..entropy.lattice_models import LIMIT, RATES
from ..entropy.points_chunk import (
    BLOCK,
    BLOCKS_AT,
    LARGEST,
    MAGNITUDE_AT,
    SIGN_AT,
    UNARY,
    energy,
    lean,
    level_of,
    quiet_of,
    shift_of,
    zero_model,
)
from ..jit import njit

SWEEPS, SWEEPS_TO_THE_END = 4, 12
SPILL_SEEN = 0.25  # steps that a point spills into the next block from which on that counts there


@njit(cache=True, nogil=True)
def _bits(models, at, bit):  # type: ignore[no-untyped-def]
    p = models[at, 0] / 65536.0
    return -math.log2(p if bit else 1.0 - p)


@njit(cache=True, nogil=True)
def _learn(models, at, bit):  # type: ignore[no-untyped-def]
    p = models[at, 0]
    n = models[at, 1]
    p += (((bit << 16) - p) * RATES[n]) >> 16
    models[at, 0] = min(max(p, np.int64(64)), np.int64(65536 - 64))
    if n < LIMIT:
        models[at, 1] = n + 1


@njit(cache=True, nogil=True)
def _magnitude_bits(models, at, low, size):  # type: ignore[no-untyped-def]
    high = (size - 1) >> low
    bits = float(low)
    n = 0
    while n < UNARY and n < high:
        bits += _bits(models, at + n, 1)
        n += 1
    if n < UNARY:
        bits += _bits(models, at + n, 0)
    else:
        bits += 1.0 + 2.0 * math.floor(math.log2(high - UNARY + 1.0))
    return bits


@njit(cache=True, nogil=True)
def _beside(residual, z, y, x, z0, y0, x0, z1, y1, x1):  # type: ignore[no-untyped-def]
    """Sum of what is missing in those face neighbours of a voxel that are outside of its block."""
    total = np.float32(0.0)
    if z == z0 and z > 0:
        total += residual[z - 1, y, x]
    if z == z1 - 1 and z1 < residual.shape[0]:
        total += residual[z1, y, x]
    if y == y0 and y > 0:
        total += residual[z, y - 1, x]
    if y == y1 - 1 and y1 < residual.shape[1]:
        total += residual[z, y1, x]
    if x == x0 and x > 0:
        total += residual[z, y, x - 1]
    if x == x1 - 1 and x1 < residual.shape[2]:
        total += residual[z, y, x1]
    return total


@njit(cache=True, nogil=True)
def _any_above(residual, z0, y0, x0, z1, y1, x1, limit):  # type: ignore[no-untyped-def]
    """Whether more than ``limit`` is missing in a voxel of a box, of what of it is inside of the residual."""
    for z in range(max(z0, 0), min(z1, residual.shape[0])):
        for y in range(max(y0, 0), min(y1, residual.shape[1])):
            for x in range(max(x0, 0), min(x1, residual.shape[2])):
                if abs(residual[z, y, x]) > limit:
                    return True
    return False


@njit(cache=True, nogil=True)
def _spilt_into(residual, z0, y0, x0, z1, y1, x1, limit):  # type: ignore[no-untyped-def]
    """Whether more than ``limit`` is missing in a voxel that shares a face with the block."""
    return (
        _any_above(residual, z0 - 1, y0, x0, z0, y1, x1, limit)
        or _any_above(residual, z1, y0, x0, z1 + 1, y1, x1, limit)
        or _any_above(residual, z0, y0 - 1, x0, z1, y0, x1, limit)
        or _any_above(residual, z0, y1, x0, z1, y1 + 1, x1, limit)
        or _any_above(residual, z0, y0, x0 - 1, z1, y1, x0, limit)
        or _any_above(residual, z0, y0, x1, z1, y1, x1 + 1, limit)
    )


@njit(cache=True, nogil=True)
def _active(residual, weight, z0, y0, x0, z1, y1, x1, inverse, price, side):  # type: ignore[no-untyped-def]
    """Whether a block holds anything worth its bits, be it what points of the next blocks spill into it."""
    gain = -6.0 * price
    limit = SPILL_SEEN / inverse
    spilt = side > 0.0 and _spilt_into(residual, z0, y0, x0, z1, y1, x1, limit / side)
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                missing = residual[z, y, x]
                if spilt:
                    missing -= side * _beside(residual, z, y, x, z0, y0, x0, z1, y1, x1)
                a = abs(missing) * inverse
                if a > 0.75:
                    k = math.floor(a + 0.5)
                    g = (a * a - (a - k) ** 2) * weight[z, y, x]
                    g -= price * (5.0 + 2.0 * math.log2(max(k, 1.0)))
                    if g > 0:
                        gain += g
                        if gain > 0:
                            return True
    return False


@njit(cache=True, nogil=True)
def find_blocks(residual, weight, lo, grid, inverse, price, side, blocks, bz):  # type: ignore[no-untyped-def]
    z0, z1 = lo[0] + bz * BLOCK, lo[0] + min((bz + 1) * BLOCK, grid[0])
    for by in range(blocks.shape[1] - 2):
        y0, y1 = lo[1] + by * BLOCK, lo[1] + min((by + 1) * BLOCK, grid[1])
        for bx in range(blocks.shape[2] - 2):
            x0, x1 = lo[2] + bx * BLOCK, lo[2] + min((bx + 1) * BLOCK, grid[2])
            blocks[bz + 1, by + 1, bx + 1] = _active(
                residual, weight, z0, y0, x0, z1, y1, x1, inverse, price, side
            )


@njit(cache=True, nogil=True)
def sharpened(before, side, sweeps):  # type: ignore[no-untyped-def]
    """Heights that add up to ``before`` although each point spills ``side`` of its own into six voxels.

    Sweeps of Gauss and Seidel's iteration, each of which takes off nine tenths of the error or more.
    """
    now = before.copy()
    nz, ny, nx = before.shape
    for _ in range(sweeps):
        for z in range(nz):
            for y in range(ny):
                for x in range(nx):
                    around = np.float32(0.0)
                    if z > 0:
                        around += now[z - 1, y, x]
                    if z + 1 < nz:
                        around += now[z + 1, y, x]
                    if y > 0:
                        around += now[z, y - 1, x]
                    if y + 1 < ny:
                        around += now[z, y + 1, x]
                    if x > 0:
                        around += now[z, y, x - 1]
                    if x + 1 < nx:
                        around += now[z, y, x + 1]
                    now[z, y, x] = before[z, y, x] - side * around
    return now


@njit(cache=True, nogil=True)
def choose(residual, wanted, margin, weight, lo, inverse, base, side, models, blocks, q, bits):  # type: ignore[no-untyped-def]
    """Choose the integers of a grid in coding order; ``residual`` loses what they add to it.

    ``weight`` is that of each voxel's squared error (0: nothing is chosen there). ``wanted`` has a border of
    ``margin`` voxels before the grid; ``bits`` gains what each block takes.
    """
    step = 1.0 / inverse
    nz, ny, nx = q.shape[0] - 1, q.shape[1] - 2, q.shape[2] - 2
    ez, ey, ex = residual.shape
    count = 0
    for z in range(1, nz + 1):
        bz = (z - 1) // BLOCK + 1
        rz = lo[0] + z - 1
        for y in range(1, ny + 1):
            by = (y - 1) // BLOCK + 1
            ry = lo[1] + y - 1
            for bx in range(1, blocks.shape[2] - 1):
                if blocks[bz, by, bx] == 0:
                    continue
                quiet = quiet_of(blocks, bz, by, bx)
                spent = 0.0
                for x in range((bx - 1) * BLOCK + 1, min(bx * BLOCK, nx) + 1):
                    rx = lo[2] + x - 1
                    real = wanted[z - 1 + margin[0], y - 1 + margin[1], x - 1 + margin[2]]
                    e = energy(q, z, y, x)
                    zero = zero_model(e, quiet)
                    a = abs(real) * inverse
                    most = min(int(a + 0.5), LARGEST - 1) if weight[rz, ry, rx] > 0.0 else 0
                    best = 0
                    paid = _bits(models, zero, 0)
                    if most > 0:
                        low = shift_of(e)
                        at = MAGNITUDE_AT + level_of(e) * UNARY
                        sign = _bits(models, SIGN_AT + lean(q, z, y, x), 1 if real > 0 else 0)
                        head = _bits(models, zero, 1) + sign
                        price = base / weight[rz, ry, rx]
                        least = a * a + price * paid
                        for k in range(max(1, most - 1), most + 1):
                            taken = head + _magnitude_bits(models, at, low, k)
                            cost = (a - k) ** 2 + price * taken
                            if cost < least:
                                least = cost
                                best = k
                                paid = taken
                    spent += paid
                    _learn(models, zero, np.int64(best != 0))
                    if best == 0:
                        continue
                    _learn(models, SIGN_AT + lean(q, z, y, x), np.int64(real > 0))
                    high = (best - 1) >> low
                    for n in range(min(UNARY, high + 1)):
                        _learn(models, at + n, np.int64(high > n))
                    count += 1
                    value = best if real > 0 else -best
                    q[z, y, x] = value
                    d = np.float32(value * step)
                    residual[rz, ry, rx] -= d
                    if side > 0.0:
                        d *= np.float32(side)
                        if rz > 0:
                            residual[rz - 1, ry, rx] -= d
                        if rz + 1 < ez:
                            residual[rz + 1, ry, rx] -= d
                        if ry > 0:
                            residual[rz, ry - 1, rx] -= d
                        if ry + 1 < ey:
                            residual[rz, ry + 1, rx] -= d
                        if rx > 0:
                            residual[rz, ry, rx - 1] -= d
                        if rx + 1 < ex:
                            residual[rz, ry, rx + 1] -= d
                bits[bz, by, bx] += spent
    return count


@njit(cache=True, nogil=True)
def settle(blocks, q, bits, models):  # type: ignore[no-untyped-def]
    """Clear the blocks that came to hold nothing; returns the bits of the others and of all flags."""
    nz, ny, nx = q.shape[0] - 1, q.shape[1] - 2, q.shape[2] - 2
    total = 0.0
    for bz in range(1, blocks.shape[0] - 1):
        for by in range(1, blocks.shape[1] - 1):
            for bx in range(1, blocks.shape[2] - 1):
                if blocks[bz, by, bx]:
                    any_here = False
                    for z in range((bz - 1) * BLOCK + 1, min(bz * BLOCK, nz) + 1):
                        for y in range((by - 1) * BLOCK + 1, min(by * BLOCK, ny) + 1):
                            for x in range((bx - 1) * BLOCK + 1, min(bx * BLOCK, nx) + 1):
                                any_here = any_here or q[z, y, x] != 0
                    blocks[bz, by, bx] = any_here
                    if any_here:
                        total += bits[bz, by, bx]
                n = np.int64(blocks[bz - 1, by, bx]) + blocks[bz, by - 1, bx] + blocks[bz, by, bx - 1]
                total += _bits(models, BLOCKS_AT + n, np.int64(blocks[bz, by, bx]))
                _learn(models, BLOCKS_AT + n, np.int64(blocks[bz, by, bx]))
    return total
