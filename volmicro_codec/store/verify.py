"""How near a store is to its original, from a sample of its bricks, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from ..decoder.multiscale import MultiscaleArray
from ..errors import InputError
from ..evaluate.metrics import psnr_of
from ..evaluate.tails import peak_of, tails
from ..volume import Volume
from .array import grid_of
from .grid import Box, Brick

CONFIDENCE = 0.95
BOX = 256
"""Voxels a side at most of what of a brick is compared."""


@dataclass(frozen=True)
class Compared:
    """One brick of the sample.

    Attributes
    ----------
    number : int
    t, c : int
        Of the store.
    box : three slices
    mse, bias, max_error : float
    """

    number: int
    t: int
    c: int
    box: Box
    mse: float
    bias: float
    max_error: float


@dataclass(frozen=True)
class Verified:
    """What a sample tells.

    Attributes
    ----------
    bricks, compared : int
        All that could be, and of how many a box was compared.
    whole : bool
        Whether every voxel was.
    peak : float
        p99.99 - p0.01 of the original's voxels in the sample, of the channel with the lowest PSNR.
    psnr : float
        Of that channel.
    low, high : float
        Between which its PSNR of all voxels lies, with `CONFIDENCE`.
    bias, max_error : float
    samples : list of Compared
    """

    bricks: int
    compared: int
    whole: bool
    peak: float
    psnr: float
    low: float
    high: float
    bias: float
    max_error: float
    samples: list[Compared]


def verify(
    original: Volume,
    array: MultiscaleArray,
    count: int,
    at: Mapping[str, int],
    seed: int = 0,
    advance: Callable[[int], None] = lambda n: None,
) -> Verified:
    """Compare boxes of bricks, drawn evenly over the store, with the original.

    Parameters
    ----------
    original : Volume
        Of which boxes are read.
    array : MultiscaleArray
    count : int
        Bricks.
    at : mapping
        The index on T and C of the store at which the original lies; without an axis it has all of it.
    seed : int
    advance : callable, optional
        Told how many bricks more are compared.

    Raises
    ------
    InputError
        Where the original has another shape.
    FormatError
        Where a chunk is damaged.
    """
    lengths = zip("TCZYX", array.info.shape, strict=True)
    shape = tuple(1 if a in at else n for a, n in lengths)
    if original.info.shape != shape or original.info.dtype != array.dtype:
        raise InputError(
            f"the bricks hold {shape} of {array.dtype}, the original is {original.info.shape} of"
            f" {original.info.dtype}"
        )
    grid = grid_of(array)
    rng = np.random.default_rng([seed, 0x7E])
    every = grid.numbers(at)
    numbers = every
    if count < len(every):
        numbers = sorted(every[n] for n in rng.choice(len(every), count, replace=False))
    samples, parts, sizes = [], [], []
    for n in numbers:
        brick = grid.brick(n)
        box = _part(brick.box, rng)
        before = np.asarray(original.data[(*within(brick, at), *box)]).astype(np.float32)
        after = array.read(box, time=brick.t, channel=brick.c).reshape(before.shape).astype(np.float32)
        error = after - before
        sizes.append(error.size)
        parts.append(tails(before))
        samples.append(
            Compared(
                n,
                brick.t,
                brick.c,
                box,
                float(np.mean(error**2)),
                float(error.mean()),
                float(np.abs(error).max()),
            )
        )
        advance(1)
    whole = sum(sizes) == math.prod(shape)
    # A channel has a peak of its own, and the worst of them counts.
    concluded = []
    for c in sorted({s.c for s in samples}):
        own = [k for k, s in enumerate(samples) if s.c == c]
        some, counts = [samples[k] for k in own], [sizes[k] for k in own]
        peak = peak_of([parts[k] for k in own], counts)
        concluded.append(_concluded(some, counts, peak, len(every), whole))
    worst = min(concluded, key=lambda found: found.low)
    return replace(
        worst,
        compared=len(samples),
        bias=float(np.average([s.bias for s in samples], weights=sizes)),
        max_error=max(s.max_error for s in samples),
        samples=samples,
    )


def within(brick: Brick, at: Mapping[str, int]) -> tuple[int, int]:
    """The index on T and C of a brick's image in an original that lies at `at`."""
    return 0 if "T" in at else brick.t, 0 if "C" in at else brick.c


def _part(box: Box, rng: np.random.Generator) -> Box:
    out = []
    for s in box:
        edge = min(s.stop - s.start, BOX)
        first = s.start + int(rng.integers(0, s.stop - s.start - edge + 1))
        out.append(slice(first, first + edge))
    return out[0], out[1], out[2]


def _concluded(samples: list[Compared], sizes: list[int], peak: float, bricks: int, whole: bool) -> Verified:
    errors = np.array([s.mse for s in samples])
    mse = float(np.average(errors, weights=sizes))
    spread = 0.0
    if not whole:
        deviation = float(errors.std(ddof=1)) if len(samples) > 1 else mse
        spread = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * deviation / math.sqrt(len(samples))

    return Verified(
        bricks, len(samples), whole, peak, psnr_of(peak, mse, 1),
        psnr_of(peak, mse + spread, 1), psnr_of(peak, max(mse - spread, 0.0), 1),
        float(np.average([s.bias for s in samples], weights=sizes)), max(s.max_error for s in samples),
        samples,
    )  # fmt: skip
