"""The slope at which all bricks together take the bytes asked for, from a sample of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np

from ..errors import InputError
from .brick import encode_box, halved, halved_box, is_fill, noise_of
from .grid import HALO, Box
from .job import Job
from .runners import Failure, Runner

SAMPLE = 16
BOXES = (256, 128, 64)
"""Voxels a side of what of a brick is tried: the largest of which a sample is a part of the volume."""
PART = 1 / 3
"""Of the volume, halos included: a sample is tried a few times."""
CLOSE = 0.02
TRIES = 6
STEEPEST, FLATTEST = -1.5, -0.2
"""Of log bytes over log slope, where two tries tell less."""


@dataclass(frozen=True)
class Pilot:
    """What a sample foretells.

    Attributes
    ----------
    slope : float
    size : float
        Bytes of the store.
    error : float
        Standard error of the size, relative; 0 where every voxel was tried.
    seconds : float
        For all bricks, on one worker.
    """

    slope: float
    size: float
    error: float
    seconds: float


@dataclass(frozen=True)
class Tried:
    """Bytes and seconds of one box, all levels."""

    size: int
    seconds: float


def sample_of(job: Job, seed: int) -> list[tuple[int, Box]]:
    """Bricks drawn evenly over the store, and a box of each; all of it where that is not much more."""
    grid, rng = job.grid, np.random.default_rng([seed, 0x5A])
    whole = math.prod(job.info.shape)
    edge = min(grid.edge, next((n for n in BOXES if SAMPLE * _domain(job, n) <= PART * whole), BOXES[-1]))
    if len(grid) <= SAMPLE:
        numbers = list(range(len(grid)))
        if grid.edge <= BOXES[0]:
            return [(n, grid.brick(n).box) for n in numbers]
    cuts = np.linspace(0, len(grid), SAMPLE + 1)
    numbers = sorted({int(rng.integers(int(a), max(int(a) + 1, int(b)))) for a, b in pairwise(cuts)})
    out = []
    for n in numbers:
        box = []
        for s in grid.brick(n).box:
            room = max(s.stop - s.start - edge, 0) // 16
            first = s.start + 16 * int(rng.integers(0, room + 1))
            box.append(slice(first, min(first + edge, s.stop)))
        out.append((n, (box[0], box[1], box[2])))
    return out


def _domain(job: Job, edge: int) -> int:
    """Voxels of a box of an edge and of what a fit sees around it."""
    return math.prod(min(edge + 2 * HALO, n) for n in job.grid.shape)


def try_box(job: Job, sample: Sequence[tuple[int, Box]], slope: float, threads: int | None, k: int) -> Tried:
    """Bytes of one box of a sample at a slope."""
    began = time.monotonic()
    number, box = sample[k]
    brick = job.grid.brick(number)
    around, within = job.grid.with_halo(box)
    voxels = np.asarray(job.open().data[(brick.t, brick.c, *around)])
    settings = replace(job.settings, slope=slope, threads=job.settings.threads or threads)
    noise, size = noise_of(voxels), 0
    for level in range(job.grid.own_levels):
        if level:
            voxels, within, noise = halved(voxels), halved_box(within), noise.halved()
        data, _ = encode_box(voxels, within, level, job.info, settings, noise)
        size += 0 if is_fill(data, job.fill) else len(data)
    return Tried(size, time.monotonic() - began)


def find_slope(
    job: Job, wanted: float | None, runner: Runner, tell: Callable[[str], None] = lambda text: None
) -> Pilot:
    """The slope for a number of bytes; that of the job where it is smaller than that, or none is wanted.

    Parameters
    ----------
    job : Job
        Its slope is the least that is taken.
    wanted : float or None
        Bytes of the store.
    runner : Runner
    tell : callable, optional
        Told in a line what each try came to.

    Raises
    ------
    InputError
        Where a box of the sample cannot be encoded.
    """
    sample = sample_of(job, job.settings.seed)
    shares = [math.prod(s.stop - s.start for s in box) for _, box in sample]
    whole = math.prod(job.info.shape)
    first = job.settings.slope or 1.0

    def at(slope: float) -> Pilot:
        found: dict[int, Tried] = {}
        for k, result in runner.run(partial(try_box, job, sample, slope, runner.threads), range(len(sample))):
            if isinstance(result, Failure):
                raise InputError(f"brick {sample[k][0]} of the sample: {result.error}")
            found[k] = result
        densities = np.array([found[k].size / shares[k] for k in range(len(sample))])
        seconds = sum(found[k].seconds for k in found) / sum(shares) * whole
        size = float(np.average(densities, weights=shares)) * whole
        error = 0.0
        if sum(shares) < whole and size > 0:
            spread = float(densities.std(ddof=1)) if len(sample) > 1 else float(densities.mean())
            error = spread / math.sqrt(len(sample)) / float(densities.mean())
        pilot = Pilot(slope, size, error, seconds)
        tell(f"slope {slope:.4g}: {size:.4g} bytes, give or take {100 * error:.0f} %")
        return pilot

    here = at(first)
    if wanted is None or here.size <= wanted:
        return here
    low, high = here, None
    power = -0.7
    for _ in range(TRIES):
        step = math.log(wanted / here.size) / power
        slope = here.slope * math.exp(step)
        if high is not None and not low.slope < slope < high.slope:
            slope = math.sqrt(low.slope * high.slope)
        new = at(slope)
        if abs(new.size / wanted - 1.0) < CLOSE:
            return new
        if new.size > 0 and new.size != here.size:
            power = min(
                max(math.log(new.size / here.size) / math.log(new.slope / here.slope), STEEPEST), FLATTEST
            )
        if new.size > wanted:
            low = new
        else:
            high = new
        here = new
    return here
