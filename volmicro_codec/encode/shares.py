"""How the bytes of an image are shared between Gaussians and points (see `points`), at one slope.

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

from ..format import EncodedChunk, codings, support_box
from . import voxels
from .fit import ImageFit, core_in_domain
from .image import Part
from .model import Model
from .points import PRICE, SCALE, PointChunk, boxes, choose_points

F32 = npt.NDArray[np.float32]

INDEX_BYTES = 16  # of a chunk, measured
BYTES_AN_OCTAVE = 1.1
ROUNDING = 0.45
"""Squared steps of error that rounding a Gaussian leaves, of the 10 / 12 without refits (measured)."""
WORTHWHILE = 0.03
"""Share of the bytes under which points are left out."""
FOREGROUND = 0.15
"""A decibel of the foreground's PSNR over one of the whole volume's, where bytes are shared out."""
MOST_CARE = 4.0
MOST_TRIES = 12
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


@dataclass(frozen=True)
class Shares:
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
    """

    step: float
    coarser: float
    gaussians: float
    points: float
    sse: float
    sse_foreground: float

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
        both = math.log10(max(self.sse, 1e-30)) + FOREGROUND * math.log10(max(self.sse_foreground, 1e-30))
        return 10.0 * both


def _missing(fit: ImageFit) -> Iterator[tuple[Part, F32]]:
    """Each block, and what the model lacks in its domain (a fresh array)."""
    dtype = fit.image.voxels.dtype
    for part, _, refiner in fit.residuals():
        missing = np.negative(refiner.residual)
        if dtype.kind != "f" and len(fit.parts) == 1:
            # What lies below black or above white is cut off by decoding, and is no error.
            black = np.float32((0.0 - fit.image.base) / fit.image.gain + 1e-6)
            white = np.float32((np.iinfo(dtype).max - fit.image.base) / fit.image.gain - 1e-6)
            voxels.forgive(missing, refiner.block.target, black, white, fit.raster.threads)
        yield part, missing


def layer(fit: ImageFit, step: float, unit: float, care: float) -> Layer:
    """The points that are worth their bytes at a step, on what the model of the fit lacks.

    Parameters
    ----------
    fit : ImageFit
    step : float
        Normalised intensity.
    unit : float
        Normalised intensity of a record's intensity of 1.
    care : float
        Weight of the squared error in the foreground, that of the rest being 1.
    """
    chunks: list[PointChunk] = []
    sse = sse_foreground = 0.0
    finest = finest_step(fit)
    step, price = max(step, finest), PRICE if step > finest else 0.0
    threads = fit.raster.threads
    for part, missing in _missing(fit):
        foreground = fit.image.foreground[part.domain]
        z, y, x = (s.start for s in part.domain)
        core = core_in_domain(part)
        lo = (core[0].start, core[1].start, core[2].start)
        shape = missing[core].shape
        for at, size in boxes(lo, (shape[0], shape[1], shape[2])):
            found = choose_points(
                missing, foreground, at, size, step, unit, care, fit.raster.cutoff, (z, y, x), threads,
                price,
            )
            if found is not None:
                chunks.append(found)
        whole, inside = voxels.squares(missing[core], foreground[core], threads)
        sse += whole
        sse_foreground += inside
    return Layer(chunks, sum(len(c.payload) + INDEX_BYTES for c in chunks), sse, sse_foreground)


def finest_step(fit: ImageFit) -> float:
    """The step of one grey value of an integer image, with which plain rounding loses nothing; else 0."""
    return 1.0 / fit.image.gain if fit.image.voxels.dtype.kind != "f" else 0.0


def care_of(fit: ImageFit) -> float:
    """Weight of the squared error in the foreground with which `Shares.loss` falls; that of the rest is 1."""
    sse = sse_foreground = 0.0
    for part, missing in _missing(fit):
        core = core_in_domain(part)
        whole, inside = voxels.squares(
            missing[core], fit.image.foreground[part.domain][core], fit.raster.threads
        )
        sse += whole
        sse_foreground += inside
    return 1.0 + min(FOREGROUND * sse / max(sse_foreground, 1e-30), MOST_CARE)


