"""How the bytes of an image are shared between Gaussians and points (see `quantise.residual`), at one slope.

A finer step of the Gaussians and a finer step of the points are worth the same where both steps are equal,
so one number, the step, says how good the file is; how many Gaussians are best is where the squared error
at equal bytes (or the bytes at equal error) is least.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...entropy.points import LARGEST
from ...format import EncodedChunk, codings, support_box
from ...pool import run_in_pool
from ..fit import voxels
from ..fit.blocks import core_in_domain
from ..fit.conjugate_gradient import Refiner
from ..fit.gaussians import Model
from ..fit.image_fit import ImageFit
from ..image import Part
from ..quantise.residual import PRICE, SCALE, PointChunk, Shape3, boxes, choose_points, spill, turns
from ..significance import STEP, step_at_noise
from .step_search import StepSearch

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Box = tuple[Shape3, Shape3]

INDEX_BYTES = 16  # of a chunk, measured
BYTES_AN_OCTAVE = 1.1
ROUNDING = 0.45
"""Squared steps of error that rounding a Gaussian leaves, of the 10 / 12 without refits (measured)."""
WORTHWHILE = 0.03
"""Share of the bytes under which points are left out."""
FOREGROUND = 0.15
"""A decibel of the foreground's PSNR over one of the whole volume's, where bytes are shared out."""
BETWEEN_FILES = 0.25
"""The same where one of two files is kept: more, as such a choice is between unlike ones (some tenths of a
decibel of all against one or two of the foreground)."""
LARGEST_FOREGROUND_WEIGHT = 4.0
MOST_TRIES = 8
NEAR = 0.0075  # of the bytes (or error) when they are shared out; to twice that below
CLOSE = 0.001  # of the bytes (or error) when they are spent
LEAST_BITS = 2.0  # that a voxel off the background takes
LEAST_STORED = 2.0**-14
"""Of a points' step over the unit: under it float16 has fewer digits, and soon none."""
COARSER, COARSER_FROM = 3.0, 0.4
"""Points take over part of the Gaussians' rounding error: their step grows with the points' share of the
bytes, to three times that of the points at a share of 0.4 (measured; flat from 2 to 5)."""


@dataclass(frozen=True)
class Layer:
    """Points of an image.

    Attributes
    ----------
    chunks : list of PointChunk
    size : int
        Bytes of payload, and of index as far as foreseen.
    sse, sse_foreground : float
        Squared error that is left, normalised intensity.
    """

    chunks: list[PointChunk]
    size: int
    sse: float
    sse_foreground: float

    @property
    def payload(self) -> int:
        """Bytes of payload alone."""
        return sum(c.size for c in self.chunks)


@dataclass(frozen=True)
class Allocation:
    """A way to spend bytes.

    Attributes
    ----------
    step : float
        Of the points' height, normalised intensity.
    coarser : float
        Step of the Gaussians' energy amplitude over that.
    gaussians, points : float
        Bytes.
    sse, sse_foreground : float
        Squared error expected.
    byte_worth : float
        Squared error that a byte must take off lest it describe noise.
    """

    step: float
    coarser: float
    gaussians: float
    points: float
    sse: float
    sse_foreground: float
    byte_worth: float = 0.0

    @property
    def size(self) -> float:
        """Bytes in all."""
        return self.gaussians + self.points

    @property
    def worthwhile(self) -> bool:
        """Whether the points are."""
        return self.points > WORTHWHILE * self.size

    @property
    def loss(self) -> float:
        """What is to be least at equal bytes, in dB."""
        return _loss(self.sse, self.sse_foreground, self.byte_worth * self.size)


def _missing(fit: ImageFit) -> Iterator[tuple[Part, F32]]:
    """Each block, and what the model lacks in its domain (in an array to be used up before the next)."""
    for part, _, refiner in fit.residuals:
        yield part, np.negative(refiner.residual, out=refiner.scratch)


