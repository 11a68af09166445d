"""What an encode into a store will take, before it is run."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from ..errors import UsageError
from ..volume import VolumeInfo
from .grid import EDGE, HALO, Grid
from .job import Job

BYTES_A_VOXEL = 10.5
"""Of memory for each voxel of a brick and its halo, beside the voxel itself (measured up to 17 Mvoxel)."""
BASE_BYTES = 600 << 20
"""Of a process that has loaded what encoding takes, and of the block that is being fitted."""
BESIDE, BESIDE_LEVEL, BESIDE_CHUNK = 700, 90, 7
"""Bytes of a packed file beside its chunks: of any, for each level, for each chunk."""
HEAD_BYTES = 180
"""Of a chunk that holds a Gaussian."""
SMALLER = (512, 384, 256, 128, 64)
WHOLE_VOXELS = 64 << 20
"""Of an image that one file holds as one; a larger one is encoded brick by brick."""
BRICK_VOXELS = 40 << 20
"""Of such a brick with its halo: that takes no more memory than the largest image that is held as one."""


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
    memory = memory_of(domain, item)
    return Foreseen(
        len(grid), job.info.nbytes, read * images * item, size, error, seconds, memory,
        len(grid) * grid.own_levels + len(grid.levels) + 1,
    )  # fmt: skip


def beside_chunks(grid: Grid) -> int:
    """Bytes of a packed file beside its chunks at most, about: root, documents, pages."""
    return BESIDE + BESIDE_LEVEL * len(grid.levels) + BESIDE_CHUNK * len(grid) * grid.own_levels


def least_bytes(grid: Grid) -> int:
    """Bytes of a packed file with next to nothing in it, about."""
    return beside_chunks(grid) + HEAD_BYTES * len(grid) * grid.own_levels


def memory_of(domain: int, item: int) -> int:
    """Bytes of a worker for a brick that with its halo has so many voxels, of so many bytes each."""
    return BASE_BYTES + int((BYTES_A_VOXEL + item) * domain)


def edge_of_file(info: VolumeInfo) -> int:
    """Edge of the bricks of one file: the largest that with their halo have `BRICK_VOXELS` at most."""
    for edge in (EDGE, *SMALLER):
        if math.prod(min(edge + 2 * HALO, n) for n in info.shape[2:]) <= BRICK_VOXELS:
            return edge
    return SMALLER[-1]


def check_memory(job: Job, workers: int) -> None:
    """Raise `UsageError` where this machine does not hold the bricks that so many workers are at."""
    from ..room import total_memory
    from ..text import size_text

    def needed(edge: int) -> int:
        domain = math.prod(min(edge + 2 * HALO, n) for n in job.grid.shape)
        return workers * memory_of(domain, job.info.dtype.itemsize)

    have = total_memory()
    if needed(job.edge) > have:
        fits = next((e for e in SMALLER if e < job.edge and needed(e) <= have), None)
        how = f"--brick {fits} fits" if fits is not None else "fewer workers may fit"
        raise UsageError(
            f"bricks of {job.edge} voxels a side take {size_text(needed(job.edge))} of memory with {workers}"
            f" workers, this machine has {size_text(have)}: {how}"
        )


def workers_that_fit(foreseen: Foreseen) -> int:
    """How many workers the processors and the memory of this machine hold, at least one."""
    from ..room import total_memory

    return max(1, min(len(os.sched_getaffinity(0)), total_memory() // max(foreseen.memory, 1)))
