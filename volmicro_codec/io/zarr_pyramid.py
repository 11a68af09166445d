"""Write a volume as an OME-Zarr multiscale pyramid, block by block, whatever its levels come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from ..errors import InputError, UsageError
from ..room import check_room
from ..urls import local_path
from ..volume import VolumeInfo
from .chunked import BLOCK_VOXELS
from .levels import level_shapes
from .zarr_metadata import VERSIONS, describe
from .zarr_output import zarr_output

CHUNK = {"T": 1, "C": 1, "Z": 32, "Y": 256, "X": 256}

LevelArray = zarr.Array[Any]


def write_pyramid(
    path: str,
    levels: Sequence[Any],
    info: VolumeInfo,
    force: bool = False,
    description: str | None = None,
    version: str = "0.5",
    advance: Callable[[int], None] | None = None,
) -> Path | str:
    """Write an OME-Zarr image of levels that exist already, in bounded memory.

    Parameters
    ----------
    path : str
        A directory name or an fsspec URL. A directory appears whole or not at all.
    levels : sequence of array-likes
        Level n on a grid 2^n coarser, of shape ``ceil(shape / 2^n)`` on the last three axes (what
        ``VgmArray.level(n)`` gives); as many as `level_shapes` says, or fewer. Sliced block by block.
    info : VolumeInfo
        Of level 0.
    force : bool
        Replace a Zarr hierarchy that is there.
    description : str, optional
        Goes into the metadata.
    version : str
        "0.5" (Zarr 3) or "0.4" (Zarr 2).
    advance : callable, optional
        Told how many voxels have been written, block after block.

    Raises
    ------
    OutputError, OutputExistsError
        Where it cannot be written.
    InputError
        Where the levels do not have the shapes or the dtype they should.
    """
    shapes = level_shapes((info.shape[2], info.shape[3], info.shape[4]))[: len(levels)]
    if local_path(path) is not None:
        check_room(local_path(path) or path, info, compressed=True)
    with zarr_output(path, force) as place:
        group, arrays = create(place, info, shapes, version)
        for n, (source, target) in enumerate(zip(levels, arrays, strict=False)):
            if tuple(source.shape) != tuple(target.shape):
                raise InputError(f"level {n} has shape {tuple(source.shape)}, expected {tuple(target.shape)}")
            for key in blocks(info, shapes[n]):
                part = np.asarray(source[key])
                if part.dtype != info.dtype:
                    raise InputError(f"level {n} has dtype {part.dtype}, expected {info.dtype}")
                target[key] = part
                if advance is not None:
                    advance(part.size)
        finish(group, arrays, info, description, version)
    return path if "://" in path else Path(path)


def create(
    place: str, info: VolumeInfo, shapes: Sequence[tuple[int, int, int]], version: str
) -> tuple[zarr.Group, list[LevelArray]]:
    """A group and its arrays "0", "1", ..., empty; it is no OME-Zarr image before `finish`.

    Parameters
    ----------
    place : str
        Path or URL at which nothing is.
    info : VolumeInfo
    shapes : sequence of (Z, Y, X)
    version : str
    """
    if version not in VERSIONS:
        raise UsageError(f"OME-Zarr version {version!r}: expected one of {', '.join(VERSIONS)}")
    v2 = version == "0.4"
    group = zarr.create_group(place, zarr_format=2 if v2 else 3)
    arrays = []
    for n, shape in enumerate(shapes):
        full = tuple(info.shape[:2]) + shape
        kept = [k for k, a in enumerate("TCZYX") if a in info.axes]
        arrays.append(
            group.create_array(
                str(n),
                shape=tuple(full[k] for k in kept),
                chunks=tuple(min(CHUNK["TCZYX"[k]], full[k]) for k in kept),
                dtype=info.dtype,
                fill_value=0,
                chunk_key_encoding={"name": "v2" if v2 else "default", "separator": "/"},
                dimension_names=None if v2 else [a.lower() for a in info.axes],
            )
        )
    return group, arrays


def finish(
    group: zarr.Group,
    arrays: Sequence[LevelArray],
    info: VolumeInfo,
    description: str | None,
    version: str,
) -> None:
    """Write what makes a group an OME-Zarr image, with display windows measured on its last level."""
    windows = [window_of(arrays[-1], info, c) for c in range(info.shape[1])]
    group.attrs.put(describe(info, len(arrays), windows, description, version))


def window_of(coarsest: LevelArray, info: VolumeInfo, c: int) -> tuple[float, float, float, float]:
    """(min, max, start, end): the dtype's range, and all but a channel's darkest and brightest voxels."""
    at = {"T": info.shape[0] // 2, "C": c}
    values = np.asarray(coarsest[tuple(at.get(a, slice(None)) for a in info.axes)])
    start, end = (float(v) for v in np.percentile(values, (0.1, 99.99)))
    if info.dtype.kind == "f":
        lo, hi = float(values.min()), float(values.max())
    else:
        lo, hi = float(np.iinfo(info.dtype).min), float(np.iinfo(info.dtype).max)
    return lo, hi, start, end if end > start else start + 1.0


def blocks(info: VolumeInfo, shape: tuple[int, int, int]) -> Iterator[tuple[int | slice, ...]]:
    """Keys over ``info.axes`` that cut every image into boxes of whole chunks and at most 16 Mi voxels."""
    step = block_shape(shape)
    for t in range(info.shape[0]):
        for c in range(info.shape[1]):
            for z, y, x in np.ndindex(*(-(-n // s) for n, s in zip(shape, step, strict=True))):
                at: dict[str, int | slice] = {"T": t, "C": c}
                for a, k, s, n in zip("ZYX", (z, y, x), step, shape, strict=True):
                    at[a] = slice(k * s, min((k + 1) * s, n))
                yield tuple(at[a] for a in info.axes)


def block_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The largest whole number of chunks on x, then y, then z that a block may hold."""
    step = {a: CHUNK[a] for a in "ZYX"}
    for a, n in zip("XYZ", reversed(shape), strict=True):
        others = math.prod(s for b, s in step.items() if b != a)
        chunks = max(1, BLOCK_VOXELS // (others * CHUNK[a]))
        step[a] = min(chunks, -(-n // CHUNK[a])) * CHUNK[a]
    return step["Z"], step["Y"], step["X"]


def halve(fine: LevelArray, coarse: LevelArray, info: VolumeInfo, shape: tuple[int, int, int]) -> None:
    """Fill a level with means of 2 x 2 x 2 voxels of the level before it (fewer at the far walls).

    Parameters
    ----------
    fine, coarse : zarr.Array
    info : VolumeInfo
    shape : (Z, Y, X)
        Of ``coarse``.
    """
    for key in blocks(info, shape):
        wider = tuple(slice(2 * k.start, 2 * k.stop) if isinstance(k, slice) else k for k in key)
        coarse[key] = means(np.asarray(fine[wider]), info.dtype)


def means(part: npt.NDArray[Any], dtype: np.dtype) -> npt.NDArray[Any]:
    out: npt.NDArray[Any] = part.astype(np.float32 if dtype.itemsize < 4 else np.float64)
    for axis in range(3):
        n = out.shape[axis]
        if n % 2:
            out = np.concatenate([out, out.take([n - 1], axis)], axis)
        even: list[slice] = [slice(None)] * 3
        odd: list[slice] = [slice(None)] * 3
        even[axis], odd[axis] = slice(0, None, 2), slice(1, None, 2)
        out = (out[tuple(even)] + out[tuple(odd)]) / 2
    return (np.rint(out) if dtype.kind in "ui" else out).astype(dtype)
