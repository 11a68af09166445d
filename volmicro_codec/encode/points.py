"""The finest layer: what Gaussians left of single voxels, as points on the voxels' own grid.

Where a file has bytes for more than about a bit a voxel of foreground, a Gaussian of ten numbers costs more
than the voxels that it describes. There the residual of the fit is quantised voxel by voxel, each integer
chosen by squared error plus the price of its bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from ..decode.cpu import run_in_pool
from ..errors import UsageError
from ..format.codings.lattice_models import LIMIT, RATES
from ..format.codings.lattice_range import STATE_WORDS, finish_encoding, room_for, start_encoding
from ..format.codings.points import HEAD, decode, empty_arrays
from ..format.codings.points_chunk import (
    BLOCK,
    BLOCKS_AT,
    LARGEST,
    MAGNITUDE_AT,
    SIGN_AT,
    UNARY,
    code_points,
    energy,
    lean,
    level_of,
    models_for_points,
    quiet_of,
    shift_of,
    zero_model,
)
from ..format.index import MAX_PRIMITIVES_PER_BYTE
from ..primitives import Records

F32 = npt.NDArray[np.float32]
Shape3 = tuple[int, int, int]

SCALE = float(np.float16(0.4))
"""Standard deviation in voxels: a point then has about the integral of a voxel of its height."""
EDGE = 128
SWEEPS = 4
PRICE = 0.1155
"""Squared steps that a bit may cost: the slope of uniform rounding at high rates, 2 ln 2 / 12."""


def spill(cutoff: float) -> float:
    """What a point adds to each of the six voxels beside its own, over its height."""
    cut = math.exp(-cutoff / 2.0)
    return (math.exp(-0.5 / SCALE**2) - cut) / (1.0 - cut) if cutoff * SCALE**2 > 1.0 else 0.0


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
def _active(residual, foreground, care, z0, y0, x0, z1, y1, x1, inverse, price, side):  # type: ignore[no-untyped-def]
    """Whether a block holds anything worth its bits, be it what points of the next blocks spill into it."""
    gain = -6.0 * price
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                spilt = side * _beside(residual, z, y, x, z0, y0, x0, z1, y1, x1)
                a = abs(residual[z, y, x] - spilt) * inverse
                if a > 0.75 or (price == 0.0 and a >= 0.5):
                    k = math.floor(a + 0.5)
                    g = (a * a - (a - k) ** 2) * (care if foreground[z, y, x] else 1.0)
                    g -= price * (5.0 + 2.0 * math.log2(max(k, 1.0)))
                    if g > 0:
                        gain += g
                        if gain > 0:
                            return True
    return False


@njit(cache=True, nogil=True)
def _find_blocks(residual, foreground, care, lo, grid, inverse, price, side, blocks, bz):  # type: ignore[no-untyped-def]
    z0, z1 = lo[0] + bz * BLOCK, lo[0] + min((bz + 1) * BLOCK, grid[0])
    for by in range(blocks.shape[1] - 2):
        y0, y1 = lo[1] + by * BLOCK, lo[1] + min((by + 1) * BLOCK, grid[1])
        for bx in range(blocks.shape[2] - 2):
            x0, x1 = lo[2] + bx * BLOCK, lo[2] + min((bx + 1) * BLOCK, grid[2])
            blocks[bz + 1, by + 1, bx + 1] = _active(
                residual, foreground, care, z0, y0, x0, z1, y1, x1, inverse, price, side
            )


@njit(cache=True, nogil=True)
def _sharpened(before, side):  # type: ignore[no-untyped-def]
    """Heights that add up to ``before`` although each point spills ``side`` of its own into six voxels.

    Sweeps of Gauss and Seidel's iteration, each of which takes off nine tenths of the error or more.
    """
    now = before.copy()
    nz, ny, nx = before.shape
    for _ in range(SWEEPS):
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
def _choose(residual, wanted, margin, foreground, care, lo, inverse, base, side, models, blocks, q, bits):  # type: ignore[no-untyped-def]
    """Choose the integers of a grid in coding order; ``residual`` loses what they add to it.

    ``wanted`` has a border of ``margin`` voxels before the grid; ``bits`` gains what each block takes.
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
                    most = min(int(a + 0.5), LARGEST - 1)
                    best = 0
                    paid = _bits(models, zero, 0)
                    if most > 0:
                        low = shift_of(e)
                        at = MAGNITUDE_AT + level_of(e) * UNARY
                        sign = _bits(models, SIGN_AT + lean(q, z, y, x), 1 if real > 0 else 0)
                        head = _bits(models, zero, 1) + sign
                        price = base / care if foreground[rz, ry, rx] else base
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
def _settle(blocks, q, bits, models):  # type: ignore[no-untyped-def]
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


@dataclass(frozen=True)
class PointChunk:
    """The points of one box.

    Attributes
    ----------
    lo, shape : (z, y, x)
        The box, in voxels of the image.
    count : int
    size : int
        Bytes of the payload; foreseen (to 1 %) where there is none yet.
    payload : bytes or None
    """

    lo: Shape3
    shape: Shape3
    count: int
    size: int
    payload: bytes | None

    @property
    def brick_shape(self) -> Shape3:
        """As an index entry has it."""
        return self.shape

    def records(self) -> Records:
        """What a decoder makes of the payload."""
        return decode(self.payload or b"", self.count, b"", self)