def layer(
    fit: ImageFit,
    step: float,
    unit: float,
    foreground_weight: float,
    *,
    finest: float | None = None,
    code: bool = True,
) -> Layer:
    """The points that are worth their bytes at a step, on what the model of the fit lacks.

    Parameters
    ----------
    fit : ImageFit
    step : float
        Normalised intensity.
    unit : float
        Normalised intensity of a record's intensity of 1.
    foreground_weight : float
        Weight of the squared error in the foreground, that of the rest being 1.
    finest : float, optional
        `finest_step`, where it is known.
    code : bool
        Whether the chunks are to have payloads.
    """
    finest = finest_step(fit, unit) if finest is None else finest
    price = PRICE if step > finest or not exact(fit, finest) else 0.0
    step = max(step, finest)

    def of(part: Part, _: Mask, refiner: Refiner) -> tuple[list[PointChunk], float, float]:
        missing, threads = np.negative(refiner.residual, out=refiner.scratch), refiner.threads
        foreground = fit.image.foreground(part.domain)
        z, y, x = (s.start for s in part.domain)
        weight = weight_of_voxels(fit, part, missing, foreground, foreground_weight, step, threads)
        core = core_in_domain(part)
        every = list(boxes(*_to_be_coded(fit, part)))
        chosen: dict[int, PointChunk | None] = {}
        for turn in turns(every):

            def choose(k: int, turn: list[int] = turn) -> PointChunk | None:
                at, size = every[turn[k]]
                return choose_points(
                    missing, weight, at, size, step, unit, fit.raster.cutoff, (z, y, x),
                    threads if len(turn) == 1 else 1, price, code,
                )  # fmt: skip

            chosen.update(zip(turn, run_in_pool(threads, choose, len(turn)), strict=True))
        chunks = [found for k in range(len(every)) if (found := chosen[k]) is not None]
        return chunks, *voxels.squares(missing[core], foreground[core], threads)

    every_left = fit.residuals.left() if fit.noise is not None else []
    quiet = {part.number: left for part, left in zip(fit.blocks.parts, every_left) if left.quiet}

    def nothing(part: Part) -> tuple[list[PointChunk], float, float] | None:
        left = quiet.get(part.number)
        return None if left is None else ([], left.sse, left.sse_foreground)

    parts = fit.residuals.of_each(of, nothing)
    chunks = [c for part in parts for c in part[0]]
    size = sum(c.size + INDEX_BYTES for c in chunks)
    return Layer(chunks, size, sum(p[1] for p in parts), sum(p[2] for p in parts))


def _to_be_coded(fit: ImageFit, part: Part) -> Box:
    """What of a block's core is to be coded, as (lo, shape) in voxels of its domain."""
    start, shape = [], []
    for core, box, domain in zip(part.core, fit.image.coded, part.domain, strict=True):
        first, last = max(core.start, box.start), min(core.stop, box.stop)
        start.append(first - domain.start)
        shape.append(max(last - first, 0))
    return (start[0], start[1], start[2]), (shape[0], shape[1], shape[2])


def weight_of_voxels(
    fit: ImageFit,
    part: Part,
    missing: F32,
    foreground: Mask,
    foreground_weight: float,
    step: float,
    threads: int = 1,
) -> F32:
    """Weight of each voxel's squared error where points are chosen, [Z, Y, X] of a block's domain.

    ``foreground_weight`` in the foreground and 1 elsewhere. Where the noise is known no bit may take off less
    than `significance.BIT` variances of it, and none is spent where what is missing is no more than the noise
    explains in the neighbourhood, or the gate is closed.
    """
    weight = np.where(foreground, np.float32(foreground_weight), np.float32(1.0))
    if fit.noise is None:
        return weight
    variance, allowed = fit.residuals.where_significant(part, missing, threads)
    np.minimum(weight, np.float32(step * step / STEP**2) / variance, out=weight)
    weight *= allowed
    return weight


def noise_step(fit: ImageFit) -> float:
    """The step of points under which they describe the noise of the background; 0 where none is known."""
    return STEP * math.sqrt(fit.noise.typical) if fit.noise is not None else 0.0


def exact(fit: ImageFit, finest: float) -> bool:
    """Whether points of the finest step lose nothing."""
    return finest > noise_step(fit)


def may_be_few(fit: ImageFit, budget: float) -> bool:
    """Whether so few integers differ from the background that points alone might hold them in some bytes."""
    if fit.image.voxels.dtype.kind == "f":
        return False
    background = int(np.rint(fit.image.base))
    count = sum(
        np.count_nonzero(np.asarray(fit.image.voxels[p.core]) != background) for p in fit.blocks.parts
    )
    return LEAST_BITS * count <= 8.0 * budget


