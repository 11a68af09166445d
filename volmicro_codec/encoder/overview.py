"""The overview: a coarse grid of the volume, coded by itself, that a file holds for it and coarser ones.

Gaussians that draw the finest grid are a poor account of a coarse one: all of them are needed, and widened
they are not quite the means of the voxels. A few hundred of its own are closer, in a hundredth of the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..decoder import open as open_vgm
from ..format import EncodedChunk, FileMeta, encode_file
from ..format.metadata import MAX_GRID, MAX_OVERVIEW_VOXELS, Overview
from ..volume import Volume, VolumeInfo
from .parts import Box
from .quantise.grid_levels import alike
from .quantise.resolution import LEAST_SIDE, means
from .settings import EncodeSettings

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]

SHARE = 0.015
"""Of a file's bytes. `benchmarks/results/levels.json` has what other shares and grids come to."""
RAW_SHARE = 0.2
"""Of a file's bytes, what the voxels of the grid have at most: they are then coded at 13 to 1 or less, and
closer than all chunks show them. The next finer grid would take eight times as much."""
ASKED_RATIO = 10.0
"""Voxels over bytes at most, of a grid that was asked for."""
LEAST_BYTES = 240
SMALL_FILE = 1 << 16
"""Bytes of a file that is read in one request, whatever of it is wanted."""


def shape_on(info: VolumeInfo, grid: int) -> tuple[int, int, int]:
    """Voxels of an image on a coarser grid."""
    z, y, x = (-(-n // (1 << grid)) for n in info.shape[2:])
    return z, y, x


def raw_bytes(info: VolumeInfo, grid: int) -> int:
    """Bytes of all voxels of a coarser grid."""
    return math.prod(info.shape[:2]) * math.prod(shape_on(info, grid)) * info.dtype.itemsize


def grid_for(info: VolumeInfo, file_bytes: float) -> int:
    """The grid of the overview of a file of so many bytes; 0 where it is to have none."""
    if file_bytes < SMALL_FILE:
        return 0
    for n in range(1, MAX_GRID + 1):
        shape = shape_on(info, n)
        if max(shape) < LEAST_SIDE:
            return 0
        if raw_bytes(info, n) <= RAW_SHARE * file_bytes and math.prod(shape) <= MAX_OVERVIEW_VOXELS:
            return n
    return 0


def size_for(info: VolumeInfo, settings: EncodeSettings, file_bytes: float) -> tuple[int, int]:
    """The grid of the overview of a file of so many bytes, and the bytes of it; 0 and 0 for none."""
    size = int(SHARE * file_bytes)
    if settings.overview is None:
        n = grid_for(info, file_bytes)
        return n, size if n else 0
    if settings.overview == 0:
        return 0, 0
    asked = math.ceil(raw_bytes(info, settings.overview) / ASKED_RATIO)
    return settings.overview, max(size, asked, LEAST_BYTES)


def targets(volume: Volume, box: Box, grid: int) -> list[tuple[F32, F32]]:
    """Means of each image's voxels in a box, and how much of each lies in it (`resolution.means`)."""
    return [means(volume.data[t, c], box, grid) for t, c in np.ndindex(*volume.info.shape[:2])]


def volume_of(info: VolumeInfo, found: Sequence[tuple[F32, F32]], grid: int) -> Volume:
    """Means as a volume of the same data type."""
    voxels = np.stack([target for target, _ in found]).reshape(*info.shape[:2], *shape_on(info, grid))
    if info.dtype.kind != "f":
        limits = np.iinfo(info.dtype)
        voxels = np.clip(np.rint(voxels), limits.min, limits.max)
    return Volume(voxels.astype(info.dtype), VolumeInfo(voxels.shape, info.dtype, info.axes))


def settings_for(settings: EncodeSettings, size: int) -> EncodeSettings:
    """How an overview of so many bytes is encoded, within the encode of its file.

    Noise averages to little, and of so few voxels it cannot be told from the signal.
    """
    return EncodeSettings(
        size=size, objective="voxels", effort="fast", gate="none", levels=1, overview=0, device="cpu",
        coding=settings.coding, points=settings.points, cutoff=settings.cutoff, seed=settings.seed,
        threads=settings.threads,
    )  # fmt: skip


def closer(
    overview: Overview,
    meta: FileMeta,
    chunks: Sequence[EncodedChunk],
    found: Sequence[tuple[F32, F32]],
    **options: Any,
) -> bool:
    """Whether an overview shows its grid about as well as all of a file's chunks do, or better.

    Parameters
    ----------
    overview : Overview
    meta, chunks
        Of the file without it.
    found : list of (means, share)
        Of `targets`.
    **options
        Of `decoder.open`.
    """
    plain = encode_file(replace(meta, grid_levels=(), overview=None), chunks)
    with open_vgm(plain, **options) as every, open_vgm(overview.file, **options) as alone:
        errors: tuple[list[F64], list[F64]] = ([], [])
        for (t, c), (target, _) in zip(np.ndindex(*meta.info.shape[:2]), found, strict=True):
            shown = alone.read(time=t, channel=c), every.read(level=overview.grid, time=t, channel=c)
            for of, voxels in zip(errors, shown, strict=True):
                of.append(np.square(voxels.astype(np.float64) - target))
    whole = np.stack([share for _, share in found]) == 1
    return alike(np.stack(errors[0]), np.stack(errors[1]), whole)
