"""The finest layer: what Gaussians left of single voxels, as points on the voxels' own grid.

Where a file has bytes for more than about a bit a voxel of foreground, a Gaussian of ten numbers costs more
than the voxels that it describes. There the residual of the fit is quantised voxel by voxel, each integer
chosen by squared error plus a Lagrange multiplier times its bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...entropy import points as code_of_points
from ...entropy.points import BLOCK, empty_arrays
from ...errors import UsageError
from ...format.codings.points import HEAD, decode
from ...native_encoder import coder
from ...pool import run_in_pool
from ...primitives import MAX_PRIMITIVES_PER_BYTE, Records

F32 = npt.NDArray[np.float32]
Shape3 = tuple[int, int, int]

SCALE = float(np.float16(0.4))
"""Standard deviation in voxels: a point then has about the integral of a voxel of its height."""
EDGE = 128
LAGRANGE_MULTIPLIER = 0.16
"""Squared steps that a bit may cost. More than the slope of uniform rounding at high rates, 2 ln 2 / 12. At
100x 0.13 is 0.01 dB better and 0.27 worse in the foreground, 0.2 is 0.05 worse and 0.25 better there
(`benchmarks/detail_choices.py`, `results/detail_choices_points.json`)."""
SWEEPS, SWEEPS_TO_THE_END = 4, 12
"""In which points come to make up for what they spill into one another, and where nothing is to be left."""


def neighbour_response(cutoff: float) -> float:
    """What a point adds to each of the six voxels beside its own, over its height."""
    cut = math.exp(-cutoff / 2.0)
    return (math.exp(-0.5 / SCALE**2) - cut) / (1.0 - cut) if cutoff * SCALE**2 > 1.0 else 0.0


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


def _blocks_in_reach(residual: F32, lo: Shape3, shape: Shape3, limit: float) -> npt.NDArray[np.bool_]:
    """Blocks of a box in which, or in a block next to which, a voxel lacks ``limit`` or more.

    Of points that are to leave nothing: what they spill is made up for by their neighbours, and so on, which
    is over within a block's width.
    """
    window = _around(lo, shape, BLOCK, residual.shape)
    inner = [-(-n // BLOCK) for n in shape]
    hot = np.zeros([(n + 2) * BLOCK for n in inner], bool)
    first = [w.start - (a - BLOCK) for a, w in zip(lo, window, strict=True)]
    at = tuple(slice(f, f + w.stop - w.start) for f, w in zip(first, window, strict=True))
    hot[at] = np.abs(residual[window]) >= limit
    z, y, x = (n + 2 for n in inner)
    out: npt.NDArray[np.bool_] = np.any(hot.reshape(z, BLOCK, y, BLOCK, x, BLOCK), axis=(1, 3, 5))
    for axis in range(3):
        wide = np.moveaxis(out, axis, 0)
        out = np.moveaxis(wide[:-2] | wide[1:-1] | wide[2:], 0, axis)
    return out


def _around(lo: Shape3, shape: Shape3, margin: int, whole: tuple[int, ...]) -> tuple[slice, ...]:
    """A box and ``margin`` voxels around it, of what of them there is."""
    return tuple(
        slice(max(a - margin, 0), min(a + n + margin, w)) for a, n, w in zip(lo, shape, whole, strict=True)
    )


def _exact(step: float, largest: float) -> float:
    """The step or one just under it, of so few digits that float16 holds its multiples up to ``largest``."""
    digits = max(1, 11 - math.frexp(1.5 * largest / step)[1])
    mantissa, exponent = math.frexp(step)
    return math.ldexp(math.floor(math.ldexp(mantissa, digits)), exponent - digits)


def choose_points(
    residual: F32,
    weight: F32,
    lo: Shape3,
    shape: Shape3,
    step: float,
    unit: float,
    cutoff: float,
    origin: Shape3,
    threads: int = 1,
    multiplier: float = LAGRANGE_MULTIPLIER,
    code: bool = True,
) -> PointChunk | None:
    """Quantise a box of a residual.

    Parameters
    ----------
    residual : float32 [Z, Y, X]
        What is missing, normalised intensity; loses what the points add.
    weight : float32 [Z, Y, X]
        Of each voxel's squared error; 0 where no point is to be.
    lo, shape : (z, y, x)
        The box, in voxels of ``residual``.
    step : float
        Of the points' height, normalised intensity.
    unit : float
        Normalised intensity of a record's intensity of 1.
    cutoff : float
    origin : (z, y, x)
        Voxel of the image that is the residual's first.
    multiplier : float
        Squared steps that a bit may cost where the weight is 1; at 0 nothing is left of integers (see
        `point_layer.finest_step`) but where the weight is 0.
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
    margin = 1 if multiplier else BLOCK
    if not multiplier:
        largest = float(np.abs(residual[_around(lo, shape, 0, residual.shape)]).max())
        stored = _exact(stored, largest / unit)
    inverse = 1.0 / (stored * unit)
    blocks, q = empty_arrays(shape)
    side = neighbour_response(cutoff)
    if multiplier:
        run_in_pool(
            threads,
            lambda bz: coder.find_blocks(residual, weight, lo, shape, inverse, multiplier, side, blocks, bz),
            blocks.shape[0] - 2,
        )
    else:
        blocks[1:-1, 1:-1, 1:-1] = _blocks_in_reach(residual, lo, shape, 0.5 / inverse)
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
    near = _around(lo, grid, margin, residual.shape)
    before = residual[near].copy()
    border = (lo[0] - near[0].start, lo[1] - near[1].start, lo[2] - near[2].start)
    wanted = before.copy()
    if side:
        coder.sharpen(before, wanted, side, SWEEPS if multiplier else SWEEPS_TO_THE_END)
    bits = np.zeros(blocks.shape)
    count = coder.choose_points(
        residual, weight, lo, wanted, border, inverse, multiplier, side, blocks, q, bits
    )
    if count == 0:
        return None
    foreseen = HEAD.size + 1 + math.ceil(coder.clear_empty_blocks(blocks, q, bits) / 8.0)
    payload = encode_points(blocks, q, 1, SCALE, stored) if code else None
    length = foreseen if payload is None else len(payload)
    if count > MAX_PRIMITIVES_PER_BYTE * length:
        # A pattern so regular that its points take less than a bit each, which no index may say.
        residual[near] = before
        return None
    first_voxel = (origin[0] + lo[0], origin[1] + lo[1], origin[2] + lo[2])
    return PointChunk(first_voxel, grid, count, length, payload)


def encode_points(
    blocks: npt.NDArray[np.uint8], q: npt.NDArray[np.int32], spacing: int, scale: float, step: float
) -> bytes:
    """The payload of a grid of integers (see `entropy.points.encode` for the arrays)."""
    return HEAD.pack(spacing, scale, step) + code_of_points.encode(blocks, q)