def finest_step(fit: ImageFit, unit: float = 0.0) -> float:
    """The step that no finer one betters; points of it are rounded plainly.

    Of an integer image the step with which that loses nothing: just under a grey value, for half a step of
    the voxel's own and what its neighbours' halves spill are to be less than half a grey value. Of a float
    image the step with which the integers of a chunk just hold what is missing. At ``unit``, no less than a
    chunk can state.
    """
    if fit.image.voxels.dtype.kind != "f":
        whole = 1.0 + 6.0 * spill(fit.raster.cutoff)
        return max(0.98 / (whole * fit.image.gain), unit * LEAST_STORED, noise_step(fit))
    largest = max(max(float(m.max()), -float(m.min())) for _, m in _missing(fit))
    return max(2.0 * largest / LARGEST, unit * LEAST_STORED, noise_step(fit), 1e-12)


def _left(fit: ImageFit) -> tuple[float, float]:
    """Squared error of the fit as it is, of the whole image and of its foreground, normalised intensity."""
    parts = fit.residuals.left()
    return sum(p.sse for p in parts), sum(p.sse_foreground for p in parts)


def _loss(sse: float, sse_foreground: float, paid: float, foreground: float = FOREGROUND) -> float:
    """In dB; what was paid for bytes is an error like the rest, of which the foreground has its share."""
    sse = max(sse, 1e-30)
    both = math.log10(sse) + foreground * math.log10(max(sse_foreground, 1e-30))
    return 10.0 * (both + (1.0 + foreground) * math.log10(1.0 + paid / sse))


def loss_of(fit: ImageFit, size: float, foreground: float = BETWEEN_FILES) -> float:
    """What is less for the better of two files, in dB; of the fit as it is, coded in ``size`` bytes.

    What a decoder rounds away is no error: of two files that lose nothing neither has less of it.
    """
    sse = sse_foreground = 0.0
    for part, error in fit.residuals.decoded():
        whole, inside = voxels.squares(error, fit.image.foreground(part.core), fit.raster.threads)
        sse += whole
        sse_foreground += inside
    return _loss(sse, sse_foreground, fit.blocks.byte_worth * size, foreground)


def foreground_weight_of(fit: ImageFit) -> float:
    """Weight of the squared error in the foreground (1 elsewhere) with which `Allocation.loss` falls."""
    sse, sse_foreground = _left(fit)
    return 1.0 + min(FOREGROUND * sse / max(sse_foreground, 1e-30), LARGEST_FOREGROUND_WEIGHT)


def solve_allocation(
    fit: ImageFit,
    size: Callable[[float], float],
    start: float,
    *,
    budget: float = 0.0,
    wanted: float = 0.0,
    guess: float = 0.0,
) -> Allocation:
    """The step at which Gaussians and points take ``budget`` bytes, or leave ``wanted`` squared error.

    Parameters
    ----------
    fit : ImageFit
    size : callable
        step -> bytes of the Gaussians; called once, and taken to grow by `BYTES_AN_OCTAVE` a Gaussian.
    start : float
        Step for which ``size`` is called.
    guess : float
        Step to try first; 0 is ``start``.
    """
    known, count, finest = size(start), len(fit.model), finest_step(fit)
    foreground_weight = foreground_weight_of(fit)
    least = step_at_noise(fit.noise, fit.model) if fit.noise is not None else 0.0
    worth = fit.blocks.byte_worth

    def at(step: float) -> Allocation:
        found = layer(fit, step, step * 64.0, foreground_weight, finest=finest, code=False)

        def gaussians(coarser: float) -> float:
            octaves = math.log2(start / max(coarser * step, least))
            return max(known + BYTES_AN_OCTAVE * count * octaves, 0.3 * known)

        if budget and step <= finest and exact(fit, finest) and fit.image.voxels.dtype.kind != "f":
            # Nothing is lost once decoded to integers, whatever fractions of a grey value are left.
            return Allocation(step, 1.0, gaussians(1.0), found.size, 0.0, 0.0, worth)
        share = found.size / max(found.size + gaussians(1.0), 1.0)
        coarser = 1.0 + (COARSER - 1.0) * min(1.0, share / COARSER_FROM)
        rounding = ROUNDING * count * max(coarser * step, least) * step
        return Allocation(
            step, coarser, gaussians(coarser), found.size, found.sse + rounding, found.sse_foreground, worth
        )

    search, step = StepSearch(1.0 if budget else 2.0), max(guess or start, finest)
    if fit.noise is not None and budget:
        step = finest  # most often what is left is noise, and bytes are not short
    good: Allocation | None = None
    slack = 1.0 - NEAR if budget else 1.0 + NEAR
    for _ in range(MOST_TRIES):
        here = at(step)
        # How many times too large, and the step with it.
        over = here.size / budget if budget else wanted / max(here.sse, 1e-30)
        if (over <= 1.0) == bool(budget) or over == 1.0:
            good = here
        near = slack * slack < over <= 1.0 if budget else 1.0 <= over < slack * slack
        if near or (step <= finest and over < 1.0):
            good = here
            break
        new = max(search.next(step, over / slack), finest)
        if search.width < 1.01:
            break
        step = new
    return good if good is not None else here