def boxes(lo: Shape3, shape: Shape3, edge: int = EDGE) -> Iterator[tuple[Shape3, Shape3]]:
    """Boxes (lo, shape) of at most ``edge`` voxels a side that tile a box, cut where multiples of it are."""
    cuts = []
    for a, n in zip(lo, shape, strict=True):
        inner = range((a // edge + 1) * edge, a + n, edge)
        cuts.append([a, *inner, a + n])
    for z0, z1 in zip(cuts[0], cuts[0][1:], strict=False):
        for y0, y1 in zip(cuts[1], cuts[1][1:], strict=False):
            for x0, x1 in zip(cuts[2], cuts[2][1:], strict=False):
                yield (z0, y0, x0), (z1 - z0, y1 - y0, x1 - x0)


def turns(every: Sequence[tuple[Shape3, Shape3]], edge: int = EDGE) -> list[list[int]]:
    """Which of the `boxes` may be worked on at once, since no two of them touch: lists of their numbers."""
    kinds: dict[tuple[int, ...], list[int]] = {}
    for k, (lo, _) in enumerate(every):
        kinds.setdefault(tuple(a // edge % 2 for a in lo), []).append(k)
    return list(kinds.values())


def choose_points(
    residual: F32,
    foreground: npt.NDArray[np.bool_],
    lo: Shape3,
    shape: Shape3,
    step: float,
    unit: float,
    care: float,
    cutoff: float,
    origin: Shape3,
    threads: int = 1,
    price: float = PRICE,
    code: bool = True,
) -> PointChunk | None:
    """Quantise a box of a residual.

    Parameters
    ----------
    residual : float32 [Z, Y, X]
        What is missing, normalised intensity; loses what the points add.
    foreground : bool [Z, Y, X]
    lo, shape : (z, y, x)
        The box, in voxels of ``residual``.
    step : float
        Of the points' height, normalised intensity.
    unit : float
        Normalised intensity of a record's intensity of 1.
    care : float
        Weight of the squared error in the foreground, that of the rest being 1.
    cutoff : float
    origin : (z, y, x)
        Voxel of the image that is the residual's first.
    price : float
        Squared steps that a bit may cost.
    code : bool
        Whether the payload is wanted.

    Returns
    -------
    PointChunk or None
        None where no point is worth its bits.
    """
    stored = float(np.float16(step / unit)) if step < unit * 65504.0 else 0.0
    if not stored > 0:
        raise UsageError(f"a step of {step} for points cannot be stored")
    inverse = 1.0 / (stored * unit)
    blocks, q = empty_arrays(shape)
    at, size, side = np.array(lo), np.array(shape), spill(cutoff)
    run_in_pool(
        threads,
        lambda bz: _find_blocks(residual, foreground, care, at, size, inverse, price, side, blocks, bz),
        blocks.shape[0] - 2,
    )
    if not blocks.any():
        return None
    used = [np.nonzero(blocks.any(axis=tuple(b for b in range(3) if b != a)))[0] for a in range(3)]
    first = [int(u[0] - 1) * BLOCK for u in used]
    last = [min(int(u[-1]) * BLOCK, n) for u, n in zip(used, shape, strict=True)]
    grid = (last[0] - first[0], last[1] - first[1], last[2] - first[2])
    if grid != shape:
        inside = tuple(slice(int(u[0]) - 1, int(u[-1]) + 2) for u in used)
        kept = blocks[inside].copy()
        blocks, q = empty_arrays(grid)
        blocks[1:-1, 1:-1, 1:-1] = kept[1:-1, 1:-1, 1:-1]
        lo = (lo[0] + first[0], lo[1] + first[1], lo[2] + first[2])
    near = tuple(slice(max(a - 1, 0), a + n + 1) for a, n in zip(lo, grid, strict=True))
    before = residual[near].copy()
    margin = np.array([a - n.start for a, n in zip(lo, near, strict=True)])
    wanted = _sharpened(before, np.float32(side)) if side else before
    bits = np.zeros(blocks.shape)
    count = _choose(
        residual, wanted, margin, foreground, care, np.array(lo), inverse, price, side, models_for_points(),
        blocks, q, bits,
    )  # fmt: skip
    if count == 0:
        return None
    foreseen = HEAD.size + 1 + math.ceil(_settle(blocks, q, bits, models_for_points()) / 8.0)
    payload = encode_points(blocks, q, 1, SCALE, stored) if code else None
    length = foreseen if payload is None else len(payload)
    if count > MAX_PRIMITIVES_PER_BYTE * length:
        # A pattern so regular that its points take less than a bit each, which no index may say.
        residual[near] = before
        return None
    first_voxel = (origin[0] + lo[0], origin[1] + lo[1], origin[2] + lo[2])
    return PointChunk(first_voxel, grid, int(count), length, payload)


def encode_points(
    blocks: npt.NDArray[np.uint8], q: npt.NDArray[np.int32], spacing: int, scale: float, step: float
) -> bytes:
    """The payload of a grid of integers (see `points_chunk.code_points` for the arrays)."""
    rc = np.zeros(STATE_WORDS, np.int64)
    start_encoding(rc)
    count = int(np.count_nonzero(q))
    buf = np.zeros(room_for(count) + q.size // 8, np.uint8)
    code_points(rc, buf, models_for_points(), blocks, q)
    length = int(finish_encoding(rc, buf))
    return HEAD.pack(spacing, scale, step) + buf[1 : 1 + length].tobytes()
