"""One brick, from the voxels to its chunks in the store; depends on no other brick."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..encoder.settings import EncodeSettings
from ..errors import OutputError, VgmError
from ..evaluate.tails import tails
from ..format import VgmReader
from ..heap import give_back_memory
from ..noise_model import NoiseModel
from ..volume import Volume, VolumeInfo
from .grid import HALO, Box, Brick
from .job import DONE, RECORD, Done, Job

Voxels = npt.NDArray[Any]
COARSER = 2.0
"""Times what a byte takes off on the full grid, that it takes off on coarser ones: these are to look at, and
at 1 took half as many bytes as the full grid (of a phantom of 26 MB, at the least slope), so a third."""
STEEPEST = 3
"""The level from which on the slope stays: of a phantom of 105 MB, level 4 would have a third of the bytes
if it grew on, and show means of the voxels 7 dB less closely."""
PLANES = 16
"""That are averaged at once."""
SLAB_BYTES = 8 << 20
"""Of voxels that are decoded at once for their error; decoding takes four times as much beside them."""


def encode_brick(job: Job, number: int, threads: int | None = None) -> Done:
    """Encode a brick's levels, write each, and last what says that it is done.

    Parameters
    ----------
    job : Job
    number : int
    threads : int, optional
        CPU threads, where the settings do not say how many.

    Raises
    ------
    VgmError
        Where the brick cannot be read, encoded or written.
    """
    began = time.monotonic()
    brick = job.grid.brick(number)
    settings = replace(job.settings, threads=job.settings.threads or threads)
    around, within = job.grid.with_halo(brick.box)
    voxels = np.asarray(job.open().data[(brick.t, brick.c, *around)])
    noise = noise_of(voxels)
    files = []
    mse, extremes = 0.0, b""
    for level in range(job.grid.own_levels):
        if level:
            voxels, within, noise = halved(voxels), halved_box(within), noise.halved()
        data, error = encode_box(voxels, within, level, job.info, settings, noise)
        if level == 0:
            mse, extremes = error, tails(voxels[within]).tobytes()
        files.append(b"" if is_fill(data, job.fill) else data)
    if job.place.get(RECORD) is None:
        raise OutputError(f"{job.dest}: another run finished it, or took it away, meanwhile")
    # The full grid last: a reader that finds it finds the coarser ones.
    for level in reversed(range(job.grid.own_levels)):
        if files[level]:
            job.place.put(job.grid.key(brick, level), files[level])
    sizes = tuple(len(f) for f in files)
    done = Done(number, sizes, time.monotonic() - began, mse, extremes)
    job.place.put(f"{DONE}/{number}", done.to_json())
    return done


def encode_missing(job: Job, number: int, threads: int | None = None) -> Done:
    """The same of a brick that is not there yet: a scheduler asks again for what a worker did and died of.

    Parameters and errors are those of `encode_brick`.
    """
    return is_done(job, number) or encode_brick(job, number, threads)


def encode_box(
    voxels: Voxels,
    within: Box,
    level: int,
    info: VolumeInfo,
    settings: EncodeSettings,
    noise: NoiseModel,
) -> tuple[bytes, float]:
    """A box of an image as a .vgm file.

    Parameters
    ----------
    voxels : [Z, Y, X]
        The box and what is around it.
    within : three slices
        The box.
    level : int
        Of the grid; see `slope_on`.
    info : VolumeInfo
        Of the volume: the size of its voxels and their unit are kept.
    settings : EncodeSettings
        With a slope.
    noise : NoiseModel
        Of the voxels as that of the full grid makes it: on coarse grids structure is as fine as noise, and an
        estimate would take it for that.

    Returns
    -------
    bytes
    float
        Mean squared error against the voxels.
    """
    from ..encoder.pipeline import encode_bytes

    size = [None if v is None else v * (1 << level) for v in info.voxel_size]
    volume = Volume.from_array(voxels, "ZYX", voxel_size=tuple(size), unit=info.unit)
    settings = replace(settings, slope=slope_on(level, settings))
    data, _ = encode_bytes(volume, settings, window=within, noise=noise)
    from ..decoder import open as open_vgm

    squares = 0.0
    with open_vgm(data, threads=settings.threads) as array:
        for (planes, *_), slab in array.iter_slabs(SLAB_BYTES):
            error = slab.astype(np.float32)
            error -= voxels[within][planes]
            squares += float(np.sum(error * error, dtype=np.float64))
        mean = squares / array.size
    give_back_memory()
    return data, mean


def slope_on(level: int, settings: EncodeSettings) -> float:
    """The slope at which a level is coded.

    On coarser ones a byte takes off twice as much per voxel as it does on the full grid, while the noise of a
    voxel is the less the coarser the grid: so the slope, in units of the noise, grows with the voxel. From
    some level on it stays: what is yet coarser is little, and looked at first.
    """
    from ..encoder.rate.slope import FLOOR

    return (settings.slope or FLOOR) * (COARSER * 8.0 ** min(level, STEEPEST) if level else 1.0)


def noise_of(voxels: Voxels) -> NoiseModel:
    """The noise of voxels of the full grid; of integers at least that of their rounding."""
    from ..encoder.choices import at_least_rounding
    from ..evaluate.noise import estimate_noise

    noise = estimate_noise(voxels)
    return noise if voxels.dtype.kind == "f" else at_least_rounding(noise)


def is_fill(data: bytes, fill: int | float) -> bool:
    """Whether a file decodes to the fill value everywhere."""
    with VgmReader.open(data) as reader:
        base, dtype = reader.meta.images[0][0], reader.meta.info.dtype
        if len(reader.index):
            return False
        value = np.float32(base) if dtype.kind == "f" else np.rint(base)
        return bool(value == fill)


def halved(voxels: Voxels) -> Voxels:
    """Means of 2 x 2 x 2 voxels, fewer at the far walls, in the same dtype."""
    from ..io.zarr_pyramid import means

    out = np.empty([-(-n // 2) for n in voxels.shape], voxels.dtype)
    for z in range(0, len(out), PLANES):
        out[z : z + PLANES] = means(voxels[2 * z : 2 * (z + PLANES)], voxels.dtype)
    return out


def halved_box(box: Box) -> Box:
    """A box of a grid twice as coarse. It begins at an even voxel: bricks and their halo are of 16."""
    assert HALO % 16 == 0
    z, y, x = (slice(s.start // 2, -(-s.stop // 2)) for s in box)
    return z, y, x


def is_done(job: Job, number: int) -> Done | None:
    """What became of a brick that is there whole; None where it is not."""
    data = job.place.get(f"{DONE}/{number}")
    if data is None:
        return None
    try:
        done = Done.from_json(data)
    except VgmError:
        return None
    brick = job.grid.brick(number)
    if done.number != number or len(done.sizes) != job.grid.own_levels:
        return None
    for level, size in enumerate(done.sizes):
        if size and job.place.size(job.grid.key(brick, level)) != size:
            return None
    return done


def damage(job: Job, brick: Brick, level: int) -> str | None:
    """What is wrong with the head of a chunk; None where nothing is."""
    try:
        with VgmReader.open(job.place.location(job.grid.key(brick, level))):
            return None
    except VgmError as e:
        return str(e)
