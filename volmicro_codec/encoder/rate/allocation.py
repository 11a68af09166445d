"""How the bytes of an image are shared between Gaussians and points (see `quantise.residual`), at one slope.

A finer step of the Gaussians and a finer step of the points are worth the same where both steps are equal,
so one number, the step, says how good the file is; how many Gaussians are best is where the squared error
at equal bytes (or the bytes at equal error) is least.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..fit import voxels
from ..fit.image_fit import ImageFit
from ..significance import step_at_noise
from .point_layer import Layer, exact, finest_step, layer
from .step_search import StepSearch

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
COARSER_TRIED = 1.5
"""Ratio of the steps that are tried where bytes are not short. Of eight stacks one depends on it: none
changes with 1.25, it gains 0.6 dB with 2 (`benchmarks/significance.py`)."""
MOST_WORSE = 2
"""Of those running, that are worth no more than the best before, at which the search ends: at the finest
steps next to no point is worth its bytes."""
NEAR = 0.0075  # of the bytes (or error) when they are shared out; to twice that below
CLOSE = 0.001  # of the bytes (or error) when they are spent
COARSER, COARSER_FROM = 3.0, 0.4
"""Points take over part of the Gaussians' rounding error: their step grows with the points' share of the
bytes, to three times that of the points at a share of 0.4 (measured; flat from 2 to 5)."""


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

        if step <= finest and exact(fit, finest) and fit.image.voxels.dtype.kind != "f":
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
    if good is None:
        return here
    # Bytes are not short: a coarser step may be worth more, of points that cost less there are more.
    step, worse = good.step, 0
    while fit.noise is not None and budget and good.size < slack * slack * budget and worse < MOST_WORSE:
        step *= COARSER_TRIED
        here = at(step)
        better = here.worthwhile and here.loss < good.loss
        good, worse = (here, 0) if better else (good, worse + 1)
    return good


def fill(
    fit: ImageFit,
    unit: float,
    start: float,
    room: float,
    taken: Callable[[Layer], int],
    least: float = 0.0,
    tries: int = 10,
) -> Layer | None:
    """The points of the finest step found that take no more than ``room`` bytes; None if none do.

    ``taken`` counts the bytes; it is not asked where the payloads alone are too many. No step is finer than
    ``least``.
    """  # fmt: skip
    foreground_weight, finest = foreground_weight_of(fit), max(finest_step(fit, unit), least)
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
