"""Make a .vgm file of Gaussians that another tool has fitted."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InputError, UsageError
from ..format import EncodedChunk, FileMeta, codings, support_box, write_file
from ..format.chunk import Triple, brick_centre
from ..format.support import MARGIN
from ..geometry import half_widths, rotation_matrices
from ..primitives import Primitives, primitives_to_records, records_to_primitives
from ..version import __version__
from ..volume import VolumeInfo

BRICK = 128  # voxels; a float16 position inside it steps by at most 1/32 voxel
DEFAULT_CUTOFF = 16.0  # 4 standard deviations: other tools do not cut off at all
MAX_RECORDS = 1 << 16  # of a chunk
MIN_TO_SPLIT = 512  # fewer in a brick stay one chunk: each costs some 25 bytes of index
LEVEL_ENDS = (10, 40)  # percent of a brick's primitives, strongest first, at which a level ends

_LARGEST = float(np.finfo(np.float16).max)
_SMALLEST = float(np.finfo(np.float16).smallest_normal)


@dataclass(frozen=True)
class ImportResult:
    """What became of the Gaussians.

    Attributes
    ----------
    primitives : int
        In the file.
    outside : int
        Left out: they reach no voxel of the volume.
    clamped : int
        With a scale smaller than float16 holds (6e-5 voxels), which was made that.
    bytes : int
        Of the file.
    """

    primitives: int
    outside: int
    clamped: int
    bytes: int


def write_primitives(
    path: str | os.PathLike[str],
    primitives: Primitives,
    info: VolumeInfo,
    images: tuple[tuple[float, float], ...],
    time_points: npt.NDArray[np.int64] | None = None,
    channels: npt.NDArray[np.int64] | None = None,
    cutoff: float = DEFAULT_CUTOFF,
    settings: str | None = None,
    force: bool = False,
) -> ImportResult:
    """Write primitives as a .vgm file, rounded to float16 records in bricks of at most 128 voxels.

    The strongest of every brick come first, so that the first bytes of the file are a preview.

    Parameters
    ----------
    path : path
    primitives : Primitives
        In voxel coordinates.
    info : VolumeInfo
    images : tuple of (base, gain)
        One per (time point, channel), time major: value = base + gain * sum of intensity * kernel.
    time_points, channels : int64 [N], optional
        The image of each primitive; the first, where not given.
    cutoff : float
        Squared Mahalanobis distance at which the kernel is zero.
    settings : str, optional
        A note on where the parameters came from.
    force : bool
        Replace a file that is there.

    Raises
    ------
    InputError
        Where a number does not fit into a record.
    OutputError
        Where the file cannot be written.
    """
    n = len(primitives)
    t = np.zeros(n, np.int64) if time_points is None else np.asarray(time_points, np.int64)
    c = np.zeros(n, np.int64) if channels is None else np.asarray(channels, np.int64)
    for values, count, word in ((t, info.shape[0], "time point"), (c, info.shape[1], "channel")):
        if values.shape != (n,):
            raise InputError(f"{values.shape} {word}s for {n} primitives")
        wrong = np.flatnonzero((values < 0) | (values >= count))
        if wrong.size:
            bad = int(wrong[0])
            raise InputError(f"primitive {bad}: {word} {int(values[bad])}, the volume has {count} (from 0)")
    if len(images) != info.shape[0] * info.shape[1]:
        raise UsageError(f"{len(images)} (base, gain) pairs, expected {info.shape[0] * info.shape[1]}")
    primitives, clamped = _storable(primitives)
    images, primitives = _rescaled(images, primitives, t * info.shape[1] + c)
    meta = FileMeta(info, cutoff, images, software=f"volmicro-codec {__version__}", settings=settings)
    chunks: list[EncodedChunk] = []
    kept = 0
    for level, rows in _by_importance(_by_brick(primitives, t, c, info)):
        at = int(t[rows[0]]), int(c[rows[0]]), level
        chunk = _chunk(_take(primitives, rows), at, info, cutoff)
        if chunk is not None:
            chunks.append(chunk)
            kept += chunk.count
    size = write_file(path, meta, chunks, force)
    return ImportResult(kept, n - kept, clamped, size)


def _take(p: Primitives, rows: npt.NDArray[np.int64]) -> Primitives:
    return Primitives(p.means[rows], p.scales[rows], p.rotations[rows], p.intensities[rows])


def _storable(p: Primitives) -> tuple[Primitives, int]:
    """Scales that float16 can hold, and how many had to be changed."""
    if len(p) and float(p.scales.max()) > _LARGEST:
        bad = int(p.scales.max(axis=1).argmax())
        raise InputError(
            f"primitive {bad}: a scale of {p.scales[bad].max():g} voxels, expected at most {_LARGEST:g}"
        )
    small = p.scales < _SMALLEST
    if not small.any():
        return p, 0
    scales = np.maximum(p.scales, np.float32(_SMALLEST))
    return Primitives(p.means, scales, p.rotations, p.intensities), int(small.any(axis=1).sum())


def _rescaled(
    images: tuple[tuple[float, float], ...], p: Primitives, image: npt.NDArray[np.int64]
) -> tuple[tuple[tuple[float, float], ...], Primitives]:
    """Move a power of two from an image's intensities to its gain where float16 would lose them."""
    out, intensities = list(images), p.intensities.copy()
    for k, (base, gain) in enumerate(images):
        mine = image == k
        largest = float(np.abs(intensities[mine]).max()) if mine.any() else 0.0
        if largest > 0 and not 2.0**-6 <= largest <= 2.0**12:
            power = float(np.exp2(np.floor(np.log2(largest))))
            intensities[mine] = (intensities[mine].astype(np.float64) / power).astype(np.float32)
            out[k] = (base, gain * power)
    return tuple(out), Primitives(p.means, p.scales, p.rotations, intensities)


