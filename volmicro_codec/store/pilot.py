"""The slope at which all bricks together take the bytes asked for, from a sample of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from ..encoder.settings import MOST_SLOPE
from ..errors import InputError, UsageError
from ..format import VgmReader
from ..format.header import HEADER_BYTES
from .brick import encode_box, halved, halved_box, is_fill, noise_of
from .job import Job
from .join import CHUNK
from .runners import Failure, Runner
from .sample import FEW, Sample, Tiles, sample_of

SURE = 0.02
"""Relative standard error of the bytes, at which no more boxes are tried."""
WITNESSES, AGREED = 12, 0.01
"""Boxes that tell how the bytes of all change with the slope, and the relative standard error of that with
which they are enough (at 2 % one of five volumes was missed by 7 %: `benchmarks/budget.py`)."""
MOST = 0.6
"""Of all boxes; a sample of more is all of them."""
CLOSE, NEAR = 0.02, 0.15
"""How well the bytes of boxes are to meet those asked for, and how well while they are few."""
TRIES = 8
SURELY = 3.0
"""Standard errors of the bytes of a few boxes, with which they are still fewer than those asked for."""
FAR, ROUNDS = math.log(2.0), 3
"""Of a slope from the one at which enough boxes were tried, at which they are tried again; how often."""
STEEPEST, FLATTEST, USUAL = -1.5, -0.2, -0.7
"""Of log bytes over log slope, where two tries tell less."""
COARSER = 0.25
"""Bytes of a level over those of the one before."""


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

    def __str__(self) -> str:
        return f"slope {self.slope:.4g}: {self.size:.4g} bytes, give or take {100 * self.error:.0f} %"


@dataclass(frozen=True)
class Tried:
    """Bytes and seconds of one box, all levels.

    Attributes
    ----------
    content : float
        Bytes that grow with the box, chunks and their index: those that it adds to a brick.
    heads : int
        Bytes of what each file has once.
    joined : float
        The same of the first level that is joined of those of all bricks; 0 where there is none.
    seconds : float
    """

    content: float
    heads: int
    joined: float
    seconds: float


def try_box(tiles: Tiles, slope: float, threads: int | None, number: int) -> Tried:
    """Encode one box of a sample at a slope."""
    began = time.monotonic()
    job = tiles.job
    t, c, box = tiles.at(number)
    around, within = job.grid.with_halo(box)
    voxels = np.asarray(job.open().data[(t, c, *around)])
    settings = replace(job.settings, slope=slope, threads=job.settings.threads or threads)
    noise = noise_of(voxels)
    content, joined, heads = 0.0, 0.0, 0
    own = job.grid.own_levels
    for level in range(min(own + 1, len(job.grid.levels))):
        if level:
            voxels, within, noise = halved(voxels), halved_box(within), noise.halved()
        data, _ = encode_box(voxels, within, level, job.info, settings, noise)
        if is_fill(data, job.fill):
            continue
        with VgmReader.open(data) as reader:
            head = HEADER_BYTES + reader.header.metadata_length
            if level == own:
                joined = (len(data) - head) * within_larger(reader, tiles.edge >> own, CHUNK)
            else:
                content += (len(data) - head) * within_larger(reader, tiles.edge, job.edge)
                heads += head
    return Tried(content, heads, joined, time.monotonic() - began)


def within_larger(reader: VgmReader, edge: int, larger: int) -> float:
    """Bytes of a box as a part of a larger one, over those of it alone.

    What reaches over a wall is stored on both sides of it. Of what is beyond the box's walls, and in it for
    that alone, there is as much less as there are fewer walls.
    """
    if edge >= larger:
        return 1.0
    far = np.array(reader.meta.info.shape[2:]) - 0.5
    count = beyond = 0
    for i in range(len(reader.index)):
        centre = np.array(reader.index.entry(i).brick_centre)
        position = reader.read_records(i)["position"].astype(np.float64) + centre
        beyond += int(((position < -0.5) | (position > far)).any(axis=1).sum())
        count += len(position)
    return 1.0 - (1.0 - edge / larger) * beyond / max(count, 1)


class _Boxes:
    """Boxes of a sample, each tried once at a slope."""

    def __init__(self, sample: Sample, runner: Runner, tell: Callable[[str], None]) -> None:
        self.sample, self._runner, self._tell = sample, runner, tell
        self.most = min(len(sample), sample.tiles.most)
        self._few = min(FEW, -(-self.most // 4))
        self._witnesses = min(WITNESSES, -(-self.most // 2))
        self._told = ""
        self._tried: dict[tuple[float, int], Tried] = {}
        self._places: dict[float, npt.NDArray[np.int64]] = {}
        job, edge = sample.tiles.job, sample.tiles.edge
        self._part = (edge / job.edge) ** 3
        self._joined = sum(COARSER**n for n in range(len(job.grid.levels) - job.grid.own_levels))

    def few(self, slope: float) -> Pilot:
        """What a few boxes foretell."""
        return self.at(slope, self._few)

    def enough(self, slope: float) -> Pilot:
        """What as many boxes foretell as it takes to be sure, or as there may be."""
        count, every = min(FEW, self.most), len(self.sample.tiles)
        while True:
            found = self.at(slope, count)
            if found.error <= SURE or count >= self.most:
                return found
            spread = found.error**2 / (1 / count - 1 / every)
            wanted = math.ceil(1 / (SURE**2 / spread + 1 / every))
            count = min(max(wanted, count + FEW), 4 * count, self.most)
            if count > MOST * every:  # of which the rest would tell too little of its own spread
                count = self.most

    def near(self, sure: Pilot) -> Callable[[float], Pilot]:
        """What boxes foretell of slopes near one at which enough were tried, a few telling how bytes change.

        They are drawn by their bytes there, which is what the change is of; more of them where they do not
        agree on it, at last all.
        """
        places = self._places[sure.slope]
        tried = self._try(places, sure.slope)
        bytes_there = np.array([self._bytes(t) for t in tried])
        ends = np.cumsum(bytes_there / self.sample.chances(len(places))[places])

        def at(slope: float) -> Pilot:
            count = max(2, self._witnesses)
            while count < len(places):
                at_share = (np.arange(count) + 0.5) / count
                drawn = np.minimum(np.searchsorted(ends / (ends[-1] or 1.0), at_share), len(places) - 1)
                after = np.array([self._bytes(t) for t in self._try(places[drawn], slope)])
                changes = after / np.maximum(bytes_there[drawn], 1.0)
                change = float(np.mean(changes))
                spread = float(np.std(changes, ddof=1)) / max(change, 1e-9)
                distinct = len(np.unique(drawn))
                unsure = spread / math.sqrt(distinct)
                if unsure <= AGREED and distinct > 1:
                    size, error = sure.size * change, math.hypot(sure.error, unsure)
                    return self._said(replace(sure, slope=slope, size=size, error=error))
                count *= 2
            size, error = self._size(places, self._try(places, slope))
            return self._said(replace(sure, slope=slope, size=size, error=error))

        return at

    def at(self, slope: float, count: int) -> Pilot:
        """What so many boxes foretell, or as many as there may be."""
        sample = self.sample
        places = sample.drawn(min(count, self.most))
        found = self._try(places, slope)
        size, error = self._size(places, found)
        seconds, _ = sample.total(places, np.array([t.seconds for t in found]))
        self._places = {slope: places}
        return self._said(Pilot(slope, size, error, seconds))

    def _try(self, places: npt.NDArray[np.int64], slope: float) -> list[Tried]:
        sample = self.sample
        numbers = [int(n) for n in sample.numbers[places]]
        todo = [n for n in dict.fromkeys(numbers) if (slope, n) not in self._tried]
        function = partial(try_box, sample.tiles, slope, self._runner.threads)
        for number, result in self._runner.run(function, todo):
            if isinstance(result, Failure):
                raise InputError(f"box {sample.tiles.at(number)} of the sample: {result.error}")
            self._tried[slope, number] = result
        return [self._tried[slope, n] for n in numbers]

    def _said(self, pilot: Pilot) -> Pilot:
        if str(pilot) != self._told:
            self._told = str(pilot)
            self._tell(self._told)
        return pilot

    def _size(self, places: npt.NDArray[np.int64], tried: list[Tried]) -> tuple[float, float]:
        """Bytes of the store, and their relative standard error."""
        return self.sample.total(places, np.array([self._bytes(t) for t in tried]))

    def _bytes(self, tried: Tried) -> float:
        return tried.content + tried.heads * self._part + tried.joined * self._joined


def find_slope(
    job: Job, wanted: float | None, runner: Runner, tell: Callable[[str], None] = lambda text: None
) -> Pilot:
    """The slope for a number of bytes; that of the job where it is smaller than that, or none is wanted.

    It is looked for with a few boxes. At the slope that is found as many are tried as it takes to be sure of
    the bytes, and the few tell what other slopes near it come to. All depends on the voxels and the seed.

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
    boxes = _Boxes(sample_of(job, runner), runner, tell)
    least = job.settings.slope or 1.0
    if wanted is None:
        return boxes.at(least, FEW)
    found = _search(boxes.few, wanted, least, least, lambda here: max(NEAR, here.error))
    if found.slope <= least and found.size * (1.0 + SURELY * found.error) <= wanted:
        return found  # bytes are not short: only noise would be left to describe
    for _ in range(ROUNDS):
        sure = boxes.enough(found.slope)
        found = _search(boxes.near(sure), wanted, sure.slope, least, lambda here: CLOSE)
        if abs(math.log(found.slope / sure.slope)) <= FAR:
            break
    return found


def _search(
    tried: Callable[[float], Pilot],
    wanted: float,
    start: float,
    least: float,
    close: Callable[[Pilot], float],
) -> Pilot:
    """What is foretold of the slope at which so many bytes are taken, or of the least one."""
    here = tried(start)
    low: Pilot | None = None
    high: Pilot | None = None
    power = USUAL
    for _ in range(TRIES):
        if abs(here.size / wanted - 1.0) < close(here) or (here.slope <= least and here.size <= wanted):
            return here
        if here.size > wanted:
            low = here
        else:
            high = here
        slope = here.slope * math.exp(math.log(wanted / max(here.size, 1.0)) / power)
        if low is not None and high is not None and not low.slope < slope < high.slope:
            slope = math.sqrt(low.slope * high.slope)
        if slope > MOST_SLOPE:
            raise UsageError(
                f"{wanted:.0f} bytes are too few for these bricks: with next to nothing in them they take"
                f" {here.size:.0f}"
            )
        new = tried(max(slope, least))
        if new.size > 0 and here.size > 0 and new.size != here.size and new.slope != here.slope:
            power = math.log(new.size / here.size) / math.log(new.slope / here.slope)
            power = min(max(power, STEEPEST), FLATTEST)
        here = new
    return here
