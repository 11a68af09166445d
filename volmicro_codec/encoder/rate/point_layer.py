"""The points of an image at one step (see `quantise.residual`): all that are worth their bytes there."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...entropy.points import LARGEST
from ...format import EncodedChunk, codings, support_box
from ...pool import run_in_pool
from ..fit import voxels
from ..fit.blocks import core_in_domain
from ..fit.gaussians import Model
from ..fit.image_fit import ImageFit
from ..fit.refiner import Refiner
from ..parts import Part
from ..quantise.residual import (
    LAGRANGE_MULTIPLIER,
    SCALE,
    PointChunk,
    Shape3,
    boxes,
    choose_points,
    neighbour_response,
    turns,
)
from ..significance import BIT

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Box = tuple[Shape3, Shape3]

STEP = math.sqrt(BIT / LAGRANGE_MULTIPLIER)
"""Standard deviations of the noise: the step at which a bit of points costs as much as it must take off."""
INDEX_BYTES = 16  # of a chunk, measured
LEAST_STORED = 2.0**-14
"""Of a points' step over the unit: under it float16 has fewer digits, and soon none."""


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
    multiplier = LAGRANGE_MULTIPLIER if step > finest or not exact(fit, finest) else 0.0
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
                    threads if len(turn) == 1 else 1, multiplier, code,
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


def finest_step(fit: ImageFit, unit: float = 0.0) -> float:
    """The step that no finer one betters; points of it are rounded plainly.

    Of an integer image the step with which that loses nothing: just under a grey value, for half a step of
    the voxel's own and what its neighbours' halves spill are to be less than half a grey value. Of a float
    image the step with which the integers of a chunk just hold what is missing. At ``unit``, no less than a
    chunk can state.
    """
    if fit.image.voxels.dtype.kind != "f":
        whole = 1.0 + 6.0 * neighbour_response(fit.raster.cutoff)
        return max(0.98 / (whole * fit.image.gain), unit * LEAST_STORED, noise_step(fit))
    largest = max(max(float(m.max()), -float(m.min())) for _, m in _missing(fit))
    return max(2.0 * largest / LARGEST, unit * LEAST_STORED, noise_step(fit), 1e-12)


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