def _edges(length: int) -> npt.NDArray[np.int64]:
    """Walls of bricks of at most `BRICK` voxels and nearly equal length."""
    count = -(-length // BRICK)
    return np.arange(count + 1, dtype=np.int64) * length // count


def _bricks_of(p: Primitives, shape: Triple) -> npt.NDArray[np.int64]:
    """The brick (z, y, x) of each primitive's centre; the nearest where it lies outside of the volume."""
    axes = []
    for axis, length in enumerate(shape):
        walls = _edges(length)
        axes.append(
            np.clip(np.searchsorted(walls, p.means[:, axis] + 0.5, side="right") - 1, 0, len(walls) - 2)
        )
    return np.stack(axes, axis=1).astype(np.int64)


def _by_brick(
    p: Primitives, t: npt.NDArray[np.int64], c: npt.NDArray[np.int64], info: VolumeInfo
) -> list[npt.NDArray[np.int64]]:
    """Row numbers of each (t, c, brick), strongest first inside each."""
    if len(p) == 0:
        return []
    shape = (info.shape[2], info.shape[3], info.shape[4])
    bricks = _bricks_of(p, shape)
    energy = p.intensities.astype(np.float64) ** 2 * p.scales.astype(np.float64).prod(axis=1)
    order = np.lexsort((-energy, bricks[:, 2], bricks[:, 1], bricks[:, 0], c, t))
    keys = np.column_stack([t, c, bricks])[order]
    starts = np.flatnonzero((np.diff(keys, axis=0) != 0).any(axis=1)) + 1
    return list(np.split(order, starts))


def _by_importance(bricks: list[npt.NDArray[np.int64]]) -> list[tuple[int, npt.NDArray[np.int64]]]:
    """Levels and row numbers of chunks in file order, the strongest of every brick before the rest of any."""
    out: list[tuple[int, npt.NDArray[np.int64]]] = []
    for rows in bricks:
        cuts = [len(rows) * percent // 100 for percent in LEVEL_ENDS] if len(rows) >= MIN_TO_SPLIT else []
        for level, part in enumerate(np.split(rows, cuts)):
            out += [(level, part[k : k + MAX_RECORDS]) for k in range(0, len(part), MAX_RECORDS)]
    return sorted(out, key=lambda item: item[0])


def _chunk(p: Primitives, at: tuple[int, int, int], info: VolumeInfo, cutoff: float) -> EncodedChunk | None:
    """The chunk of some primitives of one brick; ``at`` is (t, c, level).

    Those that reach no voxel are left out; None where that is all.
    """
    shape: Triple = (info.shape[2], info.shape[3], info.shape[4])
    brick = _bricks_of(_take(p, np.zeros(1, np.int64)), shape)[0]
    walls = [_edges(n) for n in shape]
    z, y, x = (int(w[k]) for w, k in zip(walls, brick, strict=True))
    lo: Triple = (z, y, x)
    dz, dy, dx = (int(w[k + 1] - w[k]) for w, k in zip(walls, brick, strict=True))
    size: Triple = (dz, dy, dx)
    centre = brick_centre(lo, size)
    half = half_widths(p.scales, rotation_matrices(p.rotations), cutoff) + MARGIN
    near = ((p.means + half >= 0) & (p.means - half <= np.array(shape) - 1)).all(axis=1)
    p = _take(p, np.flatnonzero(near))
    if (np.abs(p.means - centre) > _LARGEST).any():
        raise InputError(f"a primitive lies more than {_LARGEST:g} voxels outside of the volume")
    records = primitives_to_records(p, centre)
    rounded = records_to_primitives(records, centre)
    half = half_widths(rounded.scales, rotation_matrices(rounded.rotations), cutoff) + MARGIN
    first = np.clip(np.ceil(rounded.means - half), 0, shape)
    stop = np.clip(np.floor(rounded.means + half) + 1, 0, shape)
    records = records[(first < stop).all(axis=1)]
    if len(records) == 0:
        return None
    support = support_box(records, lo, size, shape, cutoff)
    coding, payload = codings.encode_records(records)
    return EncodedChunk(*at, coding, lo, size, len(records), *support, payload)
