"""What an encode into a store will take, before it is run."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from .grid import HALO
from .job import Job

BYTES_A_VOXEL = 34.0
"""Of memory at most for each voxel of a block that is fitted, its halo included (measured)."""
BLOCK_VOXELS = 64 << 20
BASE_BYTES = 450 << 20
"""Of a process that has loaded what encoding takes."""


@dataclass(frozen=True)
class Foreseen:
    """What is foreseen.

    Attributes
    ----------
    bricks : int
    voxels_bytes : int
        Of the input.
    read_bytes : int
        Of the input with all halos.
    size : float or None
        Bytes of the store; None where nothing was tried.
    error : float
        Of the size, relative standard error.
    seconds : float or None
        Of one worker for all bricks.
    memory : int
        Bytes of one worker.
    objects : int
        Files or objects at most.
    """

    bricks: int
    voxels_bytes: int
    read_bytes: int
    size: float | None
    error: float
    seconds: float | None
    memory: int
    objects: int


def foresee(
    job: Job, size: float | None = None, error: float = 0.0, seconds: float | None = None
) -> Foreseen:
    """Of a job, and what a pilot has told of it."""
    grid, item = job.grid, job.info.dtype.itemsize
    read = 0
    images = math.prod(job.info.shape[:2])
    for number in range(len(grid) // images):
        around, _ = grid.with_halo(grid.brick(number).box)
        read += math.prod(s.stop - s.start for s in around)
    domain = math.prod(min(grid.edge + 2 * HALO, n) for n in grid.shape)
    memory = BASE_BYTES + domain * item + int(BYTES_A_VOXEL * min(domain, BLOCK_VOXELS))
    return Foreseen(
        len(grid), job.info.nbytes, read * images * item, size, error, seconds, memory,
        len(grid) * grid.own_levels + len(grid.levels) + 1,
    )  # fmt: skip


def workers_that_fit(foreseen: Foreseen) -> int:
    """How many workers the processors and the memory of this machine hold, at least one."""
    from ..room import total_memory

    return max(1, min(len(os.sched_getaffinity(0)), total_memory() // max(foreseen.memory, 1)))
