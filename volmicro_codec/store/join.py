"""The coarsest levels of a store: each is made of the one before it, chunk by chunk, and coded as that is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..format import VgmReader
from ..noise_model import NoiseModel
from .brick import encode_box, halved, is_fill, noise_of
from .grid import Box, Shape3
from .job import Done, Job

CHUNK = 128
"""Voxels a side of the chunks of these levels."""
HALO = 16
"""Voxels of such a level that a chunk's fit sees around it."""
LOOKED_AT = 16
"""Bricks that the noise is taken from."""


def noise_on(job: Job, done: dict[int, Done], level: int) -> NoiseModel:
    """The noise of a level, as that of some of the bricks makes it; those that are left out have none."""
    there = [n for n, found in sorted(done.items()) if found.sizes[0]]
    models = []
    for number in there[:: max(1, len(there) // LOOKED_AT)]:
        with VgmReader.open(job.place.location(job.grid.key(job.grid.brick(number), 0))) as reader:
            models += [m for m in reader.meta.noise if m.sigma > 0]
    if not models:
        return noise_of(np.full((4, 4, 4), job.fill, job.info.dtype))
    noise = sorted(models, key=lambda m: m.sigma)[len(models) // 2]
    for _ in range(level):
        noise = noise.halved()
    return noise


@dataclass(frozen=True)
class Joined:
    """One such level.

    Attributes
    ----------
    job : Job
    level : int
    noise : NoiseModel
        Of its voxels.
    """

    job: Job
    level: int
    noise: NoiseModel

    @property
    def shape(self) -> Shape3:
        """Of an image."""
        return self.job.grid.levels[self.level]

    @property
    def counts(self) -> Shape3:
        """Chunks along z, y and x."""
        z, y, x = (-(-n // CHUNK) for n in self.shape)
        return z, y, x

    def __len__(self) -> int:
        return math.prod(self.job.info.shape[:2]) * math.prod(self.counts)

    def encode(self, number: int, threads: int | None = None) -> int:
        """Make a chunk of the level before this one and write it; its bytes, 0 where it is left out.

        Parameters
        ----------
        number : int
            Chunks are counted over t, c, z, y, x.
        threads : int, optional
        """
        import zarr

        job, info = self.job, self.job.info
        t, c, *at = (int(n) for n in np.unravel_index(number, (*info.shape[:2], *self.counts)))
        box = [slice(a * CHUNK, min((a + 1) * CHUNK, n)) for a, n in zip(at, self.shape, strict=True)]
        around = [
            slice(max(s.start - HALO, 0), min(s.stop + HALO, n)) for s, n in zip(box, self.shape, strict=True)
        ]
        z, y, x = (slice(s.start - a.start, s.stop - a.start) for s, a in zip(box, around, strict=True))
        within: Box = (z, y, x)
        fine: Any = zarr.open_array(job.place.location(str(self.level - 1)), mode="r", zarr_format=3)
        key: dict[str, int | slice] = {"T": t, "C": c}
        key |= {a: slice(2 * s.start, 2 * s.stop) for a, s in zip("ZYX", around, strict=True)}
        voxels = halved(np.asarray(fine[tuple(key[a] for a in info.axes)]))
        settings = replace(job.settings, threads=job.settings.threads or threads)
        data, _ = encode_box(voxels, within, self.level, info, settings, self.noise)
        if is_fill(data, job.fill):
            return 0
        place = {"T": t, "C": c, **dict(zip("ZYX", at, strict=True))}
        job.place.put("/".join([str(self.level), "c", *(str(place[a]) for a in info.axes)]), data)
        return len(data)