def solve_shares(
    fit: ImageFit,
    size: Callable[[float], float],
    start: float,
    *,
    budget: float = 0.0,
    wanted: float = 0.0,
    guess: float = 0.0,
) -> Shares:
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
    known, count, care, finest = size(start), len(fit.model), care_of(fit), finest_step(fit)

    def at(step: float) -> Shares:
        found = layer(fit, step, step * 64.0, care)

        def gaussians(coarser: float) -> float:
            octaves = math.log2(start / (coarser * step))
            return max(known + BYTES_AN_OCTAVE * count * octaves, 0.3 * known)

        share = found.size / max(found.size + gaussians(1.0), 1.0)
        coarser = 1.0 + (COARSER - 1.0) * min(1.0, share / COARSER_FROM)
        rounding = ROUNDING * count * coarser * step * step
        return Shares(
            step, coarser, gaussians(coarser), found.size, found.sse + rounding, found.sse_foreground
        )

    low, high, step = 0.0, math.inf, guess or start
    good: Shares | None = None
    for _ in range(MOST_TRIES):
        here = at(step)
        # How many times too large, and the step with it.
        over = here.size / budget if budget else wanted / max(here.sse, 1e-30)
        if (over > 1.0) if budget else (over >= 1.0):
            low = step
        else:
            high = step
        if (over <= 1.0) == bool(budget) or over == 1.0:
            good = here
        if (0.985 < over <= 1.0) if budget else (1.0 <= over < 1.015):
            break
        if step <= finest and over < 1.0:
            good = here
            break
        new = step * min(max(over if budget else math.sqrt(over), 1 / 6), 6.0)
        if low > 0 and high < math.inf:
            if high / low < 1.01:
                break
            inside = low * 1.02 < new < high / 1.02
            new = new if inside else math.sqrt(low * high)
        step = new
    return good if good is not None else here


def fill(
    fit: ImageFit, unit: float, start: float, fits: Callable[[Layer], bool], tries: int = 16
) -> Layer | None:
    """The points of the finest step found that ``fits`` accepts; None if it accepts none.

    ``fits`` must accept every coarser step than one that it accepts.
    """
    low, high, step = 0.0, math.inf, start
    good: Layer | None = None
    care, finest = care_of(fit), finest_step(fit)
    for _ in range(tries):
        here = layer(fit, step, unit, care)
        if fits(here):
            good, high = here, step
            if step <= finest:
                break
        else:
            low = step
        if low > 0 and high < math.inf:
            if high / low < 1.001:
                break
            step = math.sqrt(low * high)
        else:
            step = step * 1.25 if low > 0 else step / 1.25
    return good


def coarsest(fit: ImageFit, unit: float, start: float, wanted: float, tries: int = 16) -> Layer | None:
    """The points of the coarsest step found that leave at most ``wanted`` squared error; None if none do."""
    low, high, step = 0.0, math.inf, start
    good: Layer | None = None
    for _ in range(tries):
        here = layer(fit, step, unit, 1.0)
        if here.sse <= wanted:
            good, low = here, step
            if here.sse > 0.998 * wanted:
                break
        else:
            high = step
            if step <= finest_step(fit):
                return here  # no better than this
        if low > 0 and high < math.inf:
            step = math.sqrt(low * high)
        else:
            step = step * 1.25 if low > 0 else step / 1.25
    return good


def chunks_of(
    found: Layer, at: tuple[int, int], level: int, shape: tuple[int, int, int], cutoff: float
) -> list[EncodedChunk]:
    """Points as chunks of a file."""
    out: list[EncodedChunk] = []
    for c in found.chunks:
        lo, hi = support_box(c.records, c.lo, c.shape, shape, cutoff)
        out.append(
            EncodedChunk(
                t=at[0], c=at[1], level=level, coding=codings.POINTS, brick_lo=c.lo, brick_shape=c.shape,
                count=len(c.records), support_lo=lo, support_hi=hi, payload=c.payload,
            )
        )  # fmt: skip
    return out


def model_of_points(found: Layer, unit: float) -> Model:
    """Points as the fit has Gaussians."""
    if not found.chunks:
        return Model.empty()
    centres = np.concatenate(
        [
            c.records["position"].astype(np.float64) + np.array(c.lo) + (np.array(c.shape) - 1) / 2
            for c in found.chunks
        ]
    )
    weights = np.concatenate([c.records["intensity"].astype(np.float64) for c in found.chunks]) * unit
    return Model.isotropic(centres, np.full(len(weights), SCALE), weights)
