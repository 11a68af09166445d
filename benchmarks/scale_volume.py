"""A volume of 100 Gvoxel, made when it is read: a tile of structure, turned, dimmed and repeated."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from volmicro_codec.io.lazy_images import Box, LazyImages
from volmicro_codec.io.zarr_metadata import describe
from volmicro_codec.io.zarr_pyramid import create
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.job import Input
from volmicro_codec.volume import Volume, VolumeInfo

SHAPE = (4096, 5120, 5120)
"""Voxels: 107 Gvoxel."""
CELL = 256
EMPTY = 0.4
"""Share of the cells that hold nothing but background."""
OFFSET, BACKGROUND, READ_NOISE = 100.0, 12.0, 2.0
QUANTILES = 1 << 16


@lru_cache(maxsize=1)
def tile() -> npt.NDArray[np.float32]:
    """What is repeated: the expected counts of a phantom, above the camera's offset."""
    _, truth = make_phantom((CELL, CELL, CELL), 0, photons=300, truth=True)
    return np.asarray(truth, np.float32) - np.float32(OFFSET)


@lru_cache(maxsize=1)
def quiet() -> npt.NDArray[np.uint16]:
    """Quantiles of the background's counts, of which voxels are drawn: many times as fast as its noise."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(BACKGROUND, 64 * QUANTILES) + rng.normal(OFFSET, READ_NOISE, 64 * QUANTILES)
    counts.sort()
    return np.rint(counts[32::64]).astype(np.uint16)


@lru_cache(maxsize=8)
def cell(z: int, y: int, x: int) -> npt.NDArray[np.uint16]:
    """One cell, with its own noise; the same whenever it is made."""
    rng = np.random.default_rng([z, y, x])
    if rng.random() < EMPTY:
        return quiet()[rng.integers(0, QUANTILES, (CELL,) * 3, np.uint16)]
    flips = tuple(slice(None, None, -1 if turned else 1) for turned in rng.integers(0, 2, 3))
    expected = (tile()[flips] - BACKGROUND) * np.float32(rng.uniform(0.3, 1.0)) + np.float32(BACKGROUND)
    counts = rng.poisson(np.maximum(expected, 0)) + rng.normal(OFFSET, READ_NOISE, (CELL,) * 3)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def read(t: int, c: int, box: Box) -> npt.NDArray[Any]:
    """The voxels of a box."""
    lo = [s.start for s in box]
    out = np.empty([s.stop - s.start for s in box], np.uint16)
    first = [a // CELL for a in lo]
    last = [-(-s.stop // CELL) for s in box]
    for at in np.ndindex(*(b - a for a, b in zip(first, last, strict=True))):
        place = [a + k for a, k in zip(first, at, strict=True)]
        inside, outside = [], []
        for p, s, a in zip(place, box, lo, strict=True):
            start, stop = max(p * CELL, s.start), min((p + 1) * CELL, s.stop)
            inside.append(slice(start - p * CELL, stop - p * CELL))
            outside.append(slice(start - a, stop - a))
        out[tuple(outside)] = cell(*place)[tuple(inside)]
    return out


def write(path: str, shape: tuple[int, int, int]) -> None:
    """Its first corner as OME-Zarr of one level, each cell made once."""
    info = VolumeInfo((1, 1, *shape), np.dtype(np.uint16), "ZYX")
    group, (array,) = create(path, info, [shape], "0.5")
    for at in np.ndindex(*(-(-n // CELL) for n in shape)):
        box = tuple(slice(CELL * k, min(CELL * (k + 1), n)) for k, n in zip(at, shape, strict=True))
        array[box] = cell(*at)[tuple(slice(0, s.stop - s.start) for s in box)]
    group.attrs.put(describe(info, 1, [(0.0, 65535.0, OFFSET, 2 * OFFSET)], None, "0.5"))


@dataclass(frozen=True)
class Generated(Input):
    """The volume, or its first corner, as the input of a store."""

    path: str = "generated"
    shape: tuple[int, int, int] = SHAPE

    def open(self) -> Volume:
        """The volume, made where it is sliced."""
        info = VolumeInfo((1, 1, *self.shape), np.dtype("uint16"), voxel_size=(1.0, 0.5, 0.5), unit="µm")
        data: Any = LazyImages((1, 1, *self.shape), np.dtype("uint16"), read)
        return Volume(data, info)
