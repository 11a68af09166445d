"""The end of a store: every brick looked at, the coarsest levels joined, the metadata written last."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import IncompleteError, lacks
from ..evaluate.metrics import psnr_of
from ..evaluate.tails import peak_of
from ..io.zarr_output import writing_told
from ..version import __version__
from .brick import damage, is_done, slope_on
from .job import FOLDER, Done, Job
from .join import CHUNK, Joined, noise_on
from .runners import Failure, Here, Runner

SHOWN = 10


@dataclass(frozen=True)
class Finished:
    """What a finished store is.

    Attributes
    ----------
    bricks, empty : int
        All, and those left out.
    size : int
        Bytes of all chunks.
    full_size : int
        Of those of the full grid.
    mse, psnr : float
        Against the input, over all voxels; the mean PSNR of its images in dB, each of its own peak, inf where
        nothing is lost.
    """

    bricks: int
    empty: int
    size: int
    full_size: int
    mse: float
    psnr: float


def missing_bricks(job: Job) -> tuple[dict[int, Done], list[int]]:
    """What became of the bricks that are there whole, and the numbers of the others."""
    done: dict[int, Done] = {}
    missing = []
    for number in range(len(job.grid)):
        found = is_done(job, number)
        if found is None:
            missing.append(number)
        else:
            done[number] = found
    return done, missing


def finish(
    job: Job,
    advance: Callable[[int], None] = lambda n: None,
    *,
    keep_job: bool = False,
    runner: Runner | None = None,
) -> Finished:
    """Check every brick, and make an OME-Zarr image of them; one that was killed at it is done again.

    Parameters
    ----------
    job : Job
    advance : callable, optional
        Told how many bricks more are checked.
    keep_job : bool
        Leave what says that the store is being made: there is more to do.
    runner : Runner, optional
        What encodes the levels that are joined; this process, where none is given.

    Raises
    ------
    IncompleteError
        Where bricks are missing or damaged, with their numbers; the store is left as it is.
    OutputError
        Where it cannot be written.
    """
    done, missing = missing_bricks(job)
    damaged = []
    for number, found in done.items():
        brick = job.grid.brick(number)
        for level, size in enumerate(found.sizes):
            if size and damage(job, brick, level) is not None:
                damaged.append(number)
                break
        advance(1)
    lost = sorted([*missing, *damaged])
    if lost:
        raise IncompleteError(f"{job.dest}: {listed(lost)} of {len(job.grid)} bricks missing or damaged")
    sizes = np.array([done[n].sizes for n in range(len(job.grid))], np.int64)
    left_out = int((sizes[:, 0] == 0).sum())
    size, full_size = int(sizes.sum()), int(sizes[:, 0].sum())
    result = Finished(len(done), left_out, size, full_size, *quality(job, done))
    with writing_told(job.dest):
        result = _describe(job, result, sizes, done, runner or Here(), keep_job)
    if not keep_job:
        job.place.remove(FOLDER)
    return result


def quality(job: Job, done: dict[int, Done]) -> tuple[float, float]:
    """Mean squared error over all voxels, and the mean PSNR of the images in dB."""
    images: dict[tuple[int, int], list[int]] = {}
    for number in range(len(job.grid)):
        brick = job.grid.brick(number)
        images.setdefault((brick.t, brick.c), []).append(number)
    errors, decibels = [], []
    for numbers in images.values():
        voxels = [job.grid.brick(n).voxels for n in numbers]
        errors.append(float(np.average([done[n].mse for n in numbers], weights=voxels)))
        peak = peak_of([np.frombuffer(done[n].tails, np.float32) for n in numbers], voxels)
        decibels.append(psnr_of(peak, errors[-1], 1))
    return float(np.mean(errors)), float(np.mean(decibels))


def listed(numbers: Sequence[int]) -> str:
    """How many there are, and the first of them: ``3 (4, 7, 9)``."""
    shown = ", ".join(str(n) for n in numbers[:SHOWN])
    return f"{len(numbers)} ({shown}{', ...' if len(numbers) > SHOWN else ''})"


def runs(numbers: Sequence[int]) -> list[list[int]]:
    """Ascending numbers as runs [first, last]."""
    out: list[list[int]] = []
    for n in numbers:
        if out and out[-1][1] == n - 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return out


def _describe(
    job: Job, result: Finished, sizes: Any, done: dict[int, Done], runner: Runner, keep_job: bool
) -> Finished:
    """Arrays of all levels and copies of labels; then the group, which makes an image of them.

    Returns the result with the bytes of the levels that were joined.
    """
    try:
        import zarr

        from ..integrations.zarr_codec import VgmCodec
        from ..io.axes import Choice
        from ..io.zarr_beside import copy_labels, is_zarr_image, merged, rendering
        from ..io.zarr_metadata import describe
        from ..io.zarr_pyramid import window_of
    except ImportError as e:
        raise lacks(f"{job.dest}: OME-Zarr", e) from e

    grid, info = job.grid, job.info
    lead = {"T": 1, "C": 1}
    kept = [k for k, a in enumerate("TCZYX") if a in info.axes]
    settings = {k: v for k, v in job.settings.changed().items() if k not in ("threads", "device", "slope")}
    arrays: list[Any] = []
    for level, shape in enumerate(grid.levels):
        own = level < grid.own_levels
        edge = job.edge >> level if own else CHUNK
        full = (*info.shape[:2], *shape)
        codec = VgmCodec(slope=_plain(slope_on(level, job.settings)), **settings)
        place = job.place.location(str(level))
        # What a finish that was killed has left of bricks' arrays is the same, of joined ones a part.
        if own and job.place.get(f"{level}/zarr.json") is not None:
            arrays.append(zarr.open_array(place, mode="r+", zarr_format=3))
            continue
        array = zarr.create_array(
            place,
            shape=tuple(full[k] for k in kept),
            chunks=tuple(lead.get("TCZYX"[k], edge) for k in kept),
            dtype=info.dtype,
            fill_value=job.fill,
            dimension_names=[a.lower() for a in info.axes],
            chunk_key_encoding={"name": "default", "separator": "/"},
            overwrite=not own,
            serializer=codec,
            compressors=None,
            filters=None,
        )
        if not own:
            joined = _join(Joined(job, level, noise_on(job, done, level)), runner)
            result = replace(result, size=result.size + joined)
        arrays.append(array)
    windows = [window_of(arrays[-1], info, c) for c in range(info.shape[1])]
    attributes = describe(info, len(arrays), windows, None, "0.5")
    source = job.source
    if is_zarr_image(source.path):
        choice = Choice(source.channel, source.time, source.axes, source.series)
        ome = attributes["ome"]
        ome["omero"] = merged(ome["omero"], rendering(source.path, choice))
        # A packed file has no place for labels, and those of all time points are not those of one.
        if not keep_job and source.time is None:
            copy_labels(source.path, choice, job.dest, len(arrays))
    attributes["vgm"] = {
        "version": 1, "software": f"volmicro-codec {__version__}", "brick": job.edge,
        "slope": job.settings.slope, "settings": settings, "bricks": result.bricks, "bytes": result.size,
        "bytes_of_full_grid": result.full_size, "mse": result.mse,
        "psnr": result.psnr if math.isfinite(result.psnr) else None,
        "left_out": [runs(np.flatnonzero(sizes[:, n] == 0).tolist()) for n in range(sizes.shape[1])],
    }  # fmt: skip
    if job.place.get("zarr.json") is None:
        zarr.create_group(job.dest, attributes=attributes)
    return result


def _join(joined: Joined, runner: Runner) -> int:
    """Encode all chunks of a level, of which the one before it is there; their bytes."""
    size = 0
    encode = partial(joined.encode, threads=runner.threads)
    for number, result in runner.run(encode, range(len(joined))):
        if isinstance(result, Failure):
            said = f"{joined.job.dest}: level {joined.level}, chunk {number}: {result.error}"
            raise result.incomplete(said)
        size += result
    return size


def _plain(value: float) -> float:
    return float(f"{value:.6g}")
