"""The slope at which all bricks together take the bytes asked for, from a sample of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import InputError
from .brick import encode_box, halved, halved_box, is_fill, noise_of
from .grid import HALO, Box
from .job import Job
from .runners import Failure, Runner

SAMPLE = 16
CANDIDATES = 128
"""Boxes that are looked at, of which a sample is drawn: the oftener the more signal there is in them."""
EVENLY = 1 / 3
"""Share of the sample that is drawn as if all boxes were alike."""
CELL, SIGMAS = 4, 5.0
"""Signal is where means of so many voxels a side are so far from their box's median."""
BOXES = (256, 128, 64)
"""Voxels a side of what of a brick is tried: the largest of which a sample is a part of the volume."""
PART = 1 / 3
"""Of the volume, halos included: a sample is tried a few times."""
WALL = 6.0
"""Voxels of a volume's bytes that a wall across it adds: what reaches over it is stored on both sides."""
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


@dataclass(frozen=True)
class Sampled:
    """A box of a brick, how many times its bytes count for all, and how often it was drawn."""

    number: int
    box: Box
    weight: float
    times: int = 1


@dataclass(frozen=True)
class Sample:
    """Boxes that stand for all bricks.

    Attributes
    ----------
    boxes : list of Sampled
    error : float or None
        Relative standard error of the signal in the boxes looked at; None where the sample is all there is.
    walls : float
        Bytes of the store over those of boxes of this size, for what is stored on both sides of their walls.
    """

    boxes: list[Sampled]
    error: float | None
    walls: float


def sample_of(job: Job, runner: Runner) -> Sample:
    """Boxes drawn from the store by what signal is in them; all of it where that is not much more.

    Boxes are drawn evenly, looked at, and of these a sample with probabilities that follow the signal, each
    weighed by one over its own (Hansen and Hurwitz, Ann. Math. Stat. 14, 333, 1943): a few boxes of a
    volume that is mostly background would tell next to nothing of its bytes.

    Raises
    ------
    InputError
        Where a box cannot be read.
    """
    grid, whole = job.grid, math.prod(job.info.shape)
    if len(grid) <= SAMPLE and grid.edge <= BOXES[0]:
        bricks = [grid.brick(n) for n in range(len(grid))]
        return Sample([Sampled(b.number, b.box, 1.0) for b in bricks], None, 1.0)
    edge = min(grid.edge, next((n for n in BOXES if SAMPLE * _domain(job, n) <= PART * whole), BOXES[-1]))
    rng = np.random.default_rng([job.settings.seed, 0x5A])
    most = max(SAMPLE, min(CANDIDATES, whole // min(whole, edge**3)))
    found = [_box_at(job, edge, [int(rng.integers(n)) for n in job.info.shape]) for _ in range(most)]
    signal = np.empty(most)
    for k, result in runner.run(partial(signal_of, job, found), range(most)):
        if isinstance(result, Failure):
            raise InputError(f"brick {found[k][0]} of the sample: {result.error}")
        signal[k] = result
    size = signal + signal.mean() * EVENLY / (1.0 - EVENLY) if signal.any() else np.ones(most)
    chance = size / size.sum()
    ends = np.cumsum(chance)
    drawn = np.searchsorted(ends / ends[-1], (rng.random() + np.arange(SAMPLE)) / SAMPLE)
    times = np.bincount(drawn, minlength=most)
    boxes = []
    for k in np.flatnonzero(times).tolist():
        voxels = math.prod(s.stop - s.start for s in found[k][1])
        weight = times[k] / (SAMPLE * most * chance[k]) * whole / voxels
        boxes.append(Sampled(*found[k], float(weight), int(times[k])))
    error = float(size.std() / size.mean()) / math.sqrt(most)
    return Sample(boxes, error, _walls(job, grid.edge) / _walls(job, edge))


def _box_at(job: Job, edge: int, at: Sequence[int]) -> tuple[int, Box]:
    """The brick of a voxel [t, c, z, y, x], and of boxes that tile the brick the one that has the voxel."""
    grid, bricks = job.grid, [n // job.grid.edge for n in at[2:]]
    number = int(np.ravel_multi_index((*at[:2], *bricks), (*job.info.shape[:2], *grid.counts)))
    box = []
    for s, n in zip(grid.brick(number).box, at[2:], strict=True):
        first = s.start + (n - s.start) // edge * edge
        box.append(slice(first, min(first + edge, s.stop)))
    return number, (box[0], box[1], box[2])


def signal_of(job: Job, found: Sequence[tuple[int, Box]], k: int) -> float:
    """Share of a box where there is signal: as far as its bytes go, a guess that costs next to nothing."""
    number, box = found[k]
    brick = job.grid.brick(number)
    means: Any = np.asarray(job.open().data[(brick.t, brick.c, *box)]).astype(np.float32)
    for axis, n in enumerate(means.shape):
        if n >= CELL:
            starts = np.arange(0, n // CELL * CELL, CELL)
            means = np.add.reduceat(means.take(np.arange(len(starts) * CELL), axis), starts, axis) / CELL
    away = np.abs(means - np.median(means))
    noise = np.median(np.abs(np.diff(means, axis=2))) / math.sqrt(2.0) * 1.4826 if means.shape[2] > 1 else 0.0
    return float(np.mean(away > SIGMAS * noise))


def _walls(job: Job, edge: int) -> float:
    """Bytes of boxes of an edge that tile a volume, over those of it as one."""
    return 1.0 + sum(WALL / edge for n in job.grid.shape if n > edge)


def _domain(job: Job, edge: int) -> int:
    """Voxels of a box of an edge and of what a fit sees around it."""
    return math.prod(min(edge + 2 * HALO, n) for n in job.grid.shape)


def try_box(job: Job, sample: Sequence[Sampled], slope: float, threads: int | None, k: int) -> Tried:
    """Bytes of one box of a sample at a slope."""
    began = time.monotonic()
    brick = job.grid.brick(sample[k].number)
    around, within = job.grid.with_halo(sample[k].box)
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
    sample = sample_of(job, runner)
    boxes = sample.boxes
    times = [box.times for box in boxes]
    weights = np.array([box.weight for box in boxes])
    first = job.settings.slope or 1.0

    def at(slope: float) -> Pilot:
        found: dict[int, Tried] = {}
        for k, result in runner.run(partial(try_box, job, boxes, slope, runner.threads), range(len(boxes))):
            if isinstance(result, Failure):
                raise InputError(f"brick {boxes[k].number} of the sample: {result.error}")
            found[k] = result
        parts = weights * [found[k].size for k in range(len(boxes))]
        size = float(parts.sum()) * sample.walls
        seconds = float(weights @ [found[k].seconds for k in range(len(boxes))])
        error = 0.0
        if sample.error is not None and size > 0:
            drawn = np.repeat([part / box.times for part, box in zip(parts, boxes, strict=True)], times)
            error = math.hypot(sample.error, float(drawn.std() / drawn.mean()) / math.sqrt(SAMPLE - 1))
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
