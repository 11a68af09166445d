"""Boxes that stand for all bricks: looked at for signal, and drawn the oftener the more of it there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .grid import HALO, Box
from .job import Job
from .runners import Failure, Runner

FEW = 8
"""Boxes that a slope is first looked for with."""
BOXES = (256, 128, 64)
"""Voxels a side of what of a brick is tried: the largest of which a few are a part of the volume."""
PART = 1 / 3
"""Of the volume, halos included: a few boxes are tried a few times."""
LOOKS = 1024
"""Boxes that are looked at first: what is rare must not be missed."""
LOOKED = 0.01
"""Relative standard error of the signal of all boxes, at which no more are looked at."""
EVENLY = 1 / 3
"""Share of the chances that all boxes have alike."""
BY_CHANCE = 0.002
"""Of signal, that noise alone may seem to have."""
CELL, SIGMAS = 4, 5.0
"""Signal is where means of so many voxels a side are so far from their box's median."""

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tiles:
    """Boxes of an edge that tile all bricks, counted over t, c, z, y, x; those at far walls are smaller."""

    job: Job
    edge: int

    @cached_property
    def _cuts(self) -> list[list[slice]]:
        """Along each axis."""
        cuts = []
        for n in self.job.grid.shape:
            bricks = [(a, min(a + self.job.edge, n)) for a in range(0, n, self.job.edge)]
            cuts.append([slice(s, min(s + self.edge, b)) for a, b in bricks for s in range(a, b, self.edge)])
        return cuts

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        return (*self.job.info.shape[:2], *map(len, self._cuts))

    def __len__(self) -> int:
        return math.prod(self._counts)

    def at(self, number: int) -> tuple[int, int, Box]:
        """Time point, channel and box."""
        t, c, *at = (int(n) for n in np.unravel_index(number, self._counts))
        z, y, x = (cuts[n] for cuts, n in zip(self._cuts, at, strict=True))
        return t, c, (z, y, x)

    def voxels(self, number: int) -> int:
        """Of a box."""
        return math.prod(s.stop - s.start for s in self.at(number)[2])

    @property
    def most(self) -> int:
        """Boxes that with what a fit sees around them have as many voxels as all bricks with theirs."""
        return max(FEW, len(self.job.grid) * domain(self.job, self.job.edge) // domain(self.job, self.edge))


@dataclass(frozen=True)
class Sample:
    """Boxes that were looked at, in the order in which they are drawn.

    With sequential Poisson sampling (Ohlsson, J. Off. Stat. 14, 149, 1998) a larger sample holds a smaller
    one. A few boxes of a volume that is mostly background would tell next to nothing of its bytes.

    Attributes
    ----------
    tiles : Tiles
    numbers : [N]
        Of the boxes.
    expected : [N]
        What their bytes are taken to be proportional to.
    luck : [N]
        Uniform in 0..1.
    """

    tiles: Tiles
    numbers: npt.NDArray[np.int64]
    expected: F64
    luck: F64

    def __len__(self) -> int:
        return len(self.numbers)

    def chances(self, count: int) -> F64:
        """Of each box, to be among so many: as what is expected of it, at most 1."""
        found = np.zeros(len(self))
        sure = np.zeros(len(self), bool)
        while True:
            rest = float(self.expected[~sure].sum())
            found = np.where(sure, 1.0, (count - int(sure.sum())) * self.expected / (rest or 1.0))
            over = (found >= 1.0) & ~sure
            if not over.any() or sure.all():
                return np.minimum(found, 1.0)
            sure |= over

    def drawn(self, count: int) -> npt.NDArray[np.int64]:
        """Places of so many boxes, those first that are in any sample of that size."""
        if count >= len(self):
            return np.arange(len(self))
        order = np.lexsort((self.luck / self.expected, self.chances(count) < 1.0))
        return np.sort(order[:count])

    def total(self, places: npt.NDArray[np.int64], values: F64) -> tuple[float, float]:
        """The sum over all boxes, of those that were drawn, and its relative standard error.

        The sum of Horvitz and Thompson, its variance by Hajek, and that of what was looked at.
        """
        chance = self.chances(len(places))[places]
        tiles, looked = self.tiles, len(self)
        parts = values / chance
        left = 1.0 - chance
        variance = 0.0
        if len(places) < looked:
            middle = float((left * parts).sum() / left.sum())
            variance = len(places) / max(len(places) - 1, 1) * float((left * (parts - middle) ** 2).sum())
        total = float(parts.sum())
        error = math.sqrt(variance) / total if total else 0.0
        seen = sum(tiles.voxels(int(n)) for n in self.numbers) if looked < len(tiles) else None
        scale = 1.0 if seen is None else math.prod(tiles.job.info.shape) / seen
        return total * scale, math.hypot(error, _missed(self.expected, len(tiles)))


def domain(job: Job, edge: int) -> int:
    """Voxels of a box of an edge and of what a fit sees around it."""
    return math.prod(min(edge + 2 * HALO, n) for n in job.grid.shape)


def _missed(expected: F64, every: int) -> float:
    """Relative standard error of the sum over all boxes, where some were looked at."""
    if len(expected) >= every:
        return 0.0
    spread = float(expected.std() / expected.mean())
    return spread * math.sqrt((1.0 - len(expected) / every) / len(expected))


def sample_of(job: Job, runner: Runner) -> Sample:
    """Look at boxes, as many as it takes to know how much signal there is.

    Raises
    ------
    InputError
        Where a box cannot be read.
    """
    whole = math.prod(job.info.shape)
    edge = job.edge  # of bricks that are no larger nothing is to be guessed of their walls
    if edge > BOXES[0]:
        edge = next((n for n in BOXES if FEW * domain(job, n) <= PART * whole), BOXES[-1])
    tiles = Tiles(job, edge)
    rng = np.random.default_rng([job.settings.seed, 0x5A])
    order = rng.permutation(len(tiles))
    luck = rng.random(len(tiles))
    signal = np.empty(0)
    while True:
        more = order[len(signal) : max(LOOKS, 2 * len(signal))]
        signal = np.concatenate([signal, _looked(job, tiles, more, runner)])
        looked = order[: len(signal)]
        voxels = np.array([tiles.voxels(int(n)) for n in looked], np.float64)
        share = float((signal * voxels).sum() / voxels.sum())
        expected = voxels * (signal + max(share * EVENLY / (1.0 - EVENLY), BY_CHANCE))
        if _missed(expected, len(tiles)) <= LOOKED:
            return Sample(tiles, looked, expected, luck[: len(looked)])


def _looked(job: Job, tiles: Tiles, numbers: Sequence[int] | npt.NDArray[Any], runner: Runner) -> F64:
    todo = [int(n) for n in numbers]
    found: dict[int, float] = {}
    for number, result in runner.run(partial(signal_of, tiles), todo):
        if isinstance(result, Failure):
            raise InputError(f"box {tiles.at(number)} of the sample: {result.error}")
        found[number] = result
    return np.array([found[n] for n in todo])


def signal_of(tiles: Tiles, number: int) -> float:
    """Share of a box where there is signal: as far as its bytes go, a guess that costs next to nothing."""
    t, c, box = tiles.at(number)
    means: Any = np.asarray(tiles.job.open().data[(t, c, *box)]).astype(np.float32)
    for axis, n in enumerate(means.shape):
        if n >= CELL:
            starts = np.arange(0, n // CELL * CELL, CELL)
            means = np.add.reduceat(means.take(np.arange(len(starts) * CELL), axis), starts, axis) / CELL
    away = np.abs(means - np.median(means))
    noise = np.median(np.abs(np.diff(means, axis=2))) / math.sqrt(2.0) * 1.4826 if means.shape[2] > 1 else 0.0
    return float(np.mean(away > SIGMAS * noise))