def fill(
    fit: ImageFit, unit: float, start: float, room: float, taken: Callable[[Layer], int], tries: int = 10
) -> Layer | None:
    """The points of the finest step found that take no more than ``room`` bytes; None if none do.

    ``taken`` counts the bytes; it is not asked where the payloads alone are too many.
    """
    foreground_weight, finest = foreground_weight_of(fit), finest_step(fit, unit)
    search, step = StepSearch(), max(start, finest)
    good: tuple[int, Layer] | None = None
    for _ in range(tries):
        here = layer(fit, step, unit, foreground_weight, finest=finest)
        size = taken(here) if here.payload <= room else here.size
        if size <= room and (good is None or size > good[0]):
            good = size, here
            if step <= finest or size > (1.0 - 2.0 * CLOSE) * room:
                break
        step = max(search.next(step, size / ((1.0 - CLOSE) * room)), finest)
        if search.width < 1.0 + 0.25 * CLOSE:
            break
    return good[1] if good is not None else None


def coarsest(fit: ImageFit, unit: float, start: float, wanted: float, tries: int = 16) -> Layer | None:
    """The points of the coarsest step found that leave at most ``wanted`` squared error; None if none do."""
    finest = finest_step(fit, unit)
    search, step = StepSearch(2.0), max(start, finest)
    good: Layer | None = None
    for _ in range(tries):
        here = layer(fit, step, unit, 1.0, finest=finest)
        if here.sse <= wanted:
            if good is None or here.sse > good.sse:
                good = here
            if here.sse > (1.0 - 2.0 * CLOSE) * wanted:
                break
        elif step <= finest:
            return here  # no better than this
        step = max(search.next(step, (1.0 - CLOSE) * wanted / max(here.sse, 1e-30)), finest)
        if search.width < 1.0005:
            break
    return good


def chunks_of(
    found: Layer, at: tuple[int, int], level: int, shape: tuple[int, int, int], cutoff: float
) -> list[EncodedChunk]:
    """Points as chunks of a file."""
    out: list[EncodedChunk] = []
    for c in found.chunks:
        records = c.records()
        lo, hi = support_box(records, c.lo, c.shape, shape, cutoff)
        out.append(
            EncodedChunk(
                t=at[0], c=at[1], level=level, coding=codings.POINTS, brick_lo=c.lo, brick_shape=c.shape,
                count=c.count, support_lo=lo, support_hi=hi, payload=c.payload or b"",
            )
        )  # fmt: skip
    return out


def model_of_points(found: Layer, unit: float) -> Model:
    """Points as the fit has Gaussians."""
    if not found.chunks:
        return Model.empty()
    records = [c.records() for c in found.chunks]
    middles = [np.array(c.lo) + (np.array(c.shape) - 1) / 2 for c in found.chunks]
    centres = np.concatenate(
        [r["position"].astype(np.float64) + m for r, m in zip(records, middles, strict=True)]
    )
    weights = np.concatenate([r["intensity"].astype(np.float64) for r in records]) * unit
    return Model.isotropic(centres, np.full(len(weights), SCALE), weights)
