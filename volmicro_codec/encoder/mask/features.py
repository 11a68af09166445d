"""What the occupancy gate sees: local intensity features of cells of a few voxels, in units of the noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...native_encoder import cells as native
from ...noise_model import NoiseModel
from ..fit.voxels import stored

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]
Slices = tuple[slice, slice, slice]
Triple = tuple[int, int, int]

LOCAL_FEATURES = 8
ENVELOPE = (9, 17, 17)
WIDE = (3, 7, 7)
HALO = (12, 20, 20)
"""Cells that a cell's features reach: half an `ENVELOPE` twice, and the blur."""
CHUNK_CELLS = 1 << 21
LEARNING_CELLS = 1 << 24
LEARNING_BOX = (24, 64, 64)


def cell_stride(shape: tuple[int, ...]) -> Triple:
    """Voxels of a cell along z, y, x: 2, but 1 on an axis too short to spare any."""
    z, y, x = shape
    return (2 if z >= 48 else 1), (2 if y >= 32 else 1), (2 if x >= 32 else 1)


def grid_shape(shape: tuple[int, ...], stride: Triple) -> Triple:
    """Cells along z, y, x; the last of an axis may hang over the volume's edge."""
    z, y, x = (-(-n // s) for n, s in zip(shape, stride, strict=True))
    return z, y, x


@dataclass(frozen=True)
class Cells:
    """Features of a box of cells.

    Attributes
    ----------
    level : float32 (z, y, x)
        Intensity smoothed over about three cells.
    contrast : float32 (z, y, x)
        ``level`` less the lower envelope of its surroundings, which follows an uneven background.
    local : float32 (8, z, y, x)
        The network's local features; empty where they were not asked for.
    """

    level: F32
    contrast: F32
    local: F32


def smoothed_noise(stride: Triple) -> float:
    """To what fraction the noise of voxels shrinks in `Cells.level` (a cell's mean, 0.8 cells of blur)."""
    return 0.3 / float(np.sqrt(np.prod(stride)))


def chunks(shape: Triple, box: Slices | None = None) -> Iterator[Slices]:
    """Boxes of at most about `CHUNK_CELLS` cells that cover a grid, or a box of it."""
    box = (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])) if box is None else box
    size = [s.stop - s.start for s in box]
    while size[0] * size[1] * size[2] > CHUNK_CELLS:
        widest = max(range(3), key=lambda a: size[a] / (4 if a == 0 else 1))
        size[widest] = -(-size[widest] // 2)
    for z in range(box[0].start, box[0].stop, size[0]):
        for y in range(box[1].start, box[1].stop, size[1]):
            for x in range(box[2].start, box[2].stop, size[2]):
                yield (
                    slice(z, min(z + size[0], box[0].stop)),
                    slice(y, min(y + size[1], box[1].stop)),
                    slice(x, min(x + size[2], box[2].stop)),
                )


def learning_chunks(shape: Triple) -> Iterator[Slices]:
    """What the gate learns from: all of a grid, or boxes spread evenly over one that is very large."""
    if shape[0] * shape[1] * shape[2] <= LEARNING_CELLS:
        yield from chunks(shape)
        return
    size = [min(n, b) for n, b in zip(shape, LEARNING_BOX, strict=True)]
    counts = [-(-n // s) for n, s in zip(shape, size, strict=True)]
    most = LEARNING_CELLS // (4 * size[0] * size[1] * size[2])
    while counts[0] * counts[1] * counts[2] > most:
        counts[int(np.argmax(counts))] -= 1
    starts = [
        [(n - s) * (2 * i + 1) // (2 * c) for i in range(c)]
        for n, s, c in zip(shape, size, counts, strict=True)
    ]
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                yield slice(z, z + size[0]), slice(y, y + size[1]), slice(x, x + size[2])


class Seen:
    """Features of the cells from which a volume's gate learns, chunk by chunk.

    Of a volume that is not very large these are all its cells, and they are kept: learning looks at them
    twice, and what was learned is asked of them.

    Attributes
    ----------
    grid : (z, y, x)
        Cells of the volume.
    parts : list of three slices
        Chunks, in cells.
    whole : bool
        Whether these are all cells.
    """

    def __init__(self, volume: Array, noise: NoiseModel, stride: Triple, *, with_local: bool = True) -> None:
        self.noise, self.stride, self.grid = noise, stride, grid_shape(volume.shape, stride)
        self.whole = self.grid[0] * self.grid[1] * self.grid[2] <= LEARNING_CELLS
        self.parts = list(learning_chunks(self.grid))
        self._volume, self._with_local = volume, with_local
        self._kept: dict[int, Cells] = {}

    def __len__(self) -> int:
        return len(self.parts)

    def of(self, k: int) -> Cells:
        """Features of a chunk; chunks of one volume may be asked for by several threads."""
        kept = self._kept.get(k)
        if kept is not None:
            return kept
        made = cells(self._volume, self.noise, self.stride, self.parts[k], with_local=self._with_local)
        if self.whole:
            self._kept[k] = made
        return made


def cells(volume: Array, noise: NoiseModel, stride: Triple, box: Slices, *, with_local: bool = True) -> Cells:
    """Features of a box of cells, from the voxels in and around it.

    Parameters
    ----------
    volume : (Z, Y, X)
    noise : NoiseModel
    stride : (z, y, x)
        Voxels of a cell.
    box : three slices
        In cells.
    with_local : bool
        Whether the network's features are wanted.
    """
    from scipy.ndimage import gaussian_filter, minimum_filter, uniform_filter

    grid = grid_shape(volume.shape, stride)
    low = [max(0, s.start - h) for s, h in zip(box, HALO, strict=True)]
    high = [min(n, s.stop + h) for s, h, n in zip(box, HALO, grid, strict=True)]
    inner = tuple(slice(s.start - a, s.stop - a) for s, a in zip(box, low, strict=True))
    mean, square = _block_moments(volume, stride, low, high, noise.background)
    shrink = 1.0 / np.sqrt(float(np.prod(stride)))

    smooth = gaussian_filter(mean, 0.8, mode="nearest", truncate=4.0)
    envelope = uniform_filter(minimum_filter(smooth, ENVELOPE, mode="nearest"), ENVELOPE, mode="nearest")
    base = np.float32(noise.background)
    level, contrast = smooth[inner] + base, (smooth - envelope)[inner]
    if not with_local:
        return Cells(level, contrast, np.empty((0, *level.shape), np.float32))
    wide = uniform_filter(smooth, WIDE, mode="nearest")
    deviation = uniform_filter(square, 3, mode="nearest")
    deviation -= np.square(uniform_filter(mean, 3, mode="nearest"))
    np.sqrt(deviation.clip(0, out=deviation), out=deviation)
    slope = np.zeros_like(smooth)
    for axis in range(3):
        if smooth.shape[axis] > 1:
            slope += np.square(np.gradient(smooth, axis=axis))
    np.sqrt(slope, out=slope)

    # asinh: linear within the noise, logarithmic above it, so that bright objects do not hide faint ones.
    sigma = noise.sigma_at(level)
    fine = np.float32(noise.sigma * shrink)
    local = np.empty((LOCAL_FEATURES, *level.shape), np.float32)
    local[0] = np.arcsinh(mean[inner] / fine)
    local[1] = np.arcsinh(smooth[inner] / (fine * np.float32(0.3)))
    local[2] = np.arcsinh(wide[inner] / (fine * np.float32(0.1)))
    local[3] = np.arcsinh(contrast / (sigma * np.float32(0.3 * shrink)))
    local[4] = np.arcsinh((smooth - wide)[inner] / (sigma * np.float32(0.3 * shrink)))
    local[5] = np.arcsinh(envelope[inner] / fine)
    local[6] = np.arcsinh(deviation[inner] / sigma)
    local[7] = np.arcsinh(slope[inner] / (sigma * np.float32(0.3 * shrink)))
    return Cells(level, contrast, local)


def _block_moments(
    volume: Array, stride: Triple, low: list[int], high: list[int], origin: float
) -> tuple[F32, F32]:
    """Means and mean squares of value - origin over each cell; cells over the edge repeat the last voxels."""
    box = tuple(
        slice(a * s, min(b * s, n)) for a, b, s, n in zip(low, high, stride, volume.shape, strict=True)
    )
    shape = [b - a for a, b in zip(low, high, strict=True)]
    means, squares = np.empty(shape, np.float32), np.empty(shape, np.float32)
    native.cell_means(stored(volume[box]), stride, origin, means, squares)
    return means, squares
