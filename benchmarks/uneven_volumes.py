"""Small volumes of many bricks whose contents differ as much as they do in real ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from volmicro_codec.io.lazy_images import Box, LazyImages
from volmicro_codec.phantom import make_phantom
from volmicro_codec.store.job import Input
from volmicro_codec.volume import Volume, VolumeInfo

SHAPE = (16, 240, 288)
"""Voxels of an image."""
PHOTONS = 5000.0
OFFSET, READ_NOISE = 100.0, 2.0
KINDS = ("even", "sparse", "corner", "gradient", "channels")
"""Full everywhere; an eighth of the cells full; one corner twenty times as bright as the rest; fuller and
fuller along x; two channels of which one is nearly empty."""
CELL = 40


@lru_cache(maxsize=4)
def expected(kind: str, channel: int) -> npt.NDArray[np.float32]:
    """Expected counts above the camera's offset."""
    _, truth = make_phantom(SHAPE, 7 + channel, photons=PHOTONS, truth=True)
    signal = np.asarray(truth, np.float32) - np.float32(OFFSET)
    background = np.float32(np.percentile(signal, 5))
    signal = np.maximum(signal - background, 0)
    z, y, x = np.ogrid[tuple(map(slice, SHAPE))]
    rng = np.random.default_rng([KINDS.index(kind), channel])
    cells = rng.random((-(-SHAPE[1] // CELL), -(-SHAPE[2] // CELL)))[y // CELL, x // CELL] + 0 * z
    share: Any = {
        "even": 1.0,
        "sparse": cells < 1 / 8,
        "corner": np.where((y < SHAPE[1] // 4) & (x < SHAPE[2] // 4), 1.0, 0.05),
        "gradient": cells < (x / SHAPE[2]) ** 2,
        "channels": 1.0 if channel == 0 else cells < 0.04,
    }[kind]
    return (signal * share).astype(np.float32) + background


@lru_cache(maxsize=2)
def image(kind: str, channel: int) -> npt.NDArray[np.uint16]:
    """One image, with noise."""
    rng = np.random.default_rng([3, KINDS.index(kind), channel])
    counts = rng.poisson(expected(kind, channel)) + rng.normal(OFFSET, READ_NOISE, SHAPE)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


@dataclass(frozen=True)
class Uneven(Input):
    """Such a volume as the input of a store; its kind is its path."""

    path: str = "even"

    def open(self) -> Volume:
        """The volume."""
        channels = 2 if self.path == "channels" else 1
        shape = (1, channels, *SHAPE)

        def read(t: int, c: int, box: Box) -> npt.NDArray[Any]:
            return image(self.path, c)[box]

        info = VolumeInfo(shape, np.dtype(np.uint16), "CZYX", voxel_size=(1.0, 0.5, 0.5), unit="µm")
        data: Any = LazyImages(shape, info.dtype, read)
        return Volume(data, info)
